//! Checks hash tables: each shard's tags, counts and slots must agree, and each entry must be
//! reachable by its key.
//!
//! **Owns** the steps: one checks one shard or one entry, because an entry may own further tables,
//! to any depth. **Must not know** what entries own.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::check::schema::layout::{bytes_at, string_in_heap, word};
use crate::check::schema::shapes::{EntryShape, KeyPart, Role, TableShape};
use crate::format::collections::bytes::{IN_HEAP, KEY_END, SIZE_BYTES, TAG};
use crate::format::collections::hash::{
    COUNTS, DELETED, EMPTY, GROUP, HOME_SHIFT, SEGMENT, SLOT_PARTS, TAG_SHIFT,
};

use super::context::Context;
use super::elements::{Liveness, Place, Range};

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
    parts: [[u64; 2]; SLOT_PARTS],
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

impl Shards {
    /// Checks the table at `place`, whose fields `word` reads; returns its shards, if it has any.
    pub(super) fn begin(
        context: &mut Context<'_>,
        place: Place,
        shape: &TableShape,
        word: impl Fn(u64) -> u64,
    ) -> Option<Self> {
        let [directory, segments] = [0, 8].map(|field| word(shape.directory + field));
        let (count, len) = (word(shape.shards), word(shape.len));
        let is_sound = match directory {
            0 => count == 0 && len == 0,
            _ => count != 0 && count.div_ceil(SEGMENT) <= segments,
        };
        if !is_sound {
            let found = format!("{len} entries in {count} shards in {segments} segments");
            let expected = "expected entries only in shards, and shards in segments";
            context.report(place, format!("{expected}, found {found} at {directory:#x}"));
            return None;
        }
        if directory == 0
            || !context.claim(place, "directory", directory, (shape.segment, Some(segments)))
        {
            return None;
        }
        let stride = context.size_of(shape.segment);
        let used = count.div_ceil(SEGMENT) * stride;
        if let Some(bytes) = context.bytes(place, directory, segments.saturating_mul(stride)) {
            let unused = Place::whole(shape.segment.unwrap_or_default(), directory + used);
            context.expect_zeros(unused, &bytes[used as usize..], "segments that no shard needs");
        }
        let (shape, len) = (*shape, Some(len));
        Some(Self { place, shape, directory, count, next: 0, segment: 0, len, live: 0 })
    }

    /// Checks the next shard, or the number of entries after the last one. Returns the shard's
    /// slots, `Some(None)` if it is damaged, or `None` if there is no shard left to check.
    pub(super) fn check_next(&mut self, context: &mut Context<'_>) -> Option<Option<Slots>> {
        let Self { place, shape, count, next, len, live, .. } = *self;
        if next == count {
            if let Some(len) = len.filter(|len| *len != live) {
                context
                    .report(place, format!("expected {len} entries, found {live} in the shards"));
            }
            return None;
        }
        if next.is_multiple_of(SEGMENT) {
            self.segment = self.check_segment(context)?;
        }
        let at = self.segment + next % SEGMENT * context.size_of(shape.shard);
        let found = self.check_shard(context, at);
        self.next += 1;
        let Some((entries, slots)) = found else {
            self.len = None;
            return Some(None);
        };
        self.live += entries;
        Some(Some(slots))
    }

    /// Returns the offset of the next segment's shards. Slots past the last shard must be zero.
    fn check_segment(&self, context: &mut Context<'_>) -> Option<u64> {
        let Self { shape, directory, count, next, .. } = *self;
        let (segment, shard) = (shape.segment?, shape.shard?);
        let Role::Segment(field) = context.layouts.of(segment)?.role else { return None };
        let at = directory + next / SEGMENT * context.size_of(Some(segment));
        let place = Place { owner: segment, base: at, at: at + field };
        let bytes = context.bytes(place, at + field, 16)?;
        let [offset, room] = [0, 8].map(|field| word(bytes, field));
        let used = (count - next).min(SEGMENT);
        if room < used || room > SEGMENT || (next > 0 && room < SEGMENT) {
            context.report(place, format!("expected {used} to {SEGMENT} shards, found {room}"));
            return None;
        }
        if !context.claim(place, "a segment", offset, (Some(shard), Some(room))) {
            return None;
        }
        let stride = context.size_of(Some(shard));
        let bytes = context.bytes(place, offset, room * stride)?;
        let unused = Place::whole(shard, offset + used * stride);
        context.expect_zeros(
            unused,
            &bytes[(used * stride) as usize..],
            "shards past the last one",
        );
        Some(offset)
    }

