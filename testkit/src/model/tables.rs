//! Compares maps and sets, hashed and in order, with `std`'s map in order. A set is a map whose
//! values are `()`.

use std::collections::{BTreeMap as Model, BTreeSet as StdSet};
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use flagstone::collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree, hash};
use flagstone::{Image, Link, Result, WriteTx};
use proptest::prelude::*;

use super::kinds::{Bounds, KeyKind, Kind};
use super::{Outcome, Subject, Trial, stays};
use crate::Random;

/// A change to a map or a set, or a query.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Insert,
    Extend,
    Get,
    Remove,
    RemoveEntry,
    RemoveMany,
    /// What only maps can do, or only sets.
    Own,
    Retain,
    /// The first and the last entry, if they have an order; the capacity, if not.
    Ends,
    /// The entries between two keys, if they have an order.
    Range,
    Append,
    /// Removes the entries from a key on; without an order, initially all entries.
    SplitOff,
    Clear,
}

/// Changes that empty a table, or half of it, are rare, so tables become large.
const OPS: &[(u64, Op)] = &[
    (30_000, Op::Insert),
    (2500, Op::Extend),
    (12_000, Op::Get),
    (25_000, Op::Remove),
    (5000, Op::RemoveEntry),
    (1500, Op::RemoveMany),
    (15_000, Op::Own),
    (4000, Op::Ends),
    (3000, Op::Range),
    (240, Op::Append),
    (80, Op::Retain),
    (40, Op::SplitOff),
    (40, Op::Clear),
];

/// Takes what a call has taken out of a table, and releases it.
fn taken<K: Kind>(tx: &mut WriteTx<'_>, taken: Option<K::Stored>) -> Result<Option<K::Model>> {
    let Some(taken) = taken else { return Ok(None) };
    let model = K::load(tx, &taken)?;
    tx.release(taken)?;
    Ok(Some(model))
}

/// What all four do alike.
macro_rules! table {
    ($name:ident<$($kind:ident: $bound:ident),*>, $table:ident<$($stored:ty),*>, $value:ty) => {
        impl<$($kind: $bound),*> $name<$($kind),*> {
            fn insert_any(trial: &mut Trial<'_, '_, Self>) -> Outcome {
                let entry = (K::make(trial.random), Self::value(trial.random));
                Self::insert(trial, entry)
            }

            /// Inserts fewer than `most` entries.
            fn extend(trial: &mut Trial<'_, '_, Self>, most: u64) -> Outcome {
                (0..trial.random.below(most)).try_for_each(|_| Self::insert_any(trial))
            }

            fn insert(trial: &mut Trial<'_, '_, Self>, entry: (K::Model, $value)) -> Outcome {
                let old = Self::insert_stored(trial.link, trial.tx, &entry)?;
                prop_assert_eq!(old, trial.model.insert(entry.0, entry.1));
                Ok(())
            }

            fn remove(trial: &mut Trial<'_, '_, Self>, key: &K::Model) -> Outcome {
                let old = Self::remove_stored(trial.link, trial.tx, key)?;
                prop_assert_eq!(old, trial.model.remove(key));
                Ok(())
            }

            /// Makes another table.
            fn other(
                trial: &mut Trial<'_, '_, Self>,
            ) -> Outcome<(Link<$table<$($stored),*>>, Model<K::Model, $value>)> {
                let (link, mut model) = (trial.tx.alloc($table::new())?, Model::new());
                let (tx, random) = (&mut *trial.tx, &mut *trial.random);
                Self::extend(&mut Trial { link, model: &mut model, tx, random }, 300)?;
                Ok((link, model))
            }

            fn entries(
                stored: &$table<$($stored),*>,
                tx: &Image,
            ) -> Result<Vec<(K::Model, $value)>> {
                stored.iter(tx)?.map(|found| Self::loaded(tx, found?)).collect()
            }
        }

        impl<$($kind: $bound),*> Subject for $name<$($kind),*> {
            type Stored = $table<$($stored),*>;
            type Model = Model<K::Model, $value>;
            type Op = Op;

            const OPS: &'static [(u64, Op)] = OPS;

            fn contents(stored: &Self::Stored, tx: &Image) -> Outcome<Self::Model> {
                let entries = Self::entries(stored, tx)?;
                let is_sorted = entries.is_sorted_by(|a, b| a.0 < b.0);
                prop_assert!(is_sorted || !Self::IS_ORDERED, "keys in order");
                let model: Model<_, _> = entries.into_iter().collect();
                prop_assert_eq!(stored.iter(tx)?.count(), model.len(), "no key is there twice");
                prop_assert_eq!(stored.len(), model.len() as u64);
                Ok(model)
            }

            fn clear(link: Link<Self::Stored>, tx: &mut WriteTx<'_>) -> Result<()> {
                link.clear(tx)
            }

            fn apply(op: Op, trial: &mut Trial<'_, '_, Self>) -> Outcome {
                match op {
                    Op::Insert => Self::insert_any(trial)?,
                    Op::Extend => Self::extend(trial, 100)?,
                    Op::Get => {
                        let key = K::make(trial.random);
                        let found = Self::get(trial.tx.at(trial.link)?, trial.tx, &key)?;
                        prop_assert_eq!(found, trial.model.get_key_value(&key).map(cloned));
                    }
                    Op::Remove => {
                        let key = K::make(trial.random);
                        Self::remove(trial, &key)?;
                    }
                    Op::RemoveEntry => {
                        let key = K::make(trial.random);
                        let old = Self::remove_entry(trial.link, trial.tx, &key)?;
                        prop_assert_eq!(old, trial.model.remove_entry(&key));
                    }
                    // Neighbours, so nodes become empty.
                    Op::RemoveMany => {
                        let from = K::make(trial.random);
                        let most = trial.random.below(200) as usize;
                        let keys = trial.model.range(from..).map(|(key, _)| key.clone());
                        for key in keys.take(most).collect::<Vec<_>>() {
                            Self::remove(trial, &key)?;
                        }
                    }
                    Op::Retain => {
                        let salt = trial.random.next() as u8;
                        if trial.random.one_in(2) {
                            Self::retain_with(trial, salt)?;
                        } else {
                            // The closure cannot read what keys own, so the answers are prepared
                            // in iteration order.
                            let entries = Self::entries(trial.tx.at(trial.link)?, trial.tx)?;
                            let mut answers = entries.iter().map(|(key, _)| stays(key, salt));
                            Self::retain(trial, &mut answers)?;
                            prop_assert_eq!(answers.next(), None);
                        }
                        trial.model.retain(|key, _| stays(key, salt));
                    }
                    Op::Own => Self::apply_own(trial)?,
                    Op::Clear => {
                        trial.link.clear(trial.tx)?;
                        trial.model.clear();
                    }
                    op => Self::apply_by_order(op, trial)?,
                }
                prop_assert_eq!(trial.tx.at(trial.link)?.len(), trial.model.len() as u64);
                Ok(())
            }
        }
    };
}

