//! Checks hash tables: each shard's tags, counts and slots must agree, and each entry must be
//! reachable by its key.
//!
//! One step checks one shard or one entry, because an entry may own further tables, to any depth.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::layout::{BYTES_VALUE, IN_HEAP, bytes_at, word};
use super::roles::{EntryShape, KeyPart, Role, TableShape};
use super::walk::{Liveness, Place, Range, Walk, Work};

/// Shards in one segment of the directory.
const SEGMENT: u64 = 512;
/// Slots whose tags a lookup compares together.
const GROUP: u64 = 16;
/// Bytes after the tags: two counts.
const COUNTS: u64 = 8;
/// The tag of a slot that has not been used since the shard was created.
const EMPTY: u8 = 0;
/// The tag of a slot whose entry was removed, or of padding that completes a group.
const DELETED: u8 = 1;

/// A table with shards that are still to be checked.
pub(super) struct Shards {
    /// The table.
    place: Place,
    shape: TableShape,
    directory: u64,
    /// The number of shards, and the index of the next one.
    count: u64,
    next: u64,
    /// The offset of the shards of the current segment.
    segment: u64,
    /// The number of entries that the table claims; `None` once a damaged shard was found.
    len: Option<u64>,
    /// Entries in the shards checked so far.
    live: u64,
}

/// A shard with entries that are still to be checked.
pub(super) struct Slots {
    entry: u32,
    tags: u64,
    /// Offset of each part's slots, and their number.
    parts: [[u64; 2]; 3],
    capacity: u64,
    next: u64,
    /// Groups that probe sequences may still visit. Nearly every entry lies in the first or
    /// second group of its sequence; in a forged shard, each sequence could have the maximum
    /// length.
    left_groups: u64,
    /// The index of the shard, and the number of shards.
    shard: u64,
    shards: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn own_table(
        &mut self,
        place: Place,
        shape: &TableShape,
        word: impl Fn(u64) -> u64,
    ) {
        let [directory, segments] = [0, 8].map(|field| word(shape.directory + field));
        let (count, len) = (word(shape.shards), word(shape.len));
        let is_sound = match directory {
            0 => count == 0 && len == 0,
            _ => count != 0 && count.div_ceil(SEGMENT) <= segments,
        };
        if !is_sound {
            let found = format!("{len} entries in {count} shards in {segments} segments");
            let expected = "expected entries only in shards, and shards in segments";
            return self.bad(place, format!("{expected}, found {found} at {directory:#x}"));
        }
        if directory == 0
            || !self.claim(place, "directory", directory, (shape.segment, Some(segments)))
        {
            return;
        }
        let stride = self.size_of(shape.segment);
        let used = count.div_ceil(SEGMENT) * stride;
        if let Some(bytes) = self.bytes(place, directory, segments.saturating_mul(stride)) {
            let (owner, at) = (shape.segment.unwrap_or_default(), directory + used);
            let unused = Place { owner, base: at, at };
            self.expect_zeros(unused, &bytes[used as usize..], "segments that no shard needs");
        }
        let (shape, len) = (*shape, Some(len));
        let shards = Shards { place, shape, directory, count, next: 0, segment: 0, len, live: 0 };
        self.pending.push(Work::Shards(Box::new(shards)));
    }

    fn size_of(&self, number: Option<u32>) -> u64 {
        let layout = number.and_then(|number| self.layouts.of(number));
        layout.map_or(0, |layout| layout.size_bytes)
    }

    pub(super) fn next_shard(&mut self, mut shards: Box<Shards>) {
        let Shards { place, shape, count, next, len, live, .. } = *shards;
        if next == count {
            if let Some(len) = len.filter(|len| *len != live) {
                self.bad(place, format!("expected {len} entries, found {live} in the shards"));
            }
            return;
        }
        if next.is_multiple_of(SEGMENT) {
            let Some(segment) = self.own_segment(&shards) else { return };
            shards.segment = segment;
        }
        let at = shards.segment + next % SEGMENT * self.size_of(shape.shard);
        let found = self.own_shard(&shards, at);
        shards.next += 1;
        let Some((entries, slots)) = found else {
            shards.len = None;
            return self.pending.push(Work::Shards(shards));
        };
        shards.live += entries;
        self.pending.push(Work::Shards(shards));
        self.pending.push(Work::Slots(Box::new(slots)));
    }

