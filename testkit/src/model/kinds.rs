//! The kinds of elements, keys and values for collection tests: the type of each in the store,
//! and in the model.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Bound;

use flagstone::collections::{HashMap, OrdKey, Vec as StoreVec};
use flagstone::{Bytes, ErrorKind, Image, Link, Pair, Persist, Result, Text, WriteTx, persist};

use crate::Random;

/// A kind of element or value.
pub trait Kind: 'static {
    type Stored: Persist;
    type Model: Clone + Debug + Ord + Hash + 'static;

    /// Draws a value. A kind of key often draws the same one, so lookups find something.
    fn make(random: &mut Random) -> Self::Model;
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

/// A kind of key: `Key` is `Kind::Stored`.
pub trait KeyKind: Kind<Stored = Self::Key> {
    type Key: Persist + for<'a> OrdKey<Self::Query<'a>>;
    type Query<'a>: ?Sized;
    /// What a query is borrowed from.
    type Lent<'a>: Borrow<Self::Query<'a>>;

    fn lend(model: &Self::Model) -> Self::Lent<'_>;

    /// Returns the key in the form used for lookups.
    fn query<'a, 'b>(lent: &'b Self::Lent<'a>) -> &'b Self::Query<'a> {
        lent.borrow()
    }
}

/// Both bounds of a range.
pub type Bounds<T> = (Bound<T>, Bound<T>);

/// Kinds with the same type in the store and in the model.
macro_rules! plain {
    ($($type:ty: |$random:ident| $made:expr, |$value:ident| $altered:expr;)*) => {$(
        impl Kind for $type {
            type Stored = $type;
            type Model = $type;

            fn make($random: &mut Random) -> $type {
                $made
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
            type Lent<'a> = &'a $type;

            fn lend(model: &$type) -> &$type {
                model
            }
        }
    )*};
}
#[cfg(feature = "sim")]
pub(crate) use plain;

/// A struct as a key, for which some bytes are invalid.
#[persist]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub row: i32,
    pub column: u16,
    pub is_dark: bool,
    pub colour: Colour,
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

/// A value of several lines.
#[persist]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(align(64))]
pub struct Aligned([u64; 16]);

/// A long key, of which few fit into a node.
pub type Long = [u8; 700];

/// A large value: four of them do not fit into half a page.
pub type Large = [u64; 375];

/// Returns a number that is small, or of medium size, or any.
fn any_number(random: &mut Random, small: u64, medium: u64) -> u64 {
    let limit = random.pick(&[small, medium, u64::MAX]);
    random.below(limit)
}

plain! {
    u64: |random| any_number(random, 100, 3000), |value| !*value;
    i32: |random| any_number(random, 100, 4000).wrapping_sub(50) as i32, |value| !*value;
    bool: |random| random.one_in(2), |value| !*value;
    [u8; 5]: |random| random.bytes(5).try_into().map(|bytes: [u8; 5]| match bytes[0] {
        0..50 => bytes,
        _ => bytes.map(|byte| byte % 3),
    }).expect("five bytes"), |value| value.map(|byte| !byte);
    Place: |random| Place {
        row: random.below(18) as i32 - 9,
        column: random.below(9) as u16,
        is_dark: bool::make(random),
        colour: Colour::make(random),
    }, |value| Place { row: !value.row, ..*value };
    Colour: |random| random.pick(&[Colour::Red, Colour::Green, Colour::Blue]),
        |value| if *value == Colour::Red { Colour::Blue } else { Colour::Red };
    Aligned: |random| Aligned([random.next(); 16]), |value| Aligned(value.0.map(|word| !word));
    Long: |random| {
        let mut key = [0; 700];
        key[690..698].copy_from_slice(&random.below(300).to_be_bytes());
        key
    }, |value| *value;
    Large: |random| [random.next(); 375], |value| value.map(|word| !word);
}

/// [`Text`], as a `String`.
pub struct OfText;

impl Kind for OfText {
    type Stored = Text;
    type Model = String;

    fn make(random: &mut Random) -> String {
        match random.below(9) {
            0..4 => random.below(300).to_string(),
            // Lengths on both sides of 23, the maximum for inline storage.
            4 | 5 => "x".repeat(20 + random.below(8) as usize) + random.pick(&["a", "b", "c", "d"]),
            6 | 7 => {
                let (number, len) = (random.below(9), 30 + random.below(170));
                format!("{number}{}", "ä".repeat(len as usize))
            }
            _ => String::new(),
        }
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
    type Lent<'a> = &'a str;

    fn lend(model: &String) -> &str {
        model
    }
}

/// [`Bytes`], as a vector of them.
pub struct OfBytes;

impl Kind for OfBytes {
    type Stored = Bytes;
    type Model = Vec<u8>;

    fn make(random: &mut Random) -> Vec<u8> {
        let any = random.next() as u8;
        let len = match random.below(7) {
            0..4 => random.below(3),
            4 | 5 => 20 + random.below(8),
            _ => 100 + random.below(200),
        };
        let mut bytes = vec![255; len as usize];
        bytes.iter_mut().take(2).for_each(|byte| *byte = random.pick(&[0, 255, any]));
        bytes
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
    type Lent<'a> = &'a [u8];

    fn lend(model: &Vec<u8>) -> &[u8] {
        model
    }
}

/// A [`Pair`] of a number and a text, as a tuple.
pub struct OfPair;

impl Kind for OfPair {
    type Stored = Pair<u64, Text>;
    type Model = (u64, String);

    fn make(random: &mut Random) -> (u64, String) {
        (random.below(20), OfText::make(random))
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
    type Lent<'a> = (&'a u64, &'a str);

    fn lend(model: &(u64, String)) -> (&u64, &str) {
        (&model.0, &model.1)
    }
}

/// A vector as an element.
pub struct OfVec<K>(K);

impl<K: Kind> Kind for OfVec<K> {
    type Stored = StoreVec<K::Stored>;
    type Model = Vec<K::Model>;

    fn make(random: &mut Random) -> Vec<K::Model> {
        (0..random.below(12)).map(|_| K::make(random)).collect()
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

    fn make(random: &mut Random) -> Self::Model {
        (0..random.below(6)).map(|_| (K::make(random), V::make(random))).collect()
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
            if let Some(old) = link.insert(tx, K::query(&K::lend(key)), value)? {
                tx.release(old)?;
            }
        }
        model.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(())
    }
}
