//! Histories that several tests use.

use flagstone::sim::Call;
use flagstone::{Durability, Result};

use super::fixture::{free_array, set_array, set_number};
use super::sim_run::Run;

/// The length of an array that is large enough for the file to be truncated once it is freed.
const LONG_ARRAY: u32 = 170_000;
/// The number of checkpoints after which no state can still contain the array.
const MAX_CHECKPOINTS: u64 = 8;

/// Frees an array in the middle of the heap and closes the store, which gives its space back.
pub fn punch(run: &mut Run<'_>) -> Result<()> {
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 90_000, 1))?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 1, 3000, 1))?;
    run.commit(Durability::Durable, |tx, model| free_array(tx, model, 0))?;
    run.reopen()?;
    assert!(run.disk.holes() >= 64, "{} pages were punched", run.disk.holes());
    Ok(())
}

/// Truncates the file after the heap has shrunk, and grows it again before the new length was
/// synced.
pub fn cut_and_grow(run: &mut Run<'_>) -> Result<()> {
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 1, LONG_ARRAY, 1))?;
    (0..3).try_for_each(|_| run.checkpoint())?;
    run.commit(Durability::Durable, |tx, model| free_array(tx, model, 1))?;
    run.begin_here()?;
    let begun = run.disk.calls().len();
    let is_cut = |run: &Run<'_>| run.disk.calls()[begun..].contains(&Call::Truncate);
    for number in 0.. {
        run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, number))?;
        run.checkpoint()?;
        if is_cut(run) {
            break;
        }
        assert!(number < MAX_CHECKPOINTS, "the file is cut");
    }
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 2, 3000, 1))?;
    let calls = run.disk.calls().split_off(begun);
    let mut since = calls.into_iter().skip_while(|call| *call != Call::Truncate);
    let next = since.find(|call| matches!(call, Call::Sync | Call::Grow));
    assert_eq!(next, Some(Call::Grow), "it grows before the next sync");
    Ok(())
}
