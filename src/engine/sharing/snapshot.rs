//! Snapshots of what other processes committed.

use std::panic::Location;
use std::sync::atomic::Ordering::SeqCst;

use super::state::Sharing;
use crate::engine::core::Core;
use crate::error::Result;
use crate::image::{Checkpointed, Follow, Reading};
use crate::log::LogSource;
use crate::mutation::Mutation;

/// The log up to a position that all processes may see.
pub(in crate::engine) struct SharedLog<'core> {
    pub(in crate::engine) core: &'core Core,
    pub(in crate::engine) visible: u64,
}

impl Follow for SharedLog<'_> {
    fn visible(&self) -> u64 {
        self.visible
    }

    fn source(&self) -> LogSource {
        self.core.log_source()
    }
}

impl Core {
    /// Takes a snapshot at the position that all processes may see.
    pub(in crate::engine) fn shared_snapshot(
        &self,
        sharing: &Sharing,
        caller: &'static Location<'static>,
    ) -> Result<Reading> {
        // Locked until the snapshot is taken: this process answers no barrier meanwhile (P3).
        let images = sharing.lock_images();
        let is_late = self.mutation(Mutation::HoldAfterGeneration);
        if !is_late {
            sharing.announce(&images);
        }
        loop {
            // Not before the announcement: whoever writes pages made all before them visible, and then
            // looked for it.
            let visible = sharing.page().visible.load(SeqCst);
            self.expect_connected(sharing)?;
            let from = self.prepare_to_advance(sharing, visible)?;
            let taken = self.pool.take(&SharedLog { core: self, visible }, caller);
            if self.was_advanced_soundly(sharing, from)? {
                let reading = taken.map_err(|error| self.unreadable(error))?;
                if is_late {
                    sharing.announce(&images);
                }
                sharing.note_heap(reading.heap_bytes());
                // Under the lock that also guards the release of images without readers.
                self.expect_connected(sharing)?;
                return Ok(reading);
            }
            drop(taken);
            drop(self.pool.forget_published());
        }
    }

    /// Prepares the pool for an advance to `visible`: images whose log is gone leave it, and a new one
    /// would begin at the newest superblock. Returns the position where the advance begins, or
    /// `None` if none is needed.
    pub(in crate::engine) fn prepare_to_advance(
        &self,
        sharing: &Sharing,
        visible: u64,
    ) -> Result<Option<u64>> {
        if self.pool.is_published_at(visible) {
            return Ok(None);
        }
        if !self.mutation(Mutation::StaleImageUsed) {
            drop(self.pool.forget_before(sharing.page().start.load(SeqCst)));
        }
        if let Some(position) = self.pool.position_to_advance() {
            return Ok(Some(position));
        }
        let (block, _) = self.read_superblock()?;
        self.pool.rebase(Checkpointed::of(&block));
        Ok(Some(block.position.get()))
    }

    /// Returns whether the log from `from` on was there until now. Otherwise an image that was advanced
    /// from there is worth nothing, and neither is the error.
    pub(super) fn was_advanced_soundly(
        &self,
        sharing: &Sharing,
        from: Option<u64>,
    ) -> Result<bool> {
        let Some(from) = from.filter(|_| !self.mutation(Mutation::StaleImageUsed)) else {
            return Ok(true);
        };
        sharing.is_log_kept_from(from).map_err(|error| self.cut_off(&error))
    }
}
