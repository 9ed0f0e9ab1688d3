//! Savepoints: partial rollback of a write transaction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{ErrorKind, Result};
use crate::workspace::LevelId;

use super::write::WriteTx;

/// A point in a write transaction to roll back to.
#[must_use = "a savepoint does nothing by itself: pass it to `rollback_to`"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint {
    /// That of its transaction.
    serial: u64,
    level: LevelId,
}

/// Returns a number that no other transaction of this process has.
fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

impl WriteTx<'_> {
    /// Sets a savepoint, to which [`rollback_to`](Self::rollback_to) can return any number of
    /// times.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn savepoint(&mut self) -> Result<Savepoint> {
        let level = self.workspace().savepoint();
        let serial = *self.serial.get_or_insert_with(next_serial);
        Ok(Savepoint { serial, level })
    }

    /// Rolls back all changes since `savepoint`; the transaction goes on. Later savepoints become
    /// invalid.
    ///
    /// # Errors
    ///
    /// The savepoint belongs to another transaction, or has become invalid.
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        if Some(savepoint.serial) != self.serial {
            return Err(ErrorKind::SavepointGone.into());
        }
        let core = &self.store.core;
        self.writer.writer.workspace.rollback_to(savepoint.level).inspect_err(|error| {
            if !matches!(error.kind(), ErrorKind::SavepointGone) {
                core.poison_writer(error);
            }
        })?;
        self.writer.numbers.roll_back_to_savepoint();
        self.validated.clear();
        Ok(())
    }
}
