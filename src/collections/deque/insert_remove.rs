//! Changes a deque in its middle, or its length.

use std::ops::RangeBounds;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::super::array::{self, at};
use super::Deque;

impl<T: Persist> Link<Deque<T>> {
    /// Inserts an element before the one at `index`, which may be the end. Moves the
    /// elements of the shorter side.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back); also fails if the index is past the end.
    pub fn insert(self, tx: &mut WriteTx<'_>, index: u64, value: T) -> Result<()> {
        tx.expect_owned(&value)?;
        let mut deque = self.header(tx)?;
        let len = deque.len;
        if index > len {
            return Err(Self::out_of_range(index, len.saturating_add(1), len));
        }
        deque.make_room(tx, 1)?;
        let region = deque.region(tx)?;
        deque.len += 1;
        if index < len - index {
            deque.head = deque.slot_before();
            deque.shift(tx, region, (1, 0), index)?;
        } else {
            deque.shift(tx, region, (index, index + 1), len - index)?;
        }
        tx.put_in(region, at::<T>(deque.slot(index)), value)?;
        tx.put_header(self, deque)
    }

    /// Removes the element at `index`, if there is one. Moves the elements of the shorter
    /// side.
    ///
    /// # Errors
    ///
    /// Fails if the deque or the element is damaged.
    pub fn remove(self, tx: &mut WriteTx<'_>, index: u64) -> Result<Option<T>> {
        if index >= self.header(tx)?.len {
            return Ok(None);
        }
        Ok(self.drain(tx, index..=index)?.pop())
    }

