//! Changes a vector's capacity, or which elements stay.

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::super::array::{self, at};
use super::Vec;

impl<T: Persist> Link<Vec<T>> {
    /// Reserves capacity for at least `more` elements.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push).
    pub fn reserve(self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        let mut vec = self.header(tx)?;
        vec.make_room(tx, more)?;
        tx.put_header(self, vec)
    }

    /// Reserves capacity for exactly `more` elements.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push).
    pub fn reserve_exact(self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        let mut vec = self.header(tx)?;
        let needed = vec.len().saturating_add(more);
        if needed <= vec.capacity() {
            return Ok(());
        }
        vec.move_to(tx, needed)?;
        tx.put_header(self, vec)
    }

    /// Releases capacity that no element uses.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push).
    pub fn shrink_to_fit(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.shrink_to(tx, 0)
    }

    /// Releases capacity that no element uses, but keeps enough for `least` elements.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push).
    pub fn shrink_to(self, tx: &mut WriteTx<'_>, least: u64) -> Result<()> {
        let mut vec = self.header(tx)?;
        let capacity = vec.len().max(least);
        if capacity >= vec.capacity() {
            return Ok(());
        }
        if capacity == 0 {
            return self.clear(tx);
        }
        vec.move_to(tx, capacity)?;
        tx.put_header(self, vec)
    }

    /// Releases all elements and the allocation.
    ///
    /// # Errors
    ///
    /// Same as [`truncate`](Self::truncate).
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let vec = self.header(tx)?;
        tx.put_header(self, Vec::new())?;
        tx.release(vec)
    }

    /// Keeps the first `len` elements and releases the others.
    ///
    /// # Errors
    ///
    /// Fails if the vector, or anything that an element owns, is damaged.
    pub fn truncate(self, tx: &mut WriteTx<'_>, len: u64) -> Result<()> {
        let mut vec = self.header(tx)?;
        if len >= vec.len() {
            return Ok(());
        }
        vec.region(tx)?;
        if T::OWNS {
            for link in (len..vec.len()).filter_map(|index| vec.link(index)) {
                array::release_element::<T>(tx, link.offset())?;
            }
        }
        vec.set_len(len);
        tx.put_header(self, vec)
    }

    /// Changes the length to `len`: releases the elements past it, or appends copies of
    /// `value`.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push).
    pub fn resize(self, tx: &mut WriteTx<'_>, len: u64, value: T) -> Result<()>
    where
        T: Copy,
    {
        let old = self.header(tx)?.len();
        let Some(more) = len.checked_sub(old) else {
            return self.truncate(tx, len);
        };
        // Reserved up front, because the iterator's own hint stops at what a `usize` holds.
        self.reserve(tx, more)?;
        self.extend(tx, (0..more).map(|_| value))
    }

    /// Changes the length to `len`: releases the elements past it, or appends results of
    /// `make`.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push), plus any error of `make`.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// use flagstone::{Store, Text, collections::Vec};
    ///
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let names = tx.alloc(Vec::new())?;
    /// names.resize_with(&mut tx, 3, |tx| Text::new(tx, "nobody"))?;
    /// assert_eq!(tx.at(names)?.len(), 3);
    /// # Ok(()) }
    /// ```
    pub fn resize_with(
        self,
        tx: &mut WriteTx<'_>,
        len: u64,
        mut make: impl FnMut(&mut WriteTx<'_>) -> Result<T>,
    ) -> Result<()> {
        let old = self.header(tx)?.len();
        let Some(more) = len.checked_sub(old) else {
            return self.truncate(tx, len);
        };
        self.reserve(tx, more)?;
        for _ in 0..more {
            let value = make(tx)?;
            self.push(tx, value)?;
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
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// use flagstone::{Store, Text, collections::Vec};
    ///
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let names = tx.alloc(Vec::new())?;
    /// for name in ["Anna", "Bo"] {
    ///     let name = Text::new(&mut tx, name)?;
    ///     names.push(&mut tx, name)?;
    /// }
    /// names.retain_with(&mut tx, |tx, name| Ok(name.as_str(tx)?.len() > 2))?;
    /// assert_eq!(tx.at(names)?.len(), 1);
    /// # Ok(()) }
    /// ```
    pub fn retain_with(
        self,
        tx: &mut WriteTx<'_>,
        keep: impl FnMut(&Image, &T) -> Result<bool>,
    ) -> Result<()> {
        let kept = self.answers(tx, keep)?;
        self.keep(tx, &kept)
    }

    /// Releases each element that equals the one before it.
    ///
    /// # Errors
    ///
    /// Same as [`truncate`](Self::truncate).
    pub fn dedup(self, tx: &mut WriteTx<'_>) -> Result<()>
    where
        T: PartialEq,
    {
        self.dedup_by(tx, |element, before| element == before)
    }

    /// Removes duplicates like [`dedup`](Self::dedup), by a key.
    ///
    /// # Errors
    ///
    /// Same as [`truncate`](Self::truncate).
    pub fn dedup_by_key<K: PartialEq>(
        self,
        tx: &mut WriteTx<'_>,
        mut key: impl FnMut(&T) -> K,
    ) -> Result<()> {
        self.dedup_by(tx, |element, before| key(element) == key(before))
    }

    /// Removes duplicates like [`dedup`](Self::dedup), by a test that gets an element and
    /// the last element kept before it.
    ///
    /// # Errors
    ///
    /// Same as [`truncate`](Self::truncate).
    pub fn dedup_by(
        self,
        tx: &mut WriteTx<'_>,
        mut is_same: impl FnMut(&T, &T) -> bool,
    ) -> Result<()> {
        let mut last = None;
        let vec = self.header(tx)?;
        let mut kept = std::vec::Vec::new();
        for element in vec.iter(tx)? {
            let is_kept = last.is_none_or(|last| !is_same(element, last));
            if is_kept {
                last = Some(element);
            }
            kept.push(is_kept);
        }
        self.keep(tx, &kept)
    }

    /// Keeps the elements whose entry in `kept` is true, and releases the others.
    fn keep(self, tx: &mut WriteTx<'_>, kept: &[bool]) -> Result<()> {
        let mut vec = self.header(tx)?;
        if kept.iter().all(|is_kept| *is_kept) {
            return Ok(());
        }
        vec.region(tx)?;
        for (index, _) in (0..).zip(kept).filter(|(_, is_kept)| T::OWNS && !**is_kept) {
            if let Some(link) = vec.link(index) {
                array::release_element::<T>(tx, link.offset())?;
            }
        }
        let region = vec.region(tx)?;
        let mut len = 0;
        for (index, _) in (0..).zip(kept).filter(|(_, is_kept)| **is_kept) {
            if len < index {
                tx.copy_in((region, at::<T>(index)), (region, at::<T>(len)), at::<T>(1))?;
            }
            len += 1;
        }
        vec.set_len(len);
        tx.put_header(self, vec)
    }

    /// Returns a separate vector with copies of the elements, like `clone` in `std`.
    ///
    /// # Errors
    ///
    /// Same as [`push`](Self::push).
    pub fn duplicate(self, tx: &mut WriteTx<'_>) -> Result<Vec<T>>
    where
        T: Copy,
    {
        let vec = self.header(tx)?;
        if vec.is_empty() {
            return Ok(Vec::new());
        }
        let from = vec.region(tx)?;
        let mut copy = Vec::with_capacity(tx, vec.len())?;
        let to = copy.region(tx)?;
        tx.copy_in((from, 0), (to, 0), at::<T>(vec.len()))?;
        copy.set_len(vec.len());
        Ok(copy)
    }
}
