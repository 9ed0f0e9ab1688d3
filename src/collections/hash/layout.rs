//! Layout of a hash table in the heap: header, directory, segments, shards,
//! entries, and what each of them owns.

use std::marker::PhantomData;

use crate::error::{ErrorKind, Result};
use crate::persist::{Blocks, Element, Field, Link, Owned, Persist, Reach, words};

use super::control::GROUP;

pub(super) use crate::format::collections::hash::{COUNTS, SEGMENT, SLOT_PARTS};

const _: () = assert!(size_of::<Table<u64, u64>>() == 32 && size_of::<Segment<u64, u64>>() == 16);
const _: () = assert!(size_of::<Shard<u64, u64>>() == 16 + 16 * SLOT_PARTS);

/// The header of a map or a set; the values of a set have no bytes.
#[repr(C)]
pub(super) struct Table<K: Persist, V: Persist> {
    /// All segments up to the directory's capacity; unused ones are zero.
    pub(super) directory: Link<[Segment<K, V>]>,
    /// Number of shards.
    pub(super) shards: u64,
    /// Number of entries.
    pub(super) len: u64,
}

crate::persist::persist_own!(
    Table<K, V> as "flagstone::HashTable" { directory, shards, len }
    owner Self::own
);

/// A segment of the directory.
#[repr(C)]
pub(super) struct Segment<K: Persist, V: Persist> {
    /// All shards up to the segment's capacity; unused ones are zero.
    pub(super) shards: Link<[Shard<K, V>]>,
}

crate::persist::persist_own!(Segment<K, V> as "flagstone::HashSegment" { shards } owner Self::own);

/// A separate open-addressing table for a part of the hashes.
#[repr(C)]
pub(super) struct Shard<K: Persist, V: Persist> {
    /// One tag for each slot, padded to a multiple of 16, then the counts.
    pub(super) tags: Link<[u8]>,
    /// The slots, in up to three allocations, which keeps the number of block sizes small:
    /// another shard can reuse what one frees. Slots without an entry are zero.
    pub(super) slots: [Blocks<HashEntry<K, V>>; SLOT_PARTS],
}

crate::persist::persist_own!(Shard<K, V> as "flagstone::HashShard" { tags, slots } owner Self::own);

/// A key followed by its value, each at its own alignment.
pub(super) struct HashEntry<K, V>(PhantomData<fn() -> (K, V)>);

impl<K: Persist, V: Persist> HashEntry<K, V> {
    /// Offset of the value from the key.
    pub(super) const VALUE_AT: u64 = size_of::<K>().next_multiple_of(align_of::<V>()) as u64;
}

impl<K: Persist, V: Persist> Element for HashEntry<K, V> {
    const SIZE_BYTES: u64 =
        (Self::VALUE_AT + size_of::<V>() as u64).next_multiple_of(Self::ALIGN_BYTES);
    const ALIGN_BYTES: u64 = if align_of::<K>() > align_of::<V>() {
        align_of::<K>() as u64
    } else {
        align_of::<V>() as u64
    };

    fn element_name() -> String {
        format!("flagstone::HashEntry<{}, {}>", K::type_name(), V::type_name())
    }

    fn element_reach(reach: &mut Reach) {
        let field = |name: &str, offset_bytes, type_name| Field {
            name: name.to_string(),
            offset_bytes,
            type_name,
        };
        let fields = || {
            let value = field("value", Self::VALUE_AT as usize, V::type_name());
            std::vec![field("key", 0, K::type_name()), value]
        };
        if reach.block::<Self>(fields) {
            K::reach(reach);
            V::reach(reach);
        }
    }

    fn element_owned(bytes: &[u8], owned: &mut Owned) {
        for entry in bytes.chunks_exact(Self::SIZE_BYTES as usize) {
            owned.part::<K>(entry, 0);
            owned.part::<V>(entry, Self::VALUE_AT as usize);
        }
    }

    const ELEMENT_OWNS: bool = K::OWNS || V::OWNS;
}

impl<K: Persist, V: Persist> Table<K, V> {
    /// Returns an empty table without an allocation.
    pub(super) fn new() -> Self {
        Self { directory: Link::null(), shards: 0, len: 0 }
    }

    /// Returns an error if the header's numbers contradict each other.
    #[inline(always)]
    pub(super) fn expect_sound(&self) -> Result<()> {
        let room = self.directory.len().saturating_mul(SEGMENT);
        let is_none = self.shards == 0;
        let is_sound = self.shards <= room
            && is_none == self.directory.is_null()
            && !(is_none && self.len > 0);
        if is_sound { Ok(()) } else { Err(self.unsound()) }
    }

