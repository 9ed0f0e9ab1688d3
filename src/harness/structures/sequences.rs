//! Vectors and deques.

use std::collections::VecDeque;

use super::shared::{ROOT, any_text, expect_same};
use crate::collections::{Deque, Text, Vec as StoreVec};
use crate::error::Result;
use crate::harness::choices::Choices;
use crate::harness::subject::{Subject, Verdict};
use crate::store::{ReadTx, WriteTx};

/// A [`Vec`](crate::collections::Vec) of numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vectors;

/// A change to a vector.
#[derive(Clone, Debug)]
pub enum VecStep {
    /// Appends consecutive numbers.
    Extend(u64, u64),
    /// Removes the last element.
    Pop,
    /// Inserts a number at an index.
    Insert(usize, u64),
    /// Removes the element at an index.
    Remove(usize),
    /// Removes the elements from an index on.
    Truncate(usize),
    /// Sorts all elements.
    Sort,
    /// Releases spare capacity.
    Shrink,
}

impl Subject for Vectors {
    type Model = Vec<u64>;
    type Step = VecStep;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(ROOT, StoreVec::<u64>::new)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, model: &Vec<u64>) -> VecStep {
        let len = model.len();
        match choices.below(20) {
            0..5 => {
                let most = *choices.weighted(&[(20, 3), (5, 200), (1, 20_000)]);
                VecStep::Extend(choices.between(1..=most), choices.below(1000))
            }
            5..8 => VecStep::Pop,
            8..12 => VecStep::Insert(choices.index(len + 1), choices.below(1000)),
            12..16 if len > 0 => VecStep::Remove(choices.index(len)),
            16 => VecStep::Truncate(choices.index(len + 1)),
            17 => VecStep::Sort,
            _ => VecStep::Shrink,
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &VecStep, model: &Vec<u64>) -> Verdict {
        let vec = tx.root::<StoreVec<u64>>(ROOT)?;
        match *step {
            VecStep::Extend(count, first) => vec.extend(tx, first..first + count)?,
            VecStep::Pop => expect_same("popped", vec.pop(tx)?, model.last().copied())?,
            VecStep::Insert(place, value) => vec.insert(tx, place as u64, value)?,
            VecStep::Remove(place) => {
                expect_same("removed", vec.remove(tx, place as u64)?, model[place])?;
            }
            VecStep::Truncate(len) => vec.truncate(tx, len as u64)?,
            VecStep::Sort => vec.sort(tx)?,
            VecStep::Shrink => vec.shrink_to_fit(tx)?,
        }
        Ok(())
    }

    fn advance(&self, model: &mut Vec<u64>, step: &VecStep) {
        match *step {
            VecStep::Extend(count, first) => model.extend(first..first + count),
            VecStep::Pop => drop(model.pop()),
            VecStep::Insert(place, value) => model.insert(place, value),
            VecStep::Remove(place) => drop(model.remove(place)),
            VecStep::Truncate(len) => model.truncate(len),
            VecStep::Sort => model.sort(),
            VecStep::Shrink => {}
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &Vec<u64>) -> Verdict {
        let vec = tx.root_object::<StoreVec<u64>>(ROOT)?;
        expect_same("elements", vec.as_slice(tx)?, model)
    }
}

/// A [`Deque`](crate::collections::Deque) of texts, which own memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deques;

/// A change to a deque.
#[derive(Clone, Debug)]
pub enum DequeStep {
    /// Appends a text.
    PushBack(String),
    /// Prepends a text.
    PushFront(String),
    /// Removes the last element.
    PopBack,
    /// Removes the first element.
    PopFront,
    /// Removes the element at an index.
    Remove(usize),
    /// Moves this many elements from the front to the end.
    RotateLeft(usize),
    /// Removes the elements from an index on.
    Truncate(usize),
    /// Releases spare capacity.
    Shrink,
}

impl Subject for Deques {
    type Model = VecDeque<String>;
    type Step = DequeStep;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(ROOT, Deque::<Text>::new)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, model: &VecDeque<String>) -> DequeStep {
        let len = model.len();
        match choices.below(20) {
            0..6 => DequeStep::PushBack(any_text(choices)),
            6..10 => DequeStep::PushFront(any_text(choices)),
            10..12 => DequeStep::PopBack,
            12..15 => DequeStep::PopFront,
            15 if len > 0 => DequeStep::Remove(choices.index(len)),
            16..18 => DequeStep::RotateLeft(choices.index(len + 1)),
            18 => DequeStep::Truncate(choices.index(len + 1)),
            _ => DequeStep::Shrink,
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &DequeStep, model: &VecDeque<String>) -> Verdict {
        let deque = tx.root::<Deque<Text>>(ROOT)?;
        let (taken, expected) = match step {
            DequeStep::PushBack(text) => {
                let text = Text::new(tx, text)?;
                return Ok(deque.push_back(tx, text)?);
            }
            DequeStep::PushFront(text) => {
                let text = Text::new(tx, text)?;
                return Ok(deque.push_front(tx, text)?);
            }
            DequeStep::RotateLeft(count) => return Ok(deque.rotate_left(tx, *count as u64)?),
            DequeStep::Truncate(len) => return Ok(deque.truncate(tx, *len as u64)?),
            DequeStep::Shrink => return Ok(deque.shrink_to_fit(tx)?),
            DequeStep::PopBack => (deque.pop_back(tx)?, model.back()),
            DequeStep::PopFront => (deque.pop_front(tx)?, model.front()),
            DequeStep::Remove(place) => (deque.remove(tx, *place as u64)?, model.get(*place)),
        };
        let found = taken.as_ref().map(|text| text.as_str(tx)).transpose()?;
        expect_same("taken", found, expected.map(String::as_str))?;
        Ok(taken.map_or(Ok(()), |text| tx.release(text))?)
    }

    fn advance(&self, model: &mut VecDeque<String>, step: &DequeStep) {
        match step {
            DequeStep::PushBack(text) => model.push_back(text.clone()),
            DequeStep::PushFront(text) => model.push_front(text.clone()),
            DequeStep::RotateLeft(count) => model.rotate_left(*count),
            DequeStep::Truncate(len) => model.truncate(*len),
            DequeStep::Shrink => {}
            DequeStep::PopBack => drop(model.pop_back()),
            DequeStep::PopFront => drop(model.pop_front()),
            DequeStep::Remove(place) => drop(model.remove(*place)),
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &VecDeque<String>) -> Verdict {
        let deque = tx.root_object::<Deque<Text>>(ROOT)?;
        let found = deque.iter(tx)?.map(|text| text.as_str(tx)).collect::<Result<Vec<_>>>()?;
        expect_same("elements", found, model.iter().map(String::as_str).collect())
    }
}