    /// Returns the offset of the next segment's shards. Slots past the last shard must be zero.
    fn own_segment(&mut self, shards: &Shards) -> Option<u64> {
        let Shards { shape, directory, count, next, .. } = *shards;
        let (segment, shard) = (shape.segment?, shape.shard?);
        let Role::Segment(field) = self.layouts.of(segment)?.role else { return None };
        let at = directory + next / SEGMENT * self.size_of(Some(segment));
        let place = Place { owner: segment, base: at, at: at + field };
        let bytes = self.bytes(place, at + field, 16)?;
        let [offset, room] = [0, 8].map(|field| word(bytes, field));
        let used = (count - next).min(SEGMENT);
        if room < used || room > SEGMENT || (next > 0 && room < SEGMENT) {
            self.bad(place, format!("expected {used} to {SEGMENT} shards, found {room}"));
            return None;
        }
        if !self.claim(place, "a segment", offset, (Some(shard), Some(room))) {
            return None;
        }
        let stride = self.size_of(Some(shard));
        let bytes = self.bytes(place, offset, room * stride)?;
        let at = offset + used * stride;
        let unused = Place { owner: shard, base: at, at };
        self.expect_zeros(unused, &bytes[(used * stride) as usize..], "shards past the last one");
        Some(offset)
    }

    /// Checks a shard; returns the number of its entries and the work that remains.
    fn own_shard(&mut self, shards: &Shards, at: u64) -> Option<(u64, Slots)> {
        let TableShape { shard, entry, .. } = shards.shape;
        let (shard, entry) = (shard?, entry?);
        let Role::Shard(tags_at, slots_at) = self.layouts.of(shard)?.role else { return None };
        let place = Place { owner: shard, base: at, at };
        let bytes = self.bytes(place, at, self.size_of(Some(shard)))?;
        let [tags, tag_bytes] = [0, 8].map(|field| word(bytes, tags_at + field));
        let part = |index: u64| [0, 8].map(|field| word(bytes, slots_at + 16 * index + field));
        let parts = [part(0), part(1), part(2)];
        let counts = parts.map(|[offset, count]| if offset == 0 { 0 } else { count });
        let capacity = counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
        let groups = capacity.div_ceil(GROUP);
        let expected = groups.saturating_mul(GROUP).saturating_add(COUNTS);
        if capacity == 0 || tag_bytes != expected {
            let expected = format!("expected {expected} bytes of tags for {capacity} slots");
            self.bad(place, format!("{expected}, found {tag_bytes}"));
            return None;
        }
        let number = self.layouts.numbers.get("u8").map(|number| *number as u32);
        if !self.claim(place.plus(tags_at), "tags", tags, (number, Some(tag_bytes))) {
            return None;
        }
        for (index, [offset, count]) in (0..).zip(parts).filter(|(_, [offset, _])| *offset != 0) {
            let link = place.plus(slots_at + 16 * index);
            if !self.claim(link, "slots", offset, (Some(entry), Some(count))) {
                return None;
            }
        }
        let tag_bytes = self.bytes(place, tags, expected)?;
        let live = self.expect_counts(place, tag_bytes, capacity);
        let (shard, shards) = (shards.next, shards.count);
        let left_groups = capacity.saturating_mul(GROUP);
        let slots = Slots { entry, tags, parts, capacity, next: 0, left_groups, shard, shards };
        Some((live, slots))
    }

    /// Compares the counts after the tags with the tags; returns the number of entries that the
    /// tags show.
    fn expect_counts(&mut self, place: Place, tags: &[u8], capacity: u64) -> u64 {
        let (slots, rest) = tags.split_at(capacity as usize);
        let padding = &rest[..rest.len() - COUNTS as usize];
        let count = |at: u64| bytes_at(tags, at).map_or(0, u32::from_ne_bytes);
        let end = tags.len() as u64 - COUNTS;
        let found = [count(end), count(end + 4)].map(u64::from);
        let live = slots.iter().filter(|tag| **tag > DELETED).count() as u64;
        let used = slots.iter().filter(|tag| **tag != EMPTY).count() as u64;
        if found != [live, used] {
            let expected = format!("expected {live} entries and {used} tags that are not 0");
            self.bad(place, format!("{expected}, found counts of {} and {}", found[0], found[1]));
        }
        if padding.iter().any(|tag| *tag != DELETED) {
            self.bad(place, "expected tags of 1 where there are no slots".to_string());
        }
        live
    }

