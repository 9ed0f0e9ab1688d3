//! Vectors: contiguous elements, which move to a larger allocation as they grow.

mod elements_mut;
mod iter;
mod resize;
mod sort;

use std::cmp::Ordering;
use std::fmt;
use std::ops::RangeBounds;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Blocks, Link, Owned, Persist, words};
use crate::store::{Region, WriteTx};

use super::array::{self, at};

pub use iter::VecIter;

/// A vector like `std::vec::Vec`, whose elements live in the store.
///
/// Methods that only read are here; methods that modify are on
/// [`Link<Vec<T>>`](Link). Indices are `u64`. Where `std` panics for an index, this
/// returns an error.
///
/// ```
/// use flagstone::{Store, collections::Vec};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let list = tx.alloc(Vec::new())?;
/// list.push(&mut tx, 7u64)?;
/// list.insert(&mut tx, 0, 5)?;
/// assert_eq!(tx.at(list)?.as_slice(&tx)?, [5, 7]);
/// assert_eq!(list.pop(&mut tx)?, Some(7));
/// # Ok(()) }
/// ```
///
/// # What std has that this lacks
///
/// - Everything that only reads a slice (`windows`, `chunks`, `split`,
///   `starts_with`, `concat`, `to_vec`, `is_sorted`, `select…`): call it on
///   [`as_slice`](Self::as_slice). Everything that modifies elements in place
///   (`iter_mut`, `chunks_mut`, `split_at_mut`, `select_nth_unstable`): call it on
///   [`as_mut_slice`](Link::as_mut_slice).
/// - `vec[i]`, `==`, `for x in &vec`, `Extend`, `FromIterator`, `Hash`: these
///   traits can neither take the transaction nor return an error. Use `get`,
///   `as_slice`, `extend`, `from_iter`.
/// - `Clone`, and `extend_from_slice`, `resize`, `fill` for elements that are not
///   `Copy`: a copy of an element that owns memory would own the same memory.
///   [`resize_with`](Link::resize_with) makes each element anew; for `Copy`
///   elements, [`duplicate`](Link::duplicate) is `clone`.
/// - `retain_mut`, `dedup_by` with `&mut`, `extract_if`, a `drain` that is an
///   iterator: they would hold the transaction while your code runs. `drain` and
///   `splice` return the elements; [`retain_with`](Link::retain_with) lends the
///   transaction for reading.
/// - `into_iter`, `into_boxed_slice`, `into_flattened`: a collection does not leave
///   the store; `drain(&mut tx, ..)` takes its elements out.
/// - `as_ptr`, `set_len`, `from_raw_parts`, `spare_capacity_mut`, `leak`: unsafe,
///   or about memory that does not exist here.
/// - `try_reserve`: [`reserve`](Link::reserve) already returns an error.
/// - `push_within_capacity`, `insert_mut`, `push_mut`: compare `len` with
///   `capacity`; call `get_mut` afterwards.
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
pub struct Vec<T: Persist> {
    /// The elements, as an ordinary link, which tools can follow.
    items: Link<[T]>,
    /// Number of elements that the allocation can hold.
    capacity: u64,
}

crate::persist::persist_own!(Vec<T> as "flagstone::Vec" { items, capacity } owner Self::own);

impl<T: Persist> Default for Vec<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints where the elements lie; reading them needs a transaction.
impl<T: Persist> fmt::Debug for Vec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vec({:?} of {})", self.items, self.capacity)
    }
}

impl<T: Persist> Vec<T> {
    /// Returns an empty vector without an allocation.
    pub fn new() -> Self {
        Self { items: Link::null(), capacity: 0 }
    }

