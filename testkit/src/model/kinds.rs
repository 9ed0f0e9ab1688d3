//! The kinds of elements, keys and values for collection tests: the type of each in the store,
//! and in the model.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Bound;

use flagstone::collections::{HashMap, OrdKey, Vec as StoreVec};
use flagstone::{Bytes, ErrorKind, Image, Link, Pair, Persist, Result, Text, WriteTx, persist};
use proptest::prelude::*;

/// A kind of element or value.
pub trait Kind: 'static {
    type Stored: Persist;
    type Model: Clone + Debug + Ord + Hash + 'static;

    fn any() -> BoxedStrategy<Self::Model>;
    fn store(tx: &mut WriteTx<'_>, model: &Self::Model) -> Result<Self::Stored>;
    fn load(tx: &Image, stored: &Self::Stored) -> Result<Self::Model>;

    /// Changes a value, without a transaction.
    fn alter(_stored: &mut Self::Stored) {}

    /// Makes the same change in the model.
    fn alter_model(_model: &mut Self::Model) {}

    /// Changes a value in place: appends `more`, if the value can grow.
    fn grow(
        tx: &mut WriteTx<'_>,
        link: Link<Self::Stored>,
        model: &mut Self::Model,
        more: &Self::Model,
    ) -> Result<()> {
        let new = Self::store(tx, more)?;
        let old = std::mem::replace(tx.at_mut(link)?, new);
        model.clone_from(more);
        tx.release(old)
    }
}

/// A kind of key: `Key` is `Kind::Stored`. The strategy of each often generates the same key, so
/// lookups find something.
pub trait KeyKind: Kind<Stored = Self::Key> {
    type Key: Persist + for<'a> OrdKey<Self::Query<'a>>;
    type Query<'a>: ?Sized;

    /// Lends the key in the form used for lookups.
    fn ask<R>(model: &Self::Model, ask: impl for<'a> FnOnce(&Self::Query<'a>) -> R) -> R;

    /// Lends both bounds of a range of keys.
    fn ask_range<R>(
        range: Bounds<&Self::Model>,
        ask: impl for<'a> FnOnce(Bounds<&Self::Query<'a>>) -> R,
    ) -> R;
}

/// Both bounds of a range.
pub type Bounds<T> = (Bound<T>, Bound<T>);

/// Kinds with the same type in the store and in the model.
macro_rules! plain {
    ($($type:ty: $any:expr, |$value:ident| $altered:expr;)*) => {$(
        impl Kind for $type {
            type Stored = $type;
            type Model = $type;

            fn any() -> BoxedStrategy<$type> {
                $any.boxed()
            }

            fn store(_tx: &mut WriteTx<'_>, model: &$type) -> Result<$type> {
                Ok(*model)
            }

            fn load(_tx: &Image, stored: &$type) -> Result<$type> {
                Ok(*stored)
            }

            fn alter($value: &mut $type) {
                *$value = $altered;
            }

            fn alter_model(model: &mut $type) {
                Self::alter(model);
            }
        }

        impl KeyKind for $type {
            type Key = $type;
            type Query<'a> = $type;

            fn ask<R>(model: &$type, ask: impl for<'a> FnOnce(&$type) -> R) -> R {
                ask(model)
            }

            fn ask_range<R>(
                range: Bounds<&$type>,
                ask: impl for<'a> FnOnce(Bounds<&$type>) -> R,
            ) -> R {
                ask(range)
            }
        }
    )*};
}

/// A struct as a key.
#[persist]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub row: i32,
    pub column: u32,
}

/// An enum, for which some bytes are invalid.
#[persist]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Colour {
    Red = 1,
    Green = 7,
    Blue = 200,
}

plain! {
    u64: prop_oneof![0..100u64, 0..3000u64, any::<u64>()], |value| !*value;
    i32: prop_oneof![-50..50, -2000..2000, any::<i32>()], |value| !*value;
    bool: any::<bool>(), |value| !*value;
    [u8; 5]: prop::array::uniform5(prop_oneof![4 => 0..3u8, 1 => any::<u8>()]),
        |value| value.map(|byte| !byte);
    Place: (-9..9, 0..9u32).prop_map(|(row, column)| Place { row, column }),
        |value| Place { row: !value.row, ..*value };
    Colour: prop::sample::select(vec![Colour::Red, Colour::Green, Colour::Blue]),
        |value| if *value == Colour::Red { Colour::Blue } else { Colour::Red };
}

