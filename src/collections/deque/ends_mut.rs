//! Changes a deque at its ends, single elements, and its capacity.

use crate::error::{ErrorKind, Result};
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::super::array::{self, at};
use super::Deque;

impl<T: Persist> Link<Deque<T>> {
    pub(super) fn header(self, tx: &WriteTx<'_>) -> Result<Deque<T>> {
        if self.is_null() {
            return tx.at(self).map(Deque::same);
        }
        let deque = tx.value(self)?;
        deque.expect_sound()?;
        Ok(deque)
    }

    #[cold]
    pub(super) fn out_of_range(index: u64, limit: u64, len: u64) -> crate::error::Error {
        array::out_of_range::<Deque<T>>(index, limit, len)
    }

    /// Appends an element at the back. Amortised constant time.
    ///
    /// # Errors
    ///
    /// Fails if the deque is damaged or the file cannot grow.
    pub fn push_back(self, tx: &mut WriteTx<'_>, value: T) -> Result<()> {
        tx.expect_owned(&value)?;
        let mut deque = self.header(tx)?;
        deque.make_room(tx, 1)?;
        let region = deque.region(tx)?;
        tx.put_in(region, at::<T>(deque.slot(deque.len)), value)?;
        deque.len += 1;
        tx.put_header(self, deque)
    }

    /// Inserts an element before the first one. Amortised constant time.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back).
    pub fn push_front(self, tx: &mut WriteTx<'_>, value: T) -> Result<()> {
        tx.expect_owned(&value)?;
        let mut deque = self.header(tx)?;
        deque.make_room(tx, 1)?;
        let region = deque.region(tx)?;
        deque.head = deque.slot_before();
        deque.len += 1;
        tx.put_in(region, at::<T>(deque.head), value)?;
        tx.put_header(self, deque)
    }

    /// Removes the first element, and returns it. Constant time.
    ///
    /// # Errors
    ///
    /// Fails if the deque or the element is damaged.
    pub fn pop_front(self, tx: &mut WriteTx<'_>) -> Result<Option<T>> {
        let mut deque = self.header(tx)?;
        let Some(first) = deque.link(0) else {
            return Ok(None);
        };
        let value = tx.value(first)?;
        let region = deque.region(tx)?;
        deque.zero(tx, region, 0, 1)?;
        deque.head = deque.slot(1);
        deque.len -= 1;
        tx.put_header(self, deque)?;
        Ok(Some(value))
    }

