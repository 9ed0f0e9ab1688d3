//! The read-only methods of sorted maps.

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Block, Link, Owned, Persist, words};

use super::iter::{Entries, KeyRange};
use super::layout::{Node, own_node};
use super::node::Tree;
use crate::collections::key::{OrdKey, StoredKey};

/// A sorted map like `std::collections::BTreeMap`, whose entries live in the store.
///
/// Methods that only read are here; methods that modify are on
/// [`Link<BTreeMap<K, V>>`](Link). Keys are looked up as described at [`OrdKey`]:
/// integers by reference, a [`Text`](crate::Text) by `&str`, a
/// [`Pair`](crate::Pair) by `&(&a, &b)`.
///
/// ```
/// use flagstone::{Store, Text, collections::BTreeMap};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let ages = tx.root_or_insert_with("ages", BTreeMap::<Text, u64>::new)?;
/// ages.insert(&mut tx, "Grace", 45)?;
/// ages.insert(&mut tx, "Ada", 36)?;
/// assert_eq!(ages.insert(&mut tx, "Ada", 37)?, Some(36));
/// *ages.entry(&mut tx, "Edith")?.or_insert(0)? += 9;
/// tx.commit()?;
///
/// let tx = store.read()?;
/// let ages = tx.root_object::<BTreeMap<Text, u64>>("ages")?;
/// assert_eq!(ages.get(&tx, "Ada")?, Some(&37));
/// for entry in ages.range(&tx, "B"..)? {
///     let (name, age) = entry?;
///     println!("{} is {age}", name.as_str(&tx)?);
/// }
/// # Ok(()) }
/// ```
///
/// It is a B+ tree. Entries lie in nodes of 2 KiB, larger only where fewer than
/// four would fit. An insertion or removal moves on average half of its node's
/// entries by one place, and that is about what a small transaction writes. Keys
/// inserted in order, from either end, fill the nodes;
/// [`from_sorted`](Self::from_sorted) is the fastest way to build a large map.
///
/// # What std has that this lacks
///
/// | `std` | reason, and what to use instead |
/// | --- | --- |
/// | `Clone`, `PartialEq`, `Ord`, `Hash`, `Index` | they need the transaction; use [`iter`](Self::iter) and [`get`](Self::get) |
/// | `FromIterator`, `From<[_; N]>`, `Extend` | they cannot fail and do not take a transaction; use [`from_sorted`](Self::from_sorted) and [`extend`](Link::extend) |
/// | `IntoIterator`, `into_keys`, `into_values` | [`pop_first`](Link::pop_first) until the map is empty |
/// | `iter_mut`, `values_mut`, `range_mut` | a transaction lends one `&mut` at a time; use [`retain`](Link::retain), or [`link`](Self::link) for each key |
/// | `extract_if` | [`retain`](Link::retain), or [`remove`](Link::remove) for the keys found |
/// | cursors (`lower_bound` and similar) | [`range`](Self::range) from the key on, and [`entry`](Link::entry) |
/// | `Entry::or_insert_with_key`, `Entry::key`, `insert_entry` | the caller has the query; use `or_insert_with` |
/// | `ExactSizeIterator` | the length is a number in a file and may be wrong; [`len`](Self::len) returns it |
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
pub struct BTreeMap<K: Persist, V: Persist> {
    root: Block<Node<K, V>>,
    len: u64,
    /// Level of the root; leaves have level 0.
    height: u64,
}

crate::persist::persist_own!(
    BTreeMap<K, V> as "flagstone::BTreeMap" { root, len, height }
    owner Self::own
);

// As FORMAT.md says.
const _: () = {
    assert!(size_of::<BTreeMap<u64, u64>>() == 24);
    assert!(std::mem::offset_of!(BTreeMap<u64, u64>, root) == 0);
    assert!(std::mem::offset_of!(BTreeMap<u64, u64>, len) == 8);
    assert!(std::mem::offset_of!(BTreeMap<u64, u64>, height) == 16);
};

