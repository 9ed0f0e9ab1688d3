//! Iterates over all entries.

use std::iter::FusedIterator;

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Link, Persist};

use super::control::{self, GROUP};
use super::layout::Shard;
use super::lookup::{Reader, WorkLimit, value_at};

/// Yields the offset of each entry in turn; ends after an error.
struct Places<'a, K: Persist, V: Persist> {
    reader: Reader<'a, K, V>,
    /// The shard after the current one.
    next_shard: u64,
    shard: Option<&'a Shard<K, V>>,
    groups: &'a [[u8; 16]],
    /// The group after the one that `entries` describes.
    next_group: usize,
    /// The slots of the current group that are still to be visited.
    entries: u32,
    /// Number of entries still to be visited, as the header says.
    left: u64,
    budget: WorkLimit,
    is_over: bool,
}

impl<'a, K: Persist, V: Persist> Places<'a, K, V> {
    fn new(reader: Reader<'a, K, V>) -> Self {
        Self {
            reader,
            next_shard: 0,
            shard: None,
            groups: &[],
            next_group: 0,
            entries: 0,
            left: reader.len,
            budget: WorkLimit::new(reader.tx),
            is_over: false,
        }
    }

    fn advance(&mut self) -> Result<Option<u64>> {
        while self.entries == 0 {
            if let Some(group) = self.groups.get(self.next_group) {
                self.entries = control::entries(group);
                self.next_group += 1;
            } else if self.next_shard < self.reader.shards() {
                let shard = self.reader.shard(self.next_shard)?;
                self.read_ahead();
                self.budget.spend(shard)?;
                self.groups = shard.groups(self.reader.tx)?;
                self.shard = Some(shard);
                self.next_group = 0;
                self.next_shard += 1;
            } else if self.left == 0 {
                return Ok(None);
            } else {
                return Err(miscounted("as many entries as the header says", "fewer"));
            }
        }
        let Some(shard) = self.shard else { return Ok(None) };
        let Some(left) = self.left.checked_sub(1) else {
            return Err(miscounted("as many entries as the header says", "more"));
        };
        self.left = left;
        let slot = (self.next_group as u64 - 1) * GROUP + u64::from(self.entries.trailing_zeros());
        self.entries &= self.entries - 1;
        if slot >= shard.capacity() {
            return Err(shard.bad_tags("no tag behind the last slot", slot));
        }
        Ok(Some(shard.slot_offset(slot)))
    }

    /// Has the blocks of the next shard read while this one is visited.
    fn read_ahead(&self) {
        let Reader { tx, .. } = self.reader;
        if !tx.is_random() || self.next_shard + 1 >= self.reader.shards() {
            return;
        }
        // If it is damaged, the walk says so when it comes there.
        let Ok(shard) = self.reader.shard(self.next_shard + 1) else { return };
        tx.will_need(shard.tags.offset(), shard.tags.len());
        for part in &shard.slots {
            tx.will_need(part.offset(), part.len_bytes());
        }
    }

    fn next(&mut self) -> Option<Result<u64>> {
        if self.is_over {
            return None;
        }
        let place = self.advance().transpose();
        self.is_over = !matches!(place, Some(Ok(_)));
        place
    }

    /// Returns an upper bound only, taken from the header. The header may be wrong, and a
    /// lower bound would make callers allocate by it.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, if self.is_over { Some(0) } else { usize::try_from(self.left.saturating_add(1)).ok() })
    }
}

#[cold]
fn miscounted(expected: &str, found: &str) -> crate::error::Error {
    ErrorKind::corrupt("flagstone::HashTable", 0, expected, found)
}

/// Iterator over the entries of a [`HashMap`](super::HashMap), in arbitrary order.
/// Yields `(key, value)`, or an error and then nothing more.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Iter<'a, K: Persist, V: Persist> {
    places: Places<'a, K, V>,
}

/// Iterator over the keys of a [`HashMap`](super::HashMap) or
/// [`HashSet`](super::HashSet), in arbitrary order. Yields nothing more after an
/// error.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Keys<'a, K: Persist, V: Persist> {
    places: Places<'a, K, V>,
}

/// Iterator over the values of a [`HashMap`](super::HashMap), in arbitrary order.
/// Yields nothing more after an error.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Values<'a, K: Persist, V: Persist> {
    places: Places<'a, K, V>,
}

impl<'a, K: Persist, V: Persist> Iter<'a, K, V> {
    pub(super) fn new(reader: Reader<'a, K, V>) -> Self {
        Self { places: Places::new(reader) }
    }
}

impl<'a, K: Persist, V: Persist> Keys<'a, K, V> {
    pub(super) fn new(reader: Reader<'a, K, V>) -> Self {
        Self { places: Places::new(reader) }
    }
}

impl<'a, K: Persist, V: Persist> Values<'a, K, V> {
    pub(super) fn new(reader: Reader<'a, K, V>) -> Self {
        Self { places: Places::new(reader) }
    }
}

fn key<K: Persist>(tx: &Image, offset: u64) -> Result<&K> {
    tx.at(Link::from_parts(offset, 1))
}

impl<'a, K: Persist, V: Persist> Iterator for Iter<'a, K, V> {
    type Item = Result<(&'a K, &'a V)>;

    fn next(&mut self) -> Option<Self::Item> {
        let tx = self.places.reader.tx;
        let entry = |offset| Ok((key(tx, offset)?, tx.at(value_at::<K, V>(offset))?));
        Some(self.places.next()?.and_then(entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl<'a, K: Persist, V: Persist> Iterator for Keys<'a, K, V> {
    type Item = Result<&'a K>;

    fn next(&mut self) -> Option<Self::Item> {
        let tx = self.places.reader.tx;
        Some(self.places.next()?.and_then(|offset| key(tx, offset)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl<'a, K: Persist, V: Persist> Iterator for Values<'a, K, V> {
    type Item = Result<&'a V>;

    fn next(&mut self) -> Option<Self::Item> {
        let tx = self.places.reader.tx;
        Some(self.places.next()?.and_then(|offset| tx.at(value_at::<K, V>(offset))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl<K: Persist, V: Persist> FusedIterator for Iter<'_, K, V> {}
impl<K: Persist, V: Persist> FusedIterator for Keys<'_, K, V> {}
impl<K: Persist, V: Persist> FusedIterator for Values<'_, K, V> {}
