//! Decides how large shards are.

use crate::format::PAGE_BYTES;
use crate::format::heap::{MAX_PAGES, MAX_SLOT_BYTES};

use super::control::GROUP;

/// Average bytes of entries in a shard. Shards hold half to twice as much: small
/// enough to log a whole one at once, large enough to keep the directory small.
const SHARD_BYTES: u64 = 40 << 10;
/// Upper and lower limit for the average number of entries in a shard.
const MAX_ENTRIES: u64 = 2048;
const MIN_ENTRIES: u64 = 8;

/// A shard with no more slots than this is never shrunk.
pub(super) const SMALL: u64 = 32;

/// Pages in each part of the smallest shard that has several parts.
const MIN_PAGES: u64 = 4;

/// More than all entries of a heap can take.
pub(super) const MAX_HEAP_BYTES: u64 = MAX_PAGES * PAGE_BYTES;

/// Returns the number of entries for each shard beyond which one is split.
pub(super) const fn target(entry_bytes: u64) -> u64 {
    let entries = SHARD_BYTES / entry_bytes;
    if entries > MAX_ENTRIES {
        MAX_ENTRIES
    } else if entries < MIN_ENTRIES {
        MIN_ENTRIES
    } else {
        entries
    }
}

/// Returns how many slots may be used before a shard needs larger blocks: all of a
/// single group, where every probe ends after it; otherwise 15 of 16, which lets
/// most probes end in the group where they begin.
#[inline]
pub(super) fn max_used(capacity: u64) -> u64 {
    if capacity <= GROUP { capacity } else { capacity - capacity / 16 }
}

/// Returns the number of slots for a shard of `needed` entries, rounded up to fill
/// the same pages.
pub(super) fn capacity_for(needed: u64, entry_bytes: u64) -> u64 {
    parts_for(needed, entry_bytes).iter().sum()
}

/// Returns the slots for a shard of `needed` entries as up to three allocations.
/// Each but the last takes a power of two of pages, so that another shard can reuse
/// what one frees.
pub(super) fn parts_for(needed: u64, entry_bytes: u64) -> [u64; 3] {
    if needed <= GROUP {
        let first = (256 / entry_bytes).clamp(1, 8);
        let mut steps = (0..5).map(|step| first << step);
        return [steps.find(|slots| *slots >= needed).unwrap_or(GROUP).min(GROUP), 0, 0];
    }
    // Enough slots that `max_used` of them hold all entries.
    let slots = needed + needed.div_ceil(15);
    let len_bytes = slots.saturating_mul(entry_bytes);
    // A longer array has no size class, and takes whole pages.
    if len_bytes <= MAX_SLOT_BYTES {
        return [slots, 0, 0];
    }
    let in_pages = |pages: u64| pages.saturating_mul(PAGE_BYTES) / entry_bytes;
    let mut pages = MIN_PAGES;
    while in_pages(pages).saturating_mul(3) < slots {
        pages = pages.saturating_mul(2);
    }
    let full = in_pages(pages);
    let mut left = slots;
    [0; 3].map(|_| {
        let some = left.min(full);
        left -= some;
        in_pages(some.saturating_mul(entry_bytes).div_ceil(PAGE_BYTES)).max(some)
    })
}

/// Returns how many entries to make new blocks for when `live` entries and one more
/// no longer fit.
pub(super) fn grown(live: u64) -> u64 {
    if live <= 2 * GROUP { (live * 2).max(1) } else { live + live / 5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_what_is_needed() {
        for entry_bytes in [1, 8, 16, 72, 100, 1000, 5000, 100_000] {
            for needed in (0..200).chain([1000, 5000, 20_000]) {
                let capacity = capacity_for(needed, entry_bytes);
                assert!(
                    max_used(capacity) >= needed.max(1),
                    "{needed} of {entry_bytes}: {capacity}"
                );
                let parts = parts_for(needed, entry_bytes);
                assert!(parts[0] > 0 && (parts[1] > 0 || parts[2] == 0));
                let larger = capacity_for(grown(needed), entry_bytes);
                assert!(max_used(larger) > needed.min(1));
            }
            assert!(target(entry_bytes) > 0);
        }
    }
}
