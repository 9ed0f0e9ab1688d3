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

/// A queue with two ends, as `std::collections::VecDeque`, whose elements lie in
/// the store.
///
/// What only reads is here; what changes is on [`Link<Deque<T>>`](Link). Indices
/// are `u64` and count from the front. An index that `std` would panic for is an
/// error.
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
/// - `as_mut_slices`, `iter_mut`, `range_mut`, and sorting: they are called on
///   the slice that [`make_contiguous`](Link::make_contiguous) returns.
/// - `deque[i]`, `==`, `for x in &deque`, `Extend`, `FromIterator`, `Hash`: these
///   traits have no place for the transaction, nor for an error. Use `get`,
///   `iter`, `extend`, `from_iter`.
/// - `Clone`, and `resize` of elements that are not `Copy`: a copy of an element
///   that owns memory would own the same memory.
/// - `retain_mut`, `extract_if`, a `drain` that is an iterator: they would hold
///   the transaction while your code runs. `drain` returns the elements;
///   [`retain_with`](Link::retain_with) lends the transaction for reading.
/// - `pop_front_if`, `pop_back_if`: look at `front` or `back` first.
/// - `into_iter`, `From<Vec<T>>`: `drain(&mut tx, ..)` takes the elements, and
///   `extend` of the other collection stores them.
/// - `try_reserve`: [`reserve`](Link::reserve) returns an error already.
// Slots without an element are zero: whoever walks over the file by the types'
// descriptions finds no links in them that lead nowhere.
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
pub struct Deque<T: Persist> {
    /// All slots, with and without an element.
    slots: Blocks<T>,
    /// The slot of the first element.
    head: u64,
    /// Elements from there on; behind the last slot comes the first one.
    len: u64,
}

crate::persist::persist_own!(Deque<T> as "flagstone::Deque" { slots, head, len } owner Self::own);

impl<T: Persist> Default for Deque<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the elements lie; they themselves need a transaction.
impl<T: Persist> fmt::Debug for Deque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slots, head, len } = self;
        write!(f, "Deque({:#x} x {}, {len} from {head} on)", slots.offset(), slots.count())
    }
}

impl<T: Persist> Deque<T> {
    /// No elements, and no allocation.
    pub fn new() -> Self {
        Self { slots: Blocks::null(), head: 0, len: 0 }
    }

    /// No elements, with room for `capacity` of them.
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

    /// The values of an iterator.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn from_iter(tx: &mut WriteTx<'_>, values: impl IntoIterator<Item = T>) -> Result<Self> {
        let mut deque = Self::new();
        deque.take_in(tx, values, None)?;
        Ok(deque)
    }

    /// Number of elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no elements.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Elements that there is room for before it moves.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.slots.count()
    }

    /// The elements in order, in two pieces: the second one is empty unless they
    /// go round the end of the allocation.
    ///
    /// # Errors
    ///
    /// The deque or an element is damaged.
    pub fn as_slices<'a>(&self, tx: &'a Image) -> Result<(&'a [T], &'a [T])> {
        self.expect_sound()?;
        self.slices(tx, 0, self.len)
    }

    /// The element at `index`, or `None` past the end. Constant time.
    ///
    /// # Errors
    ///
    /// The deque or the element is damaged.
    #[inline]
    pub fn get<'a>(&self, tx: &'a Image, index: u64) -> Result<Option<&'a T>> {
        self.expect_sound()?;
        self.link(index).map(|link| tx.at(link)).transpose()
    }

    /// The link to the element at `index`, or `None` past the end. It is good
    /// until the deque changes its length.
    #[inline]
    #[must_use]
    pub fn link(&self, index: u64) -> Option<Link<T>> {
        if index >= self.len || self.expect_sound().is_err() {
            return None;
        }
        self.all_slots().index(self.slot(index))
    }

    /// The first element.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn front<'a>(&self, tx: &'a Image) -> Result<Option<&'a T>> {
        self.get(tx, 0)
    }

    /// The last element.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn back<'a>(&self, tx: &'a Image) -> Result<Option<&'a T>> {
        self.get(tx, self.len.wrapping_sub(1))
    }

    /// The elements in order, from both ends.
    ///
    /// # Errors
    ///
    /// As [`as_slices`](Self::as_slices).
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<DequeIter<'a, T>> {
        self.as_slices(tx).map(DequeIter::of)
    }

    /// The elements of a range in order.
    ///
    /// # Errors
    ///
    /// The deque or one of these elements is damaged, or the range is not
    /// within.
    pub fn range<'a>(
        &self,
        tx: &'a Image,
        range: impl RangeBounds<u64>,
    ) -> Result<DequeIter<'a, T>> {
        self.expect_sound()?;
        let range = array::within::<Self>(range, self.len)?;
        self.slices(tx, range.start, range.end - range.start).map(DequeIter::of)
    }

    /// Whether an element is equal to `value`. Looks at one after the other.
    ///
    /// # Errors
    ///
    /// As [`as_slices`](Self::as_slices).
    pub fn contains(&self, tx: &Image, value: &T) -> Result<bool>
    where
        T: PartialEq,
    {
        let (front, back) = self.as_slices(tx)?;
        Ok(front.contains(value) || back.contains(value))
    }

    /// Finds an element in a sorted deque: its index, or where it would go.
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

    /// As [`binary_search`](Self::binary_search), by a comparison.
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

    /// As [`binary_search`](Self::binary_search), by a comparison that can read
    /// what elements own or link to.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and an error of `compare`.
    pub fn binary_search_with(
        &self,
        tx: &Image,
        mut compare: impl FnMut(&Image, &T) -> Result<Ordering>,
    ) -> Result<std::result::Result<u64, u64>> {
        array::search(self.len, |index| {
            // `search` asks only below the length.
            self.get(tx, index)?.map_or(Ok(Ordering::Greater), |probe| compare(tx, probe))
        })
    }

    /// As [`binary_search`](Self::binary_search), by a key.
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

    /// The number of elements at the front for which `is_before` holds, if it
    /// holds for none behind them.
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
            // Either the elements go round the end, or they stop here. What lies
            // before them is zero, and a value of zeros owns nothing.
            owned.array(Blocks::<T>::new(offset, capacity), head.saturating_add(len));
        }
    }
}
