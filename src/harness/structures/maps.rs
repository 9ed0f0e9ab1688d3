//! Hash maps and ordered maps.

use std::collections::BTreeMap as Model;

use super::shared::{ROOT, any_text, expect_same};
use crate::collections::{BTreeMap, HashMap, Text};
use crate::error::Result;
use crate::harness::choices::Choices;
use crate::harness::subject::{Subject, Verdict};
use crate::store::{ReadTx, WriteTx};

/// A [`HashMap`] from texts to numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashMaps;

/// A change to a hash map.
#[derive(Clone, Debug)]
pub enum HashStep {
    /// Sets the value of a key.
    Insert(String, u64),
    /// Inserts many new keys at once, which splits shards.
    Extend(u64, u64),
    /// Removes a key, which may be absent.
    Remove(String),
    /// Adds to a value.
    Add(String, u64),
    /// Removes keys with odd values.
    RetainEven,
    /// Removes all keys.
    Clear,
}

/// Returns a key from a small range, so steps often meet existing keys.
fn any_key(choices: &mut Choices, model: &Model<String, u64>) -> String {
    match model.is_empty() || choices.one_in(3) {
        true => any_text(choices),
        false => model.keys().nth(choices.index(model.len())).cloned().unwrap_or_default(),
    }
}

fn many(first: u64, count: u64) -> impl Iterator<Item = (String, u64)> {
    (first..first + count).map(|number| (format!("key {number}"), number))
}

