//! Snapshots of what other processes committed.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::state::Sharing;
use crate::engine::core::Core;
use crate::error::Result;
use crate::image::{Checkpointed, Image, Pool};
use crate::mutation::Mutation;
use crate::sync::lock;

impl Core {
    /// Takes a snapshot at the position that all processes may see.
    pub(in crate::engine) fn shared_snapshot(
        &self,
        sharing: &Sharing,
        caller: &'static Location<'static>,
    ) -> Result<Arc<Image>> {
        // Locked until the snapshot is taken: this process answers no barrier meanwhile (P3).
        let mut pool = lock(&self.pool);
        let is_late = self.mutation(Mutation::HoldAfterGeneration);
        if !is_late {
            sharing.announce(&mut pool);
        }
        loop {
            // Not before the announcement: whoever writes pages made all before them visible, and then
            // looked for it.
            let visible = sharing.page().visible.load(SeqCst);
            self.expect_connected(sharing)?;
            let from = self.prepare_to_advance(sharing, &mut pool, visible)?;
            let max_held = self.settings.max_held_images;
            let taken = pool.take(&|| self.log_source(), visible, max_held, caller);
            if self.was_advanced_soundly(sharing, from)? {
                let image = taken.map_err(|error| self.unreadable(error))?;
                if is_late {
                    sharing.announce(&mut pool);
                }
                sharing.note_heap(image.heap_bytes());
                // Under the lock that also guards the release of images without readers.
                self.expect_connected(sharing)?;
                return Ok(image);
            }
            drop(taken);
            pool.forget_unheld_current();
        }
    }

    /// Prepares the pool for an advance to `visible`: images whose log is gone leave it, and a new one
    /// would begin at the newest superblock. Returns the position where the advance begins, or
    /// `None` if none is needed.
    pub(in crate::engine) fn prepare_to_advance(
        &self,
        sharing: &Sharing,
        pool: &mut Pool,
        visible: u64,
    ) -> Result<Option<u64>> {
        if pool.is_current_at(visible) {
            return Ok(None);
        }
        if !self.mutation(Mutation::StaleImageUsed) {
            pool.forget_log_before(sharing.page().start.load(SeqCst));
        }
        if let Some(position) = pool.position_to_advance() {
            return Ok(Some(position));
        }
        let (block, _) = self.read_superblock()?;
        pool.rebase(Checkpointed::of(&block));
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
