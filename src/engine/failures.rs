//! What a failure means for the store: which one poisons it, here alone or in the other processes too.
//!
//! After a failed *write*, the file may lack a part of what this process was writing. It is as if this
//! process had been killed there: it writes no more, and the next one takes over. After a failed
//! *sync*, the page cache may show what the disk does not have, and no process can tell. So that
//! poisons the store for all. Any other failure only ends the operation.

use std::io;
use std::sync::atomic::Ordering::SeqCst;

use super::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::log::READING;
use crate::mutation::Mutation;

impl Core {
    /// Refuses to write after an earlier write of this process failed, or a sync of any.
    pub(crate) fn refuse_poisoned(&self) -> Result<()> {
        self.learn_of_poison();
        self.unless(Mutation::PoisonIgnored, || self.poison.refuse())
    }

    fn learn_of_poison(&self) {
        let Some(sharing) = &self.sharing else { return };
        if sharing.page().poisoned.load(SeqCst) != 0 {
            self.poison.set("another process could not sync the file".to_string());
        }
        // The check itself poisons the store if the page is lost.
        let _ = self.expect_connected(sharing);
    }

    /// Poisons the store for this process and for all that share it.
    #[cold]
    fn poison_all(&self, cause: String) {
        self.poison.set(cause);
        if let Some(sharing) = &self.sharing {
            sharing.page().poisoned.store(1, SeqCst);
        }
    }

    /// Returns a function that poisons the store for this process because a write failed, and returns
    /// the error.
    pub(super) fn write_failed(
        &self,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Error + use<'_> {
        move |source| {
            self.poison.set(format!("{action}: {source}"));
            self.io_error(action)(source)
        }
    }

    /// Returns a function that poisons the store for all because a sync failed, and returns the error.
    pub(super) fn sync_failed(
        &self,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Error + use<'_> {
        move |source| {
            self.poison_all(format!("{action}: {source}"));
            self.io_error(action)(source)
        }
    }

    /// Poisons the store for all after an error that makes the file unsafe to write.
    #[cold]
    pub(super) fn poisoned_because(&self, error: Error) -> Error {
        self.poison_all(error.to_string());
        error
    }

    /// Poisons the store for this process after a failed rollback.
    #[cold]
    pub(crate) fn poison_writer(&self, cause: &Error) {
        self.poison.set(format!("take a transaction back: {cause}"));
    }

    /// Replaces a read error after a failed write by the poison. The kernel may drop pages that it
    /// could not write, and the file then shows older bytes. That is a result of the failed write,
    /// not damage.
    #[cold]
    pub(super) fn unreadable(&self, error: Error) -> Error {
        let is_of_the_log = matches!(
            error.kind(),
            ErrorKind::Corrupt { .. } | ErrorKind::Io { action: READING, .. }
        );
        if is_of_the_log && self.poison.is_set() { self.poison.unreadable(&error) } else { error }
    }
}