/// A hash map of a kind.
pub struct HashMapOf<K, V>(PhantomData<(K, V)>);
/// A map in order of a kind.
pub struct BTreeMapOf<K, V>(PhantomData<(K, V)>);
/// A hash set of a kind.
pub struct HashSetOf<K>(PhantomData<K>);
/// A set in order of a kind.
pub struct BTreeSetOf<K>(PhantomData<K>);

table!(HashMapOf<K: KeyKind, V: Kind>, HashMap<K::Key, V::Stored>, V::Model);
table!(BTreeMapOf<K: KeyKind, V: Kind>, BTreeMap<K::Key, V::Stored>, V::Model);
table!(HashSetOf<K: KeyKind>, HashSet<K::Key>, ());
table!(BTreeSetOf<K: KeyKind>, BTreeSet<K::Key>, ());

/// What both maps do alike.
macro_rules! map {
    ($name:ident, $map:ident, $module:ident) => {
        impl<K: KeyKind, V: Kind> $name<K, V> {
            fn value(random: &mut Random) -> V::Model {
                V::make(random)
            }

            fn loaded(
                tx: &Image,
                (key, value): (&K::Key, &V::Stored),
            ) -> Result<(K::Model, V::Model)> {
                Ok((K::load(tx, key)?, V::load(tx, value)?))
            }

            fn taken(
                tx: &mut WriteTx<'_>,
                entry: Option<(K::Key, V::Stored)>,
            ) -> Result<Option<(K::Model, V::Model)>> {
                let (key, value) = entry.unzip();
                Ok(taken::<K>(tx, key)?.zip(taken::<V>(tx, value)?))
            }

            fn insert_stored(
                link: Link<$map<K::Key, V::Stored>>,
                tx: &mut WriteTx<'_>,
                (key, value): &(K::Model, V::Model),
            ) -> Result<Option<V::Model>> {
                let value = V::store(tx, value)?;
                let old = link.insert(tx, K::query(&K::lend(key)), value)?;
                taken::<V>(tx, old)
            }

            fn remove_stored(
                link: Link<$map<K::Key, V::Stored>>,
                tx: &mut WriteTx<'_>,
                key: &K::Model,
            ) -> Result<Option<V::Model>> {
                let old = link.remove(tx, K::query(&K::lend(key)))?;
                taken::<V>(tx, old)
            }

            fn remove_entry(
                link: Link<$map<K::Key, V::Stored>>,
                tx: &mut WriteTx<'_>,
                key: &K::Model,
            ) -> Result<Option<(K::Model, V::Model)>> {
                let old = link.remove_entry(tx, K::query(&K::lend(key)))?;
                Self::taken(tx, old)
            }

            fn get(
                map: &$map<K::Key, V::Stored>,
                tx: &Image,
                key: &K::Model,
            ) -> Outcome<Option<(K::Model, V::Model)>> {
                let lent = K::lend(key);
                let query = K::query(&lent);
                let found = map.get(tx, query)?.map(|value| V::load(tx, value)).transpose()?;
                prop_assert_eq!(map.contains_key(tx, query)?, found.is_some());
                let entry = map.get_key_value(tx, query)?;
                let entry = entry.map(|entry| Self::loaded(tx, entry)).transpose()?;
                prop_assert_eq!(found.as_ref(), entry.as_ref().map(|(_, value)| value));
                Ok(entry)
            }

            fn retain(
                trial: &mut Trial<'_, '_, Self>,
                answers: &mut dyn Iterator<Item = bool>,
            ) -> Outcome {
                trial.model.values_mut().for_each(V::alter_model);
                Ok(trial.link.retain(trial.tx, |_, value| {
                    V::alter(value);
                    answers.next().expect("an answer for each key")
                })?)
            }

            fn retain_with(trial: &mut Trial<'_, '_, Self>, salt: u8) -> Outcome {
                trial.model.values_mut().for_each(V::alter_model);
                Ok(trial.link.retain_with(trial.tx, |tx, key, value| {
                    let (key, _) = Self::loaded(tx, (key, value))?;
                    V::alter(value);
                    Ok(stays(&key, salt))
                })?)
            }

            fn apply_own(trial: &mut Trial<'_, '_, Self>) -> Outcome {
                use $module::Entry::{Occupied, Vacant};
                let Trial { link, model, tx, random } = trial;
                let (key, value) = &(K::make(random), V::make(random));
                let lent = K::lend(key);
                let query = K::query(&lent);
                match random.below(7) {
                    0 => {
                        link.get_mut(tx, query)?.into_iter().for_each(V::alter);
                        model.get_mut(key).into_iter().for_each(V::alter_model);
                    }
                    1 => {
                        let found = tx.at(*link)?.link(tx, query)?;
                        prop_assert_eq!(found.is_some(), model.contains_key(key));
                        if let Some((found, old)) = found.zip(model.get_mut(key)) {
                            V::grow(tx, found, old, value)?;
                        }
                    }
                    2 => {
                        let stored = V::store(tx, value)?;
                        link.entry(tx, query)?.and_modify(V::alter)?.or_insert(stored)?;
                        let place = model.entry(key.clone()).and_modify(V::alter_model);
                        place.or_insert(value.clone());
                    }
                    3 => {
                        // Made only if the entry is vacant.
                        let make = |tx: &mut WriteTx<'_>| V::store(tx, value);
                        link.entry(tx, query)?.or_try_insert_with(make)?;
                        let value_link = tx.at(*link)?.link(tx, query)?.expect("an entry");
                        let place = model.entry(key.clone()).or_insert(value.clone());
                        V::grow(tx, value_link, place, value)?;
                    }
                    4 => {
                        let stored = V::store(tx, value)?;
                        let old = match link.entry(tx, query)? {
                            Occupied(mut place) => Some(place.insert(stored)?),
                            Vacant(place) => place.insert(stored).map(|_| None)?,
                        };
                        let expected = model.insert(key.clone(), value.clone());
                        prop_assert_eq!(taken::<V>(tx, old)?, expected);
                    }
                    5 => {
                        let old = match link.entry(tx, query)? {
                            Occupied(place) => Some(place.remove()?),
                            Vacant(_) => None,
                        };
                        prop_assert_eq!(taken::<V>(tx, old)?, model.remove(key));
                    }
                    _ => {
                        let old = match link.entry(tx, query)? {
                            Occupied(place) => Some(place.remove_entry()?),
                            Vacant(_) => None,
                        };
                        prop_assert_eq!(Self::taken(tx, old)?, model.remove_entry(key));
                    }
                }
                Ok(())
            }
        }
    };
}

