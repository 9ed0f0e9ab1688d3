//! Finds entries.

use std::cell::Cell;

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Link, Persist};

use super::control::{self, EMPTY, GROUP};
use super::layout::{HashEntry, SEGMENT, Segment, Shard, Table};
use crate::collections::key::{HashSeed, Key};

/// A table with a validated header and a resolved directory.
pub(super) struct Reader<'a, K: Persist, V: Persist> {
    pub(super) tx: &'a Image,
    directory: &'a [Segment<K, V>],
    shards: u64,
    /// Mask of the hash bits that may number a shard.
    mask: u64,
    seed: HashSeed,
    pub(super) len: u64,
}

/// An entry that a lookup found.
pub(super) struct Match<'a, K> {
    pub(super) key: &'a K,
    pub(super) slot: u64,
    /// The entry's offset in the heap.
    pub(super) offset: u64,
}

impl<K: Persist, V: Persist> Table<K, V> {
    /// Returns the mask of linear hashing: enough low bits to number every shard, and the
    /// ones that the current shards will be split into.
    #[inline(always)]
    pub(super) fn mask(&self) -> u64 {
        u64::MAX >> self.shards.leading_zeros().min(63)
    }

    /// Returns the index of the shard for a hash; the table must have a shard.
    pub(super) fn shard_of(&self, hash: u64) -> u64 {
        shard_of(hash, self.mask(), self.shards)
    }
}

#[inline(always)]
fn shard_of(hash: u64, mask: u64, shards: u64) -> u64 {
    let index = hash & mask;
    if index < shards { index } else { hash & (mask >> 1) }
}

/// Bounds a walk over all shards by the size of the heap: the heap's bytes minus
/// the blocks of the shards visited so far. A damaged directory may name the same
/// shard any number of times, and without the limit a walk would practically never
/// end.
pub(super) struct WorkLimit {
    left_bytes: u64,
}

impl WorkLimit {
    pub(super) fn new(tx: &Image) -> Self {
        Self { left_bytes: tx.heap_bytes() }
    }

    /// Subtracts the blocks of a shard.
    pub(super) fn spend<K: Persist, V: Persist>(&mut self, shard: &Shard<K, V>) -> Result<()> {
        let slots = shard.slots.iter().map(|part| part.len_bytes());
        let len_bytes = slots.fold(shard.tags.len(), u64::saturating_add);
        let Some(left_bytes) = self.left_bytes.checked_sub(len_bytes) else {
            return Err(shard.bad_tags("shards that the heap has room for", "more"));
        };
        self.left_bytes = left_bytes;
        Ok(())
    }
}

impl<'a, K: Persist, V: Persist> Reader<'a, K, V> {
    #[inline(always)]
    pub(super) fn new(tx: &'a Image, table: &Table<K, V>) -> Result<Self> {
        let directory = match tx.fast(table.directory) {
            // The same conditions as in `expect_sound`, for a table with a directory.
            Some(directory) if table.shards.wrapping_sub(1) < directory.len() as u64 * SEGMENT => {
                directory
            }
            _ => directory_of(tx, table)?,
        };
        let (shards, mask) = (table.shards, table.mask());
        Ok(Self { tx, directory, shards, mask, seed: HashSeed::new(tx), len: table.len })
    }

    /// Returns the number of shards.
    pub(super) fn shards(&self) -> u64 {
        self.shards
    }

    #[inline(always)]
    pub(super) fn hash_of<Q: ?Sized>(&self, query: &Q) -> u64
    where
        K: Key<Q>,
    {
        self.seed.hash_query::<K, Q>(query)
    }

    /// Returns the link to shard `index`.
    #[inline(always)]
    fn link(&self, index: u64) -> Option<Link<Shard<K, V>>> {
        let segment = self.directory.get((index / SEGMENT) as usize)?;
        segment.shards.index(index % SEGMENT)
    }

    /// Returns shard `index` after validating its shape.
    pub(super) fn shard(&self, index: u64) -> Result<&'a Shard<K, V>> {
        let Some(link) = self.link(index) else { return Err(self.no_shard(index)) };
        let shard = self.tx.at(link)?;
        shard.expect_sound()?;
        Ok(shard)
    }

    #[cold]
    fn no_shard(&self, index: u64) -> crate::error::Error {
        let expected = format!("a segment with shard {index} of {}", self.shards);
        ErrorKind::corrupt("directory of a flagstone::HashTable", 0, expected, "none")
    }

    /// Finds the entry for `query`.
    ///
    /// Full validation of every link would make a lookup take three times as long; a
    /// processor overlaps the cache misses of as many lookups as fit in its window. The
    /// fast path therefore does only cheap checks. Whatever these cannot decide, including
    /// every error, is looked up again with full validation.
    #[inline(always)]
    pub(super) fn find<Q: ?Sized>(&self, query: &Q) -> Result<Option<Match<'a, K>>>
    where
        K: Key<Q>,
    {
        self.find_hashed(self.hash_of(query), query)
    }

    /// Finds the entry for `query`, whose hash is known.
    #[inline(always)]
    pub(super) fn find_hashed<Q: ?Sized>(
        &self,
        hash: u64,
        query: &Q,
    ) -> Result<Option<Match<'a, K>>>
    where
        K: Key<Q>,
    {
        match self.find_fast(hash, query) {
            Some(hit) => Ok(hit),
            None => self.find_carefully(hash, query),
        }
    }

    #[inline(always)]
    fn find_fast<Q: ?Sized>(&self, hash: u64, query: &Q) -> Option<Option<Match<'a, K>>>
    where
        K: Key<Q>,
    {
        let link = self.link(shard_of(hash, self.mask, self.shards))?;
        let shard = self.tx.fast(link)?;
        if !shard.is_sound() {
            return None;
        }
        let groups = self.tx.fast(shard.tags)?.as_chunks().0;
        let key = |slot| self.tx.fast(shard.key_link(slot)?);
        probe(groups, hash, key, |key| key.is(self.tx, query).ok())
            .map(|found| found.map(|(slot, key)| shard.hit(slot, key)))
    }

    #[cold]
    #[inline(never)]
    fn find_carefully<Q: ?Sized>(&self, hash: u64, query: &Q) -> Result<Option<Match<'a, K>>>
    where
        K: Key<Q>,
    {
        if self.shards == 0 {
            return Ok(None);
        }
        let shard = self.shard(shard_of(hash, self.mask, self.shards))?;
        shard.find(self.tx, hash, query)
    }
}

