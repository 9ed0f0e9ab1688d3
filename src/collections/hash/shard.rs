//! Changes one shard: reserves and erases slots, and moves all entries to new
//! blocks.

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Blocks, Element, Link, Persist};
use crate::store::{Region, WriteTx};

use super::control::{self, DELETED, EMPTY, GROUP};
use super::layout::{COUNTS, HashEntry, Shard};
use super::sizing;
use crate::collections::key::{HashSeed, StoredKey};

/// The counts after the tags.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    /// Number of slots with an entry.
    pub(super) live: u32,
    /// Number of slots that are not `EMPTY`: those with an entry, and the `DELETED` ones.
    pub(super) used: u32,
}

/// A shard with validated blocks, open for modification.
pub(super) struct OpenShard<K: Persist, V: Persist> {
    pub(super) shard: Shard<K, V>,
    pub(super) counts: Counts,
    tags: Region,
}

/// A slot open for writing.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    region: Region,
    at: u64,
}

impl Slot {
    /// Overwrites the key without releasing the old one.
    #[inline]
    pub(super) fn put_key<K: Persist>(self, tx: &mut WriteTx<'_>, key: K) -> Result<()> {
        tx.put_in(self.region, self.at, key)
    }

    /// Overwrites the value without releasing the old one.
    #[inline]
    pub(super) fn put_value<K, V>(self, tx: &mut WriteTx<'_>, value: V) -> Result<()>
    where
        K: Persist,
        V: Persist,
    {
        tx.put_in(self.region, self.at + HashEntry::<K, V>::VALUE_AT, value)
    }

    /// Returns the value for modification.
    #[inline]
    pub(super) fn value_mut<'a, K, V>(self, tx: &'a mut WriteTx<'_>) -> Result<&'a mut V>
    where
        K: Persist,
        V: Persist,
    {
        tx.value_in_mut(self.region, self.at + HashEntry::<K, V>::VALUE_AT)
    }
}

impl<K: Persist, V: Persist> Shard<K, V> {
    fn tag_blocks(&self) -> Blocks<u8> {
        Blocks::new(self.tags.offset(), self.tags.len())
    }

    /// Returns the offset of the counts within the block of tags.
    fn counts_at(&self) -> u64 {
        self.tags.len().saturating_sub(COUNTS)
    }

    fn counts(&self, tx: &Image) -> Result<Counts> {
        let at = self.tags.offset().saturating_add(self.counts_at());
        let [live, used] = *tx.at(Link::<[u32; 2]>::from_parts(at, 1))?;
        if live > used || u64::from(used) > self.capacity() {
            let expected = format!("at most {} slots used", self.capacity());
            return Err(self.bad_tags(&expected, format!("{live} live of {used} used")));
        }
        Ok(Counts { live, used })
    }

    #[inline]
    pub(super) fn open(&self, tx: &mut WriteTx<'_>) -> Result<OpenShard<K, V>> {
        self.expect_sound()?;
        let tags = tx.region_of(self.tag_blocks())?;
        Ok(OpenShard { shard: *self, counts: self.counts(tx)?, tags })
    }

    /// Reserves a slot of the shard at `link` for an entry with this hash, which the caller
    /// must then write; returns `None` if the shard is full.
    ///
    /// Does not copy the shard: a copy that was stored one word at a time and is loaded two
    /// at a time must wait for all earlier stores, including those to entries that missed
    /// the cache.
    #[inline]
    pub(super) fn reserve_slot(
        tx: &mut WriteTx<'_>,
        link: Link<Self>,
        hash: u64,
    ) -> Result<Option<Slot>> {
        let shard = tx.at(link)?;
        shard.expect_sound()?;
        let Counts { live, used } = shard.counts(tx)?;
        if is_full(used, shard.capacity()) {
            return Ok(None);
        }
        let (slot, was) = shard.free_slot(tx, hash)?;
        let (tags, counts_at) = (shard.tag_blocks(), shard.counts_at());
        let (part, index) = shard.part_of(slot);
        let tags = tx.region_of(tags)?;
        tx.put_in(tags, slot, control::tag_of(hash))?;
        let used = if was == EMPTY { used.saturating_add(1) } else { used };
        tx.put_in(tags, counts_at, [live.saturating_add(1), used])?;
        let at = index.wrapping_mul(HashEntry::<K, V>::SIZE_BYTES);
        Ok(Some(Slot { region: tx.region_of(part)?, at }))
    }

