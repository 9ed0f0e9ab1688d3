//! Compares sets with `std`'s, with all kinds of keys.

use std::collections::BTreeSet as Model;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use flagstone::collections::{BTreeSet, HashSet};
use flagstone::{Image, Link, WriteTx};
use proptest::prelude::*;

use super::kinds::{Bounds, KeyKind, Kind};
use super::list::stays;
use super::ranges::{bounds, from_both_ends, range_of};
use super::{Outcome, Subject};

/// A change to a set, or a query.
#[derive(Clone, Debug)]
pub enum SetOp<K> {
    Insert(K),
    Extend(Vec<K>),
    Get(K),
    Remove(K),
    Take(K),
    RemoveMany(Vec<K>),
    Retain(u8),
    /// The first and the last key of an ordered set; the capacity of a hash set.
    Ends(u8),
    /// The keys between two keys; for a hash set, whether it contains the two.
    Range(Bounds<K>),
    /// Moves the keys of another set into this one.
    Append(Vec<K>),
    /// Removes the keys from a key on; for a hash set, initially all keys.
    SplitOff(K),
    Clear,
}

fn set_op<K: Kind>() -> BoxedStrategy<SetOp<K::Model>> {
    use SetOp::*;
    let keys = |most| prop::collection::vec(K::any(), 0..most);
    // Changes that empty a set, or half of it, are rare, so sets become large.
    let seldom = prop_oneof![
        2 => any::<u8>().prop_map(Retain),
        1 => K::any().prop_map(SplitOff),
        1 => Just(Clear),
        6 => keys(300).prop_map(Append),
    ];
    prop_oneof![
        350 => K::any().prop_map(Insert),
        25 => keys(100).prop_map(Extend),
        120 => K::any().prop_map(Get),
        150 => K::any().prop_map(Remove),
        150 => K::any().prop_map(Take),
        15 => keys(100).prop_map(RemoveMany),
        40 => any::<u8>().prop_map(Ends),
        30 => bounds(K::any()).prop_map(Range),
        4 => seldom,
    ]
    .boxed()
}

/// Compares a key that was taken out, and releases it.
fn expect_key<K: Kind>(
    tx: &mut WriteTx<'_>,
    taken: Option<K::Stored>,
    expected: Option<K::Model>,
) -> Outcome {
    let model = taken.as_ref().map(|taken| K::load(tx, taken)).transpose()?;
    prop_assert_eq!(model, expected);
    Ok(taken.map_or(Ok(()), |taken| tx.release(taken))?)
}

/// Loads the keys of an iteration, in order.
fn loaded<'a, K: Kind>(
    tx: &Image,
    keys: impl Iterator<Item = flagstone::Result<&'a K::Stored>>,
) -> Outcome<Model<K::Model>> {
    Ok(keys.map(|key| K::load(tx, key?)).collect::<flagstone::Result<_>>()?)
}

