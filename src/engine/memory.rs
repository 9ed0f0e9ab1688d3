//! The memory budget at work: what is given back after a checkpoint, and who waits for one.
//!
//! **Owns** giving back the writer's pages, and the wait of a transaction that finds the budget used
//! up. **Must not know** how private memory is counted (`image::budget`).

use std::time::{Duration, Instant};

use super::core::Core;
use super::settings::Access;
use super::state::{LogState, Writer};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Account, PageSet, Use};
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};
use crate::sync::{MutexGuard, lock, try_lock};

/// How long a transaction waits while no checkpoint makes progress.
const TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });
/// Runs of pages that the begin of a transaction gives back: some tens of microseconds.
const RUNS_AT_ONCE: usize = 64;
/// How often it looks whether one runs.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

impl Core {
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Returns whether a transaction should wait before it begins: the budget is used up, and nothing
    /// would be given back at the begin, because no checkpoint has ended since the last time.
    #[inline]
    pub(crate) fn must_wait_for_memory(&self) -> bool {
        self.account.is_used_up()
            && self.released_at.load(Relaxed) == self.checkpointed.load(Acquire)
    }

    /// Waits until memory can be given back, or until a checkpoint has run that began after this call:
    /// then what is left is needed. Returns whether that was before the deadline. Call it without any
    /// lock. `start_checkpoint` requests a checkpoint, or runs it where waiting for another thread
    /// would be waiting for this one.
    #[cold]
    pub(crate) fn wait_for_memory(
        &self,
        deadline: Deadline,
        start_checkpoint: impl Fn() -> Result<()>,
    ) -> Result<bool> {
        if self.settings.access == Access::Read {
            return Ok(true);
        }
        self.release_unchanged_pages();
        let _waiting = self.progress.begin_waiting();
        let enough = self.progress.enough();
        let may_begin = || !self.must_wait_for_memory() || self.progress.ended() >= enough;
        let failed = self.progress.failed();
        // A checkpoint first copies pages, for itself and for readers, then writes them.
        let copied = || [Use::Checkpoint, Use::Held].map(|usage| self.account.bytes(usage));
        let seen = || (self.progress.steps(), copied());
        let (mut last, mut since) = (seen(), Instant::now());
        let mut has_asked = false;
        loop {
            self.refuse_poisoned()?;
            let epoch = self.progress.epoch();
            if may_begin() {
                self.progress.note_begun();
                return Ok(true);
            }
            if self.progress.failed() != failed {
                return Err(self.budget_used_up(since.elapsed()));
            }
            if !self.is_checkpoint_running() {
                // The thread that was asked may be busy with a report that waits for this one.
                match has_asked {
                    true => self.checkpoint_if_due(deadline)?,
                    false => start_checkpoint()?,
                }
                has_asked = true;
            }
            self.progress.wait_after(epoch, deadline.left(POLL_INTERVAL));
            if deadline.has_passed() && !may_begin() {
                self.progress.give_up(enough);
                return Ok(false);
            }
            if seen() != last {
                (last, since) = (seen(), Instant::now());
            } else if since.elapsed() > TIMEOUT {
                return Err(self.budget_used_up(since.elapsed()));
            }
        }
    }

    /// Reserves memory for what other images will copy of the pages that the writer changed: the next
    /// checkpoint's, and the readers' when the next reader comes.
    #[inline]
    pub(super) fn reserve_copies(&self, log: &LogState) {
        let by_readers = self.pool.followers() * log.dirty.bytes();
        let of_readers = by_readers.saturating_sub(self.account.bytes(Use::Readers));
        self.account.reserve(log.dirty.uncopied_bytes() + of_readers);
    }

    fn is_checkpoint_running(&self) -> bool {
        // The guard, when it is dropped, wakes a commit that tried the lock meanwhile.
        self.try_lock_checkpointer().is_none()
    }

    /// Acts like a checkpoint that does not end, until the result is dropped.
    #[cfg(test)]
    pub(crate) fn hang_checkpoint(&self) -> impl Sized {
        self.lock_checkpointer()
    }

    #[cold]
    fn budget_used_up(&self, waited: Duration) -> Error {
        // It is the reason then, and whom the user can do something about.
        if let Err(blocked) = self.expect_unblocked_now() {
            return blocked;
        }
        let bytes = |usage| self.account.bytes(usage);
        let private_bytes = [Use::Writer, Use::Readers, Use::Checkpoint].map(bytes).iter().sum();
        ErrorKind::MemoryBudget {
            path: self.path.clone(),
            budget_bytes: self.account.budget_bytes(),
            private_bytes,
            held_bytes: bytes(Use::Held),
            waited,
        }
        .into()
    }

    /// Gives back some of the writer's private pages, if the budget asks for it, except those that
    /// changed after the last checkpoint; after each one until none is left, since it makes many
    /// private copies equal to the file's. No transaction is open, and the image is at the log's
    /// end.
    #[inline]
    pub(super) fn release_writer_memory(&self, writer: &mut Writer) {
        if self.is_release_due() {
            self.release_clean_pages(writer);
        }
    }

    fn is_release_due(&self) -> bool {
        self.released_at.load(Relaxed) != self.checkpointed.load(Acquire)
            && !self.account.may_keep()
    }

    #[cold]
    fn release_clean_pages(&self, writer: &mut Writer) {
        let checkpointed = self.checkpointed.load(Acquire);
        let keep = match self.mutation(Mutation::ReleasedWhileDirty) {
            false => lock(&self.log).dirty.all(),
            true => PageSet::default(),
        };
        // Who would have to wait for memory otherwise gives back all at once.
        let runs = if self.account.is_used_up() { usize::MAX } else { RUNS_AT_ONCE };
        // A page that cannot be released stays private, which is correct too.
        let is_rest = writer.workspace.release_runs(&keep, runs);
        self.account.note_release(is_rest.is_ok());
        if !is_rest.unwrap_or(false) {
            self.released_at.store(checkpointed, Relaxed);
        }
    }

    /// Does so at the end of a checkpoint, unless a transaction is open: it keeps its pages, and the
    /// next ones give them back. One may begin after each step.
    pub(super) fn release_idle_writer_memory(&self) {
        while self.is_release_due() {
            let Some(mut writer) = self.lock_idle_writer() else { return };
            self.release_writer_memory(&mut writer);
        }
    }

    /// Gives back what transactions left that touched pages and changed nothing in them, or were
    /// rolled back. No record has these pages, so no checkpoint would give them back.
    fn release_unchanged_pages(&self) {
        if let Some(mut writer) = self.lock_idle_writer() {
            self.release_clean_pages(&mut writer);
        }
    }

    /// Locks the writer unless a transaction is open. Its image is at the log's end: one that is
    /// behind, where others write too, would mix two states.
    pub(crate) fn lock_idle_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        let mut writer = try_lock(&self.writer)?;
        self.follow_others(&mut writer).ok()?;
        Some(writer)
    }
}
