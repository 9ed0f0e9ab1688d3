//! A process that has lost the page where all meet.
//!
//! On a full disk a store to the page may find no block: the file, and with it the page, may be
//! shared with a copy of it (reflink), a moment after it was not. From then on this process has a
//! page of its own, which begins with zeros, in the place of all processes' (`map`, M8). For the
//! others that is a process that was stopped, and then killed: its stores before that instant, by
//! all its threads, have reached them, and none after it. What is left is that it does no more
//! than a process that was killed could have done:
//!
//! - Whatever it finds on the page, or has told there, it goes by only after it has looked once
//!   more whether the page is the others' (P6). So it takes no turn, answers nobody, frees no
//!   log, writes no page because of an answer that was none, and acknowledges no commit that the
//!   others may not see. What it writes before it looks, it writes in its turn, as a process that
//!   is killed a moment later.
//! - It writes nothing any more, as after a failed write, and begins no snapshot.
//! - Its turn goes with the end of the transaction that it is in; `lock_holder` on the page of
//!   all still names it, so the next process takes over, as after a death (P5).
//! - Its slot stays locked while readers hold images, or a transaction is not over: others wait
//!   for an answer, which does not come, as from a process that is stopped. With the last of them
//!   the slot is given up, as by a process that was killed.

use super::{POLL_INTERVAL, Sharing};
use crate::disk::Lock;
use crate::engine::{Core, lock};
use crate::error::{ErrorKind, Result};
use crate::sync::Mutex;
use std::sync::TryLockError;
use std::sync::atomic::Ordering::SeqCst;

impl Core {
    /// Refuses to go by what the page said, or to rely on what it was told.
    #[inline]
    pub(in crate::engine) fn expect_connected(&self, sharing: &Sharing) -> Result<()> {
        sharing.coordination.expect_shared().map_err(|error| self.cut_off(&error))
    }

    /// Poisons the store, for this process alone: it has no way to tell the others.
    #[cold]
    pub(super) fn cut_off(&self, why: &std::io::Error) -> crate::error::Error {
        let cause = format!("the page where processes meet is lost to this one: {why}");
        let cause = self.poison.get_or_init(|| cause).clone();
        ErrorKind::Poisoned { path: self.path.clone(), cause }.into()
    }

    /// Once it is cut off: gives up the slot, when nothing needs it any more.
    pub(super) fn give_up(&self, sharing: &Sharing) {
        while !sharing.is_stopping.load(SeqCst) {
            if self.needs_nothing() {
                let _ = sharing.coordination.unlock(Lock::Slot(sharing.slot));
                return;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Whether neither a transaction nor a reader has an image. None begins any more: each
    /// looks whether the page is lost once it has its lock.
    fn needs_nothing(&self) -> bool {
        !is_held(&self.writer) && !is_held(&self.checkpointer) && lock(&self.pool).forget_all()
    }
}

fn is_held<T>(mutex: &Mutex<T>) -> bool {
    matches!(mutex.try_lock(), Err(TryLockError::WouldBlock))
}
