//! What a run hands to those that carry out its plans, and what they hand back.
//!
//! **Owns** both as data. **Must not know** how a plan is carried out.

use super::failure::Summary;
use super::replay::Opening;
use super::verify::Rules;
use super::violation::Violation;
use crate::store::OpenOptions;

/// The parameters that all plans of a run share.
pub(super) struct Setup<'a, F> {
    pub(super) make: F,
    pub(super) options: &'a OpenOptions,
    pub(super) rules: Rules,
}

/// The outcome of a plan.
pub(super) struct RunOutcome {
    /// The states at which the store was opened.
    pub(super) openings: Vec<Opening>,
    pub(super) summary: Summary,
    /// The violation, and the operation during or after which it was found.
    pub(super) violation: Option<(usize, Violation)>,
}
