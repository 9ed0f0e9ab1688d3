//! Figures of an open store.

use crate::error::Result;
use crate::format::PAGE_BYTES;
use crate::format::heap::PageKind;
use crate::image::{Image, LongReader};

use super::Store;

/// Pages of the heap by what they are used for, 4096 bytes each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PagesByUse {
    /// Slabs of objects and small arrays.
    pub slabs: u64,
    /// Runs of one large object or array.
    pub runs: u64,
    /// Descriptors, sums, the header.
    pub own: u64,
    /// The log.
    pub log: u64,
    /// In no use.
    pub free: u64,
}

/// What [`Store::stats`] says.
#[must_use = "figures that nobody looks at were counted for nothing"]
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Length of the file.
    pub file_bytes: u64,
    /// Length of the heap.
    pub heap_bytes: u64,
    /// Bytes of allocations in use, with what their slots are longer.
    pub live_bytes: u64,
    /// Bytes that allocations can use before the file grows: free pages, and
    /// free slots.
    pub free_bytes: u64,
    /// What the pages are used for.
    pub pages: PagesByUse,
    /// Length of the log.
    pub log_bytes: u64,
    /// Log bytes that hold records which are still needed.
    pub log_used_bytes: u64,
    /// Log bytes that opening applied to the heap, since the store had not been closed in
    /// order. Opening to read does so each time; opening to write recovers the file.
    pub replayed_bytes: u64,
    /// Log position up to which everything is durable.
    pub durable_position: u64,
    /// The snapshot that has been held for the longest time.
    pub oldest_reader: Option<LongReader>,
    /// Snapshots that readers hold.
    pub held_images: usize,
    /// Memory that these may hold for themselves, at most.
    pub held_private_bytes: u64,
    /// Images that wait to be used again.
    pub idle_images: usize,
    /// Memory that images of readers may hold for themselves, at most.
    pub private_bytes: u64,
}

impl Store {
    /// Figures of the store at the last visible commit. Looks at the descriptor
    /// of each page: linear in the number of pages.
    ///
    /// # Errors
    ///
    /// The allocator's structures are damaged.
    pub fn stats(&self) -> Result<Stats> {
        self.core.expect_own_process()?;
        let pool = self.core.pool_stats();
        let (log_used_bytes, log_bytes) = self.core.log_use();
        let mut stats = Stats {
            file_bytes: self.core.file_bytes()?,
            log_bytes,
            log_used_bytes,
            replayed_bytes: self.core.replayed_bytes(),
            durable_position: self.core.durable(),
            oldest_reader: pool.oldest,
            held_images: pool.held,
            held_private_bytes: pool.held_private_bytes,
            idle_images: pool.idle,
            private_bytes: pool.private_bytes,
            ..Stats::default()
        };
        let image = self.core.snapshot()?;
        stats.heap_bytes = image.heap_bytes();
        for page in 0..image.heap_pages() {
            add_page(&mut stats, &image, page)?;
        }
        Ok(stats)
    }
}

fn add_page(stats: &mut Stats, image: &Image, page: u64) -> Result<()> {
    let pages = &mut stats.pages;
    let descriptor = image.descriptor(page)?;
    match image.page_kind(page)? {
        PageKind::Slab => {
            pages.slabs += 1;
            let slot_bytes = u64::from(descriptor.slot_bytes.get());
            let (slots, used) =
                (u64::from(descriptor.slots.get()), u64::from(descriptor.used.get()));
            stats.live_bytes = stats.live_bytes.saturating_add(used * slot_bytes);
            stats.free_bytes += slots.saturating_sub(used) * slot_bytes;
        }
        PageKind::Run => {
            pages.runs += 1;
            stats.live_bytes = stats.live_bytes.saturating_add(descriptor.object_bytes.get());
        }
        PageKind::RunBody => pages.runs += 1,
        PageKind::Meta | PageKind::Sums => pages.own += 1,
        PageKind::Log => pages.log += 1,
        PageKind::Free => {
            pages.free += 1;
            stats.free_bytes += PAGE_BYTES;
        }
    }
    Ok(())
}
