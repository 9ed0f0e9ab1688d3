//! Vectors: elements side by side, which move to a larger place as they grow.

use std::cmp::Ordering;

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Blocks, Link, Owned, Persist};
use crate::store::{Area, WriteTx};

/// Elements that the first allocation has room for.
const FEWEST: u64 = 4;

/// A vector, as `std::vec::Vec`, whose elements lie in the store.
///
/// What only reads is here; what changes is on [`Link<Vec<T>>`](Link). Indices
/// are `u64`. An index that `std` would panic for is an error.
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
#[crate::persist(name = "flagstone::Vec", crate = crate, owner = Self::own)]
pub struct Vec<T: Persist> {
    /// The elements that there are; a link like any other, for tools.
    items: Link<[T]>,
    /// Elements that the allocation has room for.
    capacity: u64,
}

impl<T: Persist> Default for Vec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Persist> Vec<T> {
    /// No elements, and no allocation.
    #[must_use]
    pub fn new() -> Self {
        Self { items: Link::null(), capacity: 0 }
    }

    /// No elements, with room for `capacity` of them.
    ///
    /// # Errors
    ///
    /// The file cannot grow.
    pub fn with_capacity(tx: &mut WriteTx<'_>, capacity: u64) -> Result<Self> {
        let mut vec = Self::new();
        if capacity > 0 {
            vec.resize(tx, capacity)?;
        }
        Ok(vec)
    }

    /// Number of elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.items.len()
    }

    /// Whether there are no elements.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements that there is room for before it moves.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// All elements. Where not every bit pattern is a value, all of them are
    /// tested: `get` tests one.
    ///
    /// # Errors
    ///
    /// The vector or an element is damaged.
    #[inline]
    pub fn as_slice<'a>(&self, tx: &'a Image) -> Result<&'a [T]> {
        if self.is_empty() {
            return Ok(&[]);
        }
        tx.at(self.items)
    }

    /// The element at `index`, or `None` past the end. Constant time.
    ///
    /// # Errors
    ///
    /// The vector or the element is damaged.
    #[inline]
    pub fn get<'a>(&self, tx: &'a Image, index: u64) -> Result<Option<&'a T>> {
        self.items.index(index).map(|link| tx.at(link)).transpose()
    }

    /// The link to the element at `index`, or `None` past the end. It is good
    /// until the vector changes its length.
    #[inline]
    #[must_use]
    pub fn link(&self, index: u64) -> Option<Link<T>> {
        self.items.index(index)
    }

    /// The first element.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn first<'a>(&self, tx: &'a Image) -> Result<Option<&'a T>> {
        self.get(tx, 0)
    }

    /// The last element.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn last<'a>(&self, tx: &'a Image) -> Result<Option<&'a T>> {
        self.get(tx, self.len().wrapping_sub(1))
    }

    /// The elements in order.
    ///
    /// # Errors
    ///
    /// As [`as_slice`](Self::as_slice).
    pub fn iter<'a>(&self, tx: &'a Image) -> Result<std::slice::Iter<'a, T>> {
        Ok(self.as_slice(tx)?.iter())
    }

    /// Finds an element in a sorted vector: its index, or where it would go.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
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
    /// As [`get`](Self::get).
    pub fn binary_search_by(
        &self,
        tx: &Image,
        mut compare: impl FnMut(&T) -> Ordering,
    ) -> Result<std::result::Result<u64, u64>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(probe) = self.get(tx, middle)? else { break };
            match compare(probe) {
                Ordering::Equal => return Ok(Ok(middle)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    fn blocks(&self) -> Blocks<T> {
        Blocks::new(self.items.offset(), self.capacity)
    }

    fn set_len(&mut self, len: u64) {
        self.items = Link::from_parts(self.items.offset(), len);
    }

    /// Refuses lengths that contradict each other.
    fn tested(self) -> Result<Self> {
        let is_good = self.len() <= self.capacity && (self.capacity == 0) == self.items.is_null();
        if is_good {
            return Ok(self);
        }
        let (offset, len, capacity) = (self.items.offset(), self.len(), self.capacity);
        let found = format!("{len} elements in an allocation for {capacity}");
        Err(ErrorKind::corrupt("flagstone::Vec", offset, "a length within the capacity", found))
    }

    /// Moves the elements to an allocation for `capacity`, which is not 0.
    fn resize(&mut self, tx: &mut WriteTx<'_>, capacity: u64) -> Result<()> {
        let (old, len) = (self.blocks(), self.len());
        let new: Blocks<T> = tx.alloc_blocks(capacity)?;
        if !old.is_null() {
            let (from, to) = (tx.area_of(old)?, tx.area_of(new)?);
            tx.copy_in((from, 0), (to, 0), len * size_of::<T>() as u64)?;
            tx.free_blocks(old)?;
        }
        self.items = Link::from_parts(new.offset(), len);
        self.capacity = capacity;
        Ok(())
    }

    fn reserve(&mut self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        let needed = self.len().saturating_add(more);
        if needed <= self.capacity {
            return Ok(());
        }
        self.resize(tx, needed.max(self.capacity.saturating_mul(2)).max(FEWEST))
    }

    fn own(bytes: &[u8], owned: &mut Owned) {
        let word = |at: usize| {
            bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes)
        };
        if let (Some(offset), Some(len), Some(capacity)) = (word(0), word(8), word(16)) {
            owned.array(Blocks::<T>::new(offset, capacity), len);
        }
    }
}