    /// Removes the element at `index`, if there is one, and moves the first one into its
    /// slot.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn swap_remove_front(self, tx: &mut WriteTx<'_>, index: u64) -> Result<Option<T>> {
        if index >= self.header(tx)?.len {
            return Ok(None);
        }
        self.swap(tx, 0, index)?;
        self.pop_front(tx)
    }

    /// Removes the element at `index`, if there is one, and moves the last one into its
    /// slot.
    ///
    /// # Errors
    ///
    /// Same as [`remove`](Self::remove).
    pub fn swap_remove_back(self, tx: &mut WriteTx<'_>, index: u64) -> Result<Option<T>> {
        let len = self.header(tx)?.len;
        if index >= len {
            return Ok(None);
        }
        self.swap(tx, index, len - 1)?;
        self.pop_back(tx)
    }

    /// Removes the elements of a range, and returns them to the caller, who then owns them.
    /// Holds all of them in memory at once.
    ///
    /// # Errors
    ///
    /// Fails if the deque or an element is damaged, or the range is out of bounds.
    pub fn drain(
        self,
        tx: &mut WriteTx<'_>,
        range: impl RangeBounds<u64>,
    ) -> Result<std::vec::Vec<T>> {
        let mut deque = self.header(tx)?;
        let range = array::within::<Deque<T>>(range, deque.len)?;
        let gone = range.end - range.start;
        if gone == 0 {
            return Ok(std::vec::Vec::new());
        }
        let region = deque.region(tx)?;
        let links = range.clone().filter_map(|index| deque.link(index));
        let taken = links.map(|link| tx.value(link)).collect::<Result<_>>()?;
        let (before, behind) = (range.start, deque.len - range.end);
        if before < behind {
            deque.shift(tx, region, (0, gone), before)?;
            deque.zero(tx, region, 0, gone)?;
            deque.head = deque.slot(gone);
        } else {
            deque.shift(tx, region, (range.end, range.start), behind)?;
            deque.zero(tx, region, before + behind, gone)?;
        }
        deque.len -= gone;
        tx.put_header(self, deque)?;
        Ok(taken)
    }

    /// Moves the elements from `index` on to a new deque, which the caller owns.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back); also fails if the index is past the end.
    pub fn split_off(self, tx: &mut WriteTx<'_>, index: u64) -> Result<Deque<T>> {
        let taken = self.drain(tx, index..)?;
        Deque::from_iter(tx, taken)
    }

    /// Keeps the first `len` elements and releases the others.
    ///
    /// # Errors
    ///
    /// Fails if the deque, or anything that an element owns, is damaged.
    pub fn truncate(self, tx: &mut WriteTx<'_>, len: u64) -> Result<()> {
        let mut deque = self.header(tx)?;
        if len >= deque.len {
            return Ok(());
        }
        deque.region(tx)?;
        self.release_where(tx, &deque, |index| index >= len)?;
        let region = deque.region(tx)?;
        deque.zero(tx, region, len, deque.len - len)?;
        deque.len = len;
        tx.put_header(self, deque)
    }

    fn release_where(
        self,
        tx: &mut WriteTx<'_>,
        deque: &Deque<T>,
        test: impl Fn(u64) -> bool,
    ) -> Result<()> {
        if !T::OWNS {
            return Ok(());
        }
        let links = (0..deque.len).filter(|index| test(*index));
        for link in links.filter_map(|index| deque.link(index)) {
            array::release_element::<T>(tx, link.offset())?;
        }
        Ok(())
    }

    /// Releases all elements and the allocation.
    ///
    /// # Errors
    ///
    /// Same as [`truncate`](Self::truncate).
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let deque = self.header(tx)?;
        tx.put_header(self, Deque::new())?;
        tx.release(deque)
    }

    /// Changes the length to `len`: releases the elements past it, or appends copies of
    /// `value`.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back).
    pub fn resize(self, tx: &mut WriteTx<'_>, len: u64, value: T) -> Result<()>
    where
        T: Copy,
    {
        self.resize_with(tx, len, |_| Ok(value))
    }

    /// Changes the length to `len`: releases the elements past it, or appends results of
    /// `make`.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back), plus any error of `make`.
    pub fn resize_with(
        self,
        tx: &mut WriteTx<'_>,
        len: u64,
        mut make: impl FnMut(&mut WriteTx<'_>) -> Result<T>,
    ) -> Result<()> {
        let old = self.header(tx)?.len;
        let Some(more) = len.checked_sub(old) else {
            return self.truncate(tx, len);
        };
        self.reserve(tx, more)?;
        for _ in 0..more {
            let value = make(tx)?;
            self.push_back(tx, value)?;
        }
        Ok(())
    }

    /// Keeps the elements for which `keep` returns true, in order, and releases the others.
    /// Asks about all of them before it changes anything.
    ///
    /// # Errors
    ///
    /// Same as [`truncate`](Self::truncate).
    pub fn retain(self, tx: &mut WriteTx<'_>, mut keep: impl FnMut(&T) -> bool) -> Result<()> {
        self.retain_with(tx, |_, element| Ok(keep(element)))
    }

    /// Filters like [`retain`](Self::retain), with a test that can read what elements own
    /// or link to.
    ///
    /// # Errors
    ///
    /// Same as [`truncate`](Self::truncate), plus any error of `keep`.
    pub fn retain_with(
        self,
        tx: &mut WriteTx<'_>,
        keep: impl FnMut(&Image, &T) -> Result<bool>,
    ) -> Result<()> {
        let mut deque = self.header(tx)?;
        let kept = array::answers(tx, deque.iter(tx)?, keep)?;
        if kept.iter().all(|is_kept| *is_kept) {
            return Ok(());
        }
        deque.region(tx)?;
        self.release_where(tx, &deque, |index| !kept[index as usize])?;
        let region = deque.region(tx)?;
        let mut len = 0;
        for (index, _) in (0..).zip(&kept).filter(|(_, is_kept)| **is_kept) {
            if len < index {
                deque.shift(tx, region, (index, len), 1)?;
            }
            len += 1;
        }
        deque.zero(tx, region, len, deque.len - len)?;
        deque.len = len;
        tx.put_header(self, deque)
    }

    /// Moves the first `count` elements to the back. Takes time in proportion to `count` or
    /// to the number of the others, whichever is less.
    ///
    /// # Errors
    ///
    /// Fails if the deque is damaged or `count` is past the end.
    pub fn rotate_left(self, tx: &mut WriteTx<'_>, count: u64) -> Result<()> {
        let mut deque = self.header(tx)?;
        let len = deque.len;
        let Some(rest) = len.checked_sub(count) else {
            return Err(Self::out_of_range(count, len.saturating_add(1), len));
        };
        if count == 0 || rest == 0 {
            return Ok(());
        }
        let region = deque.region(tx)?;
        // In a full ring, the slot after the last element is the slot of the first.
        let is_full = len == deque.capacity();
        for _ in 0..count.min(rest) {
            let last = deque.slot(len - 1);
            let (first, before) = (deque.head, deque.slot_before());
            let (from, to) = if count <= rest {
                deque.head = deque.slot(1);
                (first, deque.slot(len - 1))
            } else {
                deque.head = before;
                (last, before)
            };
            if !is_full {
                tx.copy_in((region, at::<T>(from)), (region, at::<T>(to)), at::<T>(1))?;
                tx.bytes_in_mut(region, at::<T>(from), at::<T>(1))?.fill(0);
            }
        }
        tx.put_header(self, deque)
    }

    /// Moves the last `count` elements to the front.
    ///
    /// # Errors
    ///
    /// Same as [`rotate_left`](Self::rotate_left).
    pub fn rotate_right(self, tx: &mut WriteTx<'_>, count: u64) -> Result<()> {
        let len = self.header(tx)?.len;
        let Some(rest) = len.checked_sub(count) else {
            return Err(Self::out_of_range(count, len.saturating_add(1), len));
        };
        self.rotate_left(tx, rest)
    }
}
