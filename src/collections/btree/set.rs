//! Sorted sets: trees without values.

use std::borrow::Borrow;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Block, Link, Owned, Persist, words};
use crate::store::WriteTx;

use super::bulk_load;
use super::iter::{Entries, KeyRange};
use super::layout::{Node, own_node};
use super::node::Tree;
use super::value::Nothing;
use crate::collections::key::{OrdKey, SortedKey};

/// A sorted set like `std::collections::BTreeSet`, whose keys live in the store.
///
/// Methods that only read are here; methods that modify are on
/// [`Link<BTreeSet<K>>`](Link). Keys are looked up as in a
/// [`BTreeMap`](super::BTreeMap).
///
/// ```
/// use flagstone::{Store, collections::BTreeSet};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let primes = tx.alloc(BTreeSet::<u64>::new())?;
/// primes.extend(&mut tx, [7u64, 3, 5, 2])?;
/// assert!(!primes.insert(&mut tx, &5)?);
/// let small = tx.at(primes)?.range(&tx, ..5)?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(small, [&2, &3]);
/// # Ok(()) }
/// ```
///
/// # What std has that this lacks
///
/// | `std` | reason, and what to use instead |
/// | --- | --- |
/// | `Clone`, `PartialEq`, `Ord`, `Hash`, `BitOr` and similar | they need the transaction; use [`iter`](Self::iter) and [`union`](Self::union) |
/// | `FromIterator`, `From<[_; N]>`, `Extend` | they cannot fail and do not take a transaction; use [`from_sorted`](Self::from_sorted) and [`extend`](Link::extend) |
/// | `IntoIterator` | [`pop_first`](Link::pop_first) until the set is empty |
/// | `replace`, `get_or_insert_with`, `entry` | [`take`](Link::take), [`insert`](Link::insert), then [`get`](Self::get) |
/// | `extract_if` | [`retain`](Link::retain), or `take` for the keys found |
/// | cursors (`lower_bound` and similar) | [`range`](Self::range) from the key on |
/// | `ExactSizeIterator`; unions from the back | the length is a number in a file and may be wrong; [`iter`](Self::iter) runs in both directions |
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
pub struct BTreeSet<K: Persist> {
    root: Block<Node<K, Nothing>>,
    len: u64,
    /// Level of the root; leaves have level 0.
    height: u64,
}

crate::persist::persist_own!(
    BTreeSet<K> as "flagstone::BTreeSet" { root, len, height }
    owner Self::own
);

// As FORMAT.md says.
const _: () = {
    assert!(size_of::<BTreeSet<u64>>() == 24);
    assert!(std::mem::offset_of!(BTreeSet<u64>, root) == 0);
    assert!(std::mem::offset_of!(BTreeSet<u64>, len) == 8);
    assert!(std::mem::offset_of!(BTreeSet<u64>, height) == 16);
};

impl<K: Persist> Default for BTreeSet<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Persist> BTreeSet<K> {
    /// Returns an empty set without an allocation.
    pub fn new() -> Self {
        Self::of(Tree::empty())
    }

    /// Builds a set from keys in ascending order, and fills its nodes: the fastest and most
    /// compact way.
    ///
    /// # Errors
    ///
    /// Fails if a key is not above the one before it, and then changes nothing; or if the
    /// file cannot grow.
    pub fn from_sorted<Q: ?Sized, B: Borrow<Q>>(
        tx: &mut WriteTx<'_>,
        keys: impl IntoIterator<Item = B>,
    ) -> Result<Self>
    where
        K: OrdKey<Q>,
    {
        Ok(Self::of(bulk_load::from_sorted(tx, keys.into_iter().map(|key| (key, Nothing)))?))
    }

    fn of(tree: Tree<K, Nothing>) -> Self {
        Self { root: Block::new(tree.root, 1), len: tree.len, height: tree.height }
    }

    #[inline]
    fn tree(&self) -> Result<Tree<K, Nothing>> {
        Tree::new(self.root.offset(), self.len, self.height)
    }

    fn own(bytes: &[u8], owned: &mut Owned) {
        if let Some([root, _len, height]) = words(bytes) {
            own_node::<K, Nothing>(root, height, owned);
        }
    }