/// Bytes before element `index`.
const fn at<T>(index: u64) -> u64 {
    index * size_of::<T>() as u64
}

impl<T: Persist> Link<Vec<T>> {
    fn header(self, tx: &WriteTx<'_>) -> Result<Vec<T>> {
        if self.is_null() {
            return tx.at(self).map(|_| Vec::new());
        }
        tx.value(self)?.tested()
    }

    /// The header, and the elements to be changed; there is at least one.
    fn open(self, tx: &mut WriteTx<'_>) -> Result<(Vec<T>, Area)> {
        let vec = self.header(tx)?;
        let area = tx.area_of(vec.blocks())?;
        Ok((vec, area))
    }

    #[cold]
    fn out_of_range(index: u64, limit: u64, len: u64) -> crate::Error {
        let type_name = Vec::<T>::type_name();
        ErrorKind::IndexOutOfRange { type_name, index, limit, len }.into()
    }

    /// Appends an element. Amortised constant time.
    ///
    /// # Errors
    ///
    /// The vector is damaged, or the file cannot grow.
    pub fn push(self, tx: &mut WriteTx<'_>, value: T) -> Result<()> {
        let mut vec = self.header(tx)?;
        vec.reserve(tx, 1)?;
        let area = tx.area_of(vec.blocks())?;
        tx.put_in(area, at::<T>(vec.len()), value)?;
        vec.set_len(vec.len() + 1);
        tx.put(self, vec)
    }

    /// Takes the last element out.
    ///
    /// # Errors
    ///
    /// The vector or the element is damaged.
    pub fn pop(self, tx: &mut WriteTx<'_>) -> Result<Option<T>> {
        let mut vec = self.header(tx)?;
        let Some(last) = vec.len().checked_sub(1).and_then(|index| vec.link(index)) else {
            return Ok(None);
        };
        let value = tx.value(last)?;
        vec.set_len(vec.len() - 1);
        tx.put(self, vec)?;
        Ok(Some(value))
    }

    /// The element at `index`, to change it.
    ///
    /// # Errors
    ///
    /// The vector or the element is damaged.
    pub fn get_mut<'a>(self, tx: &'a mut WriteTx<'_>, index: u64) -> Result<Option<&'a mut T>> {
        let vec = self.header(tx)?;
        if index >= vec.len() {
            return Ok(None);
        }
        let area = tx.area_of(vec.blocks())?;
        tx.value_in_mut(area, at::<T>(index)).map(Some)
    }

    /// All elements, to change them. All of them count as changed until the
    /// commit compares.
    ///
    /// # Errors
    ///
    /// The vector or an element is damaged.
    pub fn as_mut_slice<'a>(self, tx: &'a mut WriteTx<'_>) -> Result<&'a mut [T]> {
        let vec = self.header(tx)?;
        if vec.is_empty() {
            return Ok(&mut []);
        }
        tx.at_mut(vec.items)
    }

