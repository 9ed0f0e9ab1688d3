//! Grows and shrinks a table one shard at a time, by linear hashing.
//!
//! With `n` shards, and `2^L` the largest power of two up to `n`, shard `n - 2^L`
//! is the next to be split. Bit `L` of an entry's hash decides whether it stays or
//! moves to the new shard `n`.

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Blocks, Element, Link, Persist};
use crate::store::WriteTx;

use super::layout::{HashEntry, SEGMENT, Segment, Shard, Table};
use super::shard::{KeyWorkLimit, OpenShard, Rehash};
use super::sizing;
use crate::collections::key::StoredKey;

fn blocks_of<T: Persist>(link: Link<[T]>) -> Blocks<T> {
    Blocks::new(link.offset(), link.len())
}

fn link_of<T: Persist>(blocks: Blocks<T>) -> Link<[T]> {
    Link::from_parts(blocks.offset(), blocks.count())
}

/// Returns the largest power of two that is not above `shards`, which must not be
/// 0.
fn level(shards: u64) -> u64 {
    1 << (63 - shards.leading_zeros().min(63))
}

impl<K: StoredKey, V: Persist> Table<K, V> {
    const ENTRY_BYTES: u64 = HashEntry::<K, V>::SIZE_BYTES;
    const TARGET: u64 = sizing::target(Self::ENTRY_BYTES);

    /// Returns whether `len` entries exceed the target for the number of shards.
    pub(super) fn needs_split(&self, len: u64) -> bool {
        len > self.shards.saturating_mul(Self::TARGET)
    }

    /// Returns whether there are far too many shards.
    pub(super) fn is_sparse(&self) -> bool {
        self.shards > 1 && self.len < self.shards.saturating_mul(Self::TARGET) / 4
    }

    /// Returns whether one shard less would be enough.
    pub(super) fn could_be_fewer(&self) -> bool {
        self.shards > 1 && self.len <= (self.shards - 1).saturating_mul(Self::TARGET)
    }

    /// Returns how many entries to expect in a shard of a table of `len` entries, plus
    /// three standard deviations.
    pub(super) fn share(&self, index: u64, len: u64) -> u64 {
        let level = level(self.shards);
        let is_split = index < self.shards - level || index >= level;
        let share = if is_split { len / level / 2 } else { len / level };
        share + 3 * share.isqrt() + 1
    }

    fn segment(&self, tx: &Image, number: u64) -> Result<Link<[Shard<K, V>]>> {
        match self.directory.index(number) {
            Some(link) => Ok(tx.at(link)?.shards),
            None => Err(self.no_shard(number * SEGMENT)),
        }
    }

    /// Returns shard `index`.
    pub(super) fn shard(&self, tx: &Image, index: u64) -> Result<Shard<K, V>> {
        Ok(*tx.at(self.shard_link(tx, index)?)?)
    }

    /// Returns the link to shard `index`.
    #[inline]
    pub(super) fn shard_link(&self, tx: &Image, index: u64) -> Result<Link<Shard<K, V>>> {
        let segment = self.segment(tx, index / SEGMENT)?;
        segment.index(index % SEGMENT).ok_or_else(|| self.no_shard(index))
    }

    #[cold]
    fn no_shard(&self, index: u64) -> crate::error::Error {
        let expected = format!("a segment with shard {index} of {}", self.shards);
        let what = "directory of a flagstone::HashTable";
        ErrorKind::corrupt(what, self.directory.offset(), expected, "none")
    }

    fn set_shard(&self, tx: &mut WriteTx<'_>, index: u64, shard: Shard<K, V>) -> Result<()> {
        let segment = self.segment(tx, index / SEGMENT)?;
        if segment.index(index % SEGMENT).is_none() {
            return Err(self.no_shard(index));
        }
        let region = tx.region_of(blocks_of(segment))?;
        tx.put_in(region, index % SEGMENT * size_of::<Shard<K, V>>() as u64, shard)
    }

    fn set_segment(
        &self,
        tx: &mut WriteTx<'_>,
        number: u64,
        shards: Link<[Shard<K, V>]>,
    ) -> Result<()> {
        let region = tx.region_of(blocks_of(self.directory))?;
        let at = number.saturating_mul(size_of::<Segment<K, V>>() as u64);
        tx.put_in(region, at, Segment { shards })
    }

