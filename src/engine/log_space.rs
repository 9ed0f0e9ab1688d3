//! Waiting for space in the log.
//!
//! **Owns** who gets the space that a checkpoint frees: the commit that waits for it, before the
//! next checkpoint. **Must not know** what a checkpoint does.
//!
//! A commit that finds no space waits for the log to be freed, and not for the checkpointer's lock.
//! The thread that runs checkpoints is awake when one ends, and would take that lock again for the
//! next one before the commit has woken up: the commit would wait for two. The commit tries the
//! lock only to find out whether anybody is at work. If not, it runs a checkpoint itself.

use std::ops::{Deref, DerefMut};

use super::core::Core;
use super::sharing::blocked::Patience;
use super::state::{Checkpointer, LogState};
use crate::error::{ErrorKind, Result};
use crate::sync::{MutexGuard, lock, try_lock, unpoisoned};

/// The checkpointer's lock. Releasing it wakes a commit that waits for space in the log, and
/// transactions that wait for memory: whether there is some or not, nobody else may be making any.
pub(super) struct CheckpointerGuard<'core> {
    // Fields are dropped in this order: the lock is free when the commit wakes up.
    checkpointer: MutexGuard<'core, Checkpointer>,
    _wakes: WakesCommit<'core>,
}

struct WakesCommit<'core> {
    core: &'core Core,
}

impl Drop for WakesCommit<'_> {
    fn drop(&mut self) {
        // With the log's lock, so that the commit either has not tried the checkpointer's lock yet
        // or already waits.
        let _log = lock(&self.core.log);
        self.core.log_freed.notify_all();
        self.core.progress.wake();
    }
}

impl Deref for CheckpointerGuard<'_> {
    type Target = Checkpointer;

    fn deref(&self) -> &Checkpointer {
        &self.checkpointer
    }
}

impl DerefMut for CheckpointerGuard<'_> {
    fn deref_mut(&mut self) -> &mut Checkpointer {
        &mut self.checkpointer
    }
}

impl Core {
    /// Locks the checkpointer. The log must not be locked when the guard is dropped.
    pub(super) fn lock_checkpointer(&self) -> CheckpointerGuard<'_> {
        let checkpointer = lock(&self.checkpointer);
        CheckpointerGuard { checkpointer, _wakes: WakesCommit { core: self } }
    }

    /// Locks the checkpointer unless another thread has it locked.
    pub(super) fn try_lock_checkpointer(&self) -> Option<CheckpointerGuard<'_>> {
        let checkpointer = try_lock(&self.checkpointer)?;
        Some(CheckpointerGuard { checkpointer, _wakes: WakesCommit { core: self } })
    }

    /// Returns whether a checkpoint is due: so much was logged since the last one began, the log has
    /// moved, it would give enough memory back, or a transaction waits for memory.
    pub(super) fn is_checkpoint_due(&self, log: &LogState) -> bool {
        self.is_log_filling(log)
            || log.tail.start < log.least_start
            || self.is_checkpoint_due_for_memory(log)
    }

    /// Returns whether so much was logged since the last checkpoint began that one is due.
    pub(super) fn is_log_filling(&self, log: &LogState) -> bool {
        let since_checkpoint = log.tail.appended - log.checkpoint;
        since_checkpoint > self.settings.checkpoint_after(log.tail.ring.len_bytes())
    }

    /// Returns whether a checkpoint is due whatever the log's length is.
    pub(super) fn is_checkpoint_due_for_memory(&self, log: &LogState) -> bool {
        self.account.is_checkpoint_due(log.dirty.bytes_since_begin()) || self.progress.is_awaited()
    }

    /// Locks the log once a record of `len_bytes` fits. Waits while another thread frees the log,
    /// and runs a checkpoint if none does.
    pub(super) fn lock_log_with_room(&self, len_bytes: u64) -> Result<MutexGuard<'_, LogState>> {
        let mut log = lock(&self.log);
        let mut is_freed = false;
        if !log.tail.fits(len_bytes) {
            self.note_load(&mut log);
        }
        while !log.tail.fits(len_bytes) || !is_freed && !self.leaves_way_out(&log, len_bytes) {
            if is_freed {
                return Err(ErrorKind::corrupt("log", 0, "room after a checkpoint", "none"));
            }
            let Some(mut checkpointer) = self.try_lock_checkpointer() else {
                log = unpoisoned(self.log_freed.wait(log));
                continue;
            };
            drop(log);
            let made = self.run_checkpoint(&mut checkpointer, Patience::Full);
            drop(checkpointer);
            made.map_err(|error| self.no_room(error, len_bytes))?;
            is_freed = true;
            log = lock(&self.log);
        }
        Ok(log)
    }
}
