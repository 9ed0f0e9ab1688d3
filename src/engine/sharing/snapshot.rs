//! Snapshots of what other processes committed.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::{POLL_INTERVAL, Sharing};
use crate::engine::{Core, lock, recovery};
use crate::error::Result;
use crate::format::superblock::Superblock;
use crate::image::{Checkpointed, Image, Pool};

impl Core {
    /// A snapshot at the position that all processes may see.
    pub(in crate::engine) fn shared_snapshot(
        &self,
        sharing: &Sharing,
        caller: &'static Location<'static>,
    ) -> Result<Arc<Image>> {
        let page = sharing.page();
        let mut pool = lock(&self.pool);
        loop {
            // Under the lock: nobody answers a floor in between (P3).
            let visible = page.visible.load(SeqCst);
            self.expect_connected(sharing)?;
            let from = self.rebase_if_needed(&mut pool, visible)?;
            let max_held = self.settings.max_held_images;
            let taken = pool.take(&|| self.log_source(), visible, max_held, caller);
            // While a new image was made, the log behind it may have been written over.
            let is_kept = from.map_or(Ok(true), |from| sharing.is_log_kept_from(from));
            if is_kept.map_err(|error| self.cut_off(&error))? {
                let image = taken.map_err(|error| self.unreadable(error))?;
                sharing.note_heap(image.heap_bytes());
                // Under the lock under which an image that nobody holds is given up.
                self.expect_connected(sharing)?;
                return Ok(image);
            }
            // An error has left the current image as it was.
            if taken.is_ok() {
                pool.forget_current();
            }
        }
    }

    /// If the pool has no image to bring to `visible`, has it begin one from the newest
    /// superblock; returns the log position of that.
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

    /// The newest superblock, and its slot. Another process may be writing them: a look that
    /// takes so long that both are torn is repeated.
    pub(super) fn read_superblock(&self) -> Result<(Superblock, usize)> {
        const LOOKS: usize = 5;
        let look = || recovery::choose(&*self.disk, &self.path, self.settings.mutation);
        let mut newest = look();
        for _ in 1..LOOKS {
            if newest.is_ok() {
                break;
            }
            std::thread::sleep(POLL_INTERVAL);
            newest = look();
        }
        let newest = newest?;
        let slot = newest.own_slot();
        Ok((newest.block, slot))
    }
}
