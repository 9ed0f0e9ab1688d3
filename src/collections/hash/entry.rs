//! The place of a key in a map, full or not.

use crate::error::Result;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::map::HashMap;
use super::table::{Found, Location};
use crate::collections::key::Key;

/// The place of a key in a [`HashMap`], as `std`'s; `entry` of the link to the
/// map returns it.
pub enum Entry<'a, 'tx, K: Persist, V: Persist, Q: ?Sized> {
    /// The key is there.
    Occupied(OccupiedEntry<'a, 'tx, K, V>),
    /// The key is not there.
    Vacant(VacantEntry<'a, 'tx, K, V, Q>),
}

/// An entry that is there.
pub struct OccupiedEntry<'a, 'tx, K: Persist, V: Persist> {
    map: Link<HashMap<K, V>>,
    tx: &'a mut WriteTx<'tx>,
    place: Location<K, V>,
}

/// The place where an entry may be put.
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

    /// The value, to change it; where there is none, `value` first becomes it.
    /// A `value` that is not needed is released.
    ///
    /// # Errors
    ///
    /// The map is damaged, or the file cannot grow.
    pub fn or_insert(self, value: V) -> Result<&'a mut V> {
        match self {
            Self::Occupied(entry) => {
                entry.tx.release(value)?;
                entry.into_mut()
            }
            Self::Vacant(entry) => entry.insert(value),
        }
    }

    /// The same with a value that is made only if it is needed.
    ///
    /// # Errors
    ///
    /// As [`or_insert`](Self::or_insert).
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> Result<&'a mut V> {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => entry.insert(make()),
        }
    }

    /// The same with a value that is made in the transaction, such as a
    /// [`Text`](crate::Text).
    ///
    /// # Errors
    ///
    /// As [`or_insert`](Self::or_insert), and those of `make`.
    pub fn or_try_insert_with(
        self,
        make: impl FnOnce(&mut WriteTx<'tx>) -> Result<V>,
    ) -> Result<&'a mut V> {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => {
                let value = make(entry.tx)?;
                // It may have changed this map.
                let VacantEntry { map, tx, query, .. } = entry;
                map.entry(tx, query)?.or_insert(value)
            }
        }
    }

    /// The same with the type's default.
    ///
    /// # Errors
    ///
    /// As [`or_insert`](Self::or_insert).
    pub fn or_default(self) -> Result<&'a mut V>
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// The link to the value; where there is none, `make` makes one first. It is
    /// good until the map's next insert or removal.
    ///
    /// # Errors
    ///
    /// As [`or_insert`](Self::or_insert).
    pub fn or_insert_link(self, make: impl FnOnce() -> V) -> Result<Link<V>> {
        match self {
            Self::Occupied(entry) => Ok(entry.link()),
            Self::Vacant(entry) => entry.insert_link(make()),
        }
    }

    /// Changes the value, if there is one.
    ///
    /// # Errors
    ///
    /// The value is damaged.
    pub fn and_modify(mut self, change: impl FnOnce(&mut V)) -> Result<Self> {
        if let Self::Occupied(entry) = &mut self {
            change(entry.get_mut()?);
        }
        Ok(self)
    }
}

impl<'a, K: Key<Q>, V: Persist, Q: ?Sized> VacantEntry<'a, '_, K, V, Q> {
    /// What the key was asked for by.
    #[must_use]
    pub fn query(&self) -> &Q {
        self.query
    }

    /// Puts the entry there. The value, to change it.
    ///
    /// # Errors
    ///
    /// The map is damaged, or the file cannot grow.
    pub fn insert(self, value: V) -> Result<&'a mut V> {
        self.tx.expect_owned(&value)?;
        let key = K::store(self.tx, self.query)?;
        let slot = self.map.table().reserve_slot(self.tx, self.hash)?;
        slot.put_key(self.tx, key)?;
        slot.put_value::<K, V>(self.tx, value)?;
        slot.value_mut::<K, V>(self.tx)
    }

    /// The same, with the link to the value, good until the map's next insert or
    /// removal.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn insert_link(self, value: V) -> Result<Link<V>> {
        self.tx.expect_owned(&value)?;
        let key = K::store(self.tx, self.query)?;
        let slot = self.map.table().reserve_slot(self.tx, self.hash)?;
        slot.put_key(self.tx, key)?;
        slot.put_value::<K, V>(self.tx, value)?;
        Ok(super::lookup::value_at::<K, V>(slot.offset))
    }
}

impl<'a, K: crate::collections::StoredKey, V: Persist> OccupiedEntry<'a, '_, K, V> {
    /// The stored key.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn key(&self) -> Result<&K> {
        self.tx.at(self.place.key())
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn get(&self) -> Result<&V> {
        self.tx.at(self.place.value())
    }

    /// The link to the value, good until the map's next insert or removal.
    pub fn link(&self) -> Link<V> {
        self.place.value()
    }

    /// The value, to change it.
    ///
    /// # Errors
    ///
    /// The map or the value is damaged.
    pub fn get_mut(&mut self) -> Result<&mut V> {
        self.place.open(self.tx)?.value_mut::<K, V>(self.tx)
    }

    /// The value, to change it as long as the transaction is borrowed.
    ///
    /// # Errors
    ///
    /// As [`get_mut`](Self::get_mut).
    pub fn into_mut(self) -> Result<&'a mut V> {
        self.place.open(self.tx)?.value_mut::<K, V>(self.tx)
    }

    /// Replaces the value. The old one is the caller's then.
    ///
    /// # Errors
    ///
    /// As [`get_mut`](Self::get_mut).
    pub fn insert(&mut self, value: V) -> Result<V> {
        self.tx.expect_owned(&value)?;
        let old = self.tx.value(self.place.value())?;
        self.place.open(self.tx)?.put_value::<K, V>(self.tx, value)?;
        Ok(old)
    }

    /// Takes the entry out and releases the key. The value is the caller's then.
    ///
    /// # Errors
    ///
    /// The map, or what the key owns, is damaged.
    pub fn remove(self) -> Result<V> {
        let (key, value) = self.map.take(self.tx, &self.place)?;
        self.tx.release(key)?;
        Ok(value)
    }

    /// Takes the entry out. Key and value are the caller's then.
    ///
    /// # Errors
    ///
    /// The map is damaged, or the file cannot grow.
    pub fn remove_entry(self) -> Result<(K, V)> {
        self.map.take(self.tx, &self.place)
    }
}
