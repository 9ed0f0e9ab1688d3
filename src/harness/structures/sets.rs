//! A hash set and an ordered set with the same members.

use std::collections::BTreeSet as Model;

use super::shared::expect_same;
use crate::collections::{BTreeSet, HashSet};
use crate::error::Result;
use crate::harness::choices::Choices;
use crate::harness::subject::{Subject, Verdict};
use crate::store::{ReadTx, WriteTx};

const HASHED: &str = "hashed";
const ORDERED: &str = "ordered";

/// A [`HashSet`] and a [`BTreeSet`] that are always changed together: two roots that must never
/// differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sets;

/// A change to both sets.
#[derive(Clone, Debug)]
pub enum Step {
    /// Inserts a member.
    Insert(u32),
    /// Inserts consecutive members.
    Extend(u32, u32),
    /// Removes a member, which may be absent.
    Remove(u32),
    /// Removes all multiples of a number.
    RemoveMultiples(u32),
}

impl Subject for Sets {
    type Model = Model<u32>;
    type Step = Step;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(HASHED, HashSet::<u32>::new)?;
        let _ = tx.root_or_insert_with(ORDERED, BTreeSet::<u32>::new)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, _model: &Self::Model) -> Step {
        match choices.below(20) {
            0..9 => Step::Insert(choices.below(500) as u32),
            9..12 => Step::Extend(choices.below(2000) as u32, choices.between(1..=300) as u32),
            12..18 => Step::Remove(choices.below(500) as u32),
            _ => Step::RemoveMultiples(choices.between(1..=5) as u32),
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &Step, model: &Self::Model) -> Verdict {
        let hashed = tx.root::<HashSet<u32>>(HASHED)?;
        let ordered = tx.root::<BTreeSet<u32>>(ORDERED)?;
        match step {
            Step::Insert(member) => {
                let came = (hashed.insert(tx, member)?, ordered.insert(tx, member)?);
                let is_new = !model.contains(member);
                expect_same("inserted", came, (is_new, is_new))?;
            }
            Step::Extend(first, count) => {
                hashed.extend(tx, *first..first + count)?;
                ordered.extend(tx, *first..first + count)?;
            }
            Step::Remove(member) => {
                let went = (hashed.remove(tx, member)?, ordered.remove(tx, member)?);
                let was_there = model.contains(member);
                expect_same("removed", went, (was_there, was_there))?;
            }
            Step::RemoveMultiples(of) => {
                hashed.retain(tx, |member| !member.is_multiple_of(*of))?;
                ordered.retain(tx, |member| !member.is_multiple_of(*of))?;
            }
        }
        Ok(())
    }

    fn advance(&self, model: &mut Self::Model, step: &Step) {
        match step {
            Step::Insert(member) => drop(model.insert(*member)),
            Step::Extend(first, count) => model.extend(*first..first + count),
            Step::Remove(member) => drop(model.remove(member)),
            Step::RemoveMultiples(of) => model.retain(|member| !member.is_multiple_of(*of)),
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &Self::Model) -> Verdict {
        let hashed = tx.root_object::<HashSet<u32>>(HASHED)?;
        let ordered = tx.root_object::<BTreeSet<u32>>(ORDERED)?;
        expect_same("members that are hashed", hashed.len(), model.len() as u64)?;
        let in_hashed = hashed.iter(tx)?.collect::<Result<Model<_>>>()?;
        expect_same("members that are hashed", in_hashed, model.iter().collect())?;
        let in_order = ordered.iter(tx)?.collect::<Result<Vec<_>>>()?;
        expect_same("members in order", in_order, model.iter().collect())
    }
}
