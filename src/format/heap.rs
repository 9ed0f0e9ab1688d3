//! The heap's metadata: header, page descriptors, registry, roots.
//!
//! These structs lie in the heap. Like everything in it, they change in transactions, through the
//! log.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::PAGE_BYTES;

/// Pages whose descriptors and sums lie together in one chunk.
pub(crate) const PAGES_PER_SEGMENT: u64 = 512;
/// Pages of a chunk that hold descriptors, one line each.
pub(crate) const DESCRIPTOR_PAGES: u64 = 8;
/// Pages of a chunk: the descriptors, then one page of sums.
pub(crate) const CHUNK_PAGES: u64 = DESCRIPTOR_PAGES + 1;
/// Pages before any object: the header, the first chunk, the first directory.
pub(crate) const HEAD_PAGES: u64 = CHUNK_PAGES + 2;
/// Buckets of free runs by length.
pub(crate) const BUCKETS: usize = 128;
/// Maximum number of slots in a slab: the bits of a descriptor's bitmap.
pub(crate) const MAX_SLOTS: u64 = 256;
/// Size of the largest object that goes into a slab.
pub(crate) const MAX_SLOT_BYTES: u64 = 2048;
/// Slot sizes of small arrays: multiples of 16 that fill a page well.
pub(crate) const ARRAY_CLASSES: [u16; 21] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 336, 400, 512, 576, 672, 816, 1024, 1360,
    2048,
];
/// Segments whose chunks one directory page names.
pub(crate) const SEGMENTS_PER_DIRECTORY: u64 = PAGE_BYTES / 4;
/// Maximum number of directory pages in a heap.
pub(crate) const DIRECTORY_PAGES: usize = 512;
/// Maximum number of pages in a heap: 1 TiB.
pub(crate) const MAX_PAGES: u64 =
    DIRECTORY_PAGES as u64 * SEGMENTS_PER_DIRECTORY * PAGES_PER_SEGMENT;

/// Maximum number of types in a store, and of roots.
///
/// These limits bound the cost of reading what a file says about types and roots.
pub(crate) const MAX_ENTRIES: u32 = 1 << 16;
/// Maximum length of the name of a root, or of a type.
pub(crate) const MAX_NAME_BYTES: u64 = 4096;
/// Maximum length of a type's description.
pub(crate) const MAX_SCHEMA_BYTES: u64 = 1 << 20;

/// Registry number of flagstone's own allocations.
pub(crate) const TYPE_SYSTEM: u32 = 0;
/// Registry number of the user's first type.
pub(crate) const TYPE_FIRST_USER: u32 = 1;

/// Registry number that no type has, as a store has fewer types.
pub(crate) const TYPE_NONE: u32 = u32::MAX;

/// A run of pages that holds one of flagstone's own arrays.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct ArrayRef {
    /// First page; 0 for none.
    pub(crate) page: U32,
    /// Pages of the run.
    pub(crate) pages: U32,
    /// Elements in use.
    pub(crate) len: U32,
    reserved: U32,
}

impl ArrayRef {
    pub(crate) fn new(page: u64, pages: u64, len: u64) -> Self {
        Self {
            page: U32::new(page as u32),
            pages: U32::new(pages as u32),
            len: U32::new(len as u32),
            reserved: U32::new(0),
        }
    }

    /// Returns the bytes from the heap's start to the first element.
    pub(crate) fn offset(&self) -> u64 {
        u64::from(self.page.get()) * PAGE_BYTES
    }
}

/// A run of pages that images ignore: the log's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub(crate) struct RegionRef {
    /// First page; 0 for none.
    pub(crate) page: U32,
    /// Pages of the run.
    pub(crate) pages: U32,
}

/// The start of heap page 0.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct HeapHeader {
    /// Length of the heap in pages.
    pub(crate) heap_pages: U32,
    /// Segments that have a chunk: entries of the directory in use.
    pub(crate) segments: U32,
    /// [`TypeEntry`]s.
    pub(crate) registry: ArrayRef,
    /// [`RootEntry`]s, sorted by name.
    pub(crate) roots: ArrayRef,
    /// The log's region and, during a log move, its old or new region.
    pub(crate) log: [RegionRef; 2],
    reserved: [u8; 72],
    /// Bits of the nonempty buckets of free runs.
    pub(crate) bucket_mask: [U64; 2],
    /// First page of the first free run of each bucket; 0 for none.
    pub(crate) buckets: [U32; BUCKETS],
    /// Pages of `U32`s that name the first page of each segment's chunk; 0 for none.
    pub(crate) directory: [U32; DIRECTORY_PAGES],
}

