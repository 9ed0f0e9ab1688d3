//! A process that has lost the shared coordination page.
//!
//! On a full disk a store to the page may find no block: a copy of the file (reflink) may come to
//! share its blocks, the page's among them, at any moment. From then on this process has a private
//! page, which begins with zeros, in the place of the shared one (`map`, M8). To the others it
//! looks like a process that was stopped and then killed: all stores of all its threads before that
//! instant have reached them, and none after it. The rest of this module limits the process to what
//! a killed process could have done:
//!
//! - It acts on what it read from the page, or stored there, only after it has checked again that
//!   the page is the shared one (P6). So it does not acquire the write lock, acknowledges no
//!   barrier, frees no log, writes no page because of a false acknowledgement, and acknowledges no
//!   commit that the others may not see. Anything it writes before that check, it writes under the
//!   write lock, like a process that is killed a moment later.
//! - It writes nothing more, as after a failed write, and begins no snapshot.
//! - It releases the write lock when its current transaction ends. `lock_holder` on the shared page
//!   still names it, so the next process takes over, as after a death (P5).
//! - Its slot stays locked while readers pin images, or while a transaction is running. If its last
//!   word was that it may hold a snapshot, others wait for an acknowledgement that does not come, as
//!   from a stopped process. After the last of them the slot is released, as if the process had been
//!   killed.

use std::sync::TryLockError;
use std::sync::atomic::Ordering::SeqCst;

use super::state::{POLL_INTERVAL, Sharing};
use crate::disk::Lock;
use crate::engine::core::Core;
use crate::error::{Error, Result};
use crate::sync::Mutex;

impl Core {
    /// Returns an error if the page is no longer shared: then nothing read from it or stored to it
    /// counts.
    #[inline]
    pub(in crate::engine) fn expect_connected(&self, sharing: &Sharing) -> Result<()> {
        sharing.coordination.expect_shared().map_err(|error| self.cut_off(&error))
    }

    /// Poisons the store for this process only: it has no way to tell the others.
    #[cold]
    pub(super) fn cut_off(&self, why: &std::io::Error) -> Error {
        self.poison.set(format!("the page where processes meet is lost to this one: {why}"));
        self.poison.error()
    }

    /// Releases the slot of a process that is cut off, once nothing needs it.
    pub(super) fn release_slot_when_idle(&self, sharing: &Sharing) {
        while !sharing.is_stopping.load(SeqCst) {
            if self.is_idle() {
                let _ = sharing.coordination.unlock(Lock::Slot(sharing.slot));
                return;
            }
            crate::sync::sleep(POLL_INTERVAL);
        }
    }

    /// Returns whether neither a transaction nor a reader has an image. No new one begins: each
    /// checks that the page is shared once it has its lock.
    fn is_idle(&self) -> bool {
        let Some(sharing) = &self.sharing else { return true };
        let _images = sharing.lock_images();
        !is_held(&self.writer) && !is_held(&self.checkpointer) && self.pool.forget_all()
    }
}

fn is_held<T>(mutex: &Mutex<T>) -> bool {
    matches!(mutex.try_lock(), Err(TryLockError::WouldBlock))
}