    /// Appends the values of an iterator.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn extend(self, tx: &mut WriteTx<'_>, values: impl IntoIterator<Item = T>) -> Result<()> {
        let mut vec = self.header(tx)?;
        let mut values = values.into_iter().peekable();
        while values.peek().is_some() {
            vec.reserve(tx, (values.size_hint().0 as u64).max(1))?;
            let area = tx.area_of(vec.blocks())?;
            let room = vec.capacity() - vec.len();
            for value in values.by_ref().take(usize::try_from(room).unwrap_or(usize::MAX)) {
                tx.put_in(area, at::<T>(vec.len()), value)?;
                vec.set_len(vec.len() + 1);
            }
        }
        tx.put(self, vec)
    }

    /// Appends copies of the elements of a slice.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn extend_from_slice(self, tx: &mut WriteTx<'_>, values: &[T]) -> Result<()>
    where
        T: Copy,
    {
        self.extend(tx, values.iter().copied())
    }

    /// Inserts an element before the one at `index`, which may be the end.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and an index past the end.
    pub fn insert(self, tx: &mut WriteTx<'_>, index: u64, value: T) -> Result<()> {
        let mut vec = self.header(tx)?;
        let len = vec.len();
        if index > len {
            return Err(Self::out_of_range(index, len + 1, len));
        }
        vec.reserve(tx, 1)?;
        let area = tx.area_of(vec.blocks())?;
        let rest_bytes = at::<T>(len - index);
        tx.copy_in((area, at::<T>(index)), (area, at::<T>(index + 1)), rest_bytes)?;
        tx.put_in(area, at::<T>(index), value)?;
        vec.set_len(len + 1);
        tx.put(self, vec)
    }

    /// Takes out the element at `index`; those behind it move up.
    ///
    /// # Errors
    ///
    /// The vector or the element is damaged, or there is none at `index`.
    pub fn remove(self, tx: &mut WriteTx<'_>, index: u64) -> Result<T> {
        let (vec, value) = self.taken(tx, index)?;
        let area = tx.area_of(vec.blocks())?;
        let rest_bytes = at::<T>(vec.len() - index - 1);
        tx.copy_in((area, at::<T>(index + 1)), (area, at::<T>(index)), rest_bytes)?;
        self.shorten(tx, vec)?;
        Ok(value)
    }

    /// Takes out the element at `index`; the last one takes its place.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    pub fn swap_remove(self, tx: &mut WriteTx<'_>, index: u64) -> Result<T> {
        let (vec, value) = self.taken(tx, index)?;
        let area = tx.area_of(vec.blocks())?;
        let last = at::<T>(vec.len() - 1);
        tx.copy_in((area, last), (area, at::<T>(index)), at::<T>(1))?;
        self.shorten(tx, vec)?;
        Ok(value)
    }

    fn taken(self, tx: &WriteTx<'_>, index: u64) -> Result<(Vec<T>, T)> {
        let vec = self.header(tx)?;
        let Some(link) = vec.link(index) else {
            return Err(Self::out_of_range(index, vec.len(), vec.len()));
        };
        let value = tx.value(link)?;
        Ok((vec, value))
    }

    fn shorten(self, tx: &mut WriteTx<'_>, mut vec: Vec<T>) -> Result<()> {
        vec.set_len(vec.len() - 1);
        tx.put(self, vec)
    }

    /// Keeps the first `len` elements and releases the others.
    ///
    /// # Errors
    ///
    /// The vector, or what an element owns, is damaged.
    pub fn truncate(self, tx: &mut WriteTx<'_>, len: u64) -> Result<()> {
        let mut vec = self.header(tx)?;
        if len >= vec.len() {
            return Ok(());
        }
        self.release_range(tx, &vec, len, vec.len())?;
        vec.set_len(len);
        tx.put(self, vec)
    }

    fn release_range(self, tx: &mut WriteTx<'_>, vec: &Vec<T>, from: u64, to: u64) -> Result<()> {
        if !T::OWNS {
            return Ok(());
        }
        for index in from..to {
            let mut owned = Owned::default();
            let offset = vec.items.offset().saturating_add(at::<T>(index));
            T::owned(tx.bytes("element of a vector", offset, at::<T>(1))?, &mut owned);
            tx.release_all(owned)?;
        }
        Ok(())
    }

    /// Keeps the elements that `keep` says yes to, in order, and releases the
    /// others.
    ///
    /// # Errors
    ///
    /// As [`truncate`](Self::truncate).
    pub fn retain(self, tx: &mut WriteTx<'_>, mut keep: impl FnMut(&T) -> bool) -> Result<()> {
        let mut vec = self.header(tx)?;
        if vec.is_empty() {
            return Ok(());
        }
        let area = tx.area_of(vec.blocks())?;
        let mut kept = 0;
        for index in 0..vec.len() {
            let is_kept = vec.get(tx, index)?.is_some_and(&mut keep);
            if !is_kept {
                self.release_range(tx, &vec, index, index + 1)?;
                continue;
            }
            if kept < index {
                tx.copy_in((area, at::<T>(index)), (area, at::<T>(kept)), at::<T>(1))?;
            }
            kept += 1;
        }
        vec.set_len(kept);
        tx.put(self, vec)
    }

    /// Takes out the elements of a range, which become the caller's; those
    /// behind move up. All of them are in memory at once.
    ///
    /// # Errors
    ///
    /// The vector or an element is damaged, or the range is not within.
    pub fn drain(
        self,
        tx: &mut WriteTx<'_>,
        range: std::ops::Range<u64>,
    ) -> Result<std::vec::Vec<T>> {
        let mut vec = self.header(tx)?;
        let len = vec.len();
        if range.end > len || range.start > range.end {
            return Err(Self::out_of_range(range.start.max(range.end), len + 1, len));
        }
        let links = range.clone().filter_map(|index| vec.link(index));
        let values = links.map(|link| tx.value(link)).collect::<Result<_>>()?;
        if range.is_empty() {
            return Ok(values);
        }
        let area = tx.area_of(vec.blocks())?;
        let (to, from) = (at::<T>(range.start), at::<T>(range.end));
        tx.copy_in((area, from), (area, to), at::<T>(len - range.end))?;
        vec.set_len(len - (range.end - range.start));
        tx.put(self, vec)?;
        Ok(values)
    }

    /// Makes room for `more` elements.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn reserve(self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        let mut vec = self.header(tx)?;
        vec.reserve(tx, more)?;
        tx.put(self, vec)
    }

    /// Gives back room that no element uses.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn shrink_to_fit(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let mut vec = self.header(tx)?;
        if vec.is_empty() {
            return self.clear(tx);
        }
        if vec.len() == vec.capacity() {
            return Ok(());
        }
        let len = vec.len();
        vec.resize(tx, len)?;
        tx.put(self, vec)
    }

    /// Releases all elements, and gives the allocation back.
    ///
    /// # Errors
    ///
    /// As [`truncate`](Self::truncate).
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let vec = self.header(tx)?;
        tx.put(self, Vec::new())?;
        tx.release(vec)
    }

    /// Exchanges two elements.
    ///
    /// # Errors
    ///
    /// The vector is damaged, or there is no such element.
    pub fn swap(self, tx: &mut WriteTx<'_>, a: u64, b: u64) -> Result<()> {
        let (vec, area) = self.open(tx)?;
        let (Some(first), Some(second)) = (vec.link(a), vec.link(b)) else {
            return Err(Self::out_of_range(a.max(b), vec.len(), vec.len()));
        };
        let (first, second) = (tx.value(first)?, tx.value(second)?);
        tx.put_in(area, at::<T>(a), second)?;
        tx.put_in(area, at::<T>(b), first)
    }

    /// Sorts the elements in place; equal ones keep their order.
    ///
    /// # Errors
    ///
    /// As [`as_mut_slice`](Self::as_mut_slice).
    pub fn sort(self, tx: &mut WriteTx<'_>) -> Result<()>
    where
        T: Ord,
    {
        self.as_mut_slice(tx)?.sort();
        Ok(())
    }
}
