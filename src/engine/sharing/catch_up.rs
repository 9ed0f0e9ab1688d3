//! Hands the log's end from one holder of the write lock to the next.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::state::Sharing;
use crate::engine::core::Core;
use crate::engine::replay_horizon::ReplayHorizon;
use crate::engine::state::{Writer, lock};
use crate::error::Result;
use crate::image::{Checkpointed, PageSet, open_image};
use crate::log::Tail;
use crate::sync::atomic::Ordering::Release;

impl Core {
    /// Publishes the log's end for the next holder.
    pub(super) fn publish_end(&self, sharing: &Sharing) {
        // Look up the page anew for each word: the process can be killed between two of them, and
        // the simulated process is.
        let end = || &sharing.page().end;
        let generation = lock(&self.checkpointer).last.generation.get();
        end().generation.store(generation, SeqCst);
        let log = lock(&self.log);
        let (windows, is_pending) = log.ends.words();
        end().appended.store(log.tail.appended, SeqCst);
        end().prev_checksum.store(log.tail.prev_checksum, SeqCst);
        end().durable.store(log.tail.durable, SeqCst);
        end().heap_bytes.store(log.heap_bytes, SeqCst);
        end().checkpoint.store(log.checkpoint, SeqCst);
        end().is_checkpoint_pending.store(u64::from(is_pending), SeqCst);
        end().durable_room_bytes.store(self.growth.durable_bytes(), SeqCst);
        for (index, value) in windows.into_iter().enumerate() {
            end().heap_ends[index].store(value, SeqCst);
        }
    }

    /// Learns what other processes did since this one's last hold. The last holder released in
    /// order.
    pub(super) fn catch_up(&self, sharing: &Sharing) -> Result<()> {
        let words = &sharing.page().end;
        let generation = words.generation.load(SeqCst);
        let (end, prev_checksum) = (words.appended.load(SeqCst), words.prev_checksum.load(SeqCst));
        let (start, durable) = (sharing.page().start.load(SeqCst), words.durable.load(SeqCst));
        let heap_bytes = words.heap_bytes.load(SeqCst);
        let checkpoint = words.checkpoint.load(SeqCst);
        let windows = words.heap_ends.each_ref().map(|word| word.load(SeqCst));
        let is_pending = words.is_checkpoint_pending.load(SeqCst) != 0;
        let durable_room_bytes = words.durable_room_bytes.load(SeqCst);
        self.expect_connected(sharing)?;
        let mut checkpointer = lock(&self.checkpointer);
        if checkpointer.last.generation.get() != generation {
            (checkpointer.last, checkpointer.slot) = self.read_superblock()?;
        }
        checkpointer.drop_image_unless_at_last();
        let mut log = lock(&self.log);
        let ring = Arc::clone(&log.tail.ring);
        log.tail = Tail::new(ring, checkpointer.last.epoch.get(), end, prev_checksum);
        (log.tail.start, log.tail.durable) = (start, durable);
        (log.heap_bytes, log.checkpoint) = (heap_bytes, checkpoint);
        log.ends = ReplayHorizon::of(windows, is_pending);
        self.visible.store(log.tail.visible(), Release);
        self.durable.store(log.tail.durable, Release);
        let refreshed = self.growth.refresh(durable_room_bytes);
        refreshed.map_err(self.io_error("look at the file's length"))
    }

    /// Advances the writer's image to the log's end, under the write lock.
    pub(in crate::engine) fn follow_others(&self, writer: &mut Writer) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let end = self.end_of_log().position;
        self.bring_workspace_to(sharing, writer, end)
    }

    pub(super) fn bring_workspace_to(
        &self,
        sharing: &Sharing,
        writer: &mut Writer,
        position: u64,
    ) -> Result<()> {
        let image = writer.workspace.image_mut();
        let is_kept = |from| sharing.is_log_kept_from(from).map_err(|error| self.cut_off(&error));
        loop {
            let from = image.position();
            if from >= position {
                return Ok(());
            }
            let advanced = match is_kept(from)? {
                true => image.advance(&self.log_source(), position, &mut PageSet::default()),
                false => Ok(()),
            };
            // A checkpoint that did not see the slot of a new process may overtake it.
            if is_kept(from)? {
                return advanced;
            }
            let (block, _) = self.read_superblock()?;
            let (last, traits) = (Checkpointed::of(&block), self.settings.image_traits(&block));
            *image = open_image(&*self.disk, last, traits)?;
        }
    }
}