    /// Moves an array to a longer allocation.
    fn lengthen<T: Persist>(tx: &mut WriteTx<'_>, old: Link<[T]>, count: u64) -> Result<Link<[T]>> {
        let new: Blocks<T> = tx.alloc_blocks(count)?;
        if !old.is_null() {
            let (from, to) = (tx.region_of(blocks_of(old))?, tx.region_of(new)?);
            tx.copy_in((from, 0), (to, 0), old.len() * size_of::<T>() as u64)?;
            tx.free_blocks(blocks_of(old))?;
        }
        Ok(link_of(new))
    }

    /// Appends a shard to the directory.
    fn push_shard(&mut self, tx: &mut WriteTx<'_>, shard: Shard<K, V>) -> Result<()> {
        let index = self.shards;
        let number = index / SEGMENT;
        if number >= self.directory.len() {
            let count = (self.directory.len() * 2).max(1);
            self.directory = Self::lengthen(tx, self.directory, count)?;
        }
        let old = self.segment(tx, number)?;
        if index % SEGMENT >= old.len() {
            let count = if number == 0 { (old.len() * 2).max(1) } else { SEGMENT };
            let segment = Self::lengthen(tx, old, count)?;
            self.set_segment(tx, number, segment)?;
        }
        self.shards += 1;
        self.set_shard(tx, index, shard)
    }

    /// Removes the last shard from the directory.
    fn pop_shard(&mut self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.shards -= 1;
        let number = self.shards / SEGMENT;
        if number == 0 || !self.shards.is_multiple_of(SEGMENT) {
            return self.set_shard(tx, self.shards, Shard::none());
        }
        let segment = self.segment(tx, number)?;
        tx.free_blocks(blocks_of(segment))?;
        self.set_segment(tx, number, Link::null())
    }

    /// Gives an empty table its first shard, for `needed` entries.
    pub(super) fn begin(&mut self, tx: &mut WriteTx<'_>, needed: u64) -> Result<()> {
        let shard = Rehash::default().build(tx, needed, |_| true)?;
        self.push_shard(tx, shard)
    }

    /// Moves a shard to blocks for `needed` entries.
    pub(super) fn rebuild(
        &self,
        tx: &mut WriteTx<'_>,
        index: u64,
        old: OpenShard<K, V>,
        needed: u64,
        budget: &mut KeyWorkLimit,
    ) -> Result<()> {
        let mut entries = Rehash::default();
        old.drain_shard(tx, &mut entries, budget)?;
        let new = entries.build(tx, needed, |_| true)?;
        self.set_shard(tx, index, new)
    }

    /// Splits the next shard in the order of linear hashing.
    pub(super) fn split(&mut self, tx: &mut WriteTx<'_>, budget: &mut KeyWorkLimit) -> Result<()> {
        let level = level(self.shards);
        let index = self.shards - level;
        let mut entries = Rehash::default();
        self.shard(tx, index)?.open(tx)?.drain_shard(tx, &mut entries, budget)?;
        let (stays, goes) = (|hash: u64| hash & level == 0, |hash: u64| hash & level != 0);
        let low = entries.build(tx, sizing::grown(entries.count(stays)), stays)?;
        let high = entries.build(tx, sizing::grown(entries.count(goes)), goes)?;
        self.set_shard(tx, index, low)?;
        self.push_shard(tx, high)
    }

    /// Merges the last shard into the one that it was split from.
    pub(super) fn merge(&mut self, tx: &mut WriteTx<'_>, budget: &mut KeyWorkLimit) -> Result<()> {
        let last = self.shards - 1;
        let index = last - level(last);
        let mut entries = Rehash::default();
        self.shard(tx, index)?.open(tx)?.drain_shard(tx, &mut entries, budget)?;
        self.shard(tx, last)?.open(tx)?.drain_shard(tx, &mut entries, budget)?;
        let new = entries.build(tx, sizing::grown(entries.count(|_| true)), |_| true)?;
        self.set_shard(tx, index, new)?;
        self.pop_shard(tx)
    }

    /// Frees all blocks, but nothing that entries own.
    pub(super) fn free(&mut self, tx: &mut WriteTx<'_>) -> Result<()> {
        for index in 0..self.shards {
            self.shard(tx, index)?.free(tx)?;
        }
        for number in 0..self.directory.len() {
            let segment = self.segment(tx, number)?;
            if !segment.is_null() {
                tx.free_blocks(blocks_of(segment))?;
            }
        }
        if !self.directory.is_null() {
            tx.free_blocks(blocks_of(self.directory))?;
        }
        *self = Self::new();
        Ok(())
    }
}