    /// Returns the first slot on the probe path of a hash that has no entry, and its tag.
    #[inline]
    fn free_slot(&self, tx: &Image, hash: u64) -> Result<(u64, u8)> {
        let groups = self.groups(tx)?;
        let mut at = control::home(hash, groups.len());
        for _ in 0..groups.len() {
            let Some(group) = groups.get(at) else { break };
            let free = !control::entries(group) & 0xffff;
            let index = free.trailing_zeros();
            let slot = at as u64 * GROUP + u64::from(index);
            if free != 0 && slot < self.capacity() {
                return Ok((slot, group[index as usize]));
            }
            at = control::next(at, groups.len());
        }
        Err(self.bad_tags("a free slot, as the counts say", "none"))
    }

    /// Returns the slots with entries.
    pub(super) fn live_slots(&self, tx: &Image) -> Result<Vec<u64>> {
        let mut slots = Vec::new();
        for (index, group) in self.groups(tx)?.iter().enumerate() {
            let mut entries = control::entries(group);
            while entries != 0 {
                let slot = index as u64 * GROUP + u64::from(entries.trailing_zeros());
                entries &= entries - 1;
                if slot >= self.capacity() {
                    return Err(self.bad_tags("no tag behind the last slot", slot));
                }
                slots.push(slot);
            }
        }
        Ok(slots)
    }

    /// Frees the blocks, but nothing that entries own.
    pub(super) fn free(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        tx.free_blocks(self.tag_blocks())?;
        for part in self.slots.into_iter().filter(|part| !part.is_null()) {
            tx.free_blocks(part)?;
        }
        Ok(())
    }
}

#[inline]
fn is_full(used: u32, capacity: u64) -> bool {
    u64::from(used) >= sizing::max_used(capacity)
}

impl<K: Persist, V: Persist> OpenShard<K, V> {
    /// Returns whether a new entry needs larger blocks first.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        is_full(self.counts.used, self.shard.capacity())
    }

    /// Returns whether far too many slots are empty.
    pub(super) fn is_sparse(&self) -> bool {
        let capacity = self.shard.capacity();
        capacity > sizing::SMALL && u64::from(self.counts.live) < capacity / 4
    }

    /// Opens slot `slot` for writing.
    #[inline]
    pub(super) fn slot(&self, tx: &mut WriteTx<'_>, slot: u64) -> Result<Slot> {
        let (part, index) = self.shard.part_of(slot);
        let at = index.wrapping_mul(HashEntry::<K, V>::SIZE_BYTES);
        Ok(Slot { region: tx.region_of(part)?, at })
    }

    fn set_counts(&mut self, tx: &mut WriteTx<'_>, counts: Counts) -> Result<()> {
        self.counts = counts;
        tx.put_in(self.tags, self.shard.counts_at(), [counts.live, counts.used])
    }

    /// Erases a slot and zeroes it, so that no stale link stays in the file.
    pub(super) fn erase(&mut self, tx: &mut WriteTx<'_>, slot: u64) -> Result<()> {
        let Counts { live, used } = self.counts;
        let group = self.shard.groups(tx)?.get((slot / GROUP) as usize).copied();
        let (Some(live), Some(group)) = (live.checked_sub(1), group) else {
            return Err(self.shard.bad_tags("counts that include each entry", live));
        };
        // Probes already end in this group, so no entry in a later group is reached through
        // this slot, and it may become `EMPTY`.
        let ends_probes = control::matches(&group, EMPTY) != 0;
        let (tag, used) = if ends_probes { (EMPTY, used - 1) } else { (DELETED, used) };
        let Slot { region, at, .. } = self.slot(tx, slot)?;
        tx.bytes_in_mut(region, at, HashEntry::<K, V>::SIZE_BYTES)?.fill(0);
        tx.put_in(self.tags, slot, tag)?;
        self.set_counts(tx, Counts { live, used })
    }

    /// Copies all entries out and frees the blocks, so that the new blocks can reuse their
    /// space together with adjacent free space.
    pub(super) fn drain_shard(
        self,
        tx: &mut WriteTx<'_>,
        packed: &mut Rehash,
        budget: &mut KeyWorkLimit,
    ) -> Result<()>
    where
        K: StoredKey,
    {
        let seed = HashSeed::new(tx);
        let slots = self.shard.live_slots(tx)?;
        if slots.len() as u64 != u64::from(self.counts.live) {
            let expected = format!("{} entries, as the counts say", self.counts.live);
            return Err(self.shard.bad_tags(&expected, slots.len()));
        }
        packed.hashes.reserve(slots.len());
        let mut left_bytes = budget.left_bytes;
        for slot in slots {
            let (key, mut hasher) = (self.shard.key(tx, slot)?, seed.hasher());
            let Some(left) = left_bytes.checked_sub(key.outside_bytes()) else {
                return Err(self.shard.bad_tags("keys that the heap has room for", "more"));
            };
            left_bytes = left;
            key.hash(tx, &mut hasher)?;
            packed.hashes.push(hasher.finish());
            let (at, size) = (self.shard.slot_offset(slot), HashEntry::<K, V>::SIZE_BYTES);
            packed.bytes.extend_from_slice(tx.bytes(
                "entry of a flagstone::HashShard",
                at,
                size,
            )?);
        }
        budget.left_bytes = left_bytes;
        self.shard.free(tx)
    }
}

