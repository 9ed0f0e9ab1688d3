//! The regions of a file, as FORMAT.md defines them.

use std::ops::Range;

use crate::forge::{self, HEAD_PAGES, HEAP, PAGE, SLOTS};

use super::ground;

/// A region of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Region {
    Superblocks,
    /// Bytes before the heap that are zero.
    Zeros,
    /// Records that a reader replays.
    Records,
    /// The rest of the log.
    RestOfLog,
    /// Header, descriptors, checksums, registry, roots, their texts.
    Metadata,
    /// Pages of objects.
    Objects,
    FreePages,
    /// Bytes past the end of the heap.
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
    /// Returns whether every bit of the region with this number is significant.
    pub fn is_live(row: usize) -> bool {
        ![Self::RestOfLog, Self::FreePages, Self::Behind]
            .map(|region| region as usize)
            .contains(&row)
    }
}

/// Maps offsets to regions.
pub struct Regions {
    records: Vec<Range<usize>>,
    pages: Vec<Region>,
}

impl Regions {
    /// Determines the regions of an undamaged file.
    pub fn of(bytes: &[u8]) -> flagstone::Result<Self> {
        let is_clean = forge::number(bytes, forge::newest(bytes) + 24) >> 32 & 1 == 1;
        let records = if is_clean { vec![] } else { forge::records(bytes) };
        // Page kinds are read after the log was replayed.
        let disk = flagstone::sim::MemoryDisk::of(bytes.to_vec());
        let store = disk.open(&ground::options())?;
        // Only a write makes the store update its file.
        store.update(|_| Ok(()))?;
        store.checkpoint()?;
        let replayed = disk.to_bytes();
        let pages = 0..bytes.len().div_ceil(PAGE).saturating_sub(HEAD_PAGES);
        let pages = pages.map(|page| kind(&replayed, page));
        Ok(Self { records, pages: pages.collect() })
    }

    pub fn at(&self, offset: usize) -> Region {
        if offset < HEAP {
            let is_superblock = SLOTS.iter().any(|at| (*at..at + 512).contains(&offset));
            return if is_superblock { Region::Superblocks } else { Region::Zeros };
        }
        if self.records.iter().any(|record| record.contains(&offset)) {
            return Region::Records;
        }
        self.pages.get(offset / PAGE - HEAD_PAGES).copied().unwrap_or(Region::Behind)
    }
}

/// Returns the region of a heap page, by its descriptor.
fn kind(bytes: &[u8], page: usize) -> Region {
    if page >= forge::number32(bytes, HEAP) as usize {
        return Region::Behind;
    }
    let descriptor = |page| forge::descriptor(bytes, page).expect("a page of a sound heap");
    let word = |page| forge::number32(bytes, descriptor(page) + 4) as usize;
    match bytes[descriptor(page)] {
        0 => Region::FreePages,
        5 => Region::RestOfLog,
        1 | 2 if word(page) != 0 => Region::Objects,
        // It names the first page of its run, which names the owner.
        3 if word(word(page)) != 0 => Region::Objects,
        _ => Region::Metadata,
    }
}