    /// Checks a shard; returns the number of its entries and the work that remains.
    fn check_shard(&self, context: &mut Context<'_>, at: u64) -> Option<(u64, Slots)> {
        let TableShape { shard, entry, .. } = self.shape;
        let (shard, entry) = (shard?, entry?);
        let Role::Shard(tags_at, slots_at) = context.layouts.of(shard)?.role else { return None };
        let place = Place::whole(shard, at);
        let bytes = context.bytes(place, at, context.size_of(Some(shard)))?;
        let [tags, tag_bytes] = [0, 8].map(|field| word(bytes, tags_at + field));
        let parts: [[u64; 2]; SLOT_PARTS] = std::array::from_fn(|index| {
            [0, 8].map(|field| word(bytes, slots_at + 16 * index as u64 + field))
        });
        let counts = parts.map(|[offset, count]| if offset == 0 { 0 } else { count });
        let capacity = counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
        let groups = capacity.div_ceil(GROUP);
        let expected = groups.saturating_mul(GROUP).saturating_add(COUNTS);
        if capacity == 0 || tag_bytes != expected {
            let expected = format!("expected {expected} bytes of tags for {capacity} slots");
            context.report(place, format!("{expected}, found {tag_bytes}"));
            return None;
        }
        let tag_type = context.byte_type();
        if !context.claim(place.plus(tags_at), "tags", tags, (tag_type, Some(tag_bytes))) {
            return None;
        }
        for (index, [offset, count]) in (0..).zip(parts).filter(|(_, [offset, _])| *offset != 0) {
            let link = place.plus(slots_at + 16 * index);
            if !context.claim(link, "slots", offset, (Some(entry), Some(count))) {
                return None;
            }
        }
        let tag_bytes = context.bytes(place, tags, expected)?;
        let live = expect_counts(context, place, tag_bytes, capacity);
        let (shard, shards) = (self.next, self.count);
        let left_groups = capacity.saturating_mul(GROUP);
        let slots = Slots { entry, tags, parts, capacity, next: 0, left_groups, shard, shards };
        Some((live, slots))
    }
}

/// Compares the counts after the tags with the tags; returns the number of entries that the
/// tags show.
fn expect_counts(context: &mut Context<'_>, place: Place, tags: &[u8], capacity: u64) -> u64 {
    let (slots, rest) = tags.split_at(capacity as usize);
    let padding = &rest[..rest.len() - COUNTS as usize];
    let count = |at: u64| bytes_at(tags, at).map_or(0, u32::from_ne_bytes);
    let end = tags.len() as u64 - COUNTS;
    let found = [count(end), count(end + 4)].map(u64::from);
    let live = slots.iter().filter(|tag| **tag > DELETED).count() as u64;
    let used = slots.iter().filter(|tag| **tag != EMPTY).count() as u64;
    if found != [live, used] {
        let expected = format!("expected {live} entries and {used} tags that are not 0");
        context.report(place, format!("{expected}, found counts of {} and {}", found[0], found[1]));
    }
    if padding.iter().any(|tag| *tag != DELETED) {
        context.report(place, "expected tags of 1 where there are no slots".to_string());
    }
    live
}

