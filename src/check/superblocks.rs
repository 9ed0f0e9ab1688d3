//! Checks what lies before the heap: the superblocks, the coordination page of processes that share
//! the store, and zeros. The content of the coordination page is not checked.
//!
//! **Owns** what the two superblocks say of each other. **Must not know** which one opening would
//! choose (`engine`).

use crate::format::superblock::{SLOT_OFFSETS_BYTES, Superblock};
use crate::format::{COORDINATION_BYTES, LARGEST_MACHINE_PAGE_BYTES, PAGE_BYTES};

use super::report::Report;

/// Checks the head of a file. The caller has made sure that the file has all of it.
pub(super) fn check(head: &[u8], report: &mut Report) {
    let slots = SLOT_OFFSETS_BYTES.map(|offset| {
        let end = offset + LARGEST_MACHINE_PAGE_BYTES;
        let slot = head.get(offset as usize..end as usize)?;
        expect_zeros(report, offset + SUPERBLOCK_BYTES, &slot[SUPERBLOCK_BYTES as usize..]);
        Some(Superblock::parse(slot))
    });
    let is_usable = slots.iter().flatten().any(Result::is_ok);
    let slots = [0, 1].map(|slot| match slots[slot].as_ref()? {
        Ok(block) => Some(block),
        Err(unusable) => {
            let remedy = match is_usable {
                true => "the other one is used, and the next change writes this one anew",
                false => "neither can be used; restore a backup",
            };
            let offset = SLOT_OFFSETS_BYTES[slot];
            report.add_in_file(offset, format!("superblock: {unusable}; {remedy}"));
            None
        }
    });
    for (offset, block) in SLOT_OFFSETS_BYTES.into_iter().zip(slots) {
        if block.is_some_and(Superblock::has_unknown_bits) {
            report.add_in_file(offset, "superblock: bits that this version does not know");
        }
    }
    if let [Some(first), Some(second)] = slots {
        compare(report, first, second);
    }
    let last = COORDINATION_BYTES + PAGE_BYTES;
    expect_zeros(report, last, head.get(last as usize..).unwrap_or_default());
}

const SUPERBLOCK_BYTES: u64 = size_of::<Superblock>() as u64;
const _: () = {
    let [first, second] = SLOT_OFFSETS_BYTES;
    assert!(first + LARGEST_MACHINE_PAGE_BYTES == second);
    assert!(second + LARGEST_MACHINE_PAGE_BYTES == COORDINATION_BYTES);
};

fn expect_zeros(report: &mut Report, file_offset: u64, bytes: &[u8]) {
    if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
        let others = bytes[at..].iter().filter(|byte| **byte != 0).count() - 1;
        let found = format!("expected zeros, found {:#04x} and {others} others", bytes[at]);
        report.add_in_file(file_offset + at as u64, found);
    }
}

/// Checks that both superblocks belong to one store and that the older one names no later state.
/// After a clean close both name the same state.
fn compare(report: &mut Report, first: &Superblock, second: &Superblock) {
    let mut expect = |is_right: bool, what: &str| {
        if !is_right {
            report.add_in_file(0, format!("the superblocks disagree: {what}"));
        }
    };
    expect(first.is_of_same_store(second), "they are of two stores");
    expect(first.generation != second.generation, "both have one generation");
    let is_first_newer = first.generation.get() > second.generation.get();
    let (newer, older) = if is_first_newer { (first, second) } else { (second, first) };
    let [new, old] = [newer, older].map(|block| block.position.get());
    expect(old <= new, "the older one names a later position");
    let states =
        [newer, older].map(|block| (block.position, block.prev_checksum, block.heap_bytes));
    expect(old != new || states[0] == states[1], "they name two states at one position");
    let logs = [newer, older].map(|b| (b.epoch, b.log_offset, b.log_bytes, b.reach));
    let is_same = states[0] == states[1] && logs[0] == logs[1];
    expect(!newer.is_clean() || is_same, "the store was closed, and they name two states");
}
