//! Elects the thread that flushes.
//!
//! One sync runs at a time (E3). A mutex alone would wake the waiting commits one after another,
//! and each would find itself flushed already. Here the end of a sync wakes all of them at once.

use crate::sync::{Condvar, Mutex, lock};

/// A lock that one thread holds while it flushes.
#[derive(Default)]
pub(super) struct FlushLeader {
    is_taken: Mutex<bool>,
    ended: Condvar,
}

/// The leadership; it ends when this is dropped.
pub(super) struct FlushGuard<'a> {
    leader: &'a FlushLeader,
}

impl FlushLeader {
    /// Waits until this thread is the leader.
    pub(super) fn take(&self) -> FlushGuard<'_> {
        let mut is_taken = lock(&self.is_taken);
        while *is_taken {
            is_taken = self.ended.wait(is_taken).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *is_taken = true;
        FlushGuard { leader: self }
    }

    /// Waits until this thread is the leader, or until another leader's flush makes `is_done` true.
    /// Returns `None` in the second case: there is nothing left to flush.
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