map!(HashMapOf, HashMap, hash);
map!(BTreeMapOf, BTreeMap, btree);

/// What both sets do alike.
macro_rules! set {
    ($name:ident, $set:ident) => {
        impl<K: KeyKind> $name<K> {
            fn value(_random: &mut Random) {}

            fn loaded(tx: &Image, key: &K::Key) -> Result<(K::Model, ())> {
                Ok((K::load(tx, key)?, ()))
            }

            fn taken(tx: &mut WriteTx<'_>, key: Option<K::Key>) -> Result<Option<(K::Model, ())>> {
                Ok(taken::<K>(tx, key)?.map(|key| (key, ())))
            }

            fn insert_stored(
                link: Link<$set<K::Key>>,
                tx: &mut WriteTx<'_>,
                (key, ()): &(K::Model, ()),
            ) -> Result<Option<()>> {
                let is_new = link.insert(tx, K::query(&K::lend(key)))?;
                Ok((!is_new).then_some(()))
            }

            fn remove_stored(
                link: Link<$set<K::Key>>,
                tx: &mut WriteTx<'_>,
                key: &K::Model,
            ) -> Result<Option<()>> {
                Ok(link.remove(tx, K::query(&K::lend(key)))?.then_some(()))
            }

            fn remove_entry(
                link: Link<$set<K::Key>>,
                tx: &mut WriteTx<'_>,
                key: &K::Model,
            ) -> Result<Option<(K::Model, ())>> {
                let key = link.take(tx, K::query(&K::lend(key)))?;
                Self::taken(tx, key)
            }

            fn get(
                set: &$set<K::Key>,
                tx: &Image,
                key: &K::Model,
            ) -> Outcome<Option<(K::Model, ())>> {
                let lent = K::lend(key);
                let found = set.get(tx, K::query(&lent))?;
                prop_assert_eq!(set.contains(tx, K::query(&lent))?, found.is_some());
                Ok(found.map(|key| Self::loaded(tx, key)).transpose()?)
            }

            fn retain(
                trial: &mut Trial<'_, '_, Self>,
                answers: &mut dyn Iterator<Item = bool>,
            ) -> Outcome {
                let next = |_: &K::Key| answers.next().expect("an answer for each key");
                Ok(trial.link.retain(trial.tx, next)?)
            }

            fn retain_with(trial: &mut Trial<'_, '_, Self>, salt: u8) -> Outcome {
                let keep = |tx: &Image, key: &K::Key| Ok(stays(&Self::loaded(tx, key)?.0, salt));
                Ok(trial.link.retain_with(trial.tx, keep)?)
            }
        }
    };
}

