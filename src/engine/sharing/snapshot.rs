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
    core: &'core Core,
    visible: u64,
    /// The position where an advance begins, and the log that it reads; `None` if none is needed.
    advance: Option<(u64, LogSource)>,
}

impl Follow for SharedLog<'_> {
    fn visible(&self) -> u64 {
        self.visible
    }

    fn source(&self) -> LogSource {
        match &self.advance {
            Some((_, source)) => source.clone(),
            None => self.core.log_source(),
        }
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
            let log = self.prepare_to_advance(sharing, visible)?;
            let taken = self.pool.take(&log, caller);
            if self.was_advanced_soundly(sharing, &log)? {
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

    /// Prepares the pool for an advance to `visible`, which the caller has loaded: images whose log is
    /// gone leave it, and a new one would begin at the newest superblock. Returns the log to advance
    /// with.
    pub(in crate::engine) fn prepare_to_advance(
        &self,
        sharing: &Sharing,
        visible: u64,
    ) -> Result<SharedLog<'_>> {
        if self.pool.is_published_at(visible) {
            return Ok(SharedLog { core: self, visible, advance: None });
        }
        // After `visible`: what lies behind a move of the log is in the new ring alone.
        let source = self.follow_ring(sharing)?;
        let advance = |from| SharedLog { core: self, visible, advance: Some((from, source)) };
        if !self.mutation(Mutation::StaleImageUsed) {
            drop(self.pool.forget_before(sharing.page().start.load(SeqCst)));
        }
        if let Some(position) = self.pool.position_to_advance() {
            return Ok(advance(position));
        }
        let (block, _) = self.read_superblock()?;
        self.pool.rebase(Checkpointed::of(&block));
        Ok(advance(block.position.get()))
    }

    /// Returns whether the log that was read was there until now. Otherwise an image that was advanced
    /// with it is worth nothing, and neither is the error.
    pub(super) fn was_advanced_soundly(
        &self,
        sharing: &Sharing,
        log: &SharedLog<'_>,
    ) -> Result<bool> {
        let Some((from, source)) = &log.advance else { return Ok(true) };
        if self.mutation(Mutation::StaleImageUsed) {
            return Ok(true);
        }
        sharing.is_log_kept_from(*from, &source.ring).map_err(|error| self.cut_off(&error))
    }
}
