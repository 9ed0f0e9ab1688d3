//! Statistics of an open store.

use crate::error::Result;
use crate::format::PAGE_BYTES;
use crate::format::heap::PageKind;
use crate::image::{Image, LongReader, Use};

use super::handle::Store;

/// Pages of the heap by use, 4096 bytes each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PagesByUse {
    /// Slabs of objects and small arrays.
    pub slabs: u64,
    /// Runs, each of one large object or array.
    pub runs: u64,
    /// Descriptors, checksums, the header.
    pub own: u64,
    /// The log.
    pub log: u64,
    /// Unused pages.
    pub free: u64,
}

/// The result of [`Store::stats`].
#[must_use = "gathering statistics changes nothing: use the result"]
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Length of the file.
    pub file_bytes: u64,
    /// Length of the heap.
    pub heap_bytes: u64,
    /// Bytes of live allocations, including the unused rest of their slots.
    pub live_bytes: u64,
    /// Bytes that allocations can use before the file grows: free pages and free slots.
    pub free_bytes: u64,
    /// Pages by use.
    pub pages: PagesByUse,
    /// Length of the log.
    pub log_bytes: u64,
    /// Log bytes of records that are still needed.
    pub log_used_bytes: u64,
    /// Log bytes that were replayed when the store was opened, because it had not been closed
    /// cleanly. A read-only open replays them every time; an open for writing recovers the file.
    pub replayed_bytes: u64,
    /// Log position up to which everything is durable.
    pub durable_position: u64,
    /// The reader that has held its snapshot for the longest time.
    pub oldest_reader: Option<LongReader>,
    /// Snapshots that readers hold.
    pub held_images: usize,
    /// Upper bound of the private memory of held snapshots.
    pub held_private_bytes: u64,
    /// Bytes of temporary files beside the store that hold the old content of pages for readers: see
    /// [`max_spill_bytes`](super::OpenOptions::max_spill_bytes).
    pub spilled_bytes: u64,
    /// Whether the last attempt to move such pages from memory to a file has failed: the disk is full, a
    /// limit is reached, or the store's folder is in memory. Readers may then hold more memory than is
    /// their part of the budget.
    pub is_spill_refused: bool,
    /// Idle images, kept for reuse.
    pub idle_images: usize,
    /// Upper bound of the private memory of all reader images.
    pub private_bytes: u64,
    /// Upper bound of the private memory of the write transaction's image.
    pub writer_private_bytes: u64,
    /// Upper bound of the private memory of the image that checkpoints write from.
    pub checkpoint_private_bytes: u64,
    /// The memory budget: see [`memory_budget_bytes`](super::OpenOptions::memory_budget_bytes).
    pub memory_budget_bytes: u64,
    /// Upper bound of the private memory of all stores that share this budget.
    pub budget_used_bytes: u64,
    /// Whether the kernel refuses to take memory back, because the program locks its own
    /// (`mlockall`). The budget then bounds nothing.
    pub is_memory_locked: bool,
}

impl Store {
    /// Returns statistics of the store at the last visible commit. Reads every page's descriptor:
    /// linear in the number of pages.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # let store = flagstone::Store::in_memory()?;
    /// let megabyte = store.update(|tx| tx.alloc_slice_zeroed::<u8>(1 << 20))?;
    /// let before = store.stats()?;
    /// store.update(|tx| tx.free(megabyte))?;
    /// let after = store.stats()?;
    /// assert_eq!(before.live_bytes - after.live_bytes, 1 << 20);
    /// assert_eq!(before.pages.runs - after.pages.runs, 256);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The allocator's structures are damaged.
    pub fn stats(&self) -> Result<Stats> {
        self.core.expect_own_process()?;
        let pool = self.core.pool_stats();
        let account = self.core.account();
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
            spilled_bytes: pool.spilled_bytes,
            is_spill_refused: pool.is_spill_refused,
            idle_images: pool.idle,
            private_bytes: pool.private_bytes,
            writer_private_bytes: account.bytes(Use::Writer),
            checkpoint_private_bytes: account.bytes(Use::Checkpoint),
            memory_budget_bytes: account.budget_bytes(),
            budget_used_bytes: account.shared_bytes(),
            is_memory_locked: account.is_locked(),
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