set!(HashSetOf, HashSet);
set!(BTreeSetOf, BTreeSet);

impl<K: KeyKind> HashSetOf<K> {
    /// Does nothing: only sets of plain keys can be compared with each other.
    fn apply_own(_trial: &mut Trial<'_, '_, Self>) -> Outcome {
        Ok(())
    }
}

impl<K: KeyKind> BTreeSetOf<K> {
    /// Compares the set with another one; rarely, since that takes as long as both are.
    fn apply_own(trial: &mut Trial<'_, '_, Self>) -> Outcome {
        if !trial.random.one_in(64) {
            return Ok(());
        }
        let (other, other_model) = Self::other(trial)?;
        let tx = &*trial.tx;
        let (set, with) = (tx.at(trial.link)?, tx.at(other)?);
        let model: StdSet<_> = trial.model.keys().cloned().collect();
        let other_model: StdSet<_> = other_model.into_keys().collect();
        let all: [(_, StdSet<_>); 4] = [
            (set.union(tx, with)?, &model | &other_model),
            (set.intersection(tx, with)?, &model & &other_model),
            (set.difference(tx, with)?, &model - &other_model),
            (set.symmetric_difference(tx, with)?, &model ^ &other_model),
        ];
        for (found, expected) in all {
            let found = found.map(|key| K::load(tx, key?)).collect::<Result<Vec<_>>>()?;
            prop_assert!(expected.iter().eq(&found));
        }
        prop_assert_eq!(set.is_disjoint(tx, with)?, model.is_disjoint(&other_model));
        prop_assert_eq!(set.is_subset(tx, with)?, model.is_subset(&other_model));
        prop_assert_eq!(set.is_superset(tx, with)?, model.is_superset(&other_model));
        prop_assert!(set.is_subset(tx, set)? && set.is_superset(tx, set)?);
        Ok(trial.tx.free_deep(other)?)
    }
}

