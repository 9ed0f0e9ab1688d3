//! What lies where in a file, as FORMAT.md has it.

use std::ops::Range;

use crate::forge;

use super::ground;

const PAGE: usize = 4096;
const HEAP: usize = 4 * PAGE;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Region {
    Superblocks,
    /// Bytes before the heap that are zero.
    Zeros,
    /// Records that a reader applies.
    Records,
    /// What else lies in the log.
    RestOfLog,
    /// Header, descriptors, sums, registry, roots, their texts.
    Metadata,
    /// Pages of objects.
    Objects,
    FreePages,
    /// Behind the heap's end.
    Behind,
}

/// The names of regions, by number.
pub const NAMES: [&str; 8] = [
    "superblocks",
    "zero bytes before the heap",
    "records of the log",
    "the rest of the log",
    "heap: metadata",
    "heap: pages of objects",
    "heap: free pages",
    "behind the heap",
];

impl Region {
    /// Whether each bit of the region with this number means something.
    pub fn is_live(row: usize) -> bool {
        ![Self::RestOfLog, Self::FreePages, Self::Behind]
            .map(|region| region as usize)
            .contains(&row)
    }
}

/// Tells regions of offsets.
pub struct Regions {
    records: Vec<Range<usize>>,
    pages: Vec<Region>,
}

impl Regions {
    /// Those of a file that is sound.
    pub fn of(bytes: &[u8]) -> flagstone::Result<Self> {
        let is_clean = forge::number(bytes, forge::newest(bytes) + 24) >> 32 & 1 == 1;
        let records = if is_clean { vec![] } else { forge::records(bytes) };
        // What the pages are once the log was applied.
        let disk = flagstone::sim::MemoryDisk::of(bytes.to_vec());
        let store = disk.open(&ground::options())?;
        // Nothing but a write makes the store bring its file up to date.
        store.update(|_| Ok::<_, flagstone::Error>(()))?;
        store.checkpoint()?;
        let heap = disk.to_bytes().split_off(HEAP);
        let pages = (0..bytes.len().div_ceil(PAGE).saturating_sub(4)).map(|page| kind(&heap, page));
        Ok(Self { records, pages: pages.collect() })
    }

    pub fn at(&self, offset: usize) -> Region {
        if offset < HEAP {
            let is_superblock = offset < 2 * PAGE && offset % PAGE < 512;
            return if is_superblock { Region::Superblocks } else { Region::Zeros };
        }
        if self.records.iter().any(|record| record.contains(&offset)) {
            return Region::Records;
        }
        self.pages.get(offset / PAGE - 4).copied().unwrap_or(Region::Behind)
    }
}

/// What a page of the heap is, by its descriptor.
fn kind(heap: &[u8], page: usize) -> Region {
    let word = |at: usize| heap.get(at..at + 4).map_or(0, |word| forge::number32(word, 0) as usize);
    if page >= word(0) {
        return Region::Behind;
    }
    let chunk = word(word(656) * PAGE + page / 512 * 4);
    let descriptor = chunk * PAGE + 64 * (page % 512);
    let owner = match heap[descriptor] {
        3 => {
            let first = word(descriptor + 4);
            word(word(word(656) * PAGE + first / 512 * 4) * PAGE + 64 * (first % 512) + 4)
        }
        _ => word(descriptor + 4),
    };
    match heap[descriptor] {
        0 => Region::FreePages,
        5 => Region::RestOfLog,
        1..=3 if owner != 0 => Region::Objects,
        _ => Region::Metadata,
    }
}
