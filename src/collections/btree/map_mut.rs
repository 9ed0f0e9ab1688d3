//! The modifying methods of sorted maps.

use std::borrow::Borrow;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::bulk_load;
use super::entry::{Entry, OccupiedEntry};
use super::layout::Leaf;
use super::map::BTreeMap;
use super::node::{LeafAt, Tree};
use crate::collections::key::{OrdKey, SortedKey};
use crate::collections::retain::ask;

impl<K: Persist, V: Persist> BTreeMap<K, V> {
    /// Builds a map from entries in ascending order, and fills its nodes: the fastest and
    /// most compact way.
    ///
    /// # Errors
    ///
    /// Fails if a key is not above the one before it, and then changes nothing; or if the
    /// file cannot grow.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::BTreeMap};
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let squares = BTreeMap::<u64, u64>::from_sorted(&mut tx, (0..1000).map(|i| (i, i * i)))?;
    /// let squares = tx.alloc(squares)?;
    /// assert_eq!(tx.at(squares)?.get(&tx, &30)?, Some(&900));
    /// # Ok(()) }
    /// ```
    pub fn from_sorted<Q: ?Sized, B: Borrow<Q>>(
        tx: &mut WriteTx<'_>,
        entries: impl IntoIterator<Item = (B, V)>,
    ) -> Result<Self>
    where
        K: OrdKey<Q>,
    {
        Ok(Self::of(bulk_load::from_sorted(tx, entries)?))
    }
}

impl<K: Persist, V: Persist> Link<BTreeMap<K, V>> {
    #[inline]
    fn tree(self, tx: &WriteTx<'_>) -> Result<Tree<K, V>> {
        tx.at(self)?.tree()
    }

    #[inline]
    pub(super) fn set_tree(self, tx: &mut WriteTx<'_>, tree: Tree<K, V>) -> Result<()> {
        tx.put_header(self, BTreeMap::of(tree))
    }

    /// Sets the value of a key, and returns the old value to the caller, who then owns it.
    /// An existing key stays as it is stored.
    ///
    /// # Errors
    ///
    /// Fails if the map, a key or the value is damaged, or the file cannot grow.
    pub fn insert<Q: ?Sized>(self, tx: &mut WriteTx<'_>, key: &Q, value: V) -> Result<Option<V>>
    where
        K: OrdKey<Q>,
    {
        tx.expect_owned(&value)?;
        let mut tree = self.tree(tx)?;
        let path = match tree.locate(tx, &|tx, stored: &K| stored.order(tx, key))? {
            Some((path, true)) => return path.leaf.replace(tx, path.index, value).map(Some),
            Some((path, false)) => Some(path),
            None => None,
        };
        let key = K::store(tx, key)?;
        tree.insert_at(tx, path, (key, value))?;
        self.set_tree(tx, tree)?;
        Ok(None)
    }

    /// Removes a key, releases it, and returns its value to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Fails if the map, a key or the value is damaged.
    pub fn remove<Q: ?Sized>(self, tx: &mut WriteTx<'_>, key: &Q) -> Result<Option<V>>
    where
        K: OrdKey<Q>,
    {
        let Some((key, value)) = self.remove_entry(tx, key)? else { return Ok(None) };
        tx.release(key)?;
        Ok(Some(value))
    }

    /// Removes an entry, and returns the key and the value to the caller, who then owns
    /// both.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn remove_entry<Q: ?Sized>(self, tx: &mut WriteTx<'_>, key: &Q) -> Result<Option<(K, V)>>
    where
        K: OrdKey<Q>,
    {
        let mut tree = self.tree(tx)?;
        let Some((path, true)) = tree.locate(tx, &|tx, stored: &K| stored.order(tx, key))? else {
            return Ok(None);
        };
        let entry = tree.remove_at(tx, path)?;
        self.set_tree(tx, tree)?;
        Ok(Some(entry))
    }

    /// Returns the value of a key for modification.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn get_mut<'a, Q: ?Sized>(
        self,
        tx: &'a mut WriteTx<'_>,
        key: &Q,
    ) -> Result<Option<&'a mut V>>
    where
        K: OrdKey<Q>,
    {
        let found = self.tree(tx)?.find(tx, &|tx, stored: &K| stored.order(tx, key))?;
        found.map(|(leaf, index)| leaf.value_mut(tx, index)).transpose()
    }

    /// Returns the entry of a key, occupied or vacant.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn entry<'a, 'store, 'q, Q: ?Sized>(
        self,
        tx: &'a mut WriteTx<'store>,
        key: &'q Q,
    ) -> Result<Entry<'a, 'store, 'q, K, V, Q>>
    where
        K: OrdKey<Q>,
    {
        let tree = self.tree(tx)?;
        let place = tree.locate(tx, &|tx, stored: &K| stored.order(tx, key))?;
        Ok(Entry::new(tx, self, tree, place, key))
    }

