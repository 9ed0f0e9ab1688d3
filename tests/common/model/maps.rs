//! Maps beside `std`'s, with all kinds of keys.

use std::collections::BTreeMap as Model;
use std::marker::PhantomData;

use flagstone::collections::{BTreeMap, HashMap};
use flagstone::{Image, Link, WriteTx};
use proptest::prelude::*;

use super::kinds::{KeyKind, Kind};
use super::{Outcome, Subject};

/// A change of a map.
#[derive(Clone, Debug)]
pub enum MapOp<K, V> {
    Insert(K, V),
    Extend(Vec<(K, V)>),
    Get(K),
    Remove(K),
    RemoveMany(Vec<K>),
    Clear,
}

fn map_op<K: Kind, V: Kind>() -> BoxedStrategy<MapOp<K::Model, V::Model>> {
    use MapOp::*;
    prop_oneof![
        30 => (K::any(), V::any()).prop_map(|(key, value)| Insert(key, value)),
        3 => prop::collection::vec((K::any(), V::any()), 0..100).prop_map(Extend),
        15 => K::any().prop_map(Get),
        30 => K::any().prop_map(Remove),
        3 => prop::collection::vec(K::any(), 0..100).prop_map(RemoveMany),
        // Rare, so that maps become large.
        1 => any::<u8>().prop_map(|chance| if chance < 20 { Clear } else { Extend(Vec::new()) }),
    ]
    .boxed()
}

/// Takes a value out of both, and compares.
fn expect_same<V: Kind>(
    tx: &mut WriteTx<'_>,
    taken: Option<V::Stored>,
    expected: Option<V::Model>,
) -> Outcome {
    let model = taken.as_ref().map(|taken| V::load(tx, taken)).transpose()?;
    prop_assert_eq!(model, expected);
    Ok(taken.map_or(Ok(()), |taken| tx.release(taken))?)
}

macro_rules! map {
    ($name:ident, $map:ident, $what:literal) => {
        #[doc = $what]
        pub struct $name<K, V>(PhantomData<(K, V)>);

        impl<K: KeyKind, V: Kind> $name<K, V> {
            fn insert(
                tx: &mut WriteTx<'_>,
                (link, model): (Link<$map<K::Key, V::Stored>>, &mut Model<K::Model, V::Model>),
                (key, value): (&K::Model, &V::Model),
            ) -> Outcome {
                let stored = V::store(tx, value)?;
                let old = K::ask(key, |query| link.insert(tx, query, stored))?;
                expect_same::<V>(tx, old, model.insert(key.clone(), value.clone()))
            }

            fn remove(
                tx: &mut WriteTx<'_>,
                (link, model): (Link<$map<K::Key, V::Stored>>, &mut Model<K::Model, V::Model>),
                key: &K::Model,
            ) -> Outcome {
                let old = K::ask(key, |query| link.remove(tx, query))?;
                expect_same::<V>(tx, old, model.remove(key))
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
                match op {
                    MapOp::Insert(key, value) => Self::insert(tx, (link, model), (key, value))?,
                    MapOp::Extend(entries) => {
                        for (key, value) in entries {
                            Self::insert(tx, (link, &mut *model), (key, value))?;
                        }
                    }
                    MapOp::Get(key) => {
                        let map = tx.at(link)?;
                        let found = K::ask(key, |query| map.get(tx, query))?;
                        let found = found.map(|found| V::load(tx, found)).transpose()?;
                        prop_assert_eq!(found.as_ref(), model.get(key));
                    }
                    MapOp::Remove(key) => Self::remove(tx, (link, model), key)?,
                    MapOp::RemoveMany(keys) => {
                        for key in keys {
                            Self::remove(tx, (link, &mut *model), key)?;
                        }
                    }
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

map!(HashMapOf, HashMap, "A hash map of a kind.");
map!(BTreeMapOf, BTreeMap, "A map in order of a kind.");