/// What tables without an order of keys do.
macro_rules! hashed {
    ($name:ident<$($kind:ident: $bound:ident),*>) => {
        impl<$($kind: $bound),*> $name<$($kind),*> {
            const IS_ORDERED: bool = false;

            fn apply_by_order(op: Op, trial: &mut Trial<'_, '_, Self>) -> Outcome {
                match op {
                    Op::Ends if trial.random.one_in(8) => trial.link.shrink_to_fit(trial.tx)?,
                    Op::Ends if trial.random.one_in(8) => {
                        let more = trial.random.below(256);
                        trial.link.reserve(trial.tx, more)?;
                        let table = trial.tx.at(trial.link)?;
                        prop_assert!(table.capacity(trial.tx)? >= table.len() + more);
                    }
                    Op::Append => {
                        let (other, mut model) = Self::other(trial)?;
                        for drained in other.drain(trial.tx)? {
                            let entry = Self::taken(trial.tx, Some(drained))?;
                            let Some(entry) = entry else { continue };
                            let expected = model.remove(&entry.0);
                            prop_assert_eq!(Some(&entry.1), expected.as_ref());
                            Self::insert(trial, entry)?;
                        }
                        prop_assert!(model.is_empty() && trial.tx.at(other)?.is_empty());
                        trial.tx.free(other)?;
                    }
                    Op::SplitOff => {
                        let at = K::make(trial.random);
                        let drained = trial.link.drain(trial.tx)?;
                        prop_assert!(trial.tx.at(trial.link)?.is_empty());
                        let mut model = std::mem::take(trial.model);
                        for drained in drained {
                            let entry = Self::taken(trial.tx, Some(drained))?;
                            let Some(entry) = entry else { continue };
                            let expected = model.remove(&entry.0);
                            prop_assert_eq!(Some(&entry.1), expected.as_ref());
                            if entry.0 < at {
                                Self::insert(trial, entry)?;
                            }
                        }
                        prop_assert!(model.is_empty());
                    }
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

hashed!(HashMapOf<K: KeyKind, V: Kind>);
hashed!(HashSetOf<K: KeyKind>);

/// What tables with their keys in order do; `$ends` are the methods for the first entry and the
/// last one, and `$alter` changes the value of one of them, or takes it if a test says so.
macro_rules! ordered {
    ($name:ident<$($kind:ident: $bound:ident),*>, [$($ends:ident)*], $alter:expr) => {
        impl<$($kind: $bound),*> $name<$($kind),*> {
            const IS_ORDERED: bool = true;

            fn apply_by_order(op: Op, trial: &mut Trial<'_, '_, Self>) -> Outcome {
                let Trial { link, model, tx, random } = trial;
                match op {
                    Op::Ends => {
                        let alter: fn(&mut Trial<'_, '_, Self>, bool) -> Outcome = $alter;
                        match random.below(5) {
                            0 => {
                                let first = link.pop_first(tx)?;
                                prop_assert_eq!(Self::taken(tx, first)?, model.pop_first());
                            }
                            1 => {
                                let last = link.pop_last(tx)?;
                                prop_assert_eq!(Self::taken(tx, last)?, model.pop_last());
                            }
                            number => alter(trial, number == 2)?,
                        }
                        let table = trial.tx.at(trial.link)?;
                        let [first, last] = [$(table.$ends(trial.tx)?),*]
                            .map(|end| end.map(|end| Self::loaded(trial.tx, end)).transpose());
                        prop_assert_eq!(first?, trial.model.first_key_value().map(cloned));
                        prop_assert_eq!(last?, trial.model.last_key_value().map(cloned));
                    }
                    Op::Range => {
                        let bounds = bounds::<K>(random);
                        let lent = (bounds.0.as_ref().map(K::lend), bounds.1.as_ref().map(K::lend));
                        let range = (lent.0.as_ref().map(K::query), lent.1.as_ref().map(K::query));
                        let found = tx.at(*link)?.range::<K::Query<'_>>(tx, range)?;
                        let found = found.map(|found| Self::loaded(tx, found?));
                        let expected = model.iter().filter(|(key, _)| bounds.contains(*key));
                        let expected: Vec<_> = expected.map(cloned).collect();
                        prop_assert_eq!(from_both_ends(found)?, expected);
                    }
                    Op::Append => {
                        let (other, mut model) = Self::other(trial)?;
                        trial.link.append(trial.tx, other)?;
                        trial.link.append(trial.tx, trial.link)?;
                        trial.model.append(&mut model);
                        prop_assert!(trial.tx.at(other)?.is_empty());
                        trial.tx.free(other)?;
                    }
                    _ => {
                        let at = K::make(random);
                        let rest = link.split_off(tx, K::query(&K::lend(&at)))?;
                        let expected = model.split_off(&at);
                        prop_assert_eq!(&Self::contents(&rest, tx)?, &expected);
                        prop_assert_eq!(&Self::contents(tx.at(*link)?, tx)?, &**model);
                        if random.one_in(2) {
                            return Ok(tx.release(rest)?);
                        }
                        // All of its keys are above; or below, if it takes the others first.
                        let rest = tx.alloc(rest)?;
                        if random.one_in(2) {
                            rest.append(tx, *link)?;
                        }
                        link.append(tx, rest)?;
                        model.extend(expected);
                        tx.free(rest)?;
                    }
                }
                Ok(())
            }
        }
    };
}

ordered!(BTreeMapOf<K: KeyKind, V: Kind>, [first_key_value last_key_value], |trial, is_last| {
    let Trial { link, model, tx, random } = trial;
    if random.one_in(2) {
        let salt = random.next() as u8;
        let end = if is_last { model.last_key_value() } else { model.first_key_value() };
        let is_taken = end.is_some_and(|(key, _)| !stays(key, salt));
        let test = |tx: &Image, key: &K::Key, value: &V::Stored| {
            Ok(!stays(&Self::loaded(tx, (key, value))?.0, salt))
        };
        let taken = match is_last {
            true => link.pop_last_if(tx, test)?,
            false => link.pop_first_if(tx, test)?,
        };
        let expected = match is_last {
            _ if !is_taken => None,
            true => model.pop_last(),
            false => model.pop_first(),
        };
        prop_assert_eq!(Self::taken(tx, taken)?, expected);
        return Ok(());
    }
    let entry = if is_last { link.last_entry(tx)? } else { link.first_entry(tx)? };
    entry.map(|entry| entry.into_mut()).transpose()?.into_iter().for_each(V::alter);
    let entry = if is_last { model.last_entry() } else { model.first_entry() };
    entry.map(|entry| entry.into_mut()).into_iter().for_each(V::alter_model);
    Ok(())
});
ordered!(BTreeSetOf<K: KeyKind>, [first last], |trial, is_last| {
    let Trial { link, model, tx, random } = trial;
    if random.one_in(2) {
        let salt = random.next() as u8;
        let end = if is_last { model.last_key_value() } else { model.first_key_value() };
        let is_taken = end.is_some_and(|(key, _)| !stays(key, salt));
        let test = |tx: &Image, key: &K::Key| Ok(!stays(&Self::loaded(tx, key)?.0, salt));
        let taken = match is_last {
            true => link.pop_last_if(tx, test)?,
            false => link.pop_first_if(tx, test)?,
        };
        let expected = match is_last {
            _ if !is_taken => None,
            true => model.pop_last(),
            false => model.pop_first(),
        };
        prop_assert_eq!(Self::taken(tx, taken)?, expected);
        return Ok(());
    }
    Ok(())
});

/// Returns an owned copy of a model's entry.
fn cloned<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}

/// Returns a range of any kind, rarely one that ends before it starts.
fn bounds<K: Kind>(random: &mut Random) -> Bounds<K::Model> {
    let (a, b) = (K::make(random), K::make(random));
    let (a, b) = if a > b && !random.one_in(8) { (b, a) } else { (a, b) };
    let mut bound = |key| match random.below(3) {
        0 => Bound::Included(key),
        1 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    };
    (bound(a), bound(b))
}

/// Takes items from both ends, five at a time from each; returns them in order.
fn from_both_ends<M>(mut items: impl DoubleEndedIterator<Item = Result<M>>) -> Result<Vec<M>> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for step in 0.. {
        let is_back = step / 5 % 2 == 1;
        match if is_back { items.next_back() } else { items.next() } {
            Some(item) if is_back => back.push(item?),
            Some(item) => front.push(item?),
            None => break,
        }
    }
    front.extend(back.into_iter().rev());
    Ok(front)
}
