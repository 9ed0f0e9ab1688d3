//! Deques: elements in a ring, which grow and shrink at both ends.

mod ends_mut;
mod insert_remove;
mod iter;
mod ring;

use std::cmp::Ordering;
use std::fmt;
use std::ops::RangeBounds;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Blocks, Link, Owned, Persist, words};
use crate::store::WriteTx;

use super::array;

pub use iter::DequeIter;

/// A double-ended queue like `std::collections::VecDeque`, whose elements live in
/// the store.
///
/// Methods that only read are here; methods that modify are on
/// [`Link<Deque<T>>`](Link). Indices are `u64` and count from the front. Where
/// `std` panics for an index, this returns an error.
///
/// ```
/// use flagstone::{Store, collections::Deque};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let jobs = tx.alloc(Deque::new())?;
/// jobs.push_back(&mut tx, 7u64)?;
/// jobs.push_front(&mut tx, 5)?;
/// assert!(tx.at(jobs)?.iter(&tx)?.eq(&[5, 7]));
/// assert_eq!(jobs.pop_front(&mut tx)?, Some(5));
/// # Ok(()) }
/// ```
///
/// # What std has that this lacks
///
/// - `as_mut_slices`, `iter_mut`, `range_mut`, and sorting: call them on the slice
///   that [`make_contiguous`](Link::make_contiguous) returns.
/// - `deque[i]`, `==`, `for x in &deque`, `Extend`, `FromIterator`, `Hash`: these
///   traits can neither take the transaction nor return an error. Use `get`,
///   `iter`, `extend`, `from_iter`.
/// - `Clone`, and `resize` for elements that are not `Copy`: a copy of an element
///   that owns memory would own the same memory.
/// - `retain_mut`, `extract_if`, a `drain` that is an iterator: they would hold
///   the transaction while your code runs. `drain` returns the elements;
///   [`retain_with`](Link::retain_with) lends the transaction for reading.
/// - `into_iter`, `From<Vec<T>>`: `drain(&mut tx, ..)` takes the elements out, and
///   `extend` of the other collection stores them.
/// - `try_reserve`: [`reserve`](Link::reserve) already returns an error.
// Slots without an element are zero, so a walk over the file by type descriptions
// finds no stale links in them.
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
pub struct Deque<T: Persist> {
    /// All slots, with and without an element.
    slots: Blocks<T>,
    /// The slot of the first element.
    head: u64,
    /// Number of elements from there on; the first slot follows the last one.
    len: u64,
}

crate::persist::persist_own!(Deque<T> as "flagstone::Deque" { slots, head, len } owner Self::own);

impl<T: Persist> Default for Deque<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints where the elements lie; reading them needs a transaction.
impl<T: Persist> fmt::Debug for Deque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slots, head, len } = self;
        write!(f, "Deque({:#x} x {}, {len} from {head} on)", slots.offset(), slots.count())
    }
}

impl<T: Persist> Deque<T> {
    /// Returns an empty deque without an allocation.
    pub fn new() -> Self {
        Self { slots: Blocks::null(), head: 0, len: 0 }
    }

