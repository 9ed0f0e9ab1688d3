//! The entry API of hash maps.

use crate::error::Result;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::map::HashMap;
use super::table::{Found, Location};
use crate::collections::key::Key;

/// An entry of a [`HashMap`], occupied or vacant, as in `std`; returned by `entry`
/// on the link to the map.
pub enum Entry<'a, 'tx, K: Persist, V: Persist, Q: ?Sized> {
    /// The map has the key.
    Occupied(OccupiedEntry<'a, 'tx, K, V>),
    /// The map does not have the key.
    Vacant(VacantEntry<'a, 'tx, K, V, Q>),
}

/// An occupied entry.
pub struct OccupiedEntry<'a, 'tx, K: Persist, V: Persist> {
    map: Link<HashMap<K, V>>,
    tx: &'a mut WriteTx<'tx>,
    place: Location<K, V>,
}

/// A vacant entry.
pub struct VacantEntry<'a, 'tx, K: Persist, V: Persist, Q: ?Sized> {
    map: Link<HashMap<K, V>>,
    tx: &'a mut WriteTx<'tx>,
    query: &'a Q,
    hash: u64,
}

impl<'a, 'tx, K: Key<Q>, V: Persist, Q: ?Sized> Entry<'a, 'tx, K, V, Q> {
    pub(super) fn new(
        map: Link<HashMap<K, V>>,
        tx: &'a mut WriteTx<'tx>,
        query: &'a Q,
        sought: Found<K, V>,
    ) -> Self {
        match sought.place {
            Some(place) => Self::Occupied(OccupiedEntry { map, tx, place }),
            None => Self::Vacant(VacantEntry { map, tx, query, hash: sought.hash }),
        }
    }

    /// Returns the value for modification, after inserting `value` if the entry is vacant.
    /// Otherwise releases `value`.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged or the file cannot grow.
    pub fn or_insert(self, value: V) -> Result<&'a mut V> {
        match self {
            Self::Occupied(entry) => {
                entry.tx.release(value)?;
                entry.into_mut()
            }
            Self::Vacant(entry) => entry.insert(value),
        }
    }

    /// Returns the value for modification, after inserting the result of `make` if the
    /// entry is vacant.
    ///
    /// # Errors
    ///
    /// Same as [`or_insert`](Self::or_insert).
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> Result<&'a mut V> {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => entry.insert(make()),
        }
    }

    /// Returns the value for modification, after inserting the result of `make` if the
    /// entry is vacant. `make` gets the transaction, to create a value such as a
    /// [`Text`](crate::Text). What it does to the map counts: if it inserts the key itself,
    /// that value stays, and its result is released.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// use flagstone::{Store, Text, collections::HashMap};
    ///
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let rooms = tx.alloc(HashMap::<u64, Text>::new())?;
    /// for _ in 0..2 {
    ///     rooms.entry(&mut tx, &7)?.or_try_insert_with(|tx| Text::new(tx, "free"))?;
    /// }
    /// let room = tx.at(rooms)?.get(&tx, &7)?.expect("a room");
    /// assert_eq!(room.as_str(&tx)?, "free");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`or_insert`](Self::or_insert), plus any error of `make`, after which the entry
    /// is still vacant.
    pub fn or_try_insert_with(
        self,
        make: impl FnOnce(&mut WriteTx<'tx>) -> Result<V>,
    ) -> Result<&'a mut V> {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => {
                let value = make(entry.tx)?;
                // `make` may have changed this map, so look the key up again.
                let VacantEntry { map, tx, query, .. } = entry;
                map.entry(tx, query)?.or_insert(value)
            }
        }
    }

    /// Returns the value for modification, after inserting the default if the entry is
    /// vacant.
    ///
    /// # Errors
    ///
    /// Same as [`or_insert`](Self::or_insert).
    pub fn or_default(self) -> Result<&'a mut V>
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Modifies the value if the entry is occupied.
    ///
    /// # Errors
    ///
    /// Fails if the value is damaged.
    pub fn and_modify(mut self, change: impl FnOnce(&mut V)) -> Result<Self> {
        if let Self::Occupied(entry) = &mut self {
            change(entry.get_mut()?);
        }
        Ok(self)
    }
}

impl<'a, K: Key<Q>, V: Persist, Q: ?Sized> VacantEntry<'a, '_, K, V, Q> {
    /// Returns the query that this entry was looked up by.
    #[must_use]
    pub fn query(&self) -> &Q {
        self.query
    }

    /// Inserts the key with `value`, and returns the value for modification.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged or the file cannot grow.
    pub fn insert(self, value: V) -> Result<&'a mut V> {
        self.tx.expect_owned(&value)?;
        let key = K::store(self.tx, self.query)?;
        let slot = self.map.table().reserve_slot(self.tx, self.hash)?;
        slot.put_key(self.tx, key)?;
        slot.put_value::<K, V>(self.tx, value)?;
        slot.value_mut::<K, V>(self.tx)
    }
}

impl<'a, K: crate::collections::StoredKey, V: Persist> OccupiedEntry<'a, '_, K, V> {
    /// Returns the stored key.
    ///
    /// # Errors
    ///
    /// Fails if it is damaged.
    pub fn key(&self) -> Result<&K> {
        self.tx.at(self.place.key())
    }

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// Fails if it is damaged.
    pub fn get(&self) -> Result<&V> {
        self.tx.at(self.place.value())
    }

    /// Returns the link to the value, to change a collection in it. The map's next insert or removal
    /// moves values: from then on the link leads to another entry's value, or to none, and nothing
    /// notices. Do not store it.
    pub fn link(&self) -> Link<V> {
        self.place.value()
    }

    /// Returns the value for modification.
    ///
    /// # Errors
    ///
    /// Fails if the map or the value is damaged.
    pub fn get_mut(&mut self) -> Result<&mut V> {
        self.place.open(self.tx)?.value_mut::<K, V>(self.tx)
    }

    /// Returns the value for modification, for as long as the transaction is borrowed.
    ///
    /// # Errors
    ///
    /// Same as [`get_mut`](Self::get_mut).
    pub fn into_mut(self) -> Result<&'a mut V> {
        self.place.open(self.tx)?.value_mut::<K, V>(self.tx)
    }

    /// Replaces the value, and returns the old one to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Same as [`get_mut`](Self::get_mut).
    pub fn insert(&mut self, value: V) -> Result<V> {
        self.tx.expect_owned(&value)?;
        let old = self.tx.value(self.place.value())?;
        self.place.open(self.tx)?.put_value::<K, V>(self.tx, value)?;
        Ok(old)
    }

    /// Removes the entry, releases the key, and returns the value to the caller, who then
    /// owns it.
    ///
    /// # Errors
    ///
    /// Fails if the map, or anything that the key owns, is damaged.
    pub fn remove(self) -> Result<V> {
        let (key, value) = self.map.take(self.tx, &self.place)?;
        self.tx.release(key)?;
        Ok(value)
    }

    /// Removes the entry, and returns the key and the value to the caller, who then owns
    /// both.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged or the file cannot grow.
    pub fn remove_entry(self) -> Result<(K, V)> {
        self.map.take(self.tx, &self.place)
    }
}
