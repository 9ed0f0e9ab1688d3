//! What the structures share: the name of their root, a comparison, and a text.

use crate::harness::choices::Choices;
use crate::harness::subject::Verdict;

/// The root of each structure here.
pub(super) const ROOT: &str = "structure";

/// Checks that what was found is what was expected.
pub(super) fn expect_same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: T,
    expected: T,
) -> Verdict {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, expected {expected:?}").into())
}

/// Returns a text: mostly short, sometimes too long for inline storage, rarely several pages.
pub(super) fn any_text(choices: &mut Choices) -> String {
    let longest = *choices.weighted(&[(12, 8), (6, 100), (1, 9000)]);
    choices.letters(0..=longest)
}
