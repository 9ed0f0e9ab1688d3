//! Compares maps with `std`'s, with all kinds of keys.

use std::collections::BTreeMap as Model;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use flagstone::collections::{BTreeMap, HashMap, btree, hash};
use flagstone::{Image, Link, WriteTx};
use proptest::prelude::*;

use super::kinds::{Bounds, KeyKind, Kind};
use super::list::stays;
use super::ranges::{bounds, from_both_ends, range_of};
use super::{Outcome, Subject};

/// A change to a map, or a query.
#[derive(Clone, Debug)]
pub enum MapOp<K, V> {
    Insert(K, V),
    Extend(Vec<(K, V)>),
    Get(K),
    Remove(K),
    RemoveMany(Vec<K>),
    Entry(EntryOp, K, V),
    Grow(K, V),
    Retain(u8),
    /// The first and the last entry of an ordered map; the capacity of a hash map.
    Ends(u8),
    /// The entries between two keys; for a hash map, whether it contains the two.
    Range(Bounds<K>),
    Append(Vec<(K, V)>),
    /// Removes the entries from a key on; for a hash map, initially all entries.
    SplitOff(K),
    Clear,
}

/// An operation on an entry.
#[derive(Clone, Copy, Debug)]
pub enum EntryOp {
    OrInsert,
    ModifyOrInsert,
    Link,
    Insert,
    Remove,
    RemoveEntry,
}

fn map_op<K: Kind, V: Kind>() -> BoxedStrategy<MapOp<K::Model, V::Model>> {
    use MapOp::*;
    let entry = || (K::any(), V::any());
    let entries = |most| prop::collection::vec((K::any(), V::any()), 0..most);
    let entry_op = prop::sample::select(vec![
        EntryOp::OrInsert,
        EntryOp::ModifyOrInsert,
        EntryOp::Link,
        EntryOp::Insert,
        EntryOp::Remove,
        EntryOp::RemoveEntry,
    ]);
    // Changes that empty a map, or half of it, are rare, so maps become large.
    let seldom = prop_oneof![
        2 => any::<u8>().prop_map(Retain),
        1 => K::any().prop_map(SplitOff),
        1 => Just(Clear),
        6 => entries(300).prop_map(Append),
    ];
    prop_oneof![
        300 => entry().prop_map(|(key, value)| Insert(key, value)),
        25 => entries(100).prop_map(Extend),
        120 => K::any().prop_map(Get),
        300 => K::any().prop_map(Remove),
        15 => prop::collection::vec(K::any(), 0..100).prop_map(RemoveMany),
        150 => (entry_op, entry()).prop_map(|(op, (key, value))| Entry(op, key, value)),
        40 => entry().prop_map(|(key, value)| Grow(key, value)),
        40 => any::<u8>().prop_map(Ends),
        30 => bounds(K::any()).prop_map(Range),
        4 => seldom,
    ]
    .boxed()
}

/// A link to a map, and its expected content.
type Both<'a, M, K, V> = (Link<M>, &'a mut Model<<K as Kind>::Model, <V as Kind>::Model>);

/// Compares a value that was taken out, and releases it.
fn expect_same<V: Kind>(
    tx: &mut WriteTx<'_>,
    taken: Option<V::Stored>,
    expected: Option<V::Model>,
) -> Outcome {
    let model = taken.as_ref().map(|taken| V::load(tx, taken)).transpose()?;
    prop_assert_eq!(model, expected);
    Ok(taken.map_or(Ok(()), |taken| tx.release(taken))?)
}

/// Does the same for an entry.
fn expect_entry<K: Kind, V: Kind>(
    tx: &mut WriteTx<'_>,
    taken: Option<(K::Stored, V::Stored)>,
    expected: Option<(K::Model, V::Model)>,
) -> Outcome {
    let (key, value) = taken.unzip();
    let (expected_key, expected_value) = expected.unzip();
    expect_same::<K>(tx, key, expected_key)?;
    expect_same::<V>(tx, value, expected_value)
}