impl Subject for HashMaps {
    type Model = Model<String, u64>;
    type Step = HashStep;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(ROOT, HashMap::<Text, u64>::new)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, model: &Self::Model) -> HashStep {
        match choices.below(40) {
            0..18 => HashStep::Insert(any_key(choices, model), choices.below(1000)),
            18..21 => HashStep::Extend(choices.below(500), choices.between(1..=200)),
            21..33 => HashStep::Remove(any_key(choices, model)),
            33..37 => HashStep::Add(any_key(choices, model), choices.below(1000)),
            37..39 => HashStep::RetainEven,
            _ => HashStep::Clear,
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &HashStep, model: &Self::Model) -> Verdict {
        let map = tx.root::<HashMap<Text, u64>>(ROOT)?;
        match step {
            HashStep::Insert(key, value) => {
                let old = map.insert(tx, key.as_str(), *value)?;
                expect_same("the value before", old, model.get(key).copied())?;
            }
            HashStep::Extend(first, count) => map.extend(tx, many(*first, *count))?,
            HashStep::Remove(key) => {
                let old = map.remove(tx, key.as_str())?;
                expect_same("the value removed", old, model.get(key).copied())?;
            }
            HashStep::Add(key, number) => {
                if let Some(value) = map.get_mut(tx, key.as_str())? {
                    *value += number;
                }
            }
            HashStep::RetainEven => map.retain(tx, |_, value| value.is_multiple_of(2))?,
            HashStep::Clear => map.clear(tx)?,
        }
        Ok(())
    }

    fn advance(&self, model: &mut Self::Model, step: &HashStep) {
        match step {
            HashStep::Insert(key, value) => drop(model.insert(key.clone(), *value)),
            HashStep::Extend(first, count) => model.extend(many(*first, *count)),
            HashStep::Remove(key) => drop(model.remove(key)),
            HashStep::Add(key, number) => {
                model.entry(key.clone()).and_modify(|value| *value += number);
            }
            HashStep::RetainEven => model.retain(|_, value| value.is_multiple_of(2)),
            HashStep::Clear => model.clear(),
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &Self::Model) -> Verdict {
        let map = tx.root_object::<HashMap<Text, u64>>(ROOT)?;
        expect_same("entries", map.len(), model.len() as u64)?;
        for (key, value) in model {
            expect_same(key, map.get(tx, key.as_str())?, Some(value))?;
        }
        let mut found = Model::new();
        for entry in map.iter(tx)? {
            let (key, value) = entry?;
            found.insert(key.as_str(tx)?.to_string(), *value);
        }
        expect_same("all entries", &found, model)
    }
}

/// A [`BTreeMap`] from numbers to texts.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderedMaps;

/// A change to an ordered map.
#[derive(Clone, Debug)]
pub enum OrderedStep {
    /// Sets the value of a key.
    Insert(u64, String),
    /// Inserts many keys at once, at a constant distance, which splits nodes.
    Extend(u64, u64, u64),
    /// Removes a key, which may be absent.
    Remove(u64),
    /// Removes the first key.
    PopFirst,
    /// Removes the keys from a given one on.
    SplitOff(u64),
    /// Removes every third key, which merges nodes.
    RetainOthers,
}

fn apart(first: u64, step: u64, count: u64) -> impl Iterator<Item = (u64, String)> {
    (0..count).map(move |index| (first + index * step, format!("number {index}")))
}

impl OrderedMaps {
    /// Returns a key from a small range, so steps often meet existing keys.
    fn any_key(choices: &mut Choices) -> u64 {
        let limit = *choices.pick(&[20, 2000]);
        choices.below(limit)
    }
}

impl Subject for OrderedMaps {
    type Model = Model<u64, String>;
    type Step = OrderedStep;

    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx.root_or_insert_with(ROOT, BTreeMap::<u64, Text>::new)?;
        Ok(())
    }

    fn choose(&self, choices: &mut Choices, _model: &Self::Model) -> OrderedStep {
        match choices.below(40) {
            0..16 => OrderedStep::Insert(Self::any_key(choices), any_text(choices)),
            16..20 => OrderedStep::Extend(
                Self::any_key(choices),
                choices.between(1..=9),
                choices.between(1..=200),
            ),
            20..32 => OrderedStep::Remove(Self::any_key(choices)),
            32..36 => OrderedStep::PopFirst,
            36..38 => OrderedStep::SplitOff(Self::any_key(choices)),
            _ => OrderedStep::RetainOthers,
        }
    }

    fn apply(&self, tx: &mut WriteTx<'_>, step: &OrderedStep, model: &Self::Model) -> Verdict {
        let map = tx.root::<BTreeMap<u64, Text>>(ROOT)?;
        let (old, expected) = match step {
            OrderedStep::Insert(key, text) => {
                let text = Text::new(tx, text)?;
                (map.insert(tx, key, text)?, model.get(key))
            }
            OrderedStep::Extend(first, step, count) => {
                for (key, text) in apart(*first, *step, *count) {
                    let text = Text::new(tx, &text)?;
                    if let Some(old) = map.insert(tx, &key, text)? {
                        tx.release(old)?;
                    }
                }
                return Ok(());
            }
            OrderedStep::Remove(key) => (map.remove(tx, key)?, model.get(key)),
            OrderedStep::PopFirst => {
                (map.pop_first(tx)?.map(|(_, text)| text), model.values().next())
            }
            OrderedStep::SplitOff(key) => {
                let rest = map.split_off(tx, key)?;
                return Ok(tx.release(rest)?);
            }
            OrderedStep::RetainOthers => {
                return Ok(map.retain(tx, |key, _| !key.is_multiple_of(3))?);
            }
        };
        let found = old.as_ref().map(|text| text.as_str(tx)).transpose()?;
        expect_same("the value before", found, expected.map(String::as_str))?;
        Ok(old.map_or(Ok(()), |text| tx.release(text))?)
    }

    fn advance(&self, model: &mut Self::Model, step: &OrderedStep) {
        match step {
            OrderedStep::Insert(key, text) => drop(model.insert(*key, text.clone())),
            OrderedStep::Extend(first, step, count) => model.extend(apart(*first, *step, *count)),
            OrderedStep::Remove(key) => drop(model.remove(key)),
            OrderedStep::PopFirst => drop(model.pop_first()),
            OrderedStep::SplitOff(key) => drop(model.split_off(key)),
            OrderedStep::RetainOthers => model.retain(|key, _| !key.is_multiple_of(3)),
        }
    }

    fn verify(&self, tx: &ReadTx<'_>, model: &Self::Model) -> Verdict {
        let map = tx.root_object::<BTreeMap<u64, Text>>(ROOT)?;
        let found: Result<Vec<_>> = map
            .iter(tx)?
            .map(|entry| entry.and_then(|(key, text)| Ok((*key, text.as_str(tx)?))))
            .collect();
        let expected = model.iter().map(|(key, text)| (*key, text.as_str()));
        expect_same("entries", found?, expected.collect())
    }
}
