//! Reserves capacity for many entries at once, and releases it.

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Element, Link, Persist};
use crate::store::WriteTx;

use super::layout::{HashEntry, Table};
use super::lookup::{Reader, WorkLimit, value_at};
use super::shard::{KeyWorkLimit, OpenShard};
use super::sizing;
use crate::collections::key::StoredKey;

impl<'a, K: Persist, V: Persist> Reader<'a, K, V> {
    /// Returns how many entries fit before a shard must grow.
    pub(super) fn capacity(&self) -> Result<u64> {
        let mut budget = WorkLimit::new(self.tx);
        let room = |index| {
            let shard = self.shard(index)?;
            budget.spend(shard)?;
            Ok(sizing::max_used(shard.capacity()))
        };
        (0..self.shards()).map(room).sum()
    }
}

impl<K: StoredKey, V: Persist> Table<K, V> {
    /// Returns an error if the header's number of entries contradicts the shards. Callers
    /// that allocate for all entries must not trust that number.
    fn expect_counted(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        let (mut live, mut budget) = (0u64, WorkLimit::new(tx));
        for index in 0..self.shards {
            let shard = self.shard(tx, index)?.open(tx)?;
            budget.spend(&shard.shard)?;
            live += u64::from(shard.counts.live);
        }
        if live == self.len {
            return Ok(());
        }
        let (offset, expected) = (self.directory.offset(), format!("{live}, as the shards say"));
        Err(ErrorKind::corrupt("entries of a flagstone::HashTable", offset, expected, self.len))
    }

    /// Splits or merges shards while `is_wanted` returns true.
    fn change_while(
        &mut self,
        tx: &mut WriteTx<'_>,
        is_wanted: impl Fn(&Self) -> bool,
        change: fn(&mut Self, &mut WriteTx<'_>, &mut KeyWorkLimit) -> Result<()>,
    ) -> Result<()> {
        let mut budget = KeyWorkLimit::new(tx);
        while is_wanted(self) {
            change(self, tx, &mut budget)?;
            // Every shard was changed once by now, so every key may be hashed once more.
            if self.shards.is_power_of_two() {
                budget = KeyWorkLimit::new(tx);
            }
        }
        Ok(())
    }

    /// Moves each shard for which `needed` returns a number to blocks for that many
    /// entries.
    fn rebuild_each(
        &self,
        tx: &mut WriteTx<'_>,
        needed: impl Fn(u64, &OpenShard<K, V>) -> Option<u64>,
    ) -> Result<()> {
        let mut budget = KeyWorkLimit::new(tx);
        for index in 0..self.shards {
            let shard = self.shard(tx, index)?.open(tx)?;
            if let Some(needed) = needed(index, &shard) {
                self.rebuild(tx, index, shard, needed, &mut budget)?;
            }
        }
        Ok(())
    }

    /// Reserves capacity for `more` entries.
    pub(super) fn make_room(&mut self, tx: &mut WriteTx<'_>, more: u64) -> Result<()> {
        self.expect_counted(tx)?;
        // Shards are allocated one at a time. Without this check, a request that is too large
        // would fail only after many of them.
        let size_bytes = HashEntry::<K, V>::SIZE_BYTES;
        let len = self.len.saturating_add(more);
        if len > sizing::MAX_HEAP_BYTES / size_bytes {
            let why = "a heap holds at most 1 TiB";
            return Err(ErrorKind::TooLarge { count: more, size_bytes, why }.into());
        }
        if len == 0 {
            return Ok(());
        }
        if self.shards == 0 {
            self.begin(tx, 1)?;
        }
        self.change_while(tx, |table| table.needs_split(len), Self::split)?;
        self.rebuild_each(tx, |index, shard| {
            let needed = self.share(index, len);
            (sizing::max_used(shard.shard.capacity()) < needed).then_some(needed)
        })
    }

    /// Merges and shrinks shards after many entries were removed.
    pub(super) fn settle(&mut self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.change_while(tx, Self::is_sparse, Self::merge)?;
        self.rebuild_each(tx, |_, shard| {
            shard.is_sparse().then(|| sizing::grown(u64::from(shard.counts.live)))
        })
    }

    /// Releases all memory that the entries do not need.
    pub(super) fn shrink(&mut self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.expect_counted(tx)?;
        if self.len == 0 {
            return self.free(tx);
        }
        self.change_while(tx, Self::could_be_fewer, Self::merge)?;
        self.rebuild_each(tx, |_, shard| {
            let live = u64::from(shard.counts.live);
            let capacity = sizing::capacity_for(live, HashEntry::<K, V>::SIZE_BYTES);
            (capacity < shard.shard.capacity()).then_some(live)
        })
    }

    /// Returns the offsets of all entries.
    pub(super) fn offsets(&self, tx: &Image) -> Result<Vec<u64>> {
        let (mut offsets, mut budget) = (Vec::new(), WorkLimit::new(tx));
        for index in 0..self.shards {
            let shard = self.shard(tx, index)?;
            shard.expect_sound()?;
            budget.spend(&shard)?;
            let slots = shard.live_slots(tx)?.into_iter();
            offsets.extend(slots.map(|slot| shard.slot_offset(slot)));
        }
        Ok(offsets)
    }
}

/// Returns copies of a key and its value; the caller removes the originals.
pub(super) fn entry_at<K: Persist, V: Persist>(tx: &Image, offset: u64) -> Result<(K, V)> {
    Ok((tx.value(Link::from_parts(offset, 1))?, tx.value(value_at::<K, V>(offset))?))
}

impl<K: StoredKey, V: Persist> Link<Table<K, V>> {
    /// Applies `change` to a copy of the header and stores it.
    pub(super) fn update(
        self,
        tx: &mut WriteTx<'_>,
        change: impl FnOnce(&mut Table<K, V>, &mut WriteTx<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut table = *self.header(tx)?;
        change(&mut table, tx)?;
        tx.put_header(self, table)
    }

    /// Releases all entries and all blocks.
    pub(super) fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let table = *self.header(tx)?;
        tx.put_header(self, Table::new())?;
        tx.release(table)
    }
}