/// The operations that both kinds of sets share.
macro_rules! set {
    ($name:ident, $set:ident, $what:literal) => {
        #[doc = $what]
        pub struct $name<K>(PhantomData<K>);

        impl<K: KeyKind> $name<K> {
            fn insert(
                tx: &mut WriteTx<'_>,
                (link, model): (Link<$set<K::Key>>, &mut Model<K::Model>),
                key: &K::Model,
            ) -> Outcome {
                let is_new = K::ask(key, |query| link.insert(tx, query))?;
                prop_assert_eq!(is_new, model.insert(key.clone()));
                Ok(())
            }

            fn remove(
                tx: &mut WriteTx<'_>,
                (link, model): (Link<$set<K::Key>>, &mut Model<K::Model>),
                key: &K::Model,
            ) -> Outcome {
                prop_assert_eq!(K::ask(key, |query| link.remove(tx, query))?, model.remove(key));
                Ok(())
            }

            /// Returns another set with these keys.
            fn other(
                tx: &mut WriteTx<'_>,
                keys: &[K::Model],
            ) -> Outcome<(Link<$set<K::Key>>, Model<K::Model>)> {
                let (other, mut model) = (tx.alloc($set::new())?, Model::new());
                for key in keys {
                    Self::insert(tx, (other, &mut model), key)?;
                }
                Ok((other, model))
            }
        }

        impl<K: KeyKind> Subject for $name<K> {
            type Stored = $set<K::Key>;
            type Model = Model<K::Model>;
            type Op = SetOp<K::Model>;

            fn op() -> BoxedStrategy<Self::Op> {
                set_op::<K>()
            }

            fn contents(stored: &Self::Stored, tx: &Image) -> Outcome<Self::Model> {
                let model = loaded::<K>(tx, stored.iter(tx)?)?;
                prop_assert_eq!(stored.iter(tx)?.count(), model.len());
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
                match op {
                    SetOp::Insert(key) => Self::insert(tx, (link, &mut *model), key)?,
                    SetOp::Extend(keys) => {
                        for key in keys {
                            Self::insert(tx, (link, &mut *model), key)?;
                        }
                    }
                    SetOp::Get(key) => {
                        let set = tx.at(link)?;
                        let found = K::ask(key, |query| set.get(tx, query))?;
                        let found = found.map(|found| K::load(tx, found)).transpose()?;
                        prop_assert_eq!(found.as_ref(), model.get(key));
                        let is_found = K::ask(key, |query| set.contains(tx, query))?;
                        prop_assert_eq!(is_found, model.contains(key));
                    }
                    SetOp::Remove(key) => Self::remove(tx, (link, &mut *model), key)?,
                    SetOp::Take(key) => {
                        let taken = K::ask(key, |query| link.take(tx, query))?;
                        expect_key::<K>(tx, taken, model.take(key))?;
                    }
                    SetOp::RemoveMany(keys) => {
                        for key in keys {
                            Self::remove(tx, (link, &mut *model), key)?;
                        }
                    }
                    SetOp::Retain(salt) => {
                        // The closure cannot read what keys own, so the answers are prepared in
                        // iteration order.
                        let keys = tx.at(link)?.iter(tx)?;
                        let answers = keys.map(|key| Ok(stays(&K::load(tx, key?)?, *salt)));
                        let answers: Vec<bool> = answers.collect::<flagstone::Result<_>>()?;
                        let mut answers = answers.into_iter();
                        link.retain(tx, |_| answers.next().expect("an answer for each key"))?;
                        model.retain(|key| stays(key, *salt));
                        prop_assert_eq!(answers.next(), None);
                    }
                    SetOp::Ends(salt) => Self::ends(tx, (link, &mut *model), *salt)?,
                    SetOp::Range(range) => Self::range(tx, (link, &*model), range)?,
                    SetOp::Append(keys) => Self::append(tx, (link, &mut *model), keys)?,
                    SetOp::SplitOff(key) => Self::split_off(tx, (link, &mut *model), key)?,
                    SetOp::Clear => {
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

set!(HashSetOf, HashSet, "A hash set of a kind.");
set!(BTreeSetOf, BTreeSet, "A set in order of a kind.");

impl<K: KeyKind> HashSetOf<K> {
    fn ends(
        tx: &mut WriteTx<'_>,
        (link, model): (Link<HashSet<K::Key>>, &mut Model<K::Model>),
        salt: u8,
    ) -> Outcome {
        match salt % 8 {
            0 => link.shrink_to_fit(tx)?,
            1 => {
                link.reserve(tx, salt.into())?;
                let set = tx.at(link)?;
                prop_assert!(set.capacity(tx)? >= set.len() + u64::from(salt));
            }
            _ => {
                // Takes the first key of the iteration; `std` has no such method either.
                let first = tx.at(link)?.iter(tx)?.next().transpose()?;
                let first = first.map(|key| K::load(tx, key)).transpose()?;
                prop_assert_eq!(first.is_some(), !model.is_empty());
                first.map_or(Ok(()), |key| Self::remove(tx, (link, model), &key))?;
            }
        }
        Ok(())
    }

    fn range(
        tx: &WriteTx<'_>,
        (link, model): (Link<HashSet<K::Key>>, &Model<K::Model>),
        (start, end): &Bounds<K::Model>,
    ) -> Outcome {
        for bound in [start, end] {
            if let Bound::Included(key) | Bound::Excluded(key) = bound {
                let is_found = K::ask(key, |query| tx.at(link)?.contains(tx, query))?;
                prop_assert_eq!(is_found, model.contains(key));
            }
        }
        Ok(())
    }

    fn append(
        tx: &mut WriteTx<'_>,
        (link, model): (Link<HashSet<K::Key>>, &mut Model<K::Model>),
        keys: &[K::Model],
    ) -> Outcome {
        let (other, other_model) = Self::other(tx, keys)?;
        for key in other.drain(tx)? {
            let own_key = K::load(tx, &key)?;
            tx.release(key)?;
            prop_assert!(other_model.contains(&own_key));
            Self::insert(tx, (link, &mut *model), &own_key)?;
        }
        prop_assert!(tx.at(other)?.is_empty());
        Ok(tx.free(other)?)
    }

    fn split_off(
        tx: &mut WriteTx<'_>,
        (link, model): (Link<HashSet<K::Key>>, &mut Model<K::Model>),
        at: &K::Model,
    ) -> Outcome {
        let drained = link.drain(tx)?;
        prop_assert!(tx.at(link)?.is_empty());
        let all = std::mem::take(model);
        prop_assert_eq!(&loaded::<K>(tx, drained.iter().map(Ok))?, &all);
        drained.into_iter().try_for_each(|key| tx.release(key))?;
        all.iter()
            .filter(|key| *key < at)
            .try_for_each(|key| Self::insert(tx, (link, &mut *model), key))
    }
}

impl<K: KeyKind> BTreeSetOf<K> {
    fn ends(
        tx: &mut WriteTx<'_>,
        (link, model): (Link<BTreeSet<K::Key>>, &mut Model<K::Model>),
        salt: u8,
    ) -> Outcome {
        match salt % 3 {
            0 => {
                let taken = link.pop_first(tx)?;
                expect_key::<K>(tx, taken, model.pop_first())?;
            }
            1 => {
                let taken = link.pop_last(tx)?;
                expect_key::<K>(tx, taken, model.pop_last())?;
            }
            _ => {}
        }
        let set = tx.at(link)?;
        for (found, expected) in [(set.first(tx)?, model.first()), (set.last(tx)?, model.last())] {
            let found = found.map(|key| K::load(tx, key)).transpose()?;
            prop_assert_eq!(found.as_ref(), expected);
        }
        Ok(())
    }

    fn range(
        tx: &WriteTx<'_>,
        (link, model): (Link<BTreeSet<K::Key>>, &Model<K::Model>),
        range: &Bounds<K::Model>,
    ) -> Outcome {
        let set = tx.at(link)?;
        let bounds = (range.0.as_ref(), range.1.as_ref());
        let found = K::ask_range(bounds, |range| range_of!(K, set, tx, range))?;
        let found = from_both_ends(found, |key| K::load(tx, key))?;
        let expected = model.iter().filter(|key| range.contains(*key)).cloned();
        prop_assert_eq!(found, expected.collect::<Vec<_>>());
        Ok(())
    }

    fn append(
        tx: &mut WriteTx<'_>,
        (link, model): (Link<BTreeSet<K::Key>>, &mut Model<K::Model>),
        keys: &[K::Model],
    ) -> Outcome {
        let (other, mut other_model) = Self::other(tx, keys)?;
        let (set, with) = (tx.at(link)?, tx.at(other)?);
        let all: [(_, Model<_>); 4] = [
            (set.union(tx, with)?, &*model | &other_model),
            (set.intersection(tx, with)?, &*model & &other_model),
            (set.difference(tx, with)?, &*model - &other_model),
            (set.symmetric_difference(tx, with)?, &*model ^ &other_model),
        ];
        for (found, expected) in all {
            let found =
                found.map(|key| K::load(tx, key?)).collect::<flagstone::Result<Vec<_>>>()?;
            prop_assert!(expected.iter().eq(&found));
        }
        prop_assert_eq!(set.is_disjoint(tx, with)?, model.is_disjoint(&other_model));
        prop_assert_eq!(set.is_superset(tx, with)?, model.is_superset(&other_model));
        link.append(tx, other)?;
        link.append(tx, link)?;
        model.append(&mut other_model);
        prop_assert!(tx.at(other)?.is_empty());
        Ok(tx.free(other)?)
    }

    fn split_off(
        tx: &mut WriteTx<'_>,
        (link, model): (Link<BTreeSet<K::Key>>, &mut Model<K::Model>),
        at: &K::Model,
    ) -> Outcome {
        let rest = K::ask(at, |query| link.split_off(tx, query))?;
        prop_assert_eq!(Self::contents(&rest, tx)?, model.split_off(at));
        prop_assert_eq!(&Self::contents(tx.at(link)?, tx)?, model);
        Ok(tx.release(rest)?)
    }
}