const _: () = {
    assert!(size_of::<HeapHeader>() == 128 + 16 + 512 + 2048);
    assert!(std::mem::offset_of!(HeapHeader, registry) == 8);
    assert!(std::mem::offset_of!(HeapHeader, roots) == 24);
    assert!(std::mem::offset_of!(HeapHeader, log) == 40);
    assert!(std::mem::offset_of!(HeapHeader, bucket_mask) == 128);
    assert!(std::mem::offset_of!(HeapHeader, buckets) == 144);
    assert!(std::mem::offset_of!(HeapHeader, directory) == 656);
};

/// The use of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageKind {
    /// Unused; a free run's first and last pages hold its length.
    Free,
    /// Slots of one type and size.
    Slab,
    /// First page of one large object or array.
    Run,
    /// A later page of a run.
    RunBody,
    /// The header, and the descriptors of a chunk.
    Meta,
    /// The sums of a chunk; this page itself has no sum.
    Sums,
    /// Part of a log region; images ignore it, and it has no sum.
    Log,
}

/// The descriptor of a page: one line.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub(crate) struct PageDescriptor {
    kind: u8,
    /// Of a free page: bit 0, first of its run; bit 1, last of its run.
    /// Of a slab: bit 0, its slots hold small arrays. Of a run: bit 0, it is one object.
    pub(crate) flags: u8,
    /// Of a slab: bytes of a slot.
    pub(crate) slot_bytes: U16,
    /// Slab and run: the type's number. Run body: the run's first page.
    pub(crate) owner: U32,
    /// Of a slab: number of slots.
    pub(crate) slots: U16,
    /// Of a slab: number of slots in use.
    pub(crate) used: U16,
    /// Of a run's first page, and of a free run's first and last: the run's number of pages.
    pub(crate) run_pages: U32,
    /// Slab with free slots, free run: the next one in the list; 0 for none.
    pub(crate) next: U32,
    /// The previous one in the list.
    pub(crate) prev: U32,
    /// Of a run: bytes of the object or array.
    pub(crate) object_bytes: U64,
    /// Of a slab: bits of the slots in use.
    pub(crate) bitmap: [U64; 4],
}

const _: () = {
    assert!(size_of::<PageDescriptor>() == 64);
    assert!(std::mem::offset_of!(PageDescriptor, owner) == 4);
    assert!(std::mem::offset_of!(PageDescriptor, slots) == 8);
    assert!(std::mem::offset_of!(PageDescriptor, run_pages) == 12);
    assert!(std::mem::offset_of!(PageDescriptor, next) == 16);
    assert!(std::mem::offset_of!(PageDescriptor, object_bytes) == 24);
    assert!(std::mem::offset_of!(PageDescriptor, bitmap) == 32);
};

/// Flag of a free page: first of its run.
pub(crate) const FREE_FIRST: u8 = 1;
/// Flag of a free page: last of its run.
pub(crate) const FREE_LAST: u8 = 2;
/// Flag of a slab: small arrays.
pub(crate) const SLAB_ARRAYS: u8 = 1;
/// Flag of a run: a single object, not an array (which could have one element).
pub(crate) const RUN_OBJECT: u8 = 1;

impl PageDescriptor {
    pub(crate) fn of(kind: PageKind) -> Self {
        Self { kind: Self::code(kind), ..Self::default() }
    }

    /// Returns the kind, or `None` for a number that no kind has.
    pub(crate) fn kind(&self) -> Option<PageKind> {
        Some(match self.kind {
            0 => PageKind::Free,
            1 => PageKind::Slab,
            2 => PageKind::Run,
            3 => PageKind::RunBody,
            4 => PageKind::Meta,
            5 => PageKind::Log,
            6 => PageKind::Sums,
            _ => return None,
        })
    }

    /// Returns the number of an unknown kind, for messages.
    pub(crate) fn kind_code(&self) -> u8 {
        self.kind
    }

    fn code(kind: PageKind) -> u8 {
        match kind {
            PageKind::Free => 0,
            PageKind::Slab => 1,
            PageKind::Run => 2,
            PageKind::RunBody => 3,
            PageKind::Meta => 4,
            PageKind::Log => 5,
            PageKind::Sums => 6,
        }
    }