    #[cold]
    fn unsound(&self) -> crate::error::Error {
        let (offset, segments) = (self.directory.offset(), self.directory.len());
        let (len, shards) = (self.len, self.shards);
        let expected = format!("entries only in shards, and at most {SEGMENT} shards a segment");
        let found = format!("{len} entries in {shards} shards in {segments} segments");
        ErrorKind::corrupt("flagstone::HashTable (directory's offset)", offset, expected, found)
    }

    fn own(bytes: &[u8], owned: &mut Owned) {
        if let Some([offset, count]) = words(bytes) {
            owned.array(Blocks::<Segment<K, V>>::new(offset, count), count);
        }
    }
}

impl<K: Persist, V: Persist> Segment<K, V> {
    fn own(bytes: &[u8], owned: &mut Owned) {
        if let Some([offset, count]) = words(bytes) {
            owned.array(Blocks::<Shard<K, V>>::new(offset, count), count);
        }
    }
}

impl<K: Persist, V: Persist> Shard<K, V> {
    pub(super) fn none() -> Self {
        Self { tags: Link::null(), slots: [Blocks::null(); SLOT_PARTS] }
    }

    /// Returns the number of slots.
    #[inline(always)]
    pub(super) fn capacity(&self) -> u64 {
        let [first, second, third] = self.slots.map(Blocks::count);
        first.wrapping_add(second).wrapping_add(third)
    }

    /// Returns whether the number of tags matches the number of slots.
    #[inline(always)]
    pub(super) fn is_sound(&self) -> bool {
        let capacity = self.capacity();
        // A capacity that is 0, or that wraps around, fails the first comparison.
        capacity.wrapping_sub(1) < 1 << 48
            && self.tags.len() == ((capacity + (GROUP - 1)) & !(GROUP - 1)) + COUNTS
    }

    /// Returns an error if the number of tags does not match the number of slots.
    #[inline]
    pub(super) fn expect_sound(&self) -> Result<()> {
        if self.is_sound() { Ok(()) } else { Err(self.unsound()) }
    }

    #[cold]
    fn unsound(&self) -> crate::error::Error {
        let (capacity, found) = (self.capacity(), self.tags.len());
        let expected = format!("tags for {capacity} slots, in groups of {GROUP}, and 8 bytes");
        let found = format!("{found} bytes");
        ErrorKind::corrupt(
            "flagstone::HashShard (tags' offset)",
            self.tags.offset(),
            expected,
            found,
        )
    }

    /// Returns the allocation that holds slot `slot`, and the slot's index in it.
    #[inline(always)]
    pub(super) fn part_of(&self, slot: u64) -> (Blocks<HashEntry<K, V>>, u64) {
        let first = self.slots[0].count();
        let second = first.wrapping_add(self.slots[1].count());
        let part = usize::from(slot >= first) + usize::from(slot >= second);
        let before = if slot >= second { second } else { first };
        let before = if slot >= first { before } else { 0 };
        (self.slots[part], slot.wrapping_sub(before))
    }

    /// Returns the offset of slot `slot`. A damaged shard may yield any offset; it is
    /// validated, as every link is, when it is followed.
    #[inline(always)]
    pub(super) fn slot_offset(&self, slot: u64) -> u64 {
        let (part, index) = self.part_of(slot);
        part.offset().wrapping_add(index.wrapping_mul(HashEntry::<K, V>::SIZE_BYTES))
    }

    /// Builds the error for a tag without a slot, or a missing tag.
    #[cold]
    pub(super) fn bad_tags(
        &self,
        expected: &str,
        found: impl std::fmt::Display,
    ) -> crate::error::Error {
        let what = "tags of a flagstone::HashShard";
        ErrorKind::corrupt(what, self.tags.offset(), expected, found)
    }

    fn own(bytes: &[u8], owned: &mut Owned) {
        let Some([tags, tag_bytes, parts @ ..]) = words::<8>(bytes) else { return };
        owned.array(Blocks::<u8>::new(tags, tag_bytes), 0);
        for [offset, count] in parts.as_chunks().0.iter().copied() {
            owned.array(Blocks::<HashEntry<K, V>>::new(offset, count), count);
        }
    }
}

impl<K: Persist, V: Persist> Clone for Shard<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Persist, V: Persist> Copy for Shard<K, V> {}

impl<K: Persist, V: Persist> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Persist, V: Persist> Copy for Table<K, V> {}