    /// Removes the first element like [`pop_front`](Self::pop_front), but only if `test`
    /// returns true for it.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::Deque};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let jobs = Deque::from_iter(&mut tx, [5u64, 9])?;
    /// let jobs = tx.alloc(jobs)?;
    /// assert_eq!(jobs.pop_front_if(&mut tx, |job| *job < 7)?, Some(5));
    /// assert_eq!(jobs.pop_front_if(&mut tx, |job| *job < 7)?, None);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`pop_front`](Self::pop_front).
    pub fn pop_front_if(
        self,
        tx: &mut WriteTx<'_>,
        test: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>> {
        let is_meant = self.header(tx)?.front(tx)?.is_some_and(test);
        if is_meant { self.pop_front(tx) } else { Ok(None) }
    }

    /// Removes the last element, and returns it. Constant time.
    ///
    /// # Errors
    ///
    /// Same as [`pop_front`](Self::pop_front).
    pub fn pop_back(self, tx: &mut WriteTx<'_>) -> Result<Option<T>> {
        let mut deque = self.header(tx)?;
        let Some(index) = deque.len.checked_sub(1) else {
            return Ok(None);
        };
        let Some(last) = deque.link(index) else {
            return Ok(None);
        };
        let value = tx.value(last)?;
        let region = deque.region(tx)?;
        deque.zero(tx, region, index, 1)?;
        deque.len = index;
        tx.put_header(self, deque)?;
        Ok(Some(value))
    }

    /// Removes the last element like [`pop_back`](Self::pop_back), but only if `test` returns
    /// true for it.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::Deque};
    /// # let store = Store::in_memory()?;
    /// # let mut tx = store.write()?;
    /// let jobs = Deque::from_iter(&mut tx, [5u64, 9])?;
    /// let jobs = tx.alloc(jobs)?;
    /// assert_eq!(jobs.pop_back_if(&mut tx, |job| *job < 7)?, None);
    /// assert_eq!(jobs.pop_back_if(&mut tx, |job| *job > 7)?, Some(9));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`pop_front`](Self::pop_front).
    pub fn pop_back_if(
        self,
        tx: &mut WriteTx<'_>,
        test: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>> {
        let is_meant = self.header(tx)?.back(tx)?.is_some_and(test);
        if is_meant { self.pop_back(tx) } else { Ok(None) }
    }

    /// Returns the element at `index` for modification. Overwriting it does not release
    /// what it owns: see [`replace`](Self::replace).
    ///
    /// # Errors
    ///
    /// Fails if the deque or the element is damaged.
    pub fn get_mut<'a>(self, tx: &'a mut WriteTx<'_>, index: u64) -> Result<Option<&'a mut T>> {
        let deque = self.header(tx)?;
        if index >= deque.len {
            return Ok(None);
        }
        let region = deque.region(tx)?;
        tx.value_in_mut(region, at::<T>(deque.slot(index))).map(Some)
    }

    /// Returns the first element for modification.
    ///
    /// # Errors
    ///
    /// Same as [`get_mut`](Self::get_mut).
    pub fn front_mut<'a>(self, tx: &'a mut WriteTx<'_>) -> Result<Option<&'a mut T>> {
        self.get_mut(tx, 0)
    }

    /// Returns the last element for modification.
    ///
    /// # Errors
    ///
    /// Same as [`get_mut`](Self::get_mut).
    pub fn back_mut<'a>(self, tx: &'a mut WriteTx<'_>) -> Result<Option<&'a mut T>> {
        let last = self.header(tx)?.len.wrapping_sub(1);
        self.get_mut(tx, last)
    }

    /// Replaces the element at `index` by `value`, and returns the old one.
    ///
    /// # Errors
    ///
    /// Fails if the deque or the element is damaged, or there is no element at `index`.
    pub fn replace(self, tx: &mut WriteTx<'_>, index: u64, value: T) -> Result<T> {
        tx.expect_owned(&value)?;
        let (deque, old) = self.taken(tx, index)?;
        let region = deque.region(tx)?;
        tx.put_in(region, at::<T>(deque.slot(index)), value)?;
        Ok(old)
    }

    /// Swaps two elements.
    ///
    /// # Errors
    ///
    /// Fails if the deque is damaged or has no such element.
    pub fn swap(self, tx: &mut WriteTx<'_>, a: u64, b: u64) -> Result<()> {
        let (deque, first) = self.taken(tx, a)?;
        let (_, second) = self.taken(tx, b)?;
        let region = deque.region(tx)?;
        tx.put_in(region, at::<T>(deque.slot(a)), second)?;
        tx.put_in(region, at::<T>(deque.slot(b)), first)
    }

    fn taken(self, tx: &WriteTx<'_>, index: u64) -> Result<(Deque<T>, T)> {
        let deque = self.header(tx)?;
        let Some(link) = deque.link(index) else {
            return Err(Self::out_of_range(index, deque.len, deque.len));
        };
        let value = tx.value(link)?;
        Ok((deque, value))
    }

    /// Appends the values of an iterator at the back.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back).
    pub fn extend(self, tx: &mut WriteTx<'_>, values: impl IntoIterator<Item = T>) -> Result<()> {
        let mut deque = self.header(tx)?;
        deque.take_in(tx, values, Some(self))
    }

    /// Moves all elements of `other` to the back of this deque.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back), for both deques; also fails if they are the
    /// same one.
    pub fn append(self, tx: &mut WriteTx<'_>, other: Link<Deque<T>>) -> Result<()> {
        let (mut deque, mut rest) = (self.header(tx)?, other.header(tx)?);
        if self == other {
            let offset = self.offset();
            return Err(ErrorKind::LinksOverlap { first: 0, second: 1, offset }.into());
        }
        if rest.is_empty() {
            return Ok(());
        }
        // Validated before this one grows for its elements.
        rest.region(tx)?;
        deque.make_room(tx, rest.len)?;
        // Makes the source contiguous, so that the copy crosses only the target's seam.
        if rest.capacity() - rest.head < rest.len {
            let capacity = rest.capacity();
            rest.move_to(tx, capacity)?;
        }
        let (from, to) = (rest.region(tx)?, deque.region(tx)?);
        let source = at::<T>(rest.head);
        let before_seam = rest.len.min(deque.capacity() - deque.slot(deque.len));
        let seam = at::<T>(before_seam);
        tx.copy_in((from, source), (to, at::<T>(deque.slot(deque.len))), seam)?;
        let behind = deque.slot(deque.len + before_seam);
        let rest_bytes = at::<T>(rest.len - before_seam);
        tx.copy_in((from, source + seam), (to, at::<T>(behind)), rest_bytes)?;
        rest.zero(tx, from, 0, rest.len)?;
        deque.len += rest.len;
        rest.len = 0;
        tx.put_header(self, deque)?;
        tx.put_header(other, rest)
    }

    /// Reserves capacity for at least `more` elements.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back).
    pub fn reserve(self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        let mut deque = self.header(tx)?;
        deque.make_room(tx, more)?;
        tx.put_header(self, deque)
    }

    /// Reserves capacity for exactly `more` elements.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back).
    pub fn reserve_exact(self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        let mut deque = self.header(tx)?;
        let needed = deque.len.saturating_add(more);
        if needed <= deque.capacity() {
            return Ok(());
        }
        deque.move_to(tx, needed)?;
        tx.put_header(self, deque)
    }

    /// Releases capacity that no element uses.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back).
    pub fn shrink_to_fit(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.shrink_to(tx, 0)
    }

    /// Releases capacity that no element uses, but keeps enough for `least` elements.
    ///
    /// # Errors
    ///
    /// Same as [`push_back`](Self::push_back).
    pub fn shrink_to(self, tx: &mut WriteTx<'_>, least: u64) -> Result<()> {
        let mut deque = self.header(tx)?;
        let capacity = deque.len.max(least);
        if capacity >= deque.capacity() {
            return Ok(());
        }
        if capacity == 0 {
            return self.clear(tx);
        }
        deque.move_to(tx, capacity)?;
        tx.put_header(self, deque)
    }

    /// Returns all elements as one slice for modification. Moves them to a new allocation
    /// if they wrap around the end of the old one. All of them count as changed until the
    /// commit compares them.
    ///
    /// # Errors
    ///
    /// Fails if the deque or an element is damaged, or the file cannot grow.
    pub fn make_contiguous<'a>(self, tx: &'a mut WriteTx<'_>) -> Result<&'a mut [T]> {
        let mut deque = self.header(tx)?;
        if deque.is_empty() {
            return Ok(&mut []);
        }
        if deque.capacity() - deque.head < deque.len {
            let capacity = deque.capacity();
            deque.move_to(tx, capacity)?;
            tx.put_header(self, deque.same())?;
        }
        deque.region(tx)?;
        let offset = deque.slots.offset() + at::<T>(deque.head);
        tx.at_mut(Link::from_parts(offset, deque.len))
    }
}
