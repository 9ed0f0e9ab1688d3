//! How a write transaction ends well.

use crate::engine::Committed;
use crate::error::Result;

use super::{Durability, Store, WriteTx, log_move};

impl<'store> WriteTx<'store> {
    /// The durability of this transaction's commit, instead of the store's.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// Makes the transaction's changes the store's state: atomic, and durable
    /// as [`Durability`] says. Returns when readers can see it.
    ///
    /// Threads that commit at the same time share a flush.
    ///
    /// # Errors
    ///
    /// With [`ErrorKind::CommitUnknown`](crate::error::ErrorKind::CommitUnknown) the commit was logged, but the flush
    /// failed. After any other error nothing was changed.
    pub fn commit(self) -> Result<()> {
        let durability = self.durability;
        self.append(durability)?.wait()
    }

    /// Commits, and leaves it to the caller when to wait until that is durable:
    /// whoever has more to do meanwhile, or many commits to wait for at once.
    ///
    /// The next write transaction builds on it at once. Readers see it when it is
    /// durable, which is when somebody waited for it, or for a later commit; it is no
    /// [`Deferred`](Durability::Deferred) commit, which they see at once.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let link = store.update(|tx| tx.alloc(0u64))?;
    /// let mut last = None;
    /// for number in 1..=10 {
    ///     let mut tx = store.write()?;
    ///     *tx.at_mut(link)? = number;
    ///     last = Some(tx.commit_later()?);
    /// }
    /// // One flush for the ten.
    /// last.expect("ten commits").wait()?;
    /// assert_eq!(store.read()?.read(link)?, 10);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing was changed.
    pub fn commit_later(self) -> Result<PendingCommit<'store>> {
        let store = self.store;
        let pending = self.append(Durability::Durable)?;
        store.core.report_old_readers();
        Ok(pending)
    }

    fn append(mut self, durability: Durability) -> Result<PendingCommit<'store>> {
        let store = self.store;
        store.core.expect_own_process()?;
        let durable = durability == Durability::Durable;
        let committed = store.core.append_commit(&mut self.writer.writer, durable)?;
        self.writer.numbers.committed();
        // The commit stands, whatever becomes of the log.
        if let Some(log_bytes) = committed.log_bytes_wanted {
            log_move::try_to_grow(&store.core, &mut self.writer.writer, log_bytes);
        }
        Ok(PendingCommit { store, committed })
    }
}

/// A commit that was logged, to wait for.
///
/// Dropped, it stays logged: it becomes durable, and readers see it, with the next
/// commit that somebody waits for, with [`Store::sync`], or when the store is closed. In a
/// store that is [shared](super::OpenOptions::open_shared) it is durable as soon as no thread of
/// this process writes any more, since other processes are to see it.
#[must_use = "readers see the commit, and a power cut spares it, only once somebody has waited for it"]
#[derive(Debug)]
pub struct PendingCommit<'store> {
    store: &'store Store,
    committed: Committed,
}

impl PendingCommit<'_> {
    /// Returns when the commit is durable, and readers can see it. Flushes for all
    /// that wait, unless another thread is at it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CommitUnknown`](crate::error::ErrorKind::CommitUnknown): the flush failed.
    pub fn wait(self) -> Result<()> {
        self.store.core.finish_commit(self.committed)?;
        self.store.core.report_old_readers();
        if self.committed.checkpoint_due {
            self.store.checkpoint_due();
        }
        Ok(())
    }

    /// Whether the commit is durable already, so that `wait` would not wait.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.store.core.durable() >= self.committed.position
    }
}