impl<K: Persist, V: Persist> Default for BTreeMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Persist, V: Persist> BTreeMap<K, V> {
    /// Returns an empty map without an allocation.
    pub fn new() -> Self {
        Self::of(Tree::empty())
    }

    pub(super) fn of(tree: Tree<K, V>) -> Self {
        Self { root: Block::new(tree.root, 1), len: tree.len, height: tree.height }
    }

    #[inline]
    pub(super) fn tree(&self) -> Result<Tree<K, V>> {
        Tree::new(self.root.offset(), self.len, self.height)
    }

    fn own(bytes: &[u8], owned: &mut Owned) {
        if let Some([root, _len, height]) = words(bytes) {
            own_node::<K, V>(root, height, owned);
        }
    }

    /// Returns the number of entries.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no entries.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the value of a key. Takes logarithmic time, as every lookup does.
    ///
    /// # Errors
    ///
    /// Fails if the map, a key or the value is damaged.
    #[inline]
    pub fn get<'a, Q: ?Sized>(&self, tx: &'a Image, key: &Q) -> Result<Option<&'a V>>
    where
        K: OrdKey<Q>,
    {
        self.link(tx, key)?.map(|link| tx.at(link)).transpose()
    }

    /// Returns the stored key that equals `key`, and its value.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    #[inline]
    pub fn get_key_value<'a, Q: ?Sized>(
        &self,
        tx: &'a Image,
        key: &Q,
    ) -> Result<Option<(&'a K, &'a V)>>
    where
        K: OrdKey<Q>,
    {
        match self.tree()?.find(tx, &|tx, stored| stored.order(tx, key))? {
            Some((leaf, index)) => Ok(Some((tx.at(leaf.key_link(index))?, {
                tx.at(Link::from_parts(leaf.value_offset(index), 1))?
            }))),
            None => Ok(None),
        }
    }

    /// Returns whether the map has an entry for `key`.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    #[inline]
    pub fn contains_key<Q: ?Sized>(&self, tx: &Image, key: &Q) -> Result<bool>
    where
        K: OrdKey<Q>,
    {
        Ok(self.link(tx, key)?.is_some())
    }

    /// Returns the link to the value of a key, to change a collection in it.
    ///
    /// The map's next insert or removal moves values: from then on the link leads to another entry's
    /// value, or to none, and nothing notices. Take a new one then, and do not store it. For a value
    /// that others link to, make it an object of its own, and a `Link` to it the map's value.
    ///
    /// ```
    /// use flagstone::{Store, Text, collections::{BTreeMap, Vec}};
    ///
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let scores = tx.alloc(BTreeMap::<Text, Vec<u64>>::new())?;
    /// for (name, score) in [("Ada", 7), ("Bo", 1), ("Ada", 5)] {
    ///     scores.entry(&mut tx, name)?.or_default()?;
    ///     let list = tx.at(scores)?.link(&tx, name)?.expect("it was inserted");
    ///     list.push(&mut tx, score)?;
    /// }
    /// let of_ada = tx.at(scores)?.get(&tx, "Ada")?.expect("two scores");
    /// assert_eq!(of_ada.as_slice(&tx)?, [7, 5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    #[inline]
    pub fn link<Q: ?Sized>(&self, tx: &Image, key: &Q) -> Result<Option<Link<V>>>
    where
        K: OrdKey<Q>,
    {
        let found = self.tree()?.find(tx, &|tx, stored| stored.order(tx, key))?;
        Ok(found.map(|(leaf, index)| Link::from_parts(leaf.value_offset(index), 1)))
    }

    /// Returns the entry with the least key.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn first_key_value<'a>(&self, tx: &'a Image) -> Result<Option<(&'a K, &'a V)>> {
        self.end(tx, false)
    }

    /// Returns the entry with the greatest key.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn last_key_value<'a>(&self, tx: &'a Image) -> Result<Option<(&'a K, &'a V)>> {
        self.end(tx, true)
    }

    fn end<'a>(&self, tx: &'a Image, is_last: bool) -> Result<Option<(&'a K, &'a V)>> {
        let Some(path) = self.tree()?.end(tx, is_last)? else { return Ok(None) };
        let key = tx.at(path.leaf.key_link(path.index))?;
        let value = tx.at(Link::from_parts(path.leaf.value_offset(path.index), 1))?;
        Ok(Some((key, value)))
    }

    /// Returns an iterator over all entries in key order, from both ends.
    ///
    /// # Errors
    ///
    /// Fails if the map is damaged. An item is an error if a node, a key or a value is
    /// damaged; no items follow it.
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<Iter<'a, K, V>> {
        Ok(Iter(self.tree()?.entries(tx)?))
    }

    /// Returns an iterator over all keys in order.
    ///
    /// # Errors
    ///
    /// Same as [`iter`](Self::iter).
    pub fn keys<'a>(&self, tx: &'a Image) -> Result<Keys<'a, K, V>> {
        Ok(Keys(self.tree()?.entries(tx)?))
    }

    /// Returns an iterator over all values in key order.
    ///
    /// # Errors
    ///
    /// Same as [`iter`](Self::iter).
    pub fn values<'a>(&self, tx: &'a Image) -> Result<Values<'a, K, V>> {
        Ok(Values(self.tree()?.entries(tx)?))
    }

    /// Returns an iterator over the entries whose keys are in a range, in order, from both
    /// ends: `range(&tx, 5..9)`, `range(&tx, "a"..="b")`, a pair of
    /// [`Bound`](std::ops::Bound)s, or the keys that begin alike, `range(&tx, prefix("lib"))`:
    /// see [`prefix`](super::prefix()). A range whose start is after its end, for which `std`
    /// panics, is empty.
    ///
    /// # Errors
    ///
    /// Same as [`iter`](Self::iter).
    pub fn range<'a, Q: ?Sized>(
        &self,
        tx: &'a Image,
        range: impl KeyRange<Q>,
    ) -> Result<Iter<'a, K, V>>
    where
        K: OrdKey<Q>,
    {
        Ok(Iter(self.tree()?.range(tx, &range)?))
    }
}