/// Loads an entry that a lookup found.
fn loaded<K: Kind, V: Kind>(
    tx: &Image,
    found: Option<(&K::Stored, &V::Stored)>,
) -> Outcome<Option<(K::Model, V::Model)>> {
    let Some((key, value)) = found else { return Ok(None) };
    Ok(Some((K::load(tx, key)?, V::load(tx, value)?)))
}

/// Returns an owned copy of a model's entry.
fn cloned<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}

/// The operations that both kinds of maps share.
macro_rules! map {
    ($name:ident, $map:ident, $module:ident, $what:literal) => {
        #[doc = $what]
        pub struct $name<K, V>(PhantomData<(K, V)>);

        impl<K: KeyKind, V: Kind> $name<K, V> {
            fn insert(
                tx: &mut WriteTx<'_>,
                (link, model): Both<'_, $map<K::Key, V::Stored>, K, V>,
                (key, value): (&K::Model, &V::Model),
            ) -> Outcome {
                let stored = V::store(tx, value)?;
                let old = K::ask(key, |query| link.insert(tx, query, stored))?;
                expect_same::<V>(tx, old, model.insert(key.clone(), value.clone()))
            }

            fn remove(
                tx: &mut WriteTx<'_>,
                (link, model): Both<'_, $map<K::Key, V::Stored>, K, V>,
                key: &K::Model,
            ) -> Outcome {
                let old = K::ask(key, |query| link.remove(tx, query))?;
                expect_same::<V>(tx, old, model.remove(key))
            }

            fn get(
                tx: &mut WriteTx<'_>,
                (link, model): Both<'_, $map<K::Key, V::Stored>, K, V>,
                key: &K::Model,
            ) -> Outcome {
                let map = tx.at(link)?;
                let found = K::ask(key, |query| map.get_key_value(tx, query))?;
                prop_assert_eq!(loaded::<K, V>(tx, found)?, model.get_key_value(key).map(cloned));
                let found = K::ask(key, |query| map.get(tx, query))?;
                let found = found.map(|found| V::load(tx, found)).transpose()?;
                prop_assert_eq!(found.as_ref(), model.get(key));
                if let Some(found) = K::ask(key, |query| link.get_mut(tx, query))? {
                    V::alter(found);
                    model.get_mut(key).into_iter().for_each(V::alter_model);
                }
                Ok(())
            }

            fn entry(
                op: EntryOp,
                tx: &mut WriteTx<'_>,
                (link, model): Both<'_, $map<K::Key, V::Stored>, K, V>,
                (key, value): (&K::Model, &V::Model),
            ) -> Outcome {
                use $module::Entry::{Occupied, Vacant};
                match op {
                    EntryOp::OrInsert => {
                        let stored = V::store(tx, value)?;
                        K::ask(key, |query| link.entry(tx, query)?.or_insert(stored).map(|_| ()))?;
                        model.entry(key.clone()).or_insert(value.clone());
                    }
                    EntryOp::ModifyOrInsert => {
                        let stored = V::store(tx, value)?;
                        K::ask(key, |query| {
                            let place = link.entry(tx, query)?.and_modify(V::alter)?;
                            place.or_insert(stored).map(|_| ())
                        })?;
                        let place = model.entry(key.clone()).and_modify(V::alter_model);
                        place.or_insert(value.clone());
                    }
                    EntryOp::Link => {
                        // Consumed only if the entry is vacant.
                        let mut stored = Some(V::store(tx, value)?);
                        let value_link = K::ask(key, |query| {
                            let make = || stored.take().expect("it is made once");
                            link.entry(tx, query)?.or_insert_link(make)
                        })?;
                        stored.map_or(Ok(()), |stored| tx.release(stored))?;
                        let place = model.entry(key.clone()).or_insert(value.clone());
                        V::grow(tx, value_link, place, value)?;
                    }
                    EntryOp::Insert => {
                        let stored = V::store(tx, value)?;
                        let old = K::ask(key, |query| match link.entry(tx, query)? {
                            Occupied(mut place) => place.insert(stored).map(Some),
                            Vacant(place) => place.insert(stored).map(|_| None),
                        })?;
                        expect_same::<V>(tx, old, model.insert(key.clone(), value.clone()))?;
                    }
                    EntryOp::Remove => {
                        let old = K::ask(key, |query| match link.entry(tx, query)? {
                            Occupied(place) => place.remove().map(Some),
                            Vacant(_) => Ok(None),
                        })?;
                        expect_same::<V>(tx, old, model.remove(key))?;
                    }
                    EntryOp::RemoveEntry => {
                        let old = K::ask(key, |query| match link.entry(tx, query)? {
                            Occupied(place) => place.remove_entry().map(Some),
                            Vacant(_) => Ok(None),
                        })?;
                        expect_entry::<K, V>(tx, old, model.remove_entry(key))?;
                    }
                }
                Ok(())
            }

            fn retain(
                tx: &mut WriteTx<'_>,
                (link, model): Both<'_, $map<K::Key, V::Stored>, K, V>,
                salt: u8,
            ) -> Outcome {
                // The closure cannot read what keys own, so the answers are prepared in iteration
                // order.
                let keys = tx.at(link)?.keys(tx)?;
                let answers = keys.map(|key| Ok(stays(&K::load(tx, key?)?, salt)));
                let answers: Vec<bool> = answers.collect::<flagstone::Result<_>>()?;
                let mut answers = answers.into_iter();
                link.retain(tx, |_, value| {
                    V::alter(value);
                    answers.next().expect("an answer for each key")
                })?;
                model.values_mut().for_each(V::alter_model);
                model.retain(|key, _| stays(key, salt));
                prop_assert_eq!(answers.next(), None);
                Ok(())
            }

            /// Returns another map with these entries.
            fn other(
                tx: &mut WriteTx<'_>,
                entries: &[(K::Model, V::Model)],
            ) -> Outcome<(Link<$map<K::Key, V::Stored>>, Model<K::Model, V::Model>)> {
                let (other, mut model) = (tx.alloc($map::new())?, Model::new());
                for (key, value) in entries {
                    Self::insert(tx, (other, &mut model), (key, value))?;
                }
                Ok((other, model))
            }
        }

        impl<K: KeyKind, V: Kind> Subject for $name<K, V> {
            type Stored = $map<K::Key, V::Stored>;
            type Model = Model<K::Model, V::Model>;
            type Op = MapOp<K::Model, V::Model>;

            fn op() -> BoxedStrategy<Self::Op> {
                map_op::<K, V>()
            }

            fn contents(stored: &Self::Stored, tx: &Image) -> Outcome<Self::Model> {
                let mut model = Model::new();
                for entry in stored.iter(tx)? {
                    let (key, value) = entry?;
                    let old = model.insert(K::load(tx, key)?, V::load(tx, value)?);
                    prop_assert!(old.is_none(), "a key that is there twice");
                }
                prop_assert_eq!(stored.len(), model.len() as u64);
                Ok(model)
            }

            fn clear(link: Link<Self::Stored>, tx: &mut WriteTx<'_>) -> flagstone::Result<()> {
                link.clear(tx)
            }

            fn apply(
                op: &Self::Op,
                model: &mut Self::Model,
                link: Link<Self::Stored>,
                tx: &mut WriteTx<'_>,
            ) -> Outcome {
                let both = (link, &mut *model);
                match op {
                    MapOp::Insert(key, value) => Self::insert(tx, both, (key, value))?,
                    MapOp::Extend(entries) => {
                        for (key, value) in entries {
                            Self::insert(tx, (link, &mut *model), (key, value))?;
                        }
                    }
                    MapOp::Get(key) => Self::get(tx, both, key)?,
                    MapOp::Remove(key) => Self::remove(tx, both, key)?,
                    MapOp::RemoveMany(keys) => {
                        for key in keys {
                            Self::remove(tx, (link, &mut *model), key)?;
                        }
                    }
                    MapOp::Entry(op, key, value) => Self::entry(*op, tx, both, (key, value))?,
                    MapOp::Grow(key, more) => {
                        let found = K::ask(key, |query| tx.at(link)?.link(tx, query))?;
                        prop_assert_eq!(found.is_some(), model.contains_key(key));
                        if let (Some(found), Some(value)) = (found, model.get_mut(key)) {
                            V::grow(tx, found, value, more)?;
                        }
                    }
                    MapOp::Retain(salt) => Self::retain(tx, both, *salt)?,
                    MapOp::Ends(salt) => Self::ends(tx, both, *salt)?,
                    MapOp::Range(range) => Self::range(tx, both, range)?,
                    MapOp::Append(entries) => Self::append(tx, both, entries)?,
                    MapOp::SplitOff(key) => Self::split_off(tx, both, key)?,
                    MapOp::Clear => {
                        link.clear(tx)?;
                        model.clear();
                    }
                }
                prop_assert_eq!(tx.at(link)?.len(), model.len() as u64);
                Ok(())
            }
        }
    };
}

