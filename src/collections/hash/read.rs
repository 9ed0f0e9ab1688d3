//! Finding an entry.

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Link, Persist};

use super::parts::{HashEntry, SEGMENT, Segment, Shard, Table};
use super::tags::{self, EMPTY, GROUP};
use crate::collections::key::{HashSeed, Key};

/// A table whose header was tested, with its directory at hand.
pub(super) struct Reader<'a, K: Persist, V: Persist> {
    pub(super) tx: &'a Image,
    directory: &'a [Segment<K, V>],
    shards: u64,
    /// Bits of a hash that may number a shard.
    mask: u64,
    seed: HashSeed,
    pub(super) len: u64,
}

/// An entry that was found.
pub(super) struct Hit<'a, K> {
    pub(super) key: &'a K,
    pub(super) slot: u64,
    /// Where it lies.
    pub(super) offset: u64,
}

impl<K: Persist, V: Persist> Table<K, V> {
    /// Linear hashing: as many low bits as number a shard or the one that it will
    /// be split into.
    pub(super) fn mask(&self) -> u64 {
        u64::MAX >> self.shards.leading_zeros().min(63)
    }

    /// The shard for a hash; there is at least one.
    pub(super) fn shard_of(&self, hash: u64) -> u64 {
        shard_of(hash, self.mask(), self.shards)
    }
}

#[inline]
fn shard_of(hash: u64, mask: u64, shards: u64) -> u64 {
    let index = hash & mask;
    if index < shards { index } else { hash & (mask >> 1) }
}

impl<'a, K: Persist, V: Persist> Reader<'a, K, V> {
    #[inline]
    pub(super) fn new(tx: &'a Image, table: &Table<K, V>) -> Result<Self> {
        table.expect_sound()?;
        let directory = if table.shards == 0 { &[] } else { tx.at(table.directory)? };
        Ok(Self {
            tx,
            directory,
            shards: table.shards,
            mask: table.mask(),
            seed: HashSeed::new(tx),
            len: table.len,
        })
    }

    /// Number of shards.
    pub(super) fn shards(&self) -> u64 {
        self.shards
    }

    #[inline]
    pub(super) fn hash_of<Q: ?Sized>(&self, query: &Q) -> u64
    where
        K: Key<Q>,
    {
        self.seed.hash_query::<K, Q>(query)
    }

    /// The shard `index`, its shape tested.
    #[inline]
    pub(super) fn shard(&self, index: u64) -> Result<&'a Shard<K, V>> {
        let segment = self.directory.get((index / SEGMENT) as usize);
        let Some(link) = segment.and_then(|segment| segment.shards.index(index % SEGMENT)) else {
            return Err(self.no_shard(index));
        };
        let shard = self.tx.at(link)?;
        shard.expect_sound()?;
        Ok(shard)
    }

    #[cold]
    fn no_shard(&self, index: u64) -> crate::Error {
        let expected = format!("a segment with shard {index} of {}", self.shards);
        ErrorKind::corrupt("directory of a flagstone::HashTable", 0, expected, "none")
    }

    /// The entry that `query` asks for.
    #[inline]
    pub(super) fn find<Q: ?Sized>(&self, query: &Q) -> Result<Option<Hit<'a, K>>>
    where
        K: Key<Q>,
    {
        if self.shards == 0 {
            return Ok(None);
        }
        let hash = self.hash_of(query);
        let shard = self.shard(shard_of(hash, self.mask, self.shards))?;
        shard.find(self.tx, hash, query)
    }
}

impl<K: Persist, V: Persist> Shard<K, V> {
    /// The groups of tags.
    #[inline]
    pub(super) fn groups<'a>(&self, tx: &'a Image) -> Result<&'a [[u8; 16]]> {
        Ok(tx.at(self.tags)?.as_chunks().0)
    }

    /// The key in slot `slot`.
    #[inline]
    pub(super) fn key<'a>(&self, tx: &'a Image, slot: u64) -> Result<&'a K> {
        if slot >= self.capacity() {
            return Err(self.bad_tags("no tag behind the last slot", slot));
        }
        tx.at(Link::from_parts(self.slot_offset(slot), 1))
    }

    /// The entry with this hash that `query` asks for. Ends after each group
    /// was seen once, whatever the tags are.
    #[inline]
    pub(super) fn find<'a, Q: ?Sized>(
        &self,
        tx: &'a Image,
        hash: u64,
        query: &Q,
    ) -> Result<Option<Hit<'a, K>>>
    where
        K: Key<Q>,
    {
        let groups = self.groups(tx)?;
        let tag = tags::tag_of(hash);
        let mut at = tags::home(hash, groups.len());
        for _ in 0..groups.len() {
            let Some(group) = groups.get(at) else { break };
            let mut hits = tags::matches(group, tag);
            while hits != 0 {
                let slot = at as u64 * GROUP + u64::from(hits.trailing_zeros());
                hits &= hits - 1;
                let key = self.key(tx, slot)?;
                if key.is(tx, query)? {
                    return Ok(Some(Hit { key, slot, offset: self.slot_offset(slot) }));
                }
            }
            if tags::matches(group, EMPTY) != 0 {
                break;
            }
            at = tags::next(at, groups.len());
        }
        Ok(None)
    }
}

/// The link to the value of the entry at `offset`.
#[inline]
pub(super) fn value_at<K: Persist, V: Persist>(offset: u64) -> Link<V> {
    Link::from_parts(offset.wrapping_add(HashEntry::<K, V>::VALUE_AT), 1)
}

impl<K: Persist, V: Persist> Clone for Reader<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Persist, V: Persist> Copy for Reader<'_, K, V> {}
