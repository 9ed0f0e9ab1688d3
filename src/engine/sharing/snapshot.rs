//! Snapshots of what other processes committed.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::state::Sharing;
use crate::engine::core::Core;
use crate::error::Result;
use crate::image::{Checkpointed, Image, Pool};
use crate::sync::lock;

impl Core {
    /// Takes a snapshot at the position that all processes may see.
    pub(in crate::engine) fn shared_snapshot(
        &self,
        sharing: &Sharing,
        caller: &'static Location<'static>,
    ) -> Result<Arc<Image>> {
        let page = sharing.page();
        let mut pool = lock(&self.pool);
        loop {
            // Under the lock: no thread acknowledges a barrier in between (P3).
            let visible = page.visible.load(SeqCst);
            self.expect_connected(sharing)?;
            let from = self.rebase_if_needed(&mut pool, visible)?;
            let max_held = self.settings.max_held_images;
            let taken = pool.take(&|| self.log_source(), visible, max_held, caller);
            // The log before a new image's position may have been overwritten while the image was
            // made.
            let is_kept = from.map_or(Ok(true), |from| sharing.is_log_kept_from(from));
            if is_kept.map_err(|error| self.cut_off(&error))? {
                let image = taken.map_err(|error| self.unreadable(error))?;
                sharing.note_heap(image.heap_bytes());
                // Under the lock that also guards the release of images without readers.
                self.expect_connected(sharing)?;
                return Ok(image);
            }
            // An error has left the current image unchanged.
            if taken.is_ok() {
                pool.forget_current();
            }
        }
    }

    /// Rebases the pool on the newest superblock if it has no image to advance to `visible`.
    /// Returns the superblock's log position in that case.
    pub(in crate::engine) fn rebase_if_needed(
        &self,
        pool: &mut Pool,
        visible: u64,
    ) -> Result<Option<u64>> {
        if !pool.needs_image(visible) {
            return Ok(None);
        }
        let (block, _) = self.read_superblock()?;
        pool.rebase(Checkpointed::of(&block));
        Ok(Some(block.position.get()))
    }
}