map!(HashMapOf, HashMap, hash, "A hash map of a kind.");
map!(BTreeMapOf, BTreeMap, btree, "A map in order of a kind.");

impl<K: KeyKind, V: Kind> HashMapOf<K, V> {
    fn ends(
        tx: &mut WriteTx<'_>,
        (link, model): Both<'_, HashMap<K::Key, V::Stored>, K, V>,
        salt: u8,
    ) -> Outcome {
        match salt % 8 {
            0 => link.shrink_to_fit(tx)?,
            1 => {
                link.reserve(tx, salt.into())?;
                let map = tx.at(link)?;
                prop_assert!(map.capacity(tx)? >= map.len() + u64::from(salt));
            }
            _ => {
                // Takes the first entry of the iteration; `std` has no such method either.
                let first = tx.at(link)?.keys(tx)?.next().transpose()?;
                let first = first.map(|key| K::load(tx, key)).transpose()?;
                prop_assert_eq!(first.is_some(), !model.is_empty());
                if let Some(key) = first {
                    let entry = K::ask(&key, |query| link.remove_entry(tx, query))?;
                    expect_entry::<K, V>(tx, entry, model.remove_entry(&key))?;
                }
            }
        }
        Ok(())
    }

    fn range(
        tx: &WriteTx<'_>,
        (link, model): Both<'_, HashMap<K::Key, V::Stored>, K, V>,
        (start, end): &Bounds<K::Model>,
    ) -> Outcome {
        for bound in [start, end] {
            if let Bound::Included(key) | Bound::Excluded(key) = bound {
                let is_found = K::ask(key, |query| tx.at(link)?.contains_key(tx, query))?;
                prop_assert_eq!(is_found, model.contains_key(key));
            }
        }
        Ok(())
    }

