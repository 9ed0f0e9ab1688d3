//! The bytes of the collections, as FORMAT.md specifies them under "How values lie".
//!
//! **Owns** each constant that `collections`, which writes these bytes, and `check`, which has
//! only the file, must agree on. A second copy could change alone, and `check` would then call
//! sound files damaged. **Must not know** the structs: their offsets depend on the program's
//! types, and the registry describes them.

use super::PAGE_BYTES;

/// `flagstone::Bytes`, and with it `flagstone::Text`.
pub(crate) mod bytes {
    use std::ops::Range;

    /// Size of the struct.
    pub(crate) const SIZE_BYTES: usize = 24;
    /// Position of the length byte: the number of inline bytes, or `IN_HEAP`.
    pub(crate) const TAG: usize = SIZE_BYTES - 1;
    /// Maximum number of inline bytes: all but the length byte.
    pub(crate) const MAX_INLINE: usize = TAG;
    /// Value of the length byte if the bytes lie in the heap.
    pub(crate) const IN_HEAP: u8 = 255;
    /// Position of the offset of bytes in the heap.
    pub(crate) const OFFSET: Range<usize> = 0..8;
    /// Position of the length of bytes in the heap.
    pub(crate) const LEN: Range<usize> = OFFSET.end..16;
    /// Follows the bytes of a key when it is hashed. UTF-8 has no such byte, so two different
    /// pairs of texts never hash the same bytes.
    pub(crate) const KEY_END: u8 = 255;

    const _: () = assert!(MAX_INLINE < IN_HEAP as usize, "no inline length is `IN_HEAP`");
    const _: () = assert!(LEN.end <= TAG, "the length byte lies behind the link");
}

/// Hash tables.
pub(crate) mod hash {
    /// Number of shards in a segment of the directory. Only the first segment may be
    /// shorter; it grows up to this.
    pub(crate) const SEGMENT: u64 = 512;
    /// Number of allocations that hold the slots of a shard.
    pub(crate) const SLOT_PARTS: usize = 3;
    /// Number of slots whose tags are compared at once. A probe starts at a group
    /// boundary, which keeps the group's tags in one cache line.
    pub(crate) const GROUP: u64 = 16;
    /// Bytes after the tags of a shard, which hold its counts: two `u32`.
    pub(crate) const COUNTS: u64 = 8;
    /// Tag of a slot that never held an entry: a probe ends in this group.
    pub(crate) const EMPTY: u8 = 0;
    /// Tag of a slot whose entry was removed, and of padding that completes a group: a
    /// probe continues. The tags of entries are above it.
    pub(crate) const DELETED: u8 = 1;

    /// Bits of the hash below those that are the tag of an entry.
    pub(crate) const TAG_SHIFT: u32 = 24;
    /// Bits of the hash below those that choose the group where a probe begins.
    pub(crate) const HOME_SHIFT: u32 = 32;

    const _: () = assert!(TAG_SHIFT + u8::BITS <= HOME_SHIFT, "a tag has no bits of its group");
    const _: () = assert!(SEGMENT.is_power_of_two() && GROUP.is_power_of_two());
    const _: () = assert!(EMPTY == 0, "memory of a slot without an entry is zero");
    const _: () = assert!(DELETED == EMPTY + 1, "all tags above `DELETED` are those of entries");
}

/// Trees.
pub(crate) mod btree {
    /// Size of a node unless too few entries fit: two nodes to a page. An insertion
    /// moves half of a leaf's entries, and every line that moves goes to the log.
    pub(crate) const NODE_BYTES: u64 = 2048;
    /// Offset of `level`, a `u32`, which both kinds of nodes begin with.
    pub(crate) const LEVEL_AT: u64 = 0;
    /// Offset of `len`, a `u32`.
    pub(crate) const LEN_AT: u64 = LEVEL_AT + 4;
    /// Bytes of `level` and `len`.
    pub(crate) const HEAD_BYTES: u64 = LEN_AT + 4;
    /// Bytes of a link to a node.
    pub(crate) const LINK_BYTES: u64 = 8;
    /// Offset of a leaf's link to the leaf before it.
    pub(crate) const PREV_AT: u64 = HEAD_BYTES;
    /// Offset of a leaf's link to the leaf behind it.
    pub(crate) const NEXT_AT: u64 = PREV_AT + LINK_BYTES;
    /// Bytes of a leaf before its keys.
    pub(crate) const LEAF_HEAD_BYTES: u64 = NEXT_AT + LINK_BYTES;
    /// Maximum number of levels of inner nodes. With at least two children to a node on
    /// average, the heap is full before a tree gets higher.
    pub(crate) const MAX_LEVELS: usize = 32;

    const _: () = assert!(HEAD_BYTES == 8 && LEAF_HEAD_BYTES == 24);
}

const _: () = assert!(2 * btree::NODE_BYTES == PAGE_BYTES, "two nodes to a page");
const _: () = assert!(btree::NODE_BYTES <= super::heap::MAX_SLOT_BYTES, "a node takes a slot");
