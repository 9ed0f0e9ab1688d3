//! Arrays of many sizes, some longer than the log.

use std::ops::Range;

use super::shared::{ROOT, expect_same};
use crate::harness::choices::Choices;
use crate::harness::subject::{Subject, Verdict};
use crate::persist::Link;
use crate::store::{ReadTx, WriteTx};

const SLOTS: usize = 12;

/// A table of arrays that are replaced, filled and freed. The largest use bulk pages and
/// transactions that exceed the log, and freeing them truncates the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrays;

type Table = [Link<[u64]>; SLOTS];

/// A change to the table.
#[derive(Clone, Debug)]
pub enum Step {
    /// Replaces a slot's array with a new one, whose elements count up from a number.
    Replace(usize, Range<u64>),
    /// Fills the end of an array, at most so many elements, with a number.
    FillEnd(usize, usize, u64),
    /// Frees a slot's array.
    Free(usize),
}

impl Subject for Arrays {
    type Model = [Vec<u64>; SLOTS];
    type Step = Step;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with::<Table>(ROOT, || [Link::null(); SLOTS])?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, _model: &Self::Model) -> Step {
        let slot = choices.index(SLOTS);
        match choices.below(8) {
            0..4 => {
                let longest = *choices.weighted(&[(30, 20), (12, 1200), (1, 200_000)]);
                let (start, len) = (choices.below(1000), choices.below(longest));
                Step::Replace(slot, start..start + len)
            }
            4..6 => Step::FillEnd(slot, choices.index(2000), choices.below(1000)),
            _ => Step::Free(slot),
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &Step, _model: &Self::Model) -> Verdict {
        let table = tx.root::<Table>(ROOT)?;
        let (slot, new) = match step {
            Step::Replace(slot, values) => {
                let count = (values.end - values.start) as usize;
                (*slot, tx.alloc_slice((0..count).map(|index| values.start + index as u64))?)
            }
            Step::FillEnd(slot, count, value) => {
                let array = tx.at(table)?[*slot];
                if let Some(array) = tx.get_mut(array)? {
                    end_of(array, *count).fill(*value);
                }
                return Ok(());
            }
            Step::Free(slot) => (*slot, Link::null()),
        };
        let old = std::mem::replace(&mut tx.at_mut(table)?[slot], new);
        if !old.is_null() {
            tx.free(old)?;
        }
        Ok(())
    }

    fn advance(&self, model: &mut Self::Model, step: &Step) {
        match step {
            Step::Replace(slot, values) => model[*slot] = values.clone().collect(),
            Step::FillEnd(slot, count, value) => end_of(&mut model[*slot], *count).fill(*value),
            Step::Free(slot) => model[*slot].clear(),
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &Self::Model) -> Verdict {
        let table = tx.root_object::<Table>(ROOT)?;
        for (slot, (array, expected)) in table.iter().zip(model).enumerate() {
            let found = tx.get(*array)?.unwrap_or_default();
            expect_same(&format!("length of array {slot}"), found.len(), expected.len())?;
            let differ = found.iter().zip(expected).position(|(found, expected)| found != expected);
            expect_same(&format!("array {slot}: where it differs"), differ, None)?;
        }
        Ok(())
    }
}

fn end_of(array: &mut [u64], count: usize) -> &mut [u64] {
    let start = array.len().saturating_sub(count);
    &mut array[start..]
}