    fn append(
        tx: &mut WriteTx<'_>,
        (link, model): Both<'_, HashMap<K::Key, V::Stored>, K, V>,
        entries: &[(K::Model, V::Model)],
    ) -> Outcome {
        let (other, mut other_model) = Self::other(tx, entries)?;
        for (key, value) in other.drain(tx)? {
            let own_key = K::load(tx, &key)?;
            tx.release(key)?;
            let own_value = other_model.remove(&own_key);
            prop_assert_eq!(Some(V::load(tx, &value)?), own_value.clone());
            let old = K::ask(&own_key, |query| link.insert(tx, query, value))?;
            let expected = own_value.and_then(|value| model.insert(own_key, value));
            expect_same::<V>(tx, old, expected)?;
        }
        prop_assert!(other_model.is_empty() && tx.at(other)?.is_empty());
        Ok(tx.free(other)?)
    }

    fn split_off(
        tx: &mut WriteTx<'_>,
        (link, model): Both<'_, HashMap<K::Key, V::Stored>, K, V>,
        at: &K::Model,
    ) -> Outcome {
        let drained = link.drain(tx)?;
        prop_assert_eq!(drained.len(), model.len());
        prop_assert!(tx.at(link)?.is_empty());
        for (key, value) in drained {
            let own_key = K::load(tx, &key)?;
            tx.release(key)?;
            if own_key < *at {
                let old = K::ask(&own_key, |query| link.insert(tx, query, value))?;
                prop_assert!(old.is_none());
            } else {
                expect_same::<V>(tx, Some(value), model.remove(&own_key))?;
            }
        }
        Ok(())
    }
}