    pub(super) fn next_slot(&mut self, mut slots: Box<Slots>) {
        let Slots { entry, next, capacity, tags, .. } = *slots;
        if next >= capacity {
            return;
        }
        let stride = self.size_of(Some(entry));
        let at = slots.offset(next, stride);
        let place = Place { owner: entry, base: at, at };
        let tag = self.bytes(place, tags + next, 1).map_or(EMPTY, |tag| tag[0]);
        let bytes = self.bytes(place, at, stride).unwrap_or_default();
        let range = match tag {
            ..=DELETED => {
                self.expect_zeros(place, bytes, "a slot without an entry");
                None
            }
            _ => self.own_entry(&mut slots, place, bytes),
        };
        slots.next += 1;
        // Pushed below what the entry owns, so a deep structure takes no extra space.
        self.pending.push(Work::Slots(slots));
        self.pending.extend(range.map(Work::Elements));
    }

    fn own_entry(&mut self, slots: &mut Slots, place: Place, bytes: &[u8]) -> Option<Range> {
        let layouts = self.layouts;
        let (owner, layout) = (place.owner, layouts.of(place.owner)?);
        if let Role::Entry(shape) = &layout.role {
            for gap in &shape.gaps {
                let inside = bytes.get(gap.start as usize..gap.end as usize).unwrap_or_default();
                self.expect_zeros(place.plus(gap.start), inside, "what no field takes");
            }
            self.expect_way(slots, shape, place, bytes);
        }
        let (start, stride, plan) = (place.at, layout.size_bytes, layout.plan?);
        let (end, base) = (start + stride, Some(start));
        Some(Range { start, end, stride, plan, owner, base, liveness: Liveness::Owned })
    }

    /// Reports an entry that a lookup of its key would not find.
    fn expect_way(
        &mut self,
        slots: &mut Slots,
        shape: &EntryShape,
        place: Place,
        bytes: &[u8],
    ) -> Option<()> {
        let hash = self.hash(place, shape.key.as_deref()?, bytes)?;
        let tags = self.bytes(place, slots.tags, slots.capacity)?;
        let shard = shard_of(hash, slots.shards);
        if shard != slots.shard {
            let (here, shards) = (slots.shard, slots.shards);
            let what = format!("its key belongs into shard {shard} of {shards}, not {here}");
            self.bad(place, what);
            return None;
        }
        let (tag, found) = (((hash >> 24) as u8).max(2), tags[slots.next as usize]);
        if found != tag {
            self.bad(place, format!("expected the tag {tag} by its key, found {found}"));
        }
        let groups = slots.capacity.div_ceil(GROUP);
        let mut group = ((hash >> 32) * groups) >> 32;
        while group != slots.next / GROUP {
            slots.left_groups = slots.left_groups.checked_sub(1)?;
            let end = ((group + 1) * GROUP).min(slots.capacity);
            if tags[(group * GROUP) as usize..end as usize].contains(&EMPTY) {
                self.bad(place, "the way to it by its key ends before it".to_string());
                return None;
            }
            group = (group + 1) % groups;
        }
        Some(())
    }

    /// Returns the hash of a key, or `None` if its bytes cannot be read.
    fn hash(&mut self, place: Place, key: &[KeyPart], entry: &[u8]) -> Option<u64> {
        let seed = u128::from_le_bytes(self.image.hash_key());
        let mut hasher = SipHasher13::new_with_keys(seed as u64, (seed >> 64) as u64);
        for part in key {
            match *part {
                KeyPart::Fixed { at, len } => {
                    hasher.write(entry.get(at as usize..(at + len) as usize)?);
                }
                KeyPart::Bytes { at } => {
                    let raw: [u8; BYTES_VALUE as usize] = bytes_at(entry, at)?;
                    let tag = raw[BYTES_VALUE as usize - 1];
                    if tag == IN_HEAP {
                        let [offset, len] = [0, 8].map(|field| u64::from_le(word(&raw, field)));
                        if !self.spend_key(place, len) {
                            return None;
                        }
                        hasher.write(self.image.bytes("key", offset, len).ok()?);
                    } else {
                        hasher.write(raw.get(..tag.into())?);
                    }
                    hasher.write(&[255]);
                }
            }
        }
        Some(hasher.finish())
    }
}

/// Returns the shard that a hash belongs to.
fn shard_of(hash: u64, shards: u64) -> u64 {
    let all = 1u64 << shards.ilog2().min(62);
    match hash % (2 * all) {
        shard if shard < shards => shard,
        _ => hash % all,
    }
}

impl Slots {
    /// Returns the offset of a slot.
    fn offset(&self, slot: u64, stride: u64) -> u64 {
        let mut slot = slot;
        for [offset, count] in self.parts.into_iter().filter(|[offset, _]| *offset != 0) {
            if slot < count {
                return offset + slot * stride;
            }
            slot -= count;
        }
        0
    }
}