    /// Returns the number of keys.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no keys.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the stored key that equals `key`. Takes logarithmic time, as every lookup
    /// does.
    ///
    /// # Errors
    ///
    /// Fails if the set or a key is damaged.
    pub fn get<'a, Q: ?Sized>(&self, tx: &'a Image, key: &Q) -> Result<Option<&'a K>>
    where
        K: OrdKey<Q>,
    {
        let found = self.tree()?.find(tx, &|tx, stored| stored.order(tx, key))?;
        found.map(|(leaf, index)| tx.at(leaf.key_link(index))).transpose()
    }

    /// Returns whether `key` is in the set.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    #[inline]
    pub fn contains<Q: ?Sized>(&self, tx: &Image, key: &Q) -> Result<bool>
    where
        K: OrdKey<Q>,
    {
        Ok(self.tree()?.find(tx, &|tx, stored| stored.order(tx, key))?.is_some())
    }

    /// Returns the least key.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn first<'a>(&self, tx: &'a Image) -> Result<Option<&'a K>> {
        let path = self.tree()?.end(tx, false)?;
        path.map(|path| tx.at(path.leaf.key_link(path.index))).transpose()
    }

    /// Returns the greatest key.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn last<'a>(&self, tx: &'a Image) -> Result<Option<&'a K>> {
        let path = self.tree()?.end(tx, true)?;
        path.map(|path| tx.at(path.leaf.key_link(path.index))).transpose()
    }

    /// Returns an iterator over all keys in order, from both ends.
    ///
    /// # Errors
    ///
    /// Fails if the set is damaged. An item is an error if a node or a key is damaged; no
    /// items follow it.
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<SetIter<'a, K>> {
        Ok(SetIter(self.tree()?.entries(tx)?))
    }

    /// Returns an iterator over the keys in a range, in order, from both ends; see
    /// [`BTreeMap::range`](super::BTreeMap::range).
    ///
    /// # Errors
    ///
    /// Same as [`iter`](Self::iter).
    pub fn range<'a, Q: ?Sized>(
        &self,
        tx: &'a Image,
        range: impl KeyRange<Q>,
    ) -> Result<SetIter<'a, K>>
    where
        K: OrdKey<Q>,
    {
        Ok(SetIter(self.tree()?.range(tx, &range)?))
    }
}

impl<K: Persist> Link<BTreeSet<K>> {
    #[inline]
    fn tree(self, tx: &WriteTx<'_>) -> Result<Tree<K, Nothing>> {
        tx.at(self)?.tree()
    }

    fn set_tree(self, tx: &mut WriteTx<'_>, tree: Tree<K, Nothing>) -> Result<()> {
        tx.put_header(self, BTreeSet::of(tree))
    }

    /// Inserts a key, and returns whether it was missing. An existing key stays as it is
    /// stored.
    ///
    /// # Errors
    ///
    /// Fails if the set or a key is damaged, or the file cannot grow.
    pub fn insert<Q: ?Sized>(self, tx: &mut WriteTx<'_>, key: &Q) -> Result<bool>
    where
        K: OrdKey<Q>,
    {
        let mut tree = self.tree(tx)?;
        let path = match tree.locate(tx, &|tx, stored: &K| stored.order(tx, key))? {
            Some((_, true)) => return Ok(false),
            place => place.map(|(path, _)| path),
        };
        let key = K::store(tx, key)?;
        tree.insert_at(tx, path, (key, Nothing))?;
        self.set_tree(tx, tree)?;
        Ok(true)
    }

    /// Removes a key, releases it, and returns whether the set had it.
    ///
    /// # Errors
    ///
    /// Fails if the set or a key is damaged.
    pub fn remove<Q: ?Sized>(self, tx: &mut WriteTx<'_>, key: &Q) -> Result<bool>
    where
        K: OrdKey<Q>,
    {
        let Some(key) = self.take(tx, key)? else { return Ok(false) };
        tx.release(key)?;
        Ok(true)
    }

    /// Removes a key, and returns the stored one to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn take<Q: ?Sized>(self, tx: &mut WriteTx<'_>, key: &Q) -> Result<Option<K>>
    where
        K: OrdKey<Q>,
    {
        let mut tree = self.tree(tx)?;
        let Some((path, true)) = tree.locate(tx, &|tx, stored: &K| stored.order(tx, key))? else {
            return Ok(None);
        };
        let (key, Nothing) = tree.remove_at(tx, path)?;
        self.set_tree(tx, tree)?;
        Ok(Some(key))
    }

    /// Removes the least key, and returns it to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn pop_first(self, tx: &mut WriteTx<'_>) -> Result<Option<K>> {
        self.pop_end(tx, false)
    }

    /// Removes the greatest key, and returns it to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn pop_last(self, tx: &mut WriteTx<'_>) -> Result<Option<K>> {
        self.pop_end(tx, true)
    }

    fn pop_end(self, tx: &mut WriteTx<'_>, is_last: bool) -> Result<Option<K>> {
        let mut tree = self.tree(tx)?;
        let Some((key, Nothing)) = tree.pop(tx, is_last)? else { return Ok(None) };
        self.set_tree(tx, tree)?;
        Ok(Some(key))
    }

    /// Removes the least key like [`pop_first`](Self::pop_first), but only if `test` returns
    /// true for it. `test` can read what the key owns or links to.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::BTreeSet};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let due = tx.alloc(BTreeSet::<u64>::new())?;
    /// due.extend(&mut tx, [5u64, 9])?;
    /// assert_eq!(due.pop_first_if(&mut tx, |_, minute| Ok(*minute <= 7))?, Some(5));
    /// assert_eq!(due.pop_first_if(&mut tx, |_, minute| Ok(*minute <= 7))?, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove), plus any error of `test`, which changes nothing.
    pub fn pop_first_if(
        self,
        tx: &mut WriteTx<'_>,
        test: impl FnOnce(&Image, &K) -> Result<bool>,
    ) -> Result<Option<K>> {
        self.pop_end_if(tx, false, test)
    }