/// Entries on the way to other blocks: their hashes, and their bytes back to back.
#[derive(Default)]
pub(super) struct Rehash {
    hashes: Vec<u64>,
    bytes: Vec<u8>,
}

/// Bounds the bytes that hashing may read: the bytes that keys can own in the whole
/// heap, minus those of the keys hashed so far. No two keys share such bytes,
/// except in a forged file, where each key could be as long as the heap.
pub(super) struct KeyWorkLimit {
    left_bytes: u64,
}

impl KeyWorkLimit {
    /// Returns a limit for hashing each key once.
    pub(super) fn new(tx: &Image) -> Self {
        Self { left_bytes: tx.heap_bytes() }
    }
}

impl Rehash {
    /// Returns how many of the entries `choose` accepts by their hash.
    pub(super) fn count(&self, choose: impl Fn(u64) -> bool) -> u64 {
        self.hashes.iter().filter(|hash| choose(**hash)).count() as u64
    }

    /// Builds a shard with capacity for `needed` entries, and fills it with those that
    /// `choose` accepts by their hash.
    pub(super) fn build<K: Persist, V: Persist>(
        &self,
        tx: &mut WriteTx<'_>,
        needed: u64,
        choose: impl Fn(u64) -> bool,
    ) -> Result<Shard<K, V>> {
        let size = HashEntry::<K, V>::SIZE_BYTES;
        let count = self.count(&choose);
        let counts = sizing::parts_for(needed.max(count), size);
        let mut shard = Shard::none();
        for (part, count) in shard.slots.iter_mut().zip(counts).filter(|(_, count)| *count > 0) {
            *part = tx.alloc_blocks(count)?;
        }
        let capacity = shard.capacity();
        let tag_bytes = capacity.next_multiple_of(GROUP);
        let tag_blocks: Blocks<u8> = tx.alloc_blocks(tag_bytes + COUNTS)?;
        shard.tags = Link::from_parts(tag_blocks.offset(), tag_blocks.count());
        let mut groups = vec![[EMPTY; 16]; (tag_bytes / GROUP) as usize];
        // Tags without a slot are never `EMPTY`: `place` skips them, and no probe ends at them.
        groups.as_flattened_mut()[capacity as usize..].fill(DELETED);
        let chosen = self.hashes.iter().enumerate().filter(|(_, hash)| choose(**hash));
        let places: Vec<(usize, u64)> =
            chosen.map(|(index, hash)| (index, place(&mut groups, *hash))).collect();
        let mut first = 0;
        for part in shard.slots.into_iter().filter(|part| !part.is_null()) {
            let region = tx.region_of(part)?;
            let block = tx.bytes_in_mut(region, 0, part.len_bytes())?;
            for (index, slot) in &places {
                // Wraps around for slots before this part, which then fail the comparison.
                let slot = slot.wrapping_sub(first);
                if slot < part.count() {
                    let (from, to) = (index * size as usize, (slot * size) as usize);
                    let entry = &self.bytes[from..from + size as usize];
                    block[to..to + size as usize].copy_from_slice(entry);
                }
            }
            first += part.count();
        }
        let live = u32::try_from(count).unwrap_or(u32::MAX);
        let region = tx.region_of(tag_blocks)?;
        tx.bytes_in_mut(region, 0, tag_bytes)?.copy_from_slice(groups.as_flattened());
        tx.put_in(region, tag_bytes, [live, live])?;
        Ok(shard)
    }
}

/// Reserves the first empty slot on the probe path of a hash; there must be one.
fn place(groups: &mut [[u8; 16]], hash: u64) -> u64 {
    let mut at = control::home(hash, groups.len());
    loop {
        let empty = control::matches(&groups[at], EMPTY);
        if empty != 0 {
            let index = empty.trailing_zeros();
            groups[at][index as usize] = control::tag_of(hash);
            return at as u64 * GROUP + u64::from(index);
        }
        at = control::next(at, groups.len());
    }
}
