//! The modifying methods of hash maps.

use std::borrow::Borrow;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Persist, own_field};
use crate::store::WriteTx;

use super::capacity;
use super::entry::Entry;
use super::layout::Table;
use super::map::HashMap;
use super::table::Location;
use crate::collections::key::{Key, StoredKey};
use crate::collections::retain::ask;

impl<K: StoredKey, V: Persist> Link<HashMap<K, V>> {
    pub(super) fn table(self) -> Link<Table<K, V>> {
        self.field(own_field!(HashMap<K, V>, table))
    }

    /// Inserts a value. An existing key stays as it is stored, and its old value is
    /// returned to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged or the file cannot grow.
    pub fn insert<Q: ?Sized>(self, tx: &mut WriteTx<'_>, query: &Q, value: V) -> Result<Option<V>>
    where
        K: Key<Q>,
    {
        tx.expect_owned(&value)?;
        let sought = self.table().seek(tx, query)?;
        if let Some(place) = sought.place {
            let old = tx.value(place.value())?;
            place.open(tx)?.put_value::<K, V>(tx, value)?;
            return Ok(Some(old));
        }
        let key = K::store(tx, query)?;
        let slot = self.table().reserve_slot(tx, sought.hash)?;
        slot.put_key(tx, key)?;
        slot.put_value::<K, V>(tx, value)?;
        Ok(None)
    }

    /// Removes a key, releases it, and returns its value to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Fails if the map, or anything that the key owns, is damaged.
    pub fn remove<Q: ?Sized>(self, tx: &mut WriteTx<'_>, query: &Q) -> Result<Option<V>>
    where
        K: Key<Q>,
    {
        let Some((key, value)) = self.remove_entry(tx, query)? else { return Ok(None) };
        tx.release(key)?;
        Ok(Some(value))
    }

    /// Removes a key, and returns it and its value to the caller, who then owns both.
    ///
    /// # Errors
    ///
    /// Fails if the map or the entry is damaged, or the file cannot grow.
    pub fn remove_entry<Q: ?Sized>(self, tx: &mut WriteTx<'_>, query: &Q) -> Result<Option<(K, V)>>
    where
        K: Key<Q>,
    {
        let Some(place) = self.table().seek(tx, query)?.place else { return Ok(None) };
        self.take(tx, &place).map(Some)
    }

    pub(super) fn take(self, tx: &mut WriteTx<'_>, place: &Location<K, V>) -> Result<(K, V)> {
        let entry = (tx.value(place.key())?, tx.value(place.value())?);
        self.table().take(tx, place)?;
        Ok(entry)
    }

    /// Returns the value of a key for modification.
    ///
    /// # Errors
    ///
    /// Fails if the map or the value is damaged.
    pub fn get_mut<'a, Q: ?Sized>(
        self,
        tx: &'a mut WriteTx<'_>,
        query: &Q,
    ) -> Result<Option<&'a mut V>>
    where
        K: Key<Q>,
    {
        match self.table().seek(tx, query)?.place {
            Some(place) => place.open(tx)?.value_mut::<K, V>(tx).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the entry of a key, occupied or vacant.
    ///
    /// ```
    /// # use flagstone::{Store, collections::HashMap};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let counts = tx.alloc(HashMap::<u64, u64>::new())?;
    /// for number in [3, 5, 3] {
    ///     *counts.entry(&mut tx, &number)?.or_insert(0)? += 1;
    /// }
    /// assert_eq!(tx.at(counts)?.get(&tx, &3)?, Some(&2));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged.
    pub fn entry<'a, 'tx, Q: ?Sized>(
        self,
        tx: &'a mut WriteTx<'tx>,
        query: &'a Q,
    ) -> Result<Entry<'a, 'tx, K, V, Q>>
    where
        K: Key<Q>,
    {
        let sought = self.table().seek(tx, query)?;
        Ok(Entry::new(self, tx, query, sought))
    }

    /// Keeps the entries for which `keep` returns true, and releases the others with
    /// everything that they own, after asking about all of them. `keep` may modify the values.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::HashMap};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let tries = tx.alloc(HashMap::<u64, u64>::new())?;
    /// tries.extend(&mut tx, [(1u64, 3), (2, 1)])?;
    /// tries.retain(&mut tx, |_, left| {
    ///     *left -= 1;
    ///     *left > 0
    /// })?;
    /// assert_eq!((tx.at(tries)?.len(), tx.at(tries)?.get(&tx, &1)?), (1, Some(&2)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the map, or anything that is released, is damaged.
    pub fn retain(
        self,
        tx: &mut WriteTx<'_>,
        mut keep: impl FnMut(&K, &mut V) -> bool,
    ) -> Result<()> {
        self.retain_with(tx, |_, key, value| Ok(keep(key, value)))
    }

    /// Filters like [`retain`](Self::retain), with a test that can read what keys and values
    /// own or link to.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, Text, collections::HashMap};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let ages = tx.alloc(HashMap::<Text, u64>::new())?;
    /// ages.extend(&mut tx, [("Ada", 36), ("Bo", 7)])?;
    /// ages.retain_with(&mut tx, |tx, name, _| Ok(name.as_str(tx)?.len() > 2))?;
    /// assert!(!tx.at(ages)?.contains_key(&tx, "Bo")?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`retain`](Self::retain), plus any error of `keep`: nothing is removed then, and
    /// the values that it had changed for other entries stay changed.
    pub fn retain_with(
        self,
        tx: &mut WriteTx<'_>,
        mut keep: impl FnMut(&Image, &K, &mut V) -> Result<bool>,
    ) -> Result<()> {
        self.table().retain(tx, |tx, place| {
            let answer = ask(tx, place.key(), place.value(), &mut keep)?;
            if let Some(value) = answer.changed {
                tx.expect_owned(&value)?;
                place.open(tx)?.put_value::<K, V>(tx, value)?;
            }
            Ok(answer.is_kept)
        })
    }

    /// Inserts the entries of an iterator. Releases the values that they replace.
    ///
    /// ```
    /// # use flagstone::{Store, collections::HashMap};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let squares = tx.alloc(HashMap::<u64, u64>::new())?;
    /// squares.extend(&mut tx, (0..10).map(|number| (number, number * number)))?;
    /// assert_eq!(tx.at(squares)?.get(&tx, &7)?, Some(&49));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`insert`](Self::insert).
    pub fn extend<Q: ?Sized, B: Borrow<Q>>(
        self,
        tx: &mut WriteTx<'_>,
        entries: impl IntoIterator<Item = (B, V)>,
    ) -> Result<()>
    where
        K: Key<Q>,
    {
        for (query, value) in entries {
            if let Some(old) = self.insert(tx, query.borrow(), value)? {
                tx.release(old)?;
            }
        }
        Ok(())
    }

    /// Removes all entries, and returns them to the caller, who then owns them. Holds all
    /// of them in memory at once.
    ///
    /// # Errors
    ///
    /// Fails if the map or an entry is damaged.
    pub fn drain(self, tx: &mut WriteTx<'_>) -> Result<Vec<(K, V)>> {
        let offsets = self.table().header(tx)?.offsets(tx)?;
        let entries = offsets.into_iter().map(|offset| capacity::entry_at(tx, offset));
        let entries = entries.collect::<Result<_>>()?;
        self.table().update(tx, Table::free)?;
        Ok(entries)
    }

    /// Releases all entries and all memory of the map.
    ///
    /// # Errors
    ///
    /// Fails if the map, or anything that an entry owns, is damaged.
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.table().clear(tx)
    }

    /// Reserves capacity for `more` entries, after which inserting them moves no others.
    ///
    /// Unlike an insert, this takes time and log space in proportion to the map.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged or the file cannot grow.
    pub fn reserve(self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        self.table().update(tx, |table, tx| table.make_room(tx, more))
    }

    /// Releases capacity that no entry uses, as far as the shards allow.
    ///
    /// Unlike a removal, this takes time and log space in proportion to the map.
    ///
    /// # Errors
    ///
    /// Same as [`reserve`](Self::reserve).
    pub fn shrink_to_fit(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.table().update(tx, Table::shrink)
    }
}