    /// Returns the entry with the least key, to read, modify or remove it.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn first_entry<'a, 'store>(
        self,
        tx: &'a mut WriteTx<'store>,
    ) -> Result<Option<OccupiedEntry<'a, 'store, K, V>>> {
        let tree = self.tree(tx)?;
        let path = tree.end(tx, false)?;
        Ok(path.map(|path| OccupiedEntry::new(tx, self, tree, path)))
    }

    /// Returns the entry with the greatest key, to read, modify or remove it.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn last_entry<'a, 'store>(
        self,
        tx: &'a mut WriteTx<'store>,
    ) -> Result<Option<OccupiedEntry<'a, 'store, K, V>>> {
        let tree = self.tree(tx)?;
        let path = tree.end(tx, true)?;
        Ok(path.map(|path| OccupiedEntry::new(tx, self, tree, path)))
    }

    /// Removes the entry with the least key, and returns it to the caller, who then owns
    /// it.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn pop_first(self, tx: &mut WriteTx<'_>) -> Result<Option<(K, V)>> {
        self.pop_end(tx, false)
    }

    /// Removes the entry with the greatest key, and returns it to the caller, who then owns
    /// it.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn pop_last(self, tx: &mut WriteTx<'_>) -> Result<Option<(K, V)>> {
        self.pop_end(tx, true)
    }

    fn pop_end(self, tx: &mut WriteTx<'_>, is_last: bool) -> Result<Option<(K, V)>> {
        let mut tree = self.tree(tx)?;
        let entry = tree.pop(tx, is_last)?;
        if entry.is_some() {
            self.set_tree(tx, tree)?;
        }
        Ok(entry)
    }

    /// Removes the entry with the least key like [`pop_first`](Self::pop_first), but only if
    /// `test` returns true for it. `test` can read what key and value own or link to.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// use flagstone::{Store, Text, collections::BTreeMap};
    ///
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let due = tx.alloc(BTreeMap::<u64, Text>::new())?;
    /// for (minute, job) in [(5, "wake up"), (9, "eat")] {
    ///     let job = Text::new(&mut tx, job)?;
    ///     due.insert(&mut tx, &minute, job)?;
    /// }
    /// while let Some((_, job)) = due.pop_first_if(&mut tx, |_, minute, _| Ok(*minute <= 7))? {
    ///     assert_eq!(job.as_str(&tx)?, "wake up");
    ///     tx.release(job)?;
    /// }
    /// assert_eq!(tx.at(due)?.len(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove), plus any error of `test`, which changes nothing.
    pub fn pop_first_if(
        self,
        tx: &mut WriteTx<'_>,
        test: impl FnOnce(&Image, &K, &V) -> Result<bool>,
    ) -> Result<Option<(K, V)>> {
        self.pop_end_if(tx, false, test)
    }

    /// Removes the entry with the greatest key like [`pop_last`](Self::pop_last), but only if
    /// `test` returns true for it. `test` can read what key and value own or link to.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::BTreeMap};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let scores = tx.alloc(BTreeMap::<u64, u64>::new())?;
    /// scores.extend(&mut tx, [(1u64, 10), (2, 20)])?;
    /// assert_eq!(scores.pop_last_if(&mut tx, |_, _, score| Ok(*score > 20))?, None);
    /// assert_eq!(scores.pop_last_if(&mut tx, |_, _, score| Ok(*score > 10))?, Some((2, 20)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`pop_first_if`](Self::pop_first_if).
    pub fn pop_last_if(
        self,
        tx: &mut WriteTx<'_>,
        test: impl FnOnce(&Image, &K, &V) -> Result<bool>,
    ) -> Result<Option<(K, V)>> {
        self.pop_end_if(tx, true, test)
    }

    fn pop_end_if(
        self,
        tx: &mut WriteTx<'_>,
        is_last: bool,
        test: impl FnOnce(&Image, &K, &V) -> Result<bool>,
    ) -> Result<Option<(K, V)>> {
        let mut tree = self.tree(tx)?;
        let Some(path) = tree.end(tx, is_last)? else { return Ok(None) };
        let (key, value) = (path.leaf.key_link(path.index), path.leaf.value_link(path.index));
        if !test(tx, tx.at(key)?, tx.at(value)?)? {
            return Ok(None);
        }
        let entry = tree.remove_at(tx, path)?;
        self.set_tree(tx, tree)?;
        Ok(Some(entry))
    }

    /// Inserts the entries of an iterator, in any order. Releases the values that they
    /// replace.
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
        K: OrdKey<Q>,
    {
        for (key, value) in entries {
            if let Some(old) = self.insert(tx, key.borrow(), value)? {
                tx.release(old)?;
            }
        }
        Ok(())
    }

    /// Keeps the entries for which `keep` returns true, and releases the others after
    /// asking about all of them. `keep` may modify the values.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::BTreeMap};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let tries = tx.alloc(BTreeMap::<u64, u64>::new())?;
    /// tries.extend(&mut tx, [(1u64, 3), (2, 1)])?;
    /// tries.retain(&mut tx, |_, left| {
    ///     *left -= 1;
    ///     *left > 0
    /// })?;
    /// assert_eq!(tx.at(tries)?.first_key_value(&tx)?, Some((&1, &2)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the map, or anything that an entry owns, is damaged.
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
    /// # use flagstone::{Store, Text, collections::BTreeMap};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let ages = tx.alloc(BTreeMap::<Text, u64>::new())?;
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
        let mut tree = self.tree(tx)?;
        tree.retain(tx, |tx, leaf, index| {
            let answer = ask(tx, leaf.key_link(index), leaf.value_link(index), &mut keep)?;
            if let Some(value) = answer.changed {
                tx.expect_owned(&value)?;
                *leaf.value_mut(tx, index)? = value;
            }
            Ok(answer.is_kept)
        })?;
        self.set_tree(tx, tree)
    }

    /// Moves all entries of `other` into this map and leaves `other` empty. Where both have
    /// a key, the value from `other` stays; the replaced value and the duplicate key are
    /// released.
    ///
    /// # Errors
    ///
    /// Fails if one of the maps is damaged, or the file cannot grow.
    pub fn append(self, tx: &mut WriteTx<'_>, other: Self) -> Result<()>
    where
        K: SortedKey,
    {
        if self == other {
            return Ok(());
        }
        let (mut tree, more) = (self.tree(tx)?, other.tree(tx)?);
        tree.append(tx, more)?;
        other.set_tree(tx, Tree::empty())?;
        self.set_tree(tx, tree)
    }

    /// Moves the entries from `key` on, including `key`, to a new map, which the caller
    /// owns.
    ///
    /// # Errors
    ///
    /// Same as [`insert`](Self::insert).
    pub fn split_off<Q: ?Sized>(self, tx: &mut WriteTx<'_>, key: &Q) -> Result<BTreeMap<K, V>>
    where
        K: OrdKey<Q>,
    {
        let mut tree = self.tree(tx)?;
        let right = tree.split_off(tx, &|tx, stored: &K| stored.order(tx, key))?;
        self.set_tree(tx, tree)?;
        Ok(BTreeMap::of(right))
    }

    /// Releases all entries and frees all nodes.
    ///
    /// # Errors
    ///
    /// Same as [`retain`](Self::retain).
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let tree = self.tree(tx)?;
        self.set_tree(tx, Tree::empty())?;
        tx.release(BTreeMap::of(tree))
    }
}

impl<K: Persist, V: Persist> LeafAt<K, V> {
    /// Returns the link to the value at `index`, for as long as no entry moves.
    #[inline]
    pub(super) fn value_link(self, index: u64) -> Link<V> {
        Link::from_parts(self.value_offset(index), 1)
    }

    /// Returns the value at `index` for modification.
    #[inline]
    pub(super) fn value_mut<'a>(self, tx: &'a mut WriteTx<'_>, index: u64) -> Result<&'a mut V> {
        let region = self.region(tx)?;
        tx.value_in_mut(region, Leaf::<K, V>::value_at(index))
    }

    /// Replaces the value at `index`, and returns the old one.
    #[inline]
    pub(super) fn replace(self, tx: &mut WriteTx<'_>, index: u64, value: V) -> Result<V> {
        Ok(std::mem::replace(self.value_mut(tx, index)?, value))
    }
}