    /// Returns whether slot `slot` is in use; false past the bitmap.
    pub(crate) fn slot_used(&self, slot: u64) -> bool {
        let word = self.bitmap.get((slot / 64) as usize);
        word.is_some_and(|word| word.get() >> (slot % 64) & 1 == 1)
    }

    pub(crate) fn set_slot(&mut self, slot: u64, used: bool) {
        let Some(word) = self.bitmap.get_mut((slot / 64) as usize) else {
            return;
        };
        let bit = 1 << (slot % 64);
        word.set(if used { word.get() | bit } else { word.get() & !bit });
    }

    /// Returns the lowest slot below `slots` that is not in use.
    pub(crate) fn free_slot(&self) -> Option<u64> {
        let words = (0..).zip(&self.bitmap);
        let mut free = words.filter(|(_, word)| word.get() != u64::MAX);
        let (index, word) = free.next()?;
        let slot = index * 64 + u64::from(word.get().trailing_ones());
        (slot < u64::from(self.slots.get())).then_some(slot)
    }

    pub(crate) fn slots_in_bitmap(&self) -> u64 {
        self.bitmap.iter().map(|word| u64::from(word.get().count_ones())).sum()
    }
}

/// A type of the registry; its number is its index.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct TypeEntry {
    /// Checksum of the schema's text.
    pub(crate) sum: U64,
    /// Offset of the schema's text in the heap.
    pub(crate) schema_offset: U64,
    pub(crate) schema_bytes: U32,
    pub(crate) size_bytes: U32,
    pub(crate) align_bytes: U32,
    /// First slab of single objects with free slots; 0 for none.
    pub(crate) objects: U32,
    /// For each of `ARRAY_CLASSES`, the first slab of small arrays with free slots.
    pub(crate) arrays: [U32; ARRAY_CLASSES.len()],
    reserved: [u8; 12],
}

/// The `count` of a root that is a single object and not a slice.
pub(crate) const ROOT_SINGLE: u64 = u64::MAX;

/// A named root.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct RootEntry {
    /// Offset of the name in the heap.
    pub(crate) name_offset: U64,
    pub(crate) name_bytes: U32,
    /// The type's registry number.
    pub(crate) type_number: U32,
    /// Offset of the object or array; 0 for null.
    pub(crate) offset: U64,
    /// Elements of a slice; `u64::MAX` for a single object.
    pub(crate) count: U64,
}

impl TypeEntry {
    /// Returns whether bits are set that this version leaves zero.
    pub(crate) fn has_unknown_bits(&self) -> bool {
        self.reserved != [0; 12]
    }
}

impl HeapHeader {
    /// Returns whether bits are set that this version leaves zero.
    pub(crate) fn has_unknown_bits(&self) -> bool {
        let arrays = [self.registry.reserved, self.roots.reserved];
        self.reserved != [0; 72] || arrays.iter().any(|reserved| reserved.get() != 0)
    }
}

const _: () = {
    assert!(size_of::<TypeEntry>() == 128);
    assert!(std::mem::offset_of!(TypeEntry, objects) == 28);
    assert!(std::mem::offset_of!(TypeEntry, arrays) == 32);
    assert!(size_of::<RootEntry>() == 32);
};

/// Returns the bucket of free runs of `pages` pages: one for each length up to 15, then four for
/// each power of two.
pub(crate) fn bucket_of(pages: u64) -> usize {
    if pages < 16 {
        return (pages.max(1) - 1) as usize;
    }
    let power = u64::from(pages.ilog2());
    let quarter = pages >> (power - 2) & 3;
    (15 + (power - 4) * 4 + quarter) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_of_length() {
        let mut last = 0;
        for pages in 1..100_000 {
            let bucket = bucket_of(pages);
            assert!(bucket == last || bucket == last + 1, "{pages}");
            last = bucket;
        }
        assert!(bucket_of(MAX_PAGES) < BUCKETS);
    }

    #[test]
    fn array_classes_waste_little_of_a_page() {
        for class in ARRAY_CLASSES {
            let slots = (PAGE_BYTES / u64::from(class)).min(MAX_SLOTS);
            assert!(slots * u64::from(class) >= PAGE_BYTES - PAGE_BYTES / 32, "{class}");
        }
    }
}
