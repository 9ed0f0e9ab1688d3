//! Moves the log to a larger region.
//!
//! The writer's lock is held throughout, and a checkpoint empties the log first, so no record has
//! to be copied. Both superblocks name the same position, the log's end, in the old region and then
//! in the new one.

use std::sync::Arc;

use super::core::Core;
use super::flush_leader::SyncFor;
use super::format_store::zero_log;
use super::state::{LogState, Writer};
use crate::error::Result;
use crate::format::heap::{CHUNK_PAGES, PAGES_PER_SEGMENT};
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::log::{Ring, Tail};
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::lock;

/// The log is moved after it has wrapped around this many times.
const LAPS_BEFORE_MOVE: u64 = 4;
/// The moved log is at most this fraction of the rest of the heap.
const SHARE_OF_HEAP: u64 = 8;
/// The new region is this many times as long as the old one.
const GROWTH: u64 = 4;

impl Core {
    /// Returns the length that the log should be moved to, if a move is due.
    pub(super) fn log_bytes_wanted(&self, log: &LogState) -> Option<u64> {
        // Other processes have the log's region mapped.
        if self.sharing.is_some() {
            return None;
        }
        let ring = &log.tail.ring;
        let len = ring.len_bytes();
        let appended = log.tail.appended;
        if appended - ring.base() < LAPS_BEFORE_MOVE * len || appended < log.no_move_before {
            return None;
        }
        // The log takes at most its share of the file.
        let most =
            self.settings.max_log_bytes.min((log.heap_bytes.saturating_sub(len)) / SHARE_OF_HEAP);
        let wanted = (len * GROWTH).min(most / PAGE_BYTES * PAGE_BYTES);
        // Each move leaves a hole in the heap; less than doubling is not worth it.
        (wanted >= 2 * len).then_some(wanted)
    }

    /// Postpones the next try after a move that failed, usually for lack of space. The log must
    /// first grow by as much as it did since the last move. Otherwise each commit would try, and a
    /// try costs more than a commit.
    pub(crate) fn put_off_log_move(&self) {
        let mut log = lock(&self.log);
        let appended = log.tail.appended;
        log.no_move_before = appended + (appended - log.tail.ring.base());
    }

    /// Grows the file by a region of `pages` pages of zeros, and returns the heap page where it
    /// begins: past the file's end, hence past all heaps.
    ///
    /// Nothing reads that part of the file before it is written, page by page. Otherwise the page
    /// cache might hold it in large folios from someone's read-ahead, and each flush of the log
    /// would write a whole folio: 1.5 MB per durable commit, measured, instead of 4 KiB.
    pub(crate) fn prepare_log_region(&self, pages: u64) -> Result<u64> {
        let taken = self.in_place_from_bytes().max(self.growth.capacity_bytes());
        // The allocator puts chunks between the heap's end and the region.
        let segments = |pages: u64| pages.div_ceil(PAGES_PER_SEGMENT);
        let chunks = segments(taken / PAGE_BYTES + pages) - segments(taken / PAGE_BYTES) + 2;
        let page = taken / PAGE_BYTES + chunks * CHUNK_PAGES;
        let end = (page + pages) * PAGE_BYTES;
        self.growth.reserve(end)?;
        zero_log(&*self.disk, HEAP_START_BYTES + page * PAGE_BYTES, pages * PAGE_BYTES)
            .map_err(self.write_failed("write a new log region"))?;
        self.sync_log_region(end)?;
        Ok(page)
    }

    fn sync_log_region(&self, end: u64) -> Result<()> {
        if self.mutation(Mutation::LogMovedUnsynced) {
            self.growth.synced(end);
            return Ok(());
        }
        self.sync_heap(SyncFor::Commits, "sync a new log region").map(drop)
    }

    /// Moves the log to the region of `pages` pages at heap page `page`. The region has been
    /// prepared, and a durable transaction has allocated it.
    pub(crate) fn move_log(&self, _writer: &mut Writer, page: u64, pages: u64) -> Result<()> {
        let (offset, len) = (HEAP_START_BYTES + page * PAGE_BYTES, pages * PAGE_BYTES);
        let mut checkpointer = self.lock_checkpointer();
        self.unless(Mutation::LogMovedWithoutCheckpoint, || {
            self.run_checkpoint(&mut checkpointer)
        })?;
        let end = self.end_of_log();
        let ring = Ring::new(&*self.disk, offset, len, end.position, self.settings.mutation)
            .map_err(self.io_error("map a new log region"))?;
        self.name_log(&mut checkpointer, &ring)?;
        self.free_log(&checkpointer, end.position)?;
        self.max_record_bytes.store(ring.max_record_bytes(), Relaxed);
        let mut log = lock(&self.log);
        log.tail = Tail::new(Arc::new(ring), log.tail.epoch, end.position, end.prev_checksum);
        Ok(())
    }

    /// Returns the region that the superblock names, as heap page and page count.
    pub(crate) fn log_region(&self) -> (u64, u64) {
        let checkpointer = self.lock_checkpointer();
        let last = &checkpointer.last;
        let offset = last.log_offset.get().saturating_sub(HEAP_START_BYTES);
        (offset / PAGE_BYTES, last.log_bytes.get() / PAGE_BYTES)
    }
}