/// Finds the directory with full validation, where the fast path cannot decide.
#[cold]
#[inline(never)]
fn directory_of<'a, K: Persist, V: Persist>(
    tx: &'a Image,
    table: &Table<K, V>,
) -> Result<&'a [Segment<K, V>]> {
    table.expect_sound()?;
    if table.shards == 0 { Ok(&[]) } else { tx.at(table.directory) }
}

/// Probes for an entry and returns its slot and key, or `None` as soon as one of
/// the functions returns `None`. Ends after visiting each group once, whatever the
/// tags are.
#[inline(always)]
fn probe<'a, K: 'a>(
    groups: &[[u8; 16]],
    hash: u64,
    key_in: impl Fn(u64) -> Option<&'a K>,
    is_it: impl Fn(&K) -> Option<bool>,
) -> Option<Option<(u64, &'a K)>> {
    let tag = control::tag_of(hash);
    let mut at = control::home(hash, groups.len());
    for _ in 0..groups.len() {
        let group = groups.get(at)?;
        let mut hits = control::matches(group, tag);
        while hits != 0 {
            let slot = at as u64 * GROUP + u64::from(hits.trailing_zeros());
            hits &= hits - 1;
            let key = key_in(slot)?;
            if is_it(key)? {
                return Some(Some((slot, key)));
            }
        }
        if control::matches(group, EMPTY) != 0 {
            break;
        }
        at = control::next(at, groups.len());
    }
    Some(None)
}

impl<K: Persist, V: Persist> Shard<K, V> {
    /// Returns the groups of tags.
    #[inline]
    pub(super) fn groups<'a>(&self, tx: &'a Image) -> Result<&'a [[u8; 16]]> {
        Ok(tx.at(self.tags)?.as_chunks().0)
    }

    /// Returns the link to the key in slot `slot`, or `None` if there is no such slot.
    #[inline(always)]
    fn key_link(&self, slot: u64) -> Option<Link<K>> {
        (slot < self.capacity()).then(|| Link::from_parts(self.slot_offset(slot), 1))
    }

    /// Returns the key in slot `slot`.
    pub(super) fn key<'a>(&self, tx: &'a Image, slot: u64) -> Result<&'a K> {
        match self.key_link(slot) {
            Some(link) => tx.at(link),
            None => Err(self.bad_tags("no tag behind the last slot", slot)),
        }
    }

    #[inline(always)]
    fn hit<'a>(&self, slot: u64, key: &'a K) -> Match<'a, K> {
        Match { key, slot, offset: self.slot_offset(slot) }
    }

    /// Finds the entry for `query`, which has this hash, with full validation.
    fn find<'a, Q: ?Sized>(
        &self,
        tx: &'a Image,
        hash: u64,
        query: &Q,
    ) -> Result<Option<Match<'a, K>>>
    where
        K: Key<Q>,
    {
        let error = Cell::new(None);
        let note = |new| error.set(Some(new));
        let key = |slot| self.key(tx, slot).map_err(note).ok();
        match probe(self.groups(tx)?, hash, key, |key| key.is(tx, query).map_err(note).ok()) {
            Some(found) => Ok(found.map(|(slot, key)| self.hit(slot, key))),
            None => {
                Err(error.take().unwrap_or_else(|| self.bad_tags("a group to begin at", "none")))
            }
        }
    }
}

/// Returns the link to the value of the entry at `offset`.
#[inline(always)]
pub(super) fn value_at<K: Persist, V: Persist>(offset: u64) -> Link<V> {
    Link::from_parts(offset.wrapping_add(HashEntry::<K, V>::VALUE_AT), 1)
}

/// Returns the value of the entry at `offset`.
#[inline(always)]
pub(super) fn value_in<K: Persist, V: Persist>(tx: &Image, offset: u64) -> Result<&V> {
    let link = value_at::<K, V>(offset);
    match tx.fast(link) {
        Some(value) => Ok(value),
        None => value_carefully(tx, link),
    }
}

#[cold]
#[inline(never)]
fn value_carefully<V: Persist>(tx: &Image, link: Link<V>) -> Result<&V> {
    tx.at(link)
}

impl<K: Persist, V: Persist> Clone for Reader<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Persist, V: Persist> Copy for Reader<'_, K, V> {}