    /// Returns an empty vector with capacity for `capacity` elements.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn with_capacity(tx: &mut WriteTx<'_>, capacity: u64) -> Result<Self> {
        let mut vec = Self::new();
        if capacity > 0 {
            vec.move_to(tx, capacity)?;
        }
        Ok(vec)
    }

    /// Stores the values of an iterator.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn from_iter(tx: &mut WriteTx<'_>, values: impl IntoIterator<Item = T>) -> Result<Self> {
        let mut vec = Self::new();
        vec.take_in(tx, values, None)?;
        Ok(vec)
    }

    /// Returns the number of elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.items.len()
    }

    /// Returns whether there are no elements.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many elements fit before the allocation must move.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns all elements. Validates each of them if not every bit pattern is a value;
    /// `get` validates only one, [`get_range`](Self::get_range) only those in the range.
    ///
    /// # Errors
    ///
    /// Fails if the vector or an element is damaged.
    #[inline]
    pub fn as_slice<'a>(&self, tx: &'a Image) -> Result<&'a [T]> {
        if self.is_empty() {
            return Ok(&[]);
        }
        tx.at(self.items)
    }

    /// Returns the element at `index`, or `None` past the end. Constant time.
    ///
    /// # Errors
    ///
    /// Fails if the vector or the element is damaged.
    #[inline]
    pub fn get<'a>(&self, tx: &'a Image, index: u64) -> Result<Option<&'a T>> {
        self.items.index(index).map(|link| tx.at(link)).transpose()
    }

    /// Returns the elements of a range, or `None` if it is out of bounds: `get` of a slice
    /// with a range.
    ///
    /// # Errors
    ///
    /// Fails if the vector or one of these elements is damaged.
    pub fn get_range<'a>(
        &self,
        tx: &'a Image,
        range: impl RangeBounds<u64>,
    ) -> Result<Option<&'a [T]>> {
        let Ok(range) = array::within::<Self>(range, self.len()) else {
            return Ok(None);
        };
        let Some(first) = self.items.index(range.start).filter(|_| !range.is_empty()) else {
            return Ok(Some(&[]));
        };
        tx.at(Link::from_parts(first.offset(), range.end - range.start)).map(Some)
    }

    /// Returns the link to the element at `index`, or `None` past the end. The link is
    /// valid until the vector's length changes.
    #[inline]
    #[must_use]
    pub fn link(&self, index: u64) -> Option<Link<T>> {
        self.items.index(index)
    }

    /// Returns the first element.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn first<'a>(&self, tx: &'a Image) -> Result<Option<&'a T>> {
        self.get(tx, 0)
    }

    /// Returns the last element.
    ///
    /// # Errors
    ///
    /// Same as [`get`](Self::get).
    pub fn last<'a>(&self, tx: &'a Image) -> Result<Option<&'a T>> {
        self.get(tx, self.len().wrapping_sub(1))
    }

    /// Returns an iterator over the elements in order.
    ///
    /// # Errors
    ///
    /// Same as [`as_slice`](Self::as_slice).
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<VecIter<'a, T>> {
        Ok(VecIter::new(tx, self.as_slice(tx)?, self.items.offset()))
    }

    /// Returns whether an element equals `value`. Linear search.
    ///
    /// # Errors
    ///
    /// Same as [`as_slice`](Self::as_slice).
    pub fn contains(&self, tx: &Image, value: &T) -> Result<bool>
    where
        T: PartialEq,
    {
        Ok(self.as_slice(tx)?.contains(value))
    }

    /// Finds an element in a sorted vector: returns its index, or where it would be
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
        array::search(self.len(), |index| {
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

    fn blocks(&self) -> Blocks<T> {
        Blocks::new(self.items.offset(), self.capacity)
    }

    fn set_len(&mut self, len: u64) {
        self.items = Link::from_parts(self.items.offset(), len);
    }

    /// Copies the header, which exists both in memory and in the file during a change.
    fn same(&self) -> Self {
        Self { items: self.items, capacity: self.capacity }
    }

    /// Returns an error if the lengths contradict each other.
    fn tested(self) -> Result<Self> {
        let numbers = [self.items.offset(), self.len(), self.capacity];
        array::expect_header("flagstone::Vec", numbers, true)?;
        Ok(self)
    }

    /// Opens the allocation, after validating it; there must be one.
    fn region(&self, tx: &mut WriteTx<'_>) -> Result<Region> {
        tx.region_of(self.blocks())
    }

    /// Moves the elements to an allocation for `capacity` elements, which must not be 0.
    fn move_to(&mut self, tx: &mut WriteTx<'_>, capacity: u64) -> Result<()> {
        let (old, len) = (self.blocks(), self.len());
        // Validated first: a damaged length must not make the file grow.
        let from = (!old.is_null()).then(|| tx.region_of(old)).transpose()?;
        let new: Blocks<T> = tx.alloc_blocks(capacity)?;
        if let Some(from) = from {
            let to = tx.region_of(new)?;
            tx.copy_in((from, 0), (to, 0), at::<T>(len))?;
            tx.free_blocks(old)?;
        }
        self.items = Link::from_parts(new.offset(), len);
        self.capacity = capacity;
        Ok(())
    }

    fn make_room(&mut self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        let needed = self.len().saturating_add(more);
        if needed <= self.capacity {
            return Ok(());
        }
        self.move_to(tx, array::grown(self.capacity, needed))
    }

    /// Appends values. Keeps the header at `home` correct while the iterator runs, because
    /// the iterator may panic.
    fn take_in(
        &mut self,
        tx: &mut WriteTx<'_>,
        values: impl IntoIterator<Item = T>,
        home: Option<Link<Self>>,
    ) -> Result<()> {
        let mut values = values.into_iter();
        let mut region = None;
        while let Some(value) = values.next() {
            tx.expect_owned(&value)?;
            if self.len() == self.capacity {
                let more = (values.size_hint().0 as u64).saturating_add(1);
                self.make_room(tx, more)?;
                region = None;
                home.map_or(Ok(()), |home| tx.put_header(home, self.same()))?;
            }
            let place = region.map_or_else(|| self.region(tx), Ok)?;
            region = Some(place);
            tx.put_in(place, at::<T>(self.len()), value)?;
            self.set_len(self.len() + 1);
        }
        home.map_or(Ok(()), |home| tx.put_header(home, self.same()))
    }

    fn own(bytes: &[u8], owned: &mut Owned) {
        if let Some([offset, len, capacity]) = words(bytes) {
            owned.array(Blocks::<T>::new(offset, capacity), len);
        }
    }
}
