//! Savepoints: going back within a write transaction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{ErrorKind, Result};
use crate::workspace::LevelId;

use super::WriteTx;

/// A point in a write transaction to go back to.
#[must_use = "only `rollback_to` with it goes back"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint {
    serial: u64,
    level: LevelId,
}

/// Tells transactions apart, so that a savepoint is not used in another one.
pub(super) fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

impl WriteTx<'_> {
    /// A point to which [`rollback_to`](Self::rollback_to) can return, as often
    /// as is wanted.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn savepoint(&mut self) -> Result<Savepoint> {
        let level = self.workspace().savepoint();
        Ok(Savepoint { serial: self.serial, level })
    }

    /// Takes back everything since `savepoint`; the transaction goes on. Later
    /// savepoints are gone then.
    ///
    /// # Errors
    ///
    /// The savepoint is of another transaction, or gone.
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        if savepoint.serial != self.serial {
            return Err(ErrorKind::SavepointGone.into());
        }
        let core = &self.store.core;
        self.writer.writer.workspace.rollback_to(savepoint.level).inspect_err(|error| {
            if !matches!(error.kind(), ErrorKind::SavepointGone) {
                core.poison_writer(error);
            }
        })?;
        self.writer.numbers.rolled_back_to_savepoint();
        self.validated.forget_all();
        Ok(())
    }
}
