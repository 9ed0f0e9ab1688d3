//! Takes over the write lock from a process that died with it.
//!
//! That process left the file as a crash leaves it, except that the page cache survives. So this is
//! recovery, while other processes live:
//!
//! 1. Choose the newest valid superblock.
//! 2. Find the end of the log by its checksums. A whole record counts, even if the dead process did
//!    not publish it. Every record that a reader has seen is in the log.
//! 3. Write those records again in place, and sync: if the dead process knew that a flush failed,
//!    that knowledge is lost.
//! 4. Checkpoint. This makes both superblocks valid and leaves no spilled record.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::Sharing;
use crate::engine::{Core, ReplayHorizon, lock, recovery};
use crate::error::{ErrorKind, Result};
use crate::format::record::KIND_SKIP;
use crate::format::superblock::Superblock;
use crate::log::{self, Tail};

impl Core {
    pub(super) fn take_over(&self, sharing: &Sharing) -> Result<()> {
        self.refuse_poisoned()?;
        let newest = recovery::choose(&*self.disk, &self.path, self.settings.mutation)?;
        let (slot, both_valid, block) = (newest.own_slot(), newest.both_valid, newest.block);
        let end = self.find_end(&block)?;
        let visible = sharing.page().visible.load(SeqCst);
        self.expect_connected(sharing)?;
        if end.position < visible {
            let found = end.position;
            let error = ErrorKind::corrupt("log's end (position)", visible, visible, found);
            return Err(self.poisoned_because(error));
        }
        let failed = |error| self.io_error("look at the file's length", error);
        // The durable length is unknown: sync it before a record relies on it.
        self.growth.refresh(0).map_err(failed)?;
        self.rewrite_records(block.position.get(), end.position)?;
        let epoch = block.epoch.get();
        let mut checkpointer = lock(&self.checkpointer);
        (checkpointer.last, checkpointer.slot) = (block, slot);
        checkpointer.drop_image_unless_at_last();
        let mut log = lock(&self.log);
        log.tail = Tail::new(Arc::clone(&log.tail.ring), epoch, end.position, end.prev_checksum);
        log.tail.start = sharing.page().start.load(SeqCst);
        log.heap_bytes = end.heap_bytes;
        log.checkpoint = end.position;
        // The recent lengths of the heap are unknown, but none exceeds the file.
        log.ends = ReplayHorizon::new(self.growth.capacity_bytes());
        drop(log);
        // If the page cache shows a superblock that the disk does not have, the other one stays
        // valid until this one is durable.
        if both_valid {
            self.rewrite_superblock(&mut checkpointer, |_| ())?;
        }
        // Records become visible only when this flush has made them durable. The partial block is
        // padded first, and no reader has seen anything that a power cut could take from it.
        self.run_checkpoint(&mut checkpointer)
    }

    fn find_end(&self, block: &Superblock) -> Result<crate::engine::EndOfLog> {
        let mut heap_bytes = block.heap_bytes.get();
        let (from, prev_checksum) = (block.position.get(), block.prev_checksum.get());
        let source = self.log_source();
        let found = log::scan(&source, block.epoch.get(), from, prev_checksum, |header, _| {
            if header.kind != KIND_SKIP {
                heap_bytes = header.heap_bytes.get();
            }
            Ok(())
        })?;
        Ok(crate::engine::EndOfLog {
            position: found.end,
            prev_checksum: found.prev_checksum,
            heap_bytes,
        })
    }
}
