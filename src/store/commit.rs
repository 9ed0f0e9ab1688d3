//! Commits a write transaction.

use crate::engine::Committed;
use crate::error::Result;

use super::handle::Store;
use super::log_move;
use super::options::Durability;
use super::write::WriteTx;

impl<'store> WriteTx<'store> {
    /// Sets the durability of this transaction's commit, instead of the store's default.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// Commits the transaction's changes: atomically, and as durably as [`Durability`] says.
    /// Returns once readers can see them.
    ///
    /// Threads that commit at the same time share a flush.
    ///
    /// # Errors
    ///
    /// With [`ErrorKind::CommitUnknown`](crate::error::ErrorKind::CommitUnknown) the commit may last
    /// or not: writing the log failed, or its flush. After any other error nothing has changed.
    pub fn commit(self) -> Result<()> {
        let durability = self.durability;
        self.append_and_release(durability)?.wait()
    }

    /// Commits, and lets the caller decide when to wait for durability: for callers with other
    /// work to do, or with many commits to wait for at once.
    ///
    /// The next write transaction builds on this commit at once. Readers see it once it is
    /// durable, which takes a wait for it or for a later commit. In contrast, readers see a
    /// [`Deferred`](Durability::Deferred) commit at once.
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
    /// As for [`commit`](Self::commit).
    pub fn commit_later(self) -> Result<PendingCommit<'store>> {
        let store = self.store;
        let pending = self.append_and_release(Durability::Durable)?;
        store.core.report_long_readers();
        Ok(pending)
    }

    /// Puts the record into the log, and lets the next writer in before anybody waits for the disk.
    fn append_and_release(mut self, durability: Durability) -> Result<PendingCommit<'store>> {
        let store = self.store;
        store.core.expect_own_process()?;
        let durable = durability == Durability::Durable;
        let mut committed = store.core.append_commit(&mut self.writer.writer, durable)?;
        self.writer.numbers.commit();
        // The commit stands, even if the log cannot grow. The writer's lock is still held: the step
        // is a transaction of its own.
        if let Some(step) = committed.log_step {
            committed.flush_scheduled |=
                log_move::take_step(&store.core, &mut self.writer.writer, step);
        }
        self.release_writer();
        Ok(PendingCommit { store, committed })
    }
}

/// A commit in the log, to wait for.
///
/// If it is dropped, the commit stays in the log. It becomes durable, and visible to readers, with
/// the next commit that a caller waits for, with [`Store::sync`], or when the store is closed. In
/// a [shared](super::OpenOptions::open_shared) store it becomes durable as soon as no thread of
/// this process writes any more, since other processes must see it.
#[must_use = "readers see the commit, and a power cut spares it, only after a wait: call `wait`"]
#[derive(Debug)]
pub struct PendingCommit<'store> {
    store: &'store Store,
    committed: Committed,
}

impl PendingCommit<'_> {
    /// Waits until the commit is durable and readers can see it. Flushes on behalf of all waiting
    /// threads, unless another thread is already flushing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CommitUnknown`](crate::error::ErrorKind::CommitUnknown): the flush failed.
    pub fn wait(self) -> Result<()> {
        self.store.core.finish_commit(self.committed)?;
        self.store.core.acknowledge_commit(self.committed.position);
        self.store.core.report_long_readers();
        if self.committed.checkpoint_due || self.committed.log_step.is_some() {
            self.store.start_due_work();
        }
        if self.committed.flush_scheduled {
            self.store.start_flush_timer();
        } else if self.store.core.lacks_standby() {
            self.store.start_standby();
        }
        self.store.core.wait_for_log(self.committed);
        Ok(())
    }

    /// Returns whether the commit is already durable, in which case `wait` would not block.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        let is_durable = self.store.core.durable() >= self.committed.position;
        // Of a forked child, nothing is done for readers.
        if is_durable && self.store.core.is_own_process() {
            self.store.core.acknowledge(self.committed.position);
        }
        is_durable
    }
}