impl Slots {
    /// Checks the next slot. Returns the parts of its entry, `Some(None)` if there is nothing to
    /// check in it, or `None` after the last slot.
    pub(super) fn check_next(&mut self, context: &mut Context<'_>) -> Option<Option<Range>> {
        let Self { entry, next, capacity, tags, .. } = *self;
        if next >= capacity {
            return None;
        }
        let stride = context.size_of(Some(entry));
        let place = Place::whole(entry, self.offset(next, stride));
        let at = place.at;
        let tag = context.bytes(place, tags + next, 1).map_or(EMPTY, |tag| tag[0]);
        let bytes = context.bytes(place, at, stride).unwrap_or_default();
        let range = match tag {
            ..=DELETED => {
                context.expect_zeros(place, bytes, "a slot without an entry");
                None
            }
            _ => self.check_entry(context, place, bytes),
        };
        self.next += 1;
        Some(range)
    }

    fn check_entry(
        &mut self,
        context: &mut Context<'_>,
        place: Place,
        bytes: &[u8],
    ) -> Option<Range> {
        let layouts = context.layouts;
        let (owner, layout) = (place.owner, layouts.of(place.owner)?);
        if let Role::Entry(shape) = &layout.role {
            for gap in &shape.gaps {
                let inside = bytes.get(gap.start as usize..gap.end as usize).unwrap_or_default();
                context.expect_zeros(place.plus(gap.start), inside, "what no field takes");
            }
            self.expect_found(context, shape, place, bytes);
        }
        let (start, stride, plan) = (place.at, layout.size_bytes, layout.plan?);
        let (end, base) = (start + stride, Some(start));
        Some(Range { start, end, stride, plan, owner, base, liveness: Liveness::Owned })
    }

    /// Reports an entry that a lookup of its key would not find.
    fn expect_found(
        &mut self,
        context: &mut Context<'_>,
        shape: &EntryShape,
        place: Place,
        bytes: &[u8],
    ) -> Option<()> {
        let hash = hash(context, place, shape.key.as_deref()?, bytes)?;
        let tags = context.bytes(place, self.tags, self.capacity)?;
        let shard = shard_of(hash, self.shards);
        if shard != self.shard {
            let (here, shards) = (self.shard, self.shards);
            let what = format!("its key belongs into shard {shard} of {shards}, not {here}");
            context.report(place, what);
            return None;
        }
        let (tag, found) = (((hash >> TAG_SHIFT) as u8).max(DELETED + 1), tags[self.next as usize]);
        if found != tag {
            context.report(place, format!("expected the tag {tag} by its key, found {found}"));
        }
        let groups = self.capacity.div_ceil(GROUP);
        let mut group = ((hash >> HOME_SHIFT) * groups) >> 32;
        while group != self.next / GROUP {
            self.left_groups = self.left_groups.checked_sub(1)?;
            let end = ((group + 1) * GROUP).min(self.capacity);
            if tags[(group * GROUP) as usize..end as usize].contains(&EMPTY) {
                context.report(place, "the way to it by its key ends before it".to_string());
                return None;
            }
            group = (group + 1) % groups;
        }
        Some(())
    }

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

/// Returns the hash of a key, or `None` if its bytes cannot be read.
fn hash(context: &mut Context<'_>, place: Place, key: &[KeyPart], entry: &[u8]) -> Option<u64> {
    let seed = u128::from_le_bytes(context.image.hash_key());
    let mut hasher = SipHasher13::new_with_keys(seed as u64, (seed >> 64) as u64);
    for part in key {
        match *part {
            KeyPart::Fixed { at, len } => {
                hasher.write(entry.get(at as usize..(at + len) as usize)?);
            }
            KeyPart::Bytes { at } => {
                let raw: [u8; SIZE_BYTES] = bytes_at(entry, at)?;
                let tag = raw[TAG];
                if tag == IN_HEAP {
                    let [offset, len] = string_in_heap(&raw);
                    if !context.spend_key(place, len) {
                        return None;
                    }
                    hasher.write(context.image.bytes("key", offset, len).ok()?);
                } else {
                    hasher.write(raw.get(..tag.into())?);
                }
                hasher.write(&[KEY_END]);
            }
        }
    }
    Some(hasher.finish())
}

/// Returns the shard that a hash belongs to.
fn shard_of(hash: u64, shards: u64) -> u64 {
    let all = 1u64 << shards.ilog2().min(62);
    match hash % (2 * all) {
        shard if shard < shards => shard,
        _ => hash % all,
    }
}