/// [`Text`], as a `String`.
pub struct OfText;

impl Kind for OfText {
    type Stored = Text;
    type Model = String;

    fn any() -> BoxedStrategy<String> {
        prop_oneof![
            4 => (0..300u32).prop_map(|number| format!("{number}")),
            // Lengths on both sides of 23, the maximum for inline storage.
            2 => (20..28usize, 0..4u8).prop_map(|(len, last)| {
                let mut text = "x".repeat(len);
                text.push((b'a' + last) as char);
                text
            }),
            2 => (30..200usize, 0..9u8).prop_map(|(len, number)| format!("{number}{}", "ä".repeat(len))),
            1 => Just(String::new()),
        ]
        .boxed()
    }

    fn store(tx: &mut WriteTx<'_>, model: &String) -> Result<Text> {
        Text::new(tx, model)
    }

    fn load(tx: &Image, stored: &Text) -> Result<String> {
        assert_eq!(stored.len()?, stored.as_bytes(tx)?.len() as u64);
        Ok(stored.as_str(tx)?.to_string())
    }

    fn grow(
        tx: &mut WriteTx<'_>,
        link: Link<Text>,
        model: &mut String,
        more: &String,
    ) -> Result<()> {
        model.push_str(more);
        link.push_str(tx, more)
    }
}

impl KeyKind for OfText {
    type Key = Text;
    type Query<'a> = str;

    fn ask<R>(model: &String, ask: impl for<'a> FnOnce(&str) -> R) -> R {
        ask(model)
    }

    fn ask_range<R>(
        (start, end): Bounds<&String>,
        ask: impl for<'a> FnOnce(Bounds<&str>) -> R,
    ) -> R {
        ask((start.map(|start| &**start), end.map(|end| &**end)))
    }
}

/// [`Bytes`], as a vector of them.
pub struct OfBytes;

impl Kind for OfBytes {
    type Stored = Bytes;
    type Model = Vec<u8>;

    fn any() -> BoxedStrategy<Vec<u8>> {
        let byte = || prop_oneof![Just(0u8), Just(255), any::<u8>()];
        // Many bytes from few choices: one choice per byte would take most of the tests' time.
        let long = |(first, len): (u8, usize)| {
            let mut bytes = vec![255; len];
            bytes[0] = first;
            bytes
        };
        prop_oneof![
            4 => prop::collection::vec(byte(), 0..3),
            2 => (byte(), 20..28usize).prop_map(long),
            1 => (byte(), 100..300usize).prop_map(long),
        ]
        .boxed()
    }

    fn store(tx: &mut WriteTx<'_>, model: &Vec<u8>) -> Result<Bytes> {
        Bytes::new(tx, model)
    }

    fn load(tx: &Image, stored: &Bytes) -> Result<Vec<u8>> {
        Ok(stored.as_bytes(tx)?.to_vec())
    }
}

impl KeyKind for OfBytes {
    type Key = Bytes;
    type Query<'a> = [u8];

    fn ask<R>(model: &Vec<u8>, ask: impl for<'a> FnOnce(&[u8]) -> R) -> R {
        ask(model)
    }

    fn ask_range<R>(
        (start, end): Bounds<&Vec<u8>>,
        ask: impl for<'a> FnOnce(Bounds<&[u8]>) -> R,
    ) -> R {
        ask((start.map(|start| &**start), end.map(|end| &**end)))
    }
}

/// A [`Pair`] of a number and a text, as a tuple.
pub struct OfPair;

impl Kind for OfPair {
    type Stored = Pair<u64, Text>;
    type Model = (u64, String);

    fn any() -> BoxedStrategy<(u64, String)> {
        (0..20u64, OfText::any()).boxed()
    }

    fn store(tx: &mut WriteTx<'_>, model: &(u64, String)) -> Result<Pair<u64, Text>> {
        Ok(Pair { first: model.0, second: Text::new(tx, &model.1)? })
    }