impl<K: KeyKind, V: Kind> BTreeMapOf<K, V> {
    fn ends(
        tx: &mut WriteTx<'_>,
        (link, model): Both<'_, BTreeMap<K::Key, V::Stored>, K, V>,
        salt: u8,
    ) -> Outcome {
        match salt % 5 {
            0 => {
                let taken = link.pop_first(tx)?;
                expect_entry::<K, V>(tx, taken, model.pop_first())?;
            }
            1 => {
                let taken = link.pop_last(tx)?;
                expect_entry::<K, V>(tx, taken, model.pop_last())?;
            }
            2 => {
                let entry = link.first_entry(tx)?.map(|entry| entry.into_mut()).transpose()?;
                entry.into_iter().for_each(V::alter);
                let entry = model.first_entry().map(|entry| entry.into_mut());
                entry.into_iter().for_each(V::alter_model);
            }
            3 => {
                let entry = link.last_entry(tx)?.map(|entry| entry.into_mut()).transpose()?;
                entry.into_iter().for_each(V::alter);
                let entry = model.last_entry().map(|entry| entry.into_mut());
                entry.into_iter().for_each(V::alter_model);
            }
            _ => {}
        }
        let first = loaded::<K, V>(tx, tx.at(link)?.first_key_value(tx)?)?;
        prop_assert_eq!(first, model.first_key_value().map(cloned));
        let last = loaded::<K, V>(tx, tx.at(link)?.last_key_value(tx)?)?;
        prop_assert_eq!(last, model.last_key_value().map(cloned));
        Ok(())
    }

    fn range(
        tx: &WriteTx<'_>,
        (link, model): Both<'_, BTreeMap<K::Key, V::Stored>, K, V>,
        range: &Bounds<K::Model>,
    ) -> Outcome {
        let map = tx.at(link)?;
        let found = K::ask_range((range.0.as_ref(), range.1.as_ref()), |range| {
            range_of!(K, map, tx, range)
        })?;
        let found =
            from_both_ends(found, |(key, value)| Ok((K::load(tx, key)?, V::load(tx, value)?)))?;
        let expected = model.iter().filter(|(key, _)| range.contains(*key)).map(cloned);
        prop_assert_eq!(found, expected.collect::<Vec<_>>());
        Ok(())
    }

    fn append(
        tx: &mut WriteTx<'_>,
        (link, model): Both<'_, BTreeMap<K::Key, V::Stored>, K, V>,
        entries: &[(K::Model, V::Model)],
    ) -> Outcome {
        let (other, mut other_model) = Self::other(tx, entries)?;
        link.append(tx, other)?;
        link.append(tx, link)?;
        model.append(&mut other_model);
        prop_assert!(tx.at(other)?.is_empty());
        Ok(tx.free(other)?)
    }

    fn split_off(
        tx: &mut WriteTx<'_>,
        (link, model): Both<'_, BTreeMap<K::Key, V::Stored>, K, V>,
        at: &K::Model,
    ) -> Outcome {
        let rest = K::ask(at, |query| link.split_off(tx, query))?;
        prop_assert_eq!(Self::contents(&rest, tx)?, model.split_off(at));
        prop_assert_eq!(&Self::contents(tx.at(link)?, tx)?, model);
        Ok(tx.release(rest)?)
    }
}
