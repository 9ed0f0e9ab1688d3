//! Changes the elements that a vector has.

use std::ops::RangeBounds;

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::super::array::{self, at};
use super::Vec;

impl<T: Persist> Link<Vec<T>> {
    pub(super) fn header(self, tx: &WriteTx<'_>) -> Result<Vec<T>> {
        if self.is_null() {
            return tx.at(self).map(Vec::same);
        }
        tx.value(self)?.tested()
    }

    #[cold]
    pub(super) fn out_of_range(index: u64, limit: u64, len: u64) -> crate::error::Error {
        array::out_of_range::<Vec<T>>(index, limit, len)
    }

    /// Appends an element. Amortised constant time.
    ///
    /// # Errors
    ///
    /// Fails if the vector is damaged or the file cannot grow.
    pub fn push(self, tx: &mut WriteTx<'_>, value: T) -> Result<()> {
        tx.expect_owned(&value)?;
        let mut vec = self.header(tx)?;
        vec.make_room(tx, 1)?;
        let region = vec.region(tx)?;
        tx.put_in(region, at::<T>(vec.len()), value)?;
        vec.set_len(vec.len() + 1);
        tx.put_header(self, vec)
    }

    /// Removes the last element, and returns it.
    ///
    /// # Errors
    ///
    /// Fails if the vector or the element is damaged.
    pub fn pop(self, tx: &mut WriteTx<'_>) -> Result<Option<T>> {
        let mut vec = self.header(tx)?;
        let Some(last) = vec.len().checked_sub(1).and_then(|index| vec.link(index)) else {
            return Ok(None);
        };
        let value = tx.value(last)?;
        vec.set_len(vec.len() - 1);
        tx.put_header(self, vec)?;
        Ok(Some(value))
    }

    /// Removes the last element like [`pop`](Self::pop), but only if `test` returns true
    /// for it.
    ///
    /// # Errors
    ///
    /// Same as [`pop`](Self::pop).
    pub fn pop_if(self, tx: &mut WriteTx<'_>, test: impl FnOnce(&T) -> bool) -> Result<Option<T>> {
        let is_meant = self.header(tx)?.last(tx)?.is_some_and(test);
        if is_meant { self.pop(tx) } else { Ok(None) }
    }

    /// Returns the element at `index` for modification. Overwriting it does not release
    /// what it owns: see [`replace`](Self::replace).
    ///
    /// # Errors
    ///
    /// Fails if the vector or the element is damaged.
    pub fn get_mut<'a>(self, tx: &'a mut WriteTx<'_>, index: u64) -> Result<Option<&'a mut T>> {
        let vec = self.header(tx)?;
        if index >= vec.len() {
            return Ok(None);
        }
        let region = vec.region(tx)?;
        tx.value_in_mut(region, at::<T>(index)).map(Some)
    }

    /// Returns the first element for modification.
    ///
    /// # Errors
    ///
    /// Same as [`get_mut`](Self::get_mut).
    pub fn first_mut<'a>(self, tx: &'a mut WriteTx<'_>) -> Result<Option<&'a mut T>> {
        self.get_mut(tx, 0)
    }

    /// Returns the last element for modification.
    ///
    /// # Errors
    ///
    /// Same as [`get_mut`](Self::get_mut).
    pub fn last_mut<'a>(self, tx: &'a mut WriteTx<'_>) -> Result<Option<&'a mut T>> {
        let last = self.header(tx)?.len().wrapping_sub(1);
        self.get_mut(tx, last)
    }