impl<K: StoredKey, V: Persist> std::fmt::Debug for BTreeMap<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BTreeMap").field("root", &self.root).field("len", &self.len).finish()
    }
}

/// Iterator over the entries of a [`BTreeMap`] in order, from both ends.
///
/// It reports no length: that number comes from the file and may be wrong.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Iter<'a, K, V>(Entries<'a, K, V>);

/// Iterator over the keys of a [`BTreeMap`] in order, from both ends.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Keys<'a, K, V>(Entries<'a, K, V>);

/// Iterator over the values of a [`BTreeMap`] in key order, from both ends.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Values<'a, K, V>(Entries<'a, K, V>);

macro_rules! iterators {
    ($($name:ident $item:ty: |$entry:ident| $pick:expr;)*) => {$(
        impl<'a, K: Persist, V: Persist> Iterator for $name<'a, K, V> {
            type Item = Result<$item>;

            #[inline]
            fn next(&mut self) -> Option<Self::Item> {
                Some(self.0.next()?.map(|$entry| $pick))
            }
        }

        impl<K: Persist, V: Persist> DoubleEndedIterator for $name<'_, K, V> {
            #[inline]
            fn next_back(&mut self) -> Option<Self::Item> {
                Some(self.0.next_back()?.map(|$entry| $pick))
            }
        }

        impl<K: Persist, V: Persist> std::iter::FusedIterator for $name<'_, K, V> {}

        impl<K: Persist, V: Persist> Clone for $name<'_, K, V> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }
    )*};
}

iterators! {
    Iter (&'a K, &'a V): |entry| entry;
    Keys &'a K: |entry| entry.0;
    Values &'a V: |entry| entry.1;
}
