//! The write transaction's begin and its rollback.
//!
//! **Owns** what must hold before the first change: the epoch is this opening's own, and the
//! writer's image is at the log's end. **Must not know** how the transaction ends (`commit`).

use super::core::Core;
use super::settings::Access;
use super::state::Writer;
use crate::error::{ErrorKind, Result};
use crate::sync::{MutexGuard, lock, try_lock};
use crate::workspace::Workspace;

impl Core {
    /// Acquires the lock that makes its holder the writer.
    pub(crate) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// Acquires the same lock to bring the file to rest, if anything was written, nobody has a
    /// transaction or a snapshot, and nothing has failed. Drops all images but the writer's.
    pub(crate) fn try_lock_writer_alone(&self) -> Option<MutexGuard<'_, Writer>> {
        // What recovery wrote does not count: a store that was opened to be looked at stays as it is.
        let mut writer = try_lock(&self.writer).filter(|writer| writer.has_begun)?;
        self.refuse_poisoned().and_then(|()| self.follow_others(&mut writer)).ok()?;
        self.pool.forget_all().then_some(writer)
    }

    /// Refuses what waiting does not change: the store is open to be read, or poisoned.
    pub(crate) fn expect_writable(&self) -> Result<()> {
        if self.settings.access == Access::Read {
            return Err(ErrorKind::ReadOnly { path: self.path.clone() }.into());
        }
        self.refuse_poisoned()
    }

    /// Prepares for a write transaction; returns whether it is the first one.
    pub(crate) fn begin_write(&self, writer: &mut Writer) -> Result<bool> {
        self.expect_writable()?;
        let is_first = !writer.has_begun;
        if is_first {
            self.begin_epoch(&mut self.lock_checkpointer())?;
            writer.has_begun = true;
        }
        self.follow_others(writer)?;
        self.release_writer_memory(writer);
        Ok(is_first)
    }

    /// Rolls a transaction back. This fails only on an image that is damaged beyond use. Its state
    /// is then unknown, so a failure poisons the store.
    pub(crate) fn roll_back(&self, workspace: &mut Workspace) -> Result<()> {
        workspace.rollback().inspect_err(|error| self.poison_writer(error))
    }
}
