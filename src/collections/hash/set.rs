//! Hash sets: maps whose values have no bytes.

use std::borrow::Borrow;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Persist, own_field};
use crate::store::WriteTx;

use super::iter::Keys;
use super::layout::Table;
use super::lookup::Reader;
use crate::collections::key::{Key, StoredKey};

/// Stands for the value of a set.
pub(super) type Nothing = [u8; 0];

/// A hash set like `std::collections::HashSet`, whose keys live in the store.
///
/// Methods that only read are here; methods that modify are on
/// [`Link<HashSet<K>>`](Link). It is a [`HashMap`](super::HashMap) without values,
/// and everything said there holds here.
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
/// # What std has that this lacks
///
/// | `std` | reason, and what to use instead |
/// | --- | --- |
/// | `with_hasher`, `hasher`, … | the hash is part of the file: SipHash-1-3 with the store's own key |
/// | `Clone`, `PartialEq`, `Debug`, `BitOr` and similar | they need the transaction; use [`iter`](Self::iter) and [`contains`](Self::contains) |
/// | `FromIterator`, `From<[_; N]>`, `Extend` | they cannot fail and do not take a transaction; use [`extend`](Link::extend) |
/// | `IntoIterator` | [`drain`](Link::drain) |
/// | `replace` | `take`, then `insert`: equal keys have equal bytes |
/// | `union`, `symmetric_difference` | chain [`iter`](Self::iter) with [`difference`](Self::difference) |
/// | `get_or_insert_with`, `entry` | [`insert`](Link::insert), then [`get`](Self::get) |
/// | `extract_if` | [`retain`](Link::retain), or `take` for the keys found |
/// | `try_reserve` | [`reserve`](Link::reserve) already returns an error |
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
    /// Returns an empty set without an allocation.
    pub fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Returns the number of keys.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.table.len
    }

    /// Returns whether there are no keys.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the map has the key.
    ///
    /// # Errors
    ///
    /// Fails if the set or the key is damaged.
    #[inline]
    pub fn contains<Q: ?Sized>(&self, tx: &Image, query: &Q) -> Result<bool>
    where
        K: Key<Q>,
    {
        Ok(self.get(tx, query)?.is_some())
    }

    /// Returns the stored key.
    ///
    /// # Errors
    ///
    /// Same as [`contains`](Self::contains).
    #[inline]
    pub fn get<'a, Q: ?Sized>(&self, tx: &'a Image, query: &Q) -> Result<Option<&'a K>>
    where
        K: Key<Q>,
    {
        Ok(Reader::new(tx, &self.table)?.find(query)?.map(|hit| hit.key))
    }

    /// Returns an iterator over all keys, in arbitrary order.
    ///
    /// # Errors
    ///
    /// Fails if the set is damaged.
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<Keys<'a, K, Nothing>> {
        Ok(Keys::new(Reader::new(tx, &self.table)?))
    }

    /// Returns how many keys fit before a shard must grow. Visits every shard: linear in
    /// the set's size, with a small factor.
    ///
    /// # Errors
    ///
    /// Fails if the set is damaged.
    pub fn capacity(&self, tx: &Image) -> Result<u64> {
        Reader::new(tx, &self.table)?.capacity()
    }
}

impl<K: Key> HashSet<K> {
    /// Returns the keys that are in both sets.
    ///
    /// # Errors
    ///
    /// Fails if one of the sets is damaged.
    pub fn intersection<'a>(
        &self,
        tx: &'a Image,
        other: &Self,
    ) -> Result<impl Iterator<Item = Result<&'a K>> + use<'a, K>> {
        let (few, many) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        let many = Reader::new(tx, &many.table)?;
        Ok(few.iter(tx)?.filter_map(move |key| only(key, |key| Ok(many.find(key)?.is_some()))))
    }

    /// Returns the keys that are in this set and not in the other.
    ///
    /// # Errors
    ///
    /// Fails if one of the sets is damaged.
    pub fn difference<'a>(
        &self,
        tx: &'a Image,
        other: &Self,
    ) -> Result<impl Iterator<Item = Result<&'a K>> + use<'a, K>> {
        let other = Reader::new(tx, &other.table)?;
        Ok(self.iter(tx)?.filter_map(move |key| only(key, |key| Ok(other.find(key)?.is_none()))))
    }

    /// Returns whether no key is in both sets.
    ///
    /// # Errors
    ///
    /// Fails if one of the sets is damaged.
    pub fn is_disjoint(&self, tx: &Image, other: &Self) -> Result<bool> {
        Ok(self.intersection(tx, other)?.next().transpose()?.is_none())
    }

    /// Returns whether every key is also in the other set.
    ///
    /// # Errors
    ///
    /// Fails if one of the sets is damaged.
    pub fn is_subset(&self, tx: &Image, other: &Self) -> Result<bool> {
        Ok(self.difference(tx, other)?.next().transpose()?.is_none())
    }

    /// Returns whether every key of the other set is also in this one.
    ///
    /// # Errors
    ///
    /// Fails if one of the sets is damaged.
    pub fn is_superset(&self, tx: &Image, other: &Self) -> Result<bool> {
        other.is_subset(tx, self)
    }
}