    /// Returns several elements at once for modification.
    ///
    /// # Errors
    ///
    /// Fails if the vector or an element is damaged, or an index is past the end or occurs
    /// twice.
    pub fn get_disjoint_mut<'a, const N: usize>(
        self,
        tx: &'a mut WriteTx<'_>,
        indices: [u64; N],
    ) -> Result<[&'a mut T; N]> {
        let vec = self.header(tx)?;
        let mut links = [Link::null(); N];
        for (link, index) in links.iter_mut().zip(indices) {
            let found = vec.link(index);
            *link = found.ok_or_else(|| Self::out_of_range(index, vec.len(), vec.len()))?;
        }
        tx.get_disjoint_mut(links)
    }

    /// Returns all elements for modification. All of them count as changed until the commit
    /// compares them.
    ///
    /// # Errors
    ///
    /// Fails if the vector or an element is damaged.
    pub fn as_mut_slice<'a>(self, tx: &'a mut WriteTx<'_>) -> Result<&'a mut [T]> {
        let vec = self.header(tx)?;
        if vec.is_empty() {
            return Ok(&mut []);
        }
        tx.at_mut(vec.items)
    }

    /// Replaces the element at `index` by `value`, and returns the old one.
    ///
    /// # Errors
    ///
    /// Fails if the vector or the element is damaged, or there is no element at `index`.
    pub fn replace(self, tx: &mut WriteTx<'_>, index: u64, value: T) -> Result<T> {
        tx.expect_owned(&value)?;
        let (vec, old) = self.taken(tx, index)?;
        let region = vec.region(tx)?;
        tx.put_in(region, at::<T>(index), value)?;
        Ok(old)
    }

    /// Appends the values of an iterator.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push).
    pub fn extend(self, tx: &mut WriteTx<'_>, values: impl IntoIterator<Item = T>) -> Result<()> {
        self.header(tx)?.take_in(tx, values, Some(self))
    }

    /// Appends copies of the elements of a slice.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push).
    pub fn extend_from_slice(self, tx: &mut WriteTx<'_>, values: &[T]) -> Result<()>
    where
        T: Copy,
    {
        self.extend(tx, values.iter().copied())
    }

    /// Appends copies of the vector's own elements in `range`.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push); also fails if the range is out of bounds.
    pub fn extend_from_within(
        self,
        tx: &mut WriteTx<'_>,
        range: impl RangeBounds<u64>,
    ) -> Result<()>
    where
        T: Copy,
    {
        let mut vec = self.header(tx)?;
        let range = array::within::<Vec<T>>(range, vec.len())?;
        if range.is_empty() {
            return Ok(());
        }
        let more = range.end - range.start;
        vec.make_room(tx, more)?;
        let region = vec.region(tx)?;
        let (from, to) = (at::<T>(range.start), at::<T>(vec.len()));
        tx.copy_in((region, from), (region, to), at::<T>(more))?;
        vec.set_len(vec.len() + more);
        tx.put_header(self, vec)
    }

    /// Moves all elements of `other` to the end of this vector.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push), for both vectors; also fails if they are the same one.
    pub fn append(self, tx: &mut WriteTx<'_>, other: Link<Vec<T>>) -> Result<()> {
        let (mut vec, mut rest) = (self.header(tx)?, other.header(tx)?);
        if self == other {
            let offset = self.offset();
            return Err(ErrorKind::LinksOverlap { first: 0, second: 1, offset }.into());
        }
        if rest.is_empty() {
            return Ok(());
        }
        // Validated before this one grows for its elements.
        rest.region(tx)?;
        vec.make_room(tx, rest.len())?;
        let (from, to) = (rest.region(tx)?, vec.region(tx)?);
        tx.copy_in((from, 0), (to, at::<T>(vec.len())), at::<T>(rest.len()))?;
        vec.set_len(vec.len() + rest.len());
        rest.set_len(0);
        tx.put_header(self, vec)?;
        tx.put_header(other, rest)
    }

    /// Moves the elements from `index` on to a new vector, which the caller owns.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push); also fails if the index is past the end.
    pub fn split_off(self, tx: &mut WriteTx<'_>, index: u64) -> Result<Vec<T>> {
        let mut vec = self.header(tx)?;
        let len = vec.len();
        let Some(count) = len.checked_sub(index) else {
            return Err(Self::out_of_range(index, len.saturating_add(1), len));
        };
        if count == 0 {
            return Ok(Vec::new());
        }
        let from = vec.region(tx)?;
        let mut rest = Vec::with_capacity(tx, count)?;
        let to = rest.region(tx)?;
        tx.copy_in((from, at::<T>(index)), (to, 0), at::<T>(count))?;
        rest.set_len(count);
        vec.set_len(index);
        tx.put_header(self, vec)?;
        Ok(rest)
    }

    /// Inserts an element before the one at `index`, which may be the end.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push); also fails if the index is past the end.
    pub fn insert(self, tx: &mut WriteTx<'_>, index: u64, value: T) -> Result<()> {
        self.splice(tx, index..index, [value]).map(drop)
    }

    /// Removes the element at `index`, and moves those after it down.
    ///
    /// # Errors
    ///
    /// Fails if the vector or the element is damaged, or there is no element at `index`.
    pub fn remove(self, tx: &mut WriteTx<'_>, index: u64) -> Result<T> {
        let (mut vec, value) = self.taken(tx, index)?;
        let region = vec.region(tx)?;
        let rest_bytes = at::<T>(vec.len() - index - 1);
        tx.copy_in((region, at::<T>(index + 1)), (region, at::<T>(index)), rest_bytes)?;
        vec.set_len(vec.len() - 1);
        tx.put_header(self, vec)?;
        Ok(value)
    }

    /// Removes the element at `index`, and moves the last one into its slot.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn swap_remove(self, tx: &mut WriteTx<'_>, index: u64) -> Result<T> {
        let (mut vec, value) = self.taken(tx, index)?;
        let region = vec.region(tx)?;
        let last = vec.len() - 1;
        tx.copy_in((region, at::<T>(last)), (region, at::<T>(index)), at::<T>(1))?;
        vec.set_len(last);
        tx.put_header(self, vec)?;
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

    /// Removes the elements of a range, and returns them to the caller, who then owns them;
    /// moves those after it down. Holds all of them in memory at once.
    ///
    /// # Errors
    ///
    /// Fails if the vector or an element is damaged, or the range is out of bounds.
    pub fn drain(
        self,
        tx: &mut WriteTx<'_>,
        range: impl RangeBounds<u64>,
    ) -> Result<std::vec::Vec<T>> {
        self.splice(tx, range, [])
    }

    /// Replaces the elements of a range by `values`, and returns the old ones to the
    /// caller, who then owns them. Holds all old and new ones in memory at once.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push); also fails if the range is out of bounds.
    pub fn splice(
        self,
        tx: &mut WriteTx<'_>,
        range: impl RangeBounds<u64>,
        values: impl IntoIterator<Item = T>,
    ) -> Result<std::vec::Vec<T>> {
        let mut vec = self.header(tx)?;
        let range = array::within::<Vec<T>>(range, vec.len())?;
        let values: std::vec::Vec<T> = values.into_iter().collect();
        values.iter().try_for_each(|value| tx.expect_owned(value))?;
        let (gone, come) = (range.end - range.start, values.len() as u64);
        // A damaged length may be so large that their sum would overflow.
        if gone == 0 && come == 0 {
            return Ok(std::vec::Vec::new());
        }
        if gone > 0 {
            // Without this validation, a damaged length could make it read the whole heap.
            vec.region(tx)?;
        }
        let links = range.clone().filter_map(|index| vec.link(index));
        let taken = links.map(|link| tx.value(link)).collect::<Result<_>>()?;
        vec.make_room(tx, come.saturating_sub(gone))?;
        let region = vec.region(tx)?;
        let (from, to) = (range.end, range.start + come);
        tx.copy_in((region, at::<T>(from)), (region, at::<T>(to)), at::<T>(vec.len() - from))?;
        for (index, value) in (range.start..).zip(values) {
            tx.put_in(region, at::<T>(index), value)?;
        }
        vec.set_len(vec.len() - gone + come);
        tx.put_header(self, vec)?;
        Ok(taken)
    }

    /// Swaps two elements.
    ///
    /// # Errors
    ///
    /// Fails if the vector is damaged or has no such element.
    pub fn swap(self, tx: &mut WriteTx<'_>, a: u64, b: u64) -> Result<()> {
        let (vec, first) = self.taken(tx, a)?;
        let (_, second) = self.taken(tx, b)?;
        let region = vec.region(tx)?;
        tx.put_in(region, at::<T>(a), second)?;
        tx.put_in(region, at::<T>(b), first)
    }

    /// Copies the elements of a range to `to`, over the elements there.
    ///
    /// # Errors
    ///
    /// Fails if the vector is damaged, or one of the ranges is out of bounds.
    pub fn copy_within(
        self,
        tx: &mut WriteTx<'_>,
        range: impl RangeBounds<u64>,
        to: u64,
    ) -> Result<()>
    where
        T: Copy,
    {
        let vec = self.header(tx)?;
        let range = array::within::<Vec<T>>(range, vec.len())?;
        let count = range.end - range.start;
        array::within::<Vec<T>>(to..to.saturating_add(count), vec.len())?;
        if range.is_empty() {
            return Ok(());
        }
        let region = vec.region(tx)?;
        tx.copy_in((region, at::<T>(range.start)), (region, at::<T>(to)), at::<T>(count))
    }

    /// Returns the result of `test` for each element; nothing changes meanwhile.
    pub(super) fn answers(
        self,
        tx: &WriteTx<'_>,
        test: impl FnMut(&Image, &T) -> Result<bool>,
    ) -> Result<std::vec::Vec<bool>> {
        let vec = self.header(tx)?;
        array::answers(tx, vec.iter(tx)?, test)
    }
}
