//! Whose turn it is to sync.
//!
//! One sync at a time (E3). A mutex alone would pass the turn from one waiting
//! commit to the next, each of which finds that it was flushed already; here the
//! end of a sync wakes all of them at once.

use crate::sync::{Condvar, Mutex};

use super::lock;

/// One turn, for one thread at a time.
#[derive(Default)]
pub(super) struct Turns {
    is_taken: Mutex<bool>,
    ended: Condvar,
}

/// The turn; it ends when this is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
}

impl Turns {
    /// Waits for the turn.
    pub(super) fn take(&self) -> Turn<'_> {
        let mut is_taken = lock(&self.is_taken);
        while *is_taken {
            is_taken = self.ended.wait(is_taken).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        *is_taken = true;
        Turn { turns: self }
    }

    /// Waits for the turn, or until `is_done` after somebody else's: then there is
    /// nothing left to take it for.
    pub(super) fn take_unless(&self, is_done: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut is_taken = lock(&self.is_taken);
        while !is_done() {
            if !*is_taken {
                *is_taken = true;
                return Some(Turn { turns: self });
            }
            is_taken = self.ended.wait(is_taken).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        None
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.turns.is_taken) = false;
        self.turns.ended.notify_all();
    }
}
