//! Poison: after a failed write or sync, this process writes nothing more.
//!
//! The kernel reports a failed sync once, and then shows the new bytes in memory as if they were
//! safe. So the first failure ends all writing until the store is opened again, and every later
//! error names it as the cause.
//!
//! **Owns** the cause, and the errors that a poisoned store returns. **Must not know** which
//! failures poison, nor the other processes (`failures`).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};

/// Whether the store is poisoned, and why.
pub(super) struct Poison {
    /// The store's path, for the errors.
    path: PathBuf,
    cause: OnceLock<String>,
}

impl Poison {
    /// Returns the poison of a healthy store.
    pub(super) fn none(path: &Path) -> Self {
        Self { path: path.to_path_buf(), cause: OnceLock::new() }
    }

    /// Poisons the store. The first cause stays: the failures that follow are its results.
    #[cold]
    pub(super) fn set(&self, cause: String) {
        let _ = self.cause.set(cause);
    }

    pub(super) fn is_set(&self) -> bool {
        self.cause.get().is_some()
    }

    /// Refuses a poisoned store.
    #[inline]
    pub(super) fn refuse(&self) -> Result<()> {
        if self.is_set() { Err(self.error()) } else { Ok(()) }
    }

    /// Returns the error for an operation that a poisoned store refuses.
    #[cold]
    pub(super) fn error(&self) -> Error {
        ErrorKind::Poisoned { path: self.path.clone(), cause: self.cause() }.into()
    }

    /// Returns the error for a commit whose flush failed: it may or may not be durable.
    #[cold]
    pub(super) fn commit_unknown(&self) -> Error {
        ErrorKind::CommitUnknown { path: self.path.clone(), cause: self.cause() }.into()
    }

    /// Returns the error for a failed read of a poisoned store's log.
    #[cold]
    pub(super) fn unreadable(&self, error: &Error) -> Error {
        let cause = self.cause();
        let cause = format!("{cause}; since then the log cannot be read back: {error}");
        ErrorKind::Poisoned { path: self.path.clone(), cause }.into()
    }

    fn cause(&self) -> String {
        self.cause.get().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_stays() {
        let poison = Poison::none(Path::new("a store"));
        assert!(poison.refuse().is_ok());
        poison.set("the first failure".to_string());
        poison.set("a result of it".to_string());
        let refused = poison.refuse().unwrap_err();
        let is_first = |cause: &str| cause == "the first failure";
        assert!(matches!(refused.kind(), ErrorKind::Poisoned { cause, .. } if is_first(cause)));
        let unknown = poison.commit_unknown();
        assert!(
            matches!(unknown.kind(), ErrorKind::CommitUnknown { cause, .. } if is_first(cause))
        );
    }
}
