//! The write transaction's begin and its rollback.
//!
//! **Owns** what must hold before the first change: the epoch is this opening's own, and the
//! writer's image is at the log's end. **Must not know** how the transaction ends (`commit`).

use super::core::Core;
use super::settings::Access;
use super::state::Writer;
use crate::error::{ErrorKind, Result};
use crate::sync::atomic::Ordering::Acquire;
use crate::sync::{MutexGuard, lock};
use crate::workspace::Workspace;

impl Core {
    /// Acquires the lock that makes its holder the writer.
    pub(crate) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// Prepares for a write transaction; returns whether it is the first one.
    pub(crate) fn begin_write(&self, writer: &mut Writer) -> Result<bool> {
        if self.settings.access == Access::Read {
            return Err(ErrorKind::ReadOnly { path: self.path.clone() }.into());
        }
        self.refuse_poisoned()?;
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

    /// Releases the writer's private pages beyond the budget, except those that changed after the
    /// last checkpoint: once after each, since nothing but a checkpoint makes a page's private copy
    /// equal to the file's. The image is at the log's end.
    fn release_writer_memory(&self, writer: &mut Writer) {
        let checkpointed = self.checkpointed.load(Acquire);
        let workspace = &mut writer.workspace;
        if writer.released_at == Some(checkpointed)
            || workspace.private_bytes() <= self.settings.memory_budget_bytes
        {
            return;
        }
        writer.released_at = Some(checkpointed);
        let keep = lock(&self.log).dirty.all();
        // A page that cannot be released stays private, which is correct too.
        let _ = workspace.release_memory(&keep);
    }
}
