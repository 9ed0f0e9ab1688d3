//! The memory budget at work: what is given back after a checkpoint, and who waits for one.
//!
//! **Owns** giving back the writer's pages, and the wait of a transaction that finds the budget used
//! up. **Must not know** how private memory is counted (`image::budget`).

use std::sync::TryLockError;
use std::time::{Duration, Instant};

use super::core::Core;
use super::settings::Access;
use super::state::{LogState, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Account, PageSet, Use};
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};
use crate::sync::lock;

/// How long a transaction waits while no checkpoint makes progress.
const TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });
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
    /// then what is left is needed. Call it without any lock. `start_checkpoint` requests one, or
    /// runs it where waiting for another thread would be waiting for this one.
    #[cold]
    pub(crate) fn wait_for_memory(&self, start_checkpoint: impl Fn() -> Result<()>) -> Result<()> {
        if self.settings.access == Access::Read {
            return Ok(());
        }
        let _waiting = self.progress.begin_waiting();
        // The first one to end may have begun before this call.
        let enough = self.progress.ended() + 2;
        // A checkpoint first copies pages, then writes them.
        let seen = || (self.progress.steps(), self.account.bytes(Use::Checkpoint));
        let (mut last, mut since) = (seen(), Instant::now());
        loop {
            self.refuse_poisoned()?;
            let epoch = self.progress.epoch();
            if !self.must_wait_for_memory() || self.progress.ended() >= enough {
                return Ok(());
            }
            if !self.is_checkpoint_running() {
                start_checkpoint()?;
            }
            self.progress.wait_after(epoch, POLL_INTERVAL);
            if seen() != last {
                (last, since) = (seen(), Instant::now());
            } else if since.elapsed() > TIMEOUT {
                return Err(self.budget_used_up(since.elapsed()));
            }
        }
    }

    /// Reserves memory for what the next checkpoint's image will copy.
    #[inline]
    pub(super) fn reserve_copies(&self, log: &LogState) {
        self.account.reserve(log.dirty.uncopied_bytes());
    }

    fn is_checkpoint_running(&self) -> bool {
        matches!(self.checkpointer.try_lock(), Err(TryLockError::WouldBlock))
    }

    #[cold]
    fn budget_used_up(&self, waited: Duration) -> Error {
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

    /// Gives back the writer's private pages, if the budget asks for it, except those that changed
    /// after the last checkpoint: once after each, since nothing but a checkpoint makes a page's
    /// private copy equal to the file's. No transaction is open, and the image is at the log's end.
    #[inline]
    pub(super) fn release_writer_memory(&self, writer: &mut Writer) {
        let checkpointed = self.checkpointed.load(Acquire);
        if self.released_at.load(Relaxed) != checkpointed && !self.account.may_keep() {
            self.released_at.store(checkpointed, Relaxed);
            self.release_clean_pages(writer);
        }
    }

    #[cold]
    fn release_clean_pages(&self, writer: &mut Writer) {
        let keep = match self.mutation(Mutation::ReleasedWhileDirty) {
            false => lock(&self.log).dirty.all(),
            true => PageSet::default(),
        };
        // A page that cannot be released stays private, which is correct too.
        let released = writer.workspace.release_memory(&keep);
        self.account.note_release(released.is_ok());
    }

    /// Does so at the end of a checkpoint, unless a transaction is open: it keeps its pages, and the
    /// next one gives them back.
    pub(super) fn release_idle_writer_memory(&self) {
        if self.account.may_keep() {
            return;
        }
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // An image that is behind the log's end, where others write too, would mix two states.
        if self.follow_others(&mut writer).is_ok() {
            self.release_writer_memory(&mut writer);
        }
    }
}