/// Returns the key if `test` returns true; passes every error on.
fn only<K>(key: Result<&K>, test: impl FnOnce(&K) -> Result<bool>) -> Option<Result<&K>> {
    match key.and_then(|key| Ok((key, test(key)?))) {
        Ok((key, is_wanted)) => is_wanted.then_some(Ok(key)),
        Err(error) => Some(Err(error)),
    }
}

impl<K: StoredKey> HashSet<K> {
    /// Returns an empty set with capacity for `capacity` keys.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn with_capacity(tx: &mut WriteTx<'_>, capacity: u64) -> Result<Self> {
        let mut table = Table::new();
        table.make_room(tx, capacity)?;
        Ok(Self { table })
    }
}

impl<K: StoredKey> Link<HashSet<K>> {
    fn table(self) -> Link<Table<K, Nothing>> {
        self.field(own_field!(HashSet<K>, table))
    }

    /// Inserts a key, and returns whether it was missing.
    ///
    /// # Errors
    ///
    /// Fails if the set is damaged or the file cannot grow.
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

    /// Removes a key, releases it, and returns whether the set had it.
    ///
    /// # Errors
    ///
    /// Fails if the set, or anything that the key owns, is damaged.
    pub fn remove<Q: ?Sized>(self, tx: &mut WriteTx<'_>, query: &Q) -> Result<bool>
    where
        K: Key<Q>,
    {
        let Some(key) = self.take(tx, query)? else { return Ok(false) };
        tx.release(key)?;
        Ok(true)
    }

    /// Removes a key, and returns the stored one to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Fails if the set is damaged or the file cannot grow.
    pub fn take<Q: ?Sized>(self, tx: &mut WriteTx<'_>, query: &Q) -> Result<Option<K>>
    where
        K: Key<Q>,
    {
        let Some(place) = self.table().seek(tx, query)?.place else { return Ok(None) };
        let key = tx.value(place.key())?;
        self.table().take(tx, &place)?;
        Ok(Some(key))
    }

    /// Keeps the keys for which `keep` returns true, and releases the others.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::HashSet};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let numbers = tx.alloc(HashSet::<u64>::new())?;
    /// numbers.extend(&mut tx, 0..10u64)?;
    /// numbers.retain(&mut tx, |number| number % 5 == 0)?;
    /// assert_eq!(tx.at(numbers)?.len(), 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the set, or anything that is released, is damaged.
    pub fn retain(self, tx: &mut WriteTx<'_>, mut keep: impl FnMut(&K) -> bool) -> Result<()> {
        self.retain_with(tx, |_, key| Ok(keep(key)))
    }

    /// Filters like [`retain`](Self::retain), with a test that can read what keys own or link
    /// to.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, Text, collections::HashSet};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let names = tx.alloc(HashSet::<Text>::new())?;
    /// names.extend(&mut tx, ["Ada", "Bo"])?;
    /// names.retain_with(&mut tx, |tx, name| Ok(name.as_str(tx)?.len() > 2))?;
    /// assert!(!tx.at(names)?.contains(&tx, "Bo")?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`retain`](Self::retain), plus any error of `keep`, after which no key is removed.
    pub fn retain_with(
        self,
        tx: &mut WriteTx<'_>,
        mut keep: impl FnMut(&Image, &K) -> Result<bool>,
    ) -> Result<()> {
        self.table().retain(tx, |tx, place| keep(tx, tx.at(place.key())?))
    }

    /// Inserts the keys of an iterator.
    ///
    /// # Errors
    ///
    /// Same as [`insert`](Self::insert).
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

    /// Removes all keys, and returns them to the caller, who then owns them. Holds all of
    /// them in memory at once.
    ///
    /// # Errors
    ///
    /// Fails if the set or a key is damaged.
    pub fn drain(self, tx: &mut WriteTx<'_>) -> Result<Vec<K>> {
        let offsets = self.table().header(tx)?.offsets(tx)?.into_iter();
        let keys = offsets.map(|offset| tx.value(Link::from_parts(offset, 1)));
        let keys = keys.collect::<Result<_>>()?;
        self.table().update(tx, Table::free)?;
        Ok(keys)
    }

    /// Releases all keys and all memory of the set.
    ///
    /// # Errors
    ///
    /// Fails if the set, or anything that a key owns, is damaged.
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.table().clear(tx)
    }

    /// Reserves capacity for `more` keys, after which inserting them moves no others.
    /// Unlike an insert, this takes time and log space in proportion to the set.
    ///
    /// # Errors
    ///
    /// Fails if the set is damaged or the file cannot grow.
    pub fn reserve(self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        self.table().update(tx, |table, tx| table.make_room(tx, more))
    }

    /// Releases capacity that no key uses, as far as the shards allow. Unlike a removal,
    /// this takes time and log space in proportion to the set.
    ///
    /// # Errors
    ///
    /// Same as [`reserve`](Self::reserve).
    pub fn shrink_to_fit(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.table().update(tx, Table::shrink)
    }
}
