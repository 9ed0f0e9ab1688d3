//! The entry API of maps: looks a key up once.

use crate::error::Result;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::map::BTreeMap;
use super::node::{Path, Tree};
use crate::collections::key::OrdKey;

/// An entry of a [`BTreeMap`], occupied or vacant, from `Link::entry`.
pub enum Entry<'a, 'store, 'q, K: Persist, V: Persist, Q: ?Sized> {
    /// The map has the key.
    Occupied(OccupiedEntry<'a, 'store, K, V>),
    /// The map does not have the key.
    Vacant(VacantEntry<'a, 'store, 'q, K, V, Q>),
}

/// An occupied entry: the map has the key.
pub struct OccupiedEntry<'a, 'store, K: Persist, V: Persist> {
    tx: &'a mut WriteTx<'store>,
    map: Link<BTreeMap<K, V>>,
    tree: Tree<K, V>,
    path: Path<K, V>,
}

/// A vacant entry: where the key would be inserted.
pub struct VacantEntry<'a, 'store, 'q, K: Persist, V: Persist, Q: ?Sized> {
    tx: &'a mut WriteTx<'store>,
    map: Link<BTreeMap<K, V>>,
    tree: Tree<K, V>,
    path: Option<Path<K, V>>,
    key: &'q Q,
}

impl<'a, 'store, 'q, K: OrdKey<Q>, V: Persist, Q: ?Sized> Entry<'a, 'store, 'q, K, V, Q> {
    pub(super) fn new(
        tx: &'a mut WriteTx<'store>,
        map: Link<BTreeMap<K, V>>,
        tree: Tree<K, V>,
        place: Option<(Path<K, V>, bool)>,
        key: &'q Q,
    ) -> Self {
        match place {
            Some((path, true)) => Self::Occupied(OccupiedEntry::new(tx, map, tree, path)),
            place => {
                let path = place.map(|(path, _)| path);
                Self::Vacant(VacantEntry { tx, map, tree, path, key })
            }
        }
    }

    /// Returns the value, after inserting `value` if the key is missing. Otherwise releases
    /// `value`.
    ///
    /// # Errors
    ///
    /// Fails if the map or the value is damaged, or the file cannot grow.
    pub fn or_insert(self, value: V) -> Result<&'a mut V> {
        match self {
            Self::Occupied(entry) => {
                entry.tx.release(value)?;
                entry.into_mut()
            }
            Self::Vacant(entry) => entry.insert(value),
        }
    }

    /// Returns the value, after inserting the result of `make` if the key is missing.
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

    /// Returns the value, after inserting the result of `make` if the key is missing. `make`
    /// gets the transaction, to create a value such as a [`Text`](crate::Text). What it does to
    /// the map counts: if it inserts the key itself, that value stays, and its result is released.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// use flagstone::{Store, Text, collections::BTreeMap};
    ///
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let rooms = tx.alloc(BTreeMap::<u64, Text>::new())?;
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
    /// Same as [`or_insert`](Self::or_insert), plus any error of `make`, after which the key is
    /// still missing.
    pub fn or_try_insert_with(
        self,
        make: impl FnOnce(&mut WriteTx<'store>) -> Result<V>,
    ) -> Result<&'a mut V> {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => {
                let value = make(entry.tx)?;
                // `make` may have changed this map, so look the key up again.
                let VacantEntry { map, tx, key, .. } = entry;
                map.entry(tx, key)?.or_insert(value)
            }
        }
    }

    /// Returns the value, after inserting the default if the key is missing.
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

    /// Modifies the value if the map has the key.
    ///
    /// # Errors
    ///
    /// Fails if the map or the value is damaged.
    pub fn and_modify(mut self, change: impl FnOnce(&mut V)) -> Result<Self> {
        if let Self::Occupied(entry) = &mut self {
            change(entry.get_mut()?);
        }
        Ok(self)
    }
}

impl<'a, 'store, K: Persist, V: Persist> OccupiedEntry<'a, 'store, K, V> {
    pub(super) fn new(
        tx: &'a mut WriteTx<'store>,
        map: Link<BTreeMap<K, V>>,
        tree: Tree<K, V>,
        path: Path<K, V>,
    ) -> Self {
        Self { tx, map, tree, path }
    }

    /// Returns the stored key.
    ///
    /// # Errors
    ///
    /// Fails if the key is damaged.
    pub fn key(&self) -> Result<&K> {
        self.tx.at(self.path.leaf.key_link(self.path.index))
    }

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// Fails if the value is damaged.
    pub fn get(&self) -> Result<&V> {
        self.tx.at(self.link())
    }

    /// Returns the link to the value, to change a collection in it. The map's next insert or removal
    /// moves values: from then on the link leads to another entry's value, or to none, and nothing
    /// notices. Do not store it.
    pub fn link(&self) -> Link<V> {
        Link::from_parts(self.path.leaf.value_offset(self.path.index), 1)
    }

    /// Returns the value for modification.
    ///
    /// # Errors
    ///
    /// Fails if the map or the value is damaged.
    pub fn get_mut(&mut self) -> Result<&mut V> {
        self.path.leaf.value_mut(self.tx, self.path.index)
    }

    /// Returns the value for modification, for as long as the transaction is borrowed.
    ///
    /// # Errors
    ///
    /// Same as [`get_mut`](Self::get_mut).
    pub fn into_mut(self) -> Result<&'a mut V> {
        self.path.leaf.value_mut(self.tx, self.path.index)
    }

    /// Replaces the value, and returns the old one to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Same as [`get_mut`](Self::get_mut).
    pub fn insert(&mut self, value: V) -> Result<V> {
        self.tx.expect_owned(&value)?;
        self.path.leaf.replace(self.tx, self.path.index, value)
    }

    /// Removes the entry, releases the key, and returns the value to the caller, who then
    /// owns it.
    ///
    /// # Errors
    ///
    /// Fails if the map, the key or the value is damaged.
    pub fn remove(self) -> Result<V> {
        let Self { tx, map, mut tree, path } = self;
        let (key, value) = tree.remove_at(tx, path)?;
        map.set_tree(tx, tree)?;
        tx.release(key)?;
        Ok(value)
    }

    /// Removes the entry, and returns the key and the value to the caller, who then owns
    /// both.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn remove_entry(self) -> Result<(K, V)> {
        let Self { tx, map, mut tree, path } = self;
        let entry = tree.remove_at(tx, path)?;
        map.set_tree(tx, tree)?;
        Ok(entry)
    }
}

impl<'a, 'q, K: OrdKey<Q>, V: Persist, Q: ?Sized> VacantEntry<'a, '_, 'q, K, V, Q> {
    /// Returns the key that was looked up.
    #[must_use]
    pub fn key(&self) -> &'q Q {
        self.key
    }

    /// Inserts the key with a value.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged or the file cannot grow.
    pub fn insert(self, value: V) -> Result<&'a mut V> {
        let Self { tx, map, mut tree, path, key } = self;
        tx.expect_owned(&value)?;
        let key = K::store(tx, key)?;
        let (leaf, index) = tree.insert_at(tx, path, (key, value))?;
        map.set_tree(tx, tree)?;
        leaf.value_mut(tx, index)
    }
}
