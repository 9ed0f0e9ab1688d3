//! Sets: maps of which the values have no bytes.

use std::borrow::Borrow;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{FieldOf, Link, Persist};
use crate::store::WriteTx;

use super::iter::Keys;
use super::layout::Table;
use super::lookup::Reader;
use crate::collections::key::{Key, StoredKey};

/// In place of a value.
pub(super) type Nothing = [u8; 0];

/// A hash set, as `std::collections::HashSet`, whose keys lie in the store.
///
/// What only reads is here; what changes is on [`Link<HashSet<K>>`](Link). It is
/// a [`HashMap`](super::HashMap) without values, and all that is said there holds.
///
/// ```
/// use flagstone::{Store, Text, collections::HashSet};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let words = tx.alloc(HashSet::<Text>::new())?;
/// assert!(words.insert(&mut tx, "granite")?);
/// assert!(!words.insert(&mut tx, "granite")?);
/// words.extend(&mut tx, ["slate", "sandstone"])?;
/// assert!(tx.at(words)?.contains(&tx, "slate")?);
/// assert!(words.remove(&mut tx, "slate")?);
/// assert_eq!(tx.at(words)?.len(), 2);
/// # Ok(()) }
/// ```
///
/// # What std has and this has not
///
/// | `std` | why not, and what instead |
/// | --- | --- |
/// | `with_hasher`, `hasher`, … | the hash is part of the file: SipHash-1-3 with the store's own key |
/// | `Clone`, `PartialEq`, `Debug`, `BitOr` and the like | they need the transaction; use [`iter`](Self::iter) and [`contains`](Self::contains) |
/// | `FromIterator`, `From<[_; N]>`, `Extend` | they cannot fail, and have no transaction; use [`extend`](Link::extend) |
/// | `IntoIterator` | [`drain`](Link::drain) |
/// | `replace` | `take`, then `insert`: equal keys have equal bytes |
/// | `union`, `symmetric_difference` | chain [`iter`](Self::iter) with [`difference`](Self::difference) |
/// | `get_or_insert_with`, `entry` | [`insert`](Link::insert), then [`get`](Self::get) |
/// | `extract_if` | [`retain`](Link::retain), or `take` for the keys that were found |
/// | `try_reserve` | [`reserve`](Link::reserve) returns an error by itself |
/// | `shrink_to` | [`shrink_to_fit`](Link::shrink_to_fit) |
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
pub struct HashSet<K: Persist> {
    table: Table<K, Nothing>,
}

crate::persist::persist_own!(HashSet<K> as "flagstone::HashSet" { table });

impl<K: Persist> Default for HashSet<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Persist> HashSet<K> {
    /// No keys, and no allocation.
    pub fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Number of keys.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.table.len
    }

    /// Whether there are no keys.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is such a key.
    ///
    /// # Errors
    ///
    /// The set, or the key, is damaged.
    #[inline]
    pub fn contains<Q: ?Sized>(&self, tx: &Image, query: &Q) -> Result<bool>
    where
        K: Key<Q>,
    {
        Ok(self.get(tx, query)?.is_some())
    }

    /// The stored key.
    ///
    /// # Errors
    ///
    /// As [`contains`](Self::contains).
    #[inline]
    pub fn get<'a, Q: ?Sized>(&self, tx: &'a Image, query: &Q) -> Result<Option<&'a K>>
    where
        K: Key<Q>,
    {
        Ok(Reader::new(tx, &self.table)?.find(query)?.map(|hit| hit.key))
    }

    /// All keys, in no order that can be relied on.
    ///
    /// # Errors
    ///
    /// The set is damaged.
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<Keys<'a, K, Nothing>> {
        Ok(Keys::new(Reader::new(tx, &self.table)?))
    }

    /// Keys that there is room for before shards grow. Looks at each shard:
    /// linear in the set's size, by a small factor.
    ///
    /// # Errors
    ///
    /// The set is damaged.
    pub fn capacity(&self, tx: &Image) -> Result<u64> {
        Reader::new(tx, &self.table)?.capacity()
    }
}

impl<K: Key> HashSet<K> {
    /// The keys that are in both sets.
    ///
    /// # Errors
    ///
    /// One of the sets is damaged.
    pub fn intersection<'a>(
        &self,
        tx: &'a Image,
        other: &Self,
    ) -> Result<impl Iterator<Item = Result<&'a K>> + use<'a, K>> {
        let (few, many) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        let many = Reader::new(tx, &many.table)?;
        Ok(few.iter(tx)?.filter_map(move |key| only(key, |key| Ok(many.find(key)?.is_some()))))
    }

    /// The keys that are in this set and not in the other.
    ///
    /// # Errors
    ///
    /// One of the sets is damaged.
    pub fn difference<'a>(
        &self,
        tx: &'a Image,
        other: &Self,
    ) -> Result<impl Iterator<Item = Result<&'a K>> + use<'a, K>> {
        let other = Reader::new(tx, &other.table)?;
        Ok(self.iter(tx)?.filter_map(move |key| only(key, |key| Ok(other.find(key)?.is_none()))))
    }

    /// Whether no key is in both sets.
    ///
    /// # Errors
    ///
    /// One of the sets is damaged.
    pub fn is_disjoint(&self, tx: &Image, other: &Self) -> Result<bool> {
        Ok(self.intersection(tx, other)?.next().transpose()?.is_none())
    }

    /// Whether each key is in the other set too.
    ///
    /// # Errors
    ///
    /// One of the sets is damaged.
    pub fn is_subset(&self, tx: &Image, other: &Self) -> Result<bool> {
        Ok(self.difference(tx, other)?.next().transpose()?.is_none())
    }

    /// Whether each key of the other set is in this one too.
    ///
    /// # Errors
    ///
    /// One of the sets is damaged.
    pub fn is_superset(&self, tx: &Image, other: &Self) -> Result<bool> {
        other.is_subset(tx, self)
    }
}