    fn load(tx: &Image, stored: &Pair<u64, Text>) -> Result<(u64, String)> {
        Ok((stored.first, OfText::load(tx, &stored.second)?))
    }
}

impl KeyKind for OfPair {
    type Key = Pair<u64, Text>;
    type Query<'a> = (&'a u64, &'a str);

    fn ask<R>(model: &(u64, String), ask: impl for<'a> FnOnce(&(&'a u64, &'a str)) -> R) -> R {
        ask(&(&model.0, &model.1))
    }

    fn ask_range<R>(
        (start, end): Bounds<&(u64, String)>,
        ask: impl for<'a> FnOnce(Bounds<&(&'a u64, &'a str)>) -> R,
    ) -> R {
        let start = start.map(|(number, text)| (number, &**text));
        let end = end.map(|(number, text)| (number, &**text));
        ask((start.as_ref(), end.as_ref()))
    }
}

/// A vector as an element.
pub struct OfVec<K>(K);

impl<K: Kind> Kind for OfVec<K> {
    type Stored = StoreVec<K::Stored>;
    type Model = Vec<K::Model>;

    fn any() -> BoxedStrategy<Vec<K::Model>> {
        prop::collection::vec(K::any(), 0..12).boxed()
    }

    fn store(tx: &mut WriteTx<'_>, model: &Vec<K::Model>) -> Result<Self::Stored> {
        let elements: Result<Vec<_>> = model.iter().map(|element| K::store(tx, element)).collect();
        StoreVec::from_iter(tx, elements?)
    }

    fn load(tx: &Image, stored: &Self::Stored) -> Result<Vec<K::Model>> {
        stored.iter(tx)?.map(|element| K::load(tx, element)).collect()
    }

    fn grow(
        tx: &mut WriteTx<'_>,
        link: Link<Self::Stored>,
        model: &mut Vec<K::Model>,
        more: &Vec<K::Model>,
    ) -> Result<()> {
        model.extend(more.iter().cloned());
        let more: Result<Vec<_>> = more.iter().map(|element| K::store(tx, element)).collect();
        link.extend(tx, more?)
    }
}

/// A hash map as a value.
pub struct OfHashMap<K, V>(K, V);

impl<K: KeyKind, V: Kind> Kind for OfHashMap<K, V> {
    type Stored = HashMap<K::Key, V::Stored>;
    type Model = BTreeMap<K::Model, V::Model>;

    fn any() -> BoxedStrategy<Self::Model> {
        prop::collection::btree_map(K::any(), V::any(), 0..6).boxed()
    }

    fn store(tx: &mut WriteTx<'_>, model: &Self::Model) -> Result<Self::Stored> {
        let link = tx.alloc(HashMap::new())?;
        Self::grow(tx, link, &mut Self::Model::new(), model)?;
        // The caller gets everything that the map owns; only the header's allocation is freed.
        let map = std::mem::take(tx.at_mut(link)?);
        tx.free(link)?;
        Ok(map)
    }

    fn load(tx: &Image, stored: &Self::Stored) -> Result<Self::Model> {
        let entries = stored.iter(tx)?.map(|entry| {
            let (key, value) = entry?;
            Ok((K::load(tx, key)?, V::load(tx, value)?))
        });
        let model = entries.collect::<Result<Self::Model>>()?;
        // A damaged map may contain a key twice.
        if stored.len() != model.len() as u64 {
            let (expected, found) = (stored.len().to_string(), model.len().to_string());
            let what = "entries of a hash map";
            return Err(ErrorKind::Corrupt { what, offset: 0, expected, found }.into());
        }
        Ok(model)
    }

    fn grow(
        tx: &mut WriteTx<'_>,
        link: Link<Self::Stored>,
        model: &mut Self::Model,
        more: &Self::Model,
    ) -> Result<()> {
        for (key, value) in more {
            let value = V::store(tx, value)?;
            if let Some(old) = K::ask(key, |query| link.insert(tx, query, value))? {
                tx.release(old)?;
            }
        }
        model.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(())
    }
}
