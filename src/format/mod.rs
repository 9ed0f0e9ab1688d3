//! The file's bytes, as FORMAT.md specifies them, as types.
//!
//! **Owns** every on-disk struct with its size and offsets (asserted at
//! compile time), the constants of the layout, and the checksums. **Must not
//! know** files, mappings or transactions: this module works on bytes alone.
//!
//! Every multi-byte field is a zerocopy little-endian type of alignment 1, so
//! any byte string of the right length can be read as one. The code that uses a
//! value checks whether it makes sense.

pub(crate) mod checksum;
pub(crate) mod collections;
pub(crate) mod coordination;
pub(crate) mod heap;
pub(crate) mod record;
pub(crate) mod superblock;

/// Bytes of a page: the unit of allocation, of checkpoints and of page sums.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// Bytes of a line: the unit of change.
pub(crate) const LINE_BYTES: u64 = 64;
/// Lines of a page; a page's changed lines are the bits of one `u64`.
pub(crate) const LINES_PER_PAGE: u64 = PAGE_BYTES / LINE_BYTES;
/// The largest page of a machine on which a store can be opened. What is mapped or synced by itself
/// begins at a multiple of it: a machine writes and maps whole pages of its own.
pub(crate) const LARGEST_MACHINE_PAGE_BYTES: u64 = 64 << 10;
/// Bytes of a file before its heap: two superblocks and the coordination page, with zeros behind
/// each of them, and zeros.
pub(crate) const HEAP_START_BYTES: u64 = 4 * LARGEST_MACHINE_PAGE_BYTES;
/// Offset of the coordination page in the file.
pub(crate) const COORDINATION_BYTES: u64 = 2 * LARGEST_MACHINE_PAGE_BYTES;
/// Version of this format. Other versions are refused.
pub(crate) const FORMAT_VERSION: u32 = 3;

const _: () = {
    assert!(LARGEST_MACHINE_PAGE_BYTES.is_multiple_of(PAGE_BYTES));
    assert!(COORDINATION_BYTES == 128 << 10 && HEAP_START_BYTES == 256 << 10);
};

const _: () = assert!(LINES_PER_PAGE == 64, "a page's lines are the bits of one u64");
const _: () =
    assert!(crate::persist::MAX_ALIGN_BYTES as u64 == PAGE_BYTES, "a page is aligned for any type");

/// Returns the bytes of heap that fit in a file of `file_bytes`: whole pages.
pub(crate) fn heap_room_bytes(file_bytes: u64) -> u64 {
    file_bytes.saturating_sub(HEAP_START_BYTES) / PAGE_BYTES * PAGE_BYTES
}

/// Rounds up to a multiple of `unit`, or returns `None` on overflow.
pub(crate) fn round_up(value: u64, unit: u64) -> Option<u64> {
    value.checked_add(unit - 1).map(|x| x / unit * unit)
}
