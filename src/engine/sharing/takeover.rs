//! Going on after a process that died in its turn.
//!
//! It left the file as a crash leaves it, but for what is in the page cache; so this is
//! what recovery does, under the eyes of the living:
//!
//! 1. The newest superblock that is whole.
//! 2. The end of the log by its checksums: a whole record that the dead process did not
//!    tell of any more counts. None that anybody has seen can lack.
//! 3. Those records once more in place, and a sync: whatever the dead one knew of a flush
//!    that failed, it is gone.
//! 4. A checkpoint, which makes both superblocks good and leaves no spilled record.

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
        // Nothing is known of the length: it is synced before a record relies on it.
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
        // How long the heap was lately is not known; never longer than the file.
        log.ends = ReplayHorizon::new(self.growth.capacity_bytes());
        drop(log);
        // Should the page cache show a superblock that the disk does not have, the other one
        // is still good until this one is.
        if both_valid {
            self.rewrite_superblock(&mut checkpointer, |_| ())?;
        }
        // What it flushes becomes visible, and not before: the block that was begun is filled
        // up first, and nobody has seen what a cut in there could take.
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