    /// Returns an empty deque with capacity for `capacity` elements.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn with_capacity(tx: &mut WriteTx<'_>, capacity: u64) -> Result<Self> {
        let mut deque = Self::new();
        if capacity > 0 {
            deque.move_to(tx, capacity)?;
        }
        Ok(deque)
    }

    /// Stores the values of an iterator.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn from_iter(tx: &mut WriteTx<'_>, values: impl IntoIterator<Item = T>) -> Result<Self> {
        let mut deque = Self::new();
        deque.take_in(tx, values, None)?;
        Ok(deque)
    }

    /// Returns the number of elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no elements.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many elements fit before the allocation must move.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.slots.count()
    }

    /// Returns the elements in order, as two slices. The second is empty unless the
    /// elements wrap around the end of the allocation.
    ///
    /// # Errors
    ///
    /// Fails if the deque or an element is damaged.
    pub fn as_slices<'a>(&self, tx: &'a Image) -> Result<(&'a [T], &'a [T])> {
        self.expect_sound()?;
        self.slices(tx, 0, self.len)
    }

    /// Returns the element at `index`, or `None` past the end. Constant time.
    ///
    /// # Errors
    ///
    /// Fails if the deque or the element is damaged.
    #[inline]
    pub fn get<'a>(&self, tx: &'a Image, index: u64) -> Result<Option<&'a T>> {
        self.expect_sound()?;
        self.link(index).map(|link| tx.at(link)).transpose()
    }

    /// Returns the link to the element at `index`, or `None` past the end. The link is
    /// valid until the deque's length changes.
    #[inline]
    #[must_use]
    pub fn link(&self, index: u64) -> Option<Link<T>> {
        if index >= self.len || self.expect_sound().is_err() {
            return None;
        }
        self.all_slots().index(self.slot(index))
    }

    /// Returns the first element.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn front<'a>(&self, tx: &'a Image) -> Result<Option<&'a T>> {
        self.get(tx, 0)
    }

    /// Returns the last element.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn back<'a>(&self, tx: &'a Image) -> Result<Option<&'a T>> {
        self.get(tx, self.len.wrapping_sub(1))
    }

    /// Returns an iterator over the elements in order, from both ends.
    ///
    /// # Errors
    ///
    /// Same as [`as_slices`](Self::as_slices).
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<DequeIter<'a, T>> {
        self.as_slices(tx).map(DequeIter::of)
    }

    /// Returns an iterator over the elements of a range, in order.
    ///
    /// # Errors
    ///
    /// Fails if the deque or one of these elements is damaged, or the range is out of
    /// bounds.
    pub fn range<'a>(
        &self,
        tx: &'a Image,
        range: impl RangeBounds<u64>,
    ) -> Result<DequeIter<'a, T>> {
        self.expect_sound()?;
        let range = array::within::<Self>(range, self.len)?;
        self.slices(tx, range.start, range.end - range.start).map(DequeIter::of)
    }

    /// Returns whether an element equals `value`. Linear search.
    ///
    /// # Errors
    ///
    /// Same as [`as_slices`](Self::as_slices).
    pub fn contains(&self, tx: &Image, value: &T) -> Result<bool>
    where
        T: PartialEq,
    {
        let (front, back) = self.as_slices(tx)?;
        Ok(front.contains(value) || back.contains(value))
    }

    /// Finds an element in a sorted deque: returns its index, or where it would be
    /// inserted.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn binary_search(&self, tx: &Image, value: &T) -> Result<std::result::Result<u64, u64>>
    where
        T: Ord,
    {
        self.binary_search_by(tx, |probe| probe.cmp(value))
    }

    /// Searches like [`binary_search`](Self::binary_search), with a comparison function.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn binary_search_by(
        &self,
        tx: &Image,
        mut compare: impl FnMut(&T) -> Ordering,
    ) -> Result<std::result::Result<u64, u64>> {
        self.binary_search_with(tx, |_, probe| Ok(compare(probe)))
    }

    /// Searches like [`binary_search`](Self::binary_search), with a comparison function
    /// that can read what elements own or link to.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get), plus any error of `compare`.
    pub fn binary_search_with(
        &self,
        tx: &Image,
        mut compare: impl FnMut(&Image, &T) -> Result<Ordering>,
    ) -> Result<std::result::Result<u64, u64>> {
        array::search(self.len, |index| {
            // `search` only asks below the length.
            self.get(tx, index)?.map_or(Ok(Ordering::Greater), |probe| compare(tx, probe))
        })
    }

    /// Searches like [`binary_search`](Self::binary_search), by a key.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn binary_search_by_key<K: Ord>(
        &self,
        tx: &Image,
        key: &K,
        mut key_of: impl FnMut(&T) -> K,
    ) -> Result<std::result::Result<u64, u64>> {
        self.binary_search_by(tx, |probe| key_of(probe).cmp(key))
    }

    /// Returns how many elements at the front satisfy `is_before`, provided that none after
    /// them does.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn partition_point(
        &self,
        tx: &Image,
        mut is_before: impl FnMut(&T) -> bool,
    ) -> Result<u64> {
        let side = |probe: &T| if is_before(probe) { Ordering::Less } else { Ordering::Greater };
        Ok(self.binary_search_by(tx, side)?.unwrap_or_else(|place| place))
    }

    fn own(bytes: &[u8], owned: &mut Owned) {
        if let Some([offset, capacity, head, len]) = words(bytes) {
            // The elements either wrap around the end or stop here. Everything before them is zero,
            // and a value of zeros owns nothing.
            owned.array(Blocks::<T>::new(offset, capacity), head.saturating_add(len));
        }
    }
}
