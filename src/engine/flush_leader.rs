//! Whose turn it is to sync.
//!
//! One sync at a time (E3). A mutex alone would pass the turn from one waiting
//! commit to the next, each of which finds that it was flushed already; here the
//! end of a sync wakes all of them at once.

use crate::sync::{Condvar, Mutex};

use super::lock;

/// One turn, for one thread at a time.
#[derive(Default)]
pub(super) struct FlushLeader {
    is_taken: Mutex<bool>,
    ended: Condvar,
}

/// The turn; it ends when this is dropped.
pub(super) struct FlushGuard<'a> {
    leader: &'a FlushLeader,
}

impl FlushLeader {
    /// Waits for the turn.
    pub(super) fn take(&self) -> FlushGuard<'_> {
        let mut is_taken = lock(&self.is_taken);
        while *is_taken {
            is_taken = self.ended.wait(is_taken).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *is_taken = true;
        FlushGuard { leader: self }
    }

    /// Waits for the turn, or until `is_done` after somebody else's: then there is
    /// nothing left to take it for.
    pub(super) fn take_unless(&self, is_done: impl Fn() -> bool) -> Option<FlushGuard<'_>> {
        let mut is_taken = lock(&self.is_taken);
        while !is_done() {
            if !*is_taken {
                *is_taken = true;
                return Some(FlushGuard { leader: self });
            }
            is_taken = self.ended.wait(is_taken).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        None
    }
}

impl Drop for FlushGuard<'_> {
    fn drop(&mut self) {
        *lock(&self.leader.is_taken) = false;
        self.leader.ended.notify_all();
    }
}