    /// Removes the greatest key like [`pop_last`](Self::pop_last), but only if `test` returns
    /// true for it. `test` can read what the key owns or links to.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, Text, collections::BTreeSet};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let names = tx.alloc(BTreeSet::<Text>::new())?;
    /// names.extend(&mut tx, ["Ada", "Grace"])?;
    /// let long = names.pop_last_if(&mut tx, |tx, name| Ok(name.as_str(tx)?.len() > 3))?;
    /// tx.release(long.expect("Grace"))?;
    /// assert_eq!(tx.at(names)?.len(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`pop_first_if`](Self::pop_first_if).
    pub fn pop_last_if(
        self,
        tx: &mut WriteTx<'_>,
        test: impl FnOnce(&Image, &K) -> Result<bool>,
    ) -> Result<Option<K>> {
        self.pop_end_if(tx, true, test)
    }

    fn pop_end_if(
        self,
        tx: &mut WriteTx<'_>,
        is_last: bool,
        test: impl FnOnce(&Image, &K) -> Result<bool>,
    ) -> Result<Option<K>> {
        let mut tree = self.tree(tx)?;
        let Some(path) = tree.end(tx, is_last)? else { return Ok(None) };
        if !test(tx, tx.at(path.leaf.key_link(path.index))?)? {
            return Ok(None);
        }
        let (key, Nothing) = tree.remove_at(tx, path)?;
        self.set_tree(tx, tree)?;
        Ok(Some(key))
    }

    /// Inserts the keys of an iterator, in any order.
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
        K: OrdKey<Q>,
    {
        keys.into_iter().try_for_each(|key| self.insert(tx, key.borrow()).map(|_| ()))
    }

    /// Keeps the keys for which `keep` returns true, and releases the others.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::BTreeSet};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let numbers = tx.alloc(BTreeSet::<u64>::new())?;
    /// numbers.extend(&mut tx, 0..10u64)?;
    /// numbers.retain(&mut tx, |number| number % 5 == 0)?;
    /// assert_eq!(tx.at(numbers)?.iter(&tx)?.collect::<Result<Vec<_>, _>>()?, [&0, &5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the set, or anything that a key owns, is damaged.
    pub fn retain(self, tx: &mut WriteTx<'_>, mut keep: impl FnMut(&K) -> bool) -> Result<()> {
        self.retain_with(tx, |_, key| Ok(keep(key)))
    }

    /// Filters like [`retain`](Self::retain), with a test that can read what keys own or link
    /// to.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, Text, collections::BTreeSet};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let names = tx.alloc(BTreeSet::<Text>::new())?;
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
        let mut tree = self.tree(tx)?;
        tree.retain(tx, |tx, leaf, index| keep(tx, tx.at(leaf.key_link(index))?))?;
        self.set_tree(tx, tree)
    }

    /// Moves all keys of `other` into this set and leaves `other` empty. Where both have a
    /// key, one copy is released.
    ///
    /// # Errors
    ///
    /// Fails if one of the sets is damaged, or the file cannot grow.
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

    /// Moves the keys from `key` on, including `key`, to a new set, which the caller owns.
    ///
    /// # Errors
    ///
    /// Same as [`insert`](Self::insert).
    pub fn split_off<Q: ?Sized>(self, tx: &mut WriteTx<'_>, key: &Q) -> Result<BTreeSet<K>>
    where
        K: OrdKey<Q>,
    {
        let mut tree = self.tree(tx)?;
        let right = tree.split_off(tx, &|tx, stored: &K| stored.order(tx, key))?;
        self.set_tree(tx, tree)?;
        Ok(BTreeSet::of(right))
    }

    /// Releases all keys and frees all nodes.
    ///
    /// # Errors
    ///
    /// Same as [`retain`](Self::retain).
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let tree = self.tree(tx)?;
        self.set_tree(tx, Tree::empty())?;
        tx.release(BTreeSet::of(tree))
    }
}

/// Iterator over the keys of a [`BTreeSet`] in order, from both ends.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct SetIter<'a, K>(Entries<'a, K, Nothing>);

impl<'a, K: Persist> Iterator for SetIter<'a, K> {
    type Item = Result<&'a K>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.map(|(key, _)| key))
    }
}

impl<K: Persist> DoubleEndedIterator for SetIter<'_, K> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.0.next_back()?.map(|(key, _)| key))
    }
}

impl<K: Persist> std::iter::FusedIterator for SetIter<'_, K> {}

impl<K: Persist> Clone for SetIter<'_, K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
