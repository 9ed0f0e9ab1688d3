//! The ring: maps elements to slots, and moves and zeroes elements across the seam,
//! where the ring wraps around.
//!
//! Every number in the header comes from the file. `expect_sound` comes first;
//! after it the arithmetic here stays within the capacity. Opening the region for a
//! change validates that it is one whole allocation of that capacity.

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Blocks, Link, Persist};
use crate::store::{Region, WriteTx};

use super::super::array::{self, at};
use super::Deque;

impl<T: Persist> Deque<T> {
    /// Returns an error if the header's numbers contradict each other.
    #[inline]
    pub(super) fn expect_sound(&self) -> Result<()> {
        let capacity = self.capacity();
        let is_placed = self.head < capacity || (capacity == 0 && self.head == 0);
        array::expect_header(
            "flagstone::Deque",
            [self.slots.offset(), self.len, capacity],
            is_placed,
        )
    }

    /// Returns the slot of element `index`, which must be at most the capacity.
    #[inline]
    pub(super) fn slot(&self, index: u64) -> u64 {
        let before_seam = self.capacity() - self.head;
        if index < before_seam { self.head + index } else { index - before_seam }
    }

    /// Returns the slot before the first element, wrapping around.
    pub(super) fn slot_before(&self) -> u64 {
        self.head.checked_sub(1).unwrap_or_else(|| self.capacity().saturating_sub(1))
    }

    pub(super) fn all_slots(&self) -> Link<[T]> {
        Link::from_parts(self.slots.offset(), self.capacity())
    }

    /// Copies the header, which exists both in memory and in the file during a change.
    pub(super) fn same(&self) -> Self {
        Self { slots: self.slots, head: self.head, len: self.len }
    }

    /// Splits `count` elements from `index` on at the seam: returns the first slot and the
    /// number of each piece.
    fn pieces(&self, index: u64, count: u64) -> [(u64, u64); 2] {
        let slot = self.slot(index);
        let before_seam = count.min(self.capacity() - slot);
        [(slot, before_seam), (0, count - before_seam)]
    }

    pub(super) fn slices<'a>(
        &self,
        tx: &'a Image,
        index: u64,
        count: u64,
    ) -> Result<(&'a [T], &'a [T])> {
        let [first, second] = self.pieces(index, count);
        let slice = |(slot, count)| -> Result<&'a [T]> {
            if count == 0 {
                return Ok(&[]);
            }
            let offset = self.slots.offset().saturating_add(at::<T>(slot));
            tx.at(Link::<[T]>::from_parts(offset, count))
        };
        Ok((slice(first)?, slice(second)?))
    }

    /// Opens the allocation, after validating it; there must be one.
    pub(super) fn region(&self, tx: &mut WriteTx<'_>) -> Result<Region> {
        tx.region_of(self.slots)
    }

    /// Moves the elements to an allocation for `capacity` elements, which must not be 0.
    pub(super) fn move_to(&mut self, tx: &mut WriteTx<'_>, capacity: u64) -> Result<()> {
        let old = self.slots;
        // Validated first: a damaged length must not make the file grow.
        let from = (!old.is_null()).then(|| tx.region_of(old)).transpose()?;
        let new: Blocks<T> = tx.alloc_blocks(capacity)?;
        if let Some(from) = from {
            let to = tx.region_of(new)?;
            let [first, second] = self.pieces(0, self.len);
            tx.copy_in((from, at::<T>(first.0)), (to, 0), at::<T>(first.1))?;
            tx.copy_in((from, at::<T>(second.0)), (to, at::<T>(first.1)), at::<T>(second.1))?;
            tx.free_blocks(old)?;
        }
        (self.slots, self.head) = (new, 0);
        Ok(())
    }

    pub(super) fn make_room(&mut self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        let needed = self.len.saturating_add(more);
        if needed <= self.capacity() {
            return Ok(());
        }
        self.move_to(tx, array::grown(self.capacity(), needed))
    }

    /// Appends values. Keeps the header at `home` correct while the iterator runs, because
    /// the iterator may panic.
    pub(super) fn take_in(
        &mut self,
        tx: &mut WriteTx<'_>,
        values: impl IntoIterator<Item = T>,
        home: Option<Link<Self>>,
    ) -> Result<()> {
        let mut values = values.into_iter();
        let mut region = None;
        while let Some(value) = values.next() {
            tx.expect_owned(&value)?;
            if self.len == self.capacity() {
                let more = (values.size_hint().0 as u64).saturating_add(1);
                self.make_room(tx, more)?;
                region = None;
            }
            let place = region.map_or_else(|| self.region(tx), Ok)?;
            region = Some(place);
            tx.put_in(place, at::<T>(self.slot(self.len)), value)?;
            self.len += 1;
            // Stored after every value: if the iterator panics, slots past the stored length must
            // be zero.
            home.map_or(Ok(()), |home| tx.put_header(home, self.same()))?;
        }
        Ok(())
    }

    /// Zeroes the slots of `count` elements from `index` on.
    pub(super) fn zero(
        &self,
        tx: &mut WriteTx<'_>,
        region: Region,
        index: u64,
        count: u64,
    ) -> Result<()> {
        for (slot, count) in self.pieces(index, count) {
            tx.bytes_in_mut(region, at::<T>(slot), at::<T>(count))?.fill(0);
        }
        Ok(())
    }

    /// Copies `count` elements from index `from` to index `to`, like `copy_within`: both
    /// ranges must lie within the capacity, and may overlap.
    pub(super) fn shift(
        &self,
        tx: &mut WriteTx<'_>,
        region: Region,
        (from, to): (u64, u64),
        count: u64,
    ) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let done = count - left;
            // Each piece stops where either range reaches the seam, and pieces start from the end
            // that no copy has overwritten.
            let (source, target, piece) = if to < from {
                let (source, target) = (self.slot(from + done), self.slot(to + done));
                let seam = self.capacity() - source.max(target);
                (source, target, left.min(seam))
            } else {
                let last = left - 1;
                let (source, target) = (self.slot(from + last), self.slot(to + last));
                let piece = left.min(source.min(target) + 1);
                (source + 1 - piece, target + 1 - piece, piece)
            };
            tx.copy_in((region, at::<T>(source)), (region, at::<T>(target)), at::<T>(piece))?;
            left -= piece;
        }
        Ok(())
    }
}