/// The key if the test says yes; an error in any case.
fn only<K>(key: Result<&K>, test: impl FnOnce(&K) -> Result<bool>) -> Option<Result<&K>> {
    match key.and_then(|key| Ok((key, test(key)?))) {
        Ok((key, is_wanted)) => is_wanted.then_some(Ok(key)),
        Err(error) => Some(Err(error)),
    }
}

impl<K: StoredKey> HashSet<K> {
    /// No keys, with room for `capacity` of them.
    ///
    /// # Errors
    ///
    /// The file cannot grow.
    pub fn with_capacity(tx: &mut WriteTx<'_>, capacity: u64) -> Result<Self> {
        let mut table = Table::new();
        table.make_room(tx, capacity)?;
        Ok(Self { table })
    }
}

impl<K: StoredKey> Link<HashSet<K>> {
    fn table(self) -> Link<Table<K, Nothing>> {
        self.field(FieldOf::new(std::mem::offset_of!(HashSet<K>, table), |set| &set.table))
    }

    /// Inserts a key; whether it was not there.
    ///
    /// # Errors
    ///
    /// The set is damaged, or the file cannot grow.
    pub fn insert<Q: ?Sized>(self, tx: &mut WriteTx<'_>, query: &Q) -> Result<bool>
    where
        K: Key<Q>,
    {
        let sought = self.table().seek(tx, query)?;
        if sought.place.is_some() {
            return Ok(false);
        }
        let key = K::store(tx, query)?;
        self.table().reserve_slot(tx, sought.hash)?.put_key(tx, key)?;
        Ok(true)
    }

    /// Takes a key out and releases it; whether it was there.
    ///
    /// # Errors
    ///
    /// The set, or what the key owns, is damaged.
    pub fn remove<Q: ?Sized>(self, tx: &mut WriteTx<'_>, query: &Q) -> Result<bool>
    where
        K: Key<Q>,
    {
        let Some(key) = self.take(tx, query)? else { return Ok(false) };
        tx.release(key)?;
        Ok(true)
    }

    /// Takes a key out, which is the caller's then.
    ///
    /// # Errors
    ///
    /// The set is damaged, or the file cannot grow.
    pub fn take<Q: ?Sized>(self, tx: &mut WriteTx<'_>, query: &Q) -> Result<Option<K>>
    where
        K: Key<Q>,
    {
        let Some(place) = self.table().seek(tx, query)?.place else { return Ok(None) };
        let key = tx.value(place.key())?;
        self.table().take(tx, &place)?;
        Ok(Some(key))
    }

    /// Keeps the keys that `keep` says yes to, and releases the others.
    ///
    /// # Errors
    ///
    /// The set, or what is released, is damaged.
    pub fn retain(self, tx: &mut WriteTx<'_>, mut keep: impl FnMut(&K) -> bool) -> Result<()> {
        self.table().retain(tx, |tx, place| Ok(keep(tx.at(place.key())?)))
    }

    /// Inserts the keys of an iterator.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn extend<Q: ?Sized, B: Borrow<Q>>(
        self,
        tx: &mut WriteTx<'_>,
        keys: impl IntoIterator<Item = B>,
    ) -> Result<()>
    where
        K: Key<Q>,
    {
        for query in keys {
            self.insert(tx, query.borrow())?;
        }
        Ok(())
    }

    /// Takes all keys out, which become the caller's. All of them are in memory
    /// at once.
    ///
    /// # Errors
    ///
    /// The set or a key is damaged.
    pub fn drain(self, tx: &mut WriteTx<'_>) -> Result<Vec<K>> {
        let offsets = self.table().header(tx)?.offsets(tx)?.into_iter();
        let keys = offsets.map(|offset| tx.value(Link::from_parts(offset, 1)));
        let keys = keys.collect::<Result<_>>()?;
        self.table().update(tx, Table::free)?;
        Ok(keys)
    }

    /// Releases all keys, and gives all memory back.
    ///
    /// # Errors
    ///
    /// The set, or what a key owns, is damaged.
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.table().clear(tx)
    }

    /// Makes room for `more` keys, so that inserting them moves none. Unlike an
    /// insert, this takes time and log in proportion to the set.
    ///
    /// # Errors
    ///
    /// The set is damaged, or the file cannot grow.
    pub fn reserve(self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        self.table().update(tx, |table, tx| table.make_room(tx, more))
    }

    /// Gives back room that no key uses, as far as shards can do without. Unlike
    /// a removal, this takes time and log in proportion to the set.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn shrink_to_fit(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.table().update(tx, Table::shrink)
    }
}
