//! Takes over the write lock from a process that died with it.
//!
//! That process left the file as a crash leaves it, except that the page cache survives. So this is
//! recovery, while other processes live:
//!
//! 1. Choose the newest valid superblock. The log is where it says.
//! 2. Find the end of the log by its checksums. A whole record counts, even if the dead process did
//!    not publish it. Every record that a reader has seen is in the log.
//! 3. Write those records again in place, and sync: if the dead process knew that a flush failed,
//!    that knowledge is lost.
//! 4. Checkpoint. This makes both superblocks valid and leaves no spilled record.

use std::sync::atomic::Ordering::SeqCst;

use super::blocked::Patience;
use super::state::Sharing;
use crate::engine::core::Core;
use crate::engine::log_region::LogMove;
use crate::engine::replay_horizon::ReplayHorizon;
use crate::engine::state::{Checkpointer, EndOfLog};
use crate::engine::superblocks::Newest;
use crate::error::{ErrorKind, Result};
use crate::format::superblock::Superblock;
use crate::log::scan;
use crate::sync::lock;

impl Core {
    /// Performs steps 1 to 4, with the write lock held.
    pub(super) fn take_over(&self, sharing: &Sharing) -> Result<()> {
        self.refuse_poisoned()?;
        let newest = self.choose_superblock()?;
        self.take_over_ring(sharing, &newest.block)?;
        let (end, longest) = self.find_end(&newest.block)?;
        self.expect_visible_records(sharing, newest.block.reach.get(), end)?;
        // The durable length is unknown: sync it before a record relies on it.
        self.growth.refresh(0).map_err(self.io_error("look at the file's length"))?;
        self.rewrite_records(newest.block.position.get(), end.position)?;
        let mut checkpointer = self.lock_checkpointer();
        let both_valid = newest.both_valid;
        self.adopt_state(sharing, &mut checkpointer, newest, end, longest);
        if both_valid {
            self.persist_newest_superblock(&mut checkpointer)?;
        }
        // Records become visible only when this flush has made them durable. The partial block is
        // padded first, and no reader has seen anything that a power cut could take from it.
        self.run_checkpoint(&mut checkpointer, Patience::Full)
    }

    /// Performs step 2. Returns the end, and the longest heap of any state from the superblock's on.
    fn find_end(&self, block: &Superblock) -> Result<(EndOfLog, u64)> {
        let mut heap_bytes = block.heap_bytes.get();
        let mut longest = heap_bytes;
        let found = scan(&self.log_source(), block, |piece| {
            heap_bytes = piece.header.heap_bytes.get();
            longest = longest.max(heap_bytes);
            Ok(())
        })?;
        let (position, prev_checksum) = (found.end, found.prev_checksum);
        Ok((EndOfLog { position, prev_checksum, heap_bytes }, longest))
    }

    /// Refuses a log that ends before a record that a reader, or a page of the heap in the file, may
    /// have seen.
    fn expect_visible_records(&self, sharing: &Sharing, reach: u64, end: EndOfLog) -> Result<()> {
        let least = sharing.page().visible.load(SeqCst).max(reach);
        self.expect_connected(sharing)?;
        if end.position >= least {
            return Ok(());
        }
        let found = end.position;
        let error = ErrorKind::corrupt("log's end (position)", least, least, found);
        Err(self.poisoned_because(error))
    }

    /// Makes what was found this process's own state.
    fn adopt_state(
        &self,
        sharing: &Sharing,
        checkpointer: &mut Checkpointer,
        newest: Newest,
        end: EndOfLog,
        longest_heap_bytes: u64,
    ) {
        let (epoch, superblock) = (newest.block.epoch.get(), newest.block.position.get());
        (checkpointer.slot, checkpointer.last) = (newest.own_slot(), newest.block);
        checkpointer.drop_image_unless_at_last();
        // Nothing is written in place before step 4 has made both superblocks name the end, so no
        // earlier state than the newest superblock's will be replayed.
        let ends = ReplayHorizon::new(longest_heap_bytes);
        let mut log = lock(&self.log);
        let start = sharing.page().start.load(SeqCst);
        // The dead process's records are noted by the checkpoint that follows.
        log.adopt(epoch, start, end, ends, superblock);
        // It may have died while it moved the log.
        log.log_move = LogMove::Stale;
    }
}
