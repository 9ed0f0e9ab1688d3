//! The file's length: growth that a record relies on, and the cut after a checkpoint.
//!
//! **Owns** E4: the file is longer than any heap that a superblock, a record or an image names, and
//! that length is durable before the record is. **Must not know** who lengthens the heap
//! (`workspace`, through `FileSize`).

use super::core::Core;
use super::flush_leader::SyncFor;
use crate::error::Result;
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::mutation::Mutation;
use crate::sync::lock;

/// The unit of what is punched out of the file, at a multiple of it. Smaller holes would scatter
/// what is written there later.
const PUNCHED_BYTES: u64 = 64 * 1024;

impl Core {
    /// Returns the length of the file.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        self.expect_own_process()?;
        self.disk.len_bytes().map_err(self.io_error("look at the file's length"))
    }

    /// Returns the lowest offset at which the file may be written in place. No image, and no state
    /// that can still be replayed, reaches up to it.
    pub(super) fn in_place_from_bytes(&self) -> u64 {
        if self.mutation(Mutation::InPlaceFromHeapEnd) {
            return lock(&self.log).heap_bytes;
        }
        let in_images = self.pool.longest_heap_bytes();
        let own = lock(&self.log).ends.longest().max(in_images);
        self.sharing.as_ref().map_or(own, |sharing| sharing.longest_heap_bytes(own))
    }

    /// Syncs the file's growth if a heap of `heap_bytes` needs it.
    pub(super) fn sync_growth_for(&self, heap_bytes: u64) -> Result<()> {
        if !self.growth.needs_sync(heap_bytes) {
            return Ok(());
        }
        self.unless(Mutation::GrowthNotSynced, || self.sync_growth())
    }

    /// Syncs the file's growth, and what was written there.
    pub(super) fn sync_growth(&self) -> Result<()> {
        let syncing = self.growth.begin_sync();
        self.sync_heap(SyncFor::Commits, "sync new pages and the file's length")?;
        self.growth.synced(syncing);
        Ok(())
    }

    /// Cuts the file after the longest heap of any state or image. Skips the cut while a writer is
    /// active, which might be about to grow the file, or while another process uses an image.
    pub(super) fn cut_file(&self, heap_bytes: u64) -> Result<()> {
        let Ok(writer) = self.writer.try_lock() else { return Ok(()) };
        let in_writer = writer.workspace.heap_bytes();
        let needed = self.in_place_from_bytes().max(in_writer).max(heap_bytes);
        // Do not cut what the next growth would add again.
        let slack = needed / 8 + 256 * 1024;
        if self.growth.capacity_bytes() <= needed + slack || !self.are_others_at_rest()? {
            return Ok(());
        }
        self.truncate_file(needed)
    }

    fn truncate_file(&self, heap_bytes: u64) -> Result<()> {
        let durable_bytes = self.growth.durable_bytes();
        let cut = self.growth.truncate(heap_bytes);
        if self.mutation(Mutation::CutLengthKept) {
            self.growth.note_durable(durable_bytes);
        }
        cut.map_err(self.write_failed("cut the file"))
    }

    /// Gives the space of free pages back, except for parts that the disk has no unit for. Every state
    /// that can be opened has them free, and no image will be read. A failure costs space.
    pub(super) fn punch(&self, free: &[(u64, u64)]) {
        for (first, pages) in free {
            let start = HEAP_START_BYTES + first * PAGE_BYTES;
            let end = (start + pages * PAGE_BYTES) / PUNCHED_BYTES * PUNCHED_BYTES;
            let start = start.next_multiple_of(PUNCHED_BYTES);
            if start < end && self.disk.punch(start, end).is_err() {
                return;
            }
        }
    }

    /// Cuts the file. Both superblocks name the same state, and no image will read beyond it.
    pub(super) fn cut_to_heap(&self, heap_bytes: u64) -> Result<()> {
        let in_images = self.pool.longest_heap_bytes();
        let cut = self.growth.truncate(heap_bytes.max(in_images));
        cut.map_err(self.write_failed("cut the file"))?;
        self.sync_heap(SyncFor::Commits, "sync the file's length").map(drop)
    }
}
