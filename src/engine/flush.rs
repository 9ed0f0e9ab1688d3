//! Flushes the log: makes everything appended so far durable.

use super::flush_leader::FlushGuard;
use super::{Core, EndOfLog, LogState, lock};
use crate::error::{ErrorKind, Result};
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};

impl Core {
    /// Returns when everything before `position` is durable. The thread that becomes the flush
    /// leader flushes for all that wait.
    pub(crate) fn flush_to(&self, position: u64) -> Result<()> {
        let is_durable = || self.durable.load(Acquire) >= position;
        if is_durable() {
            return Ok(());
        }
        match self.flush_leader.take_unless(is_durable) {
            Some(turn) => self.flush_all(&turn).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Makes everything appended so far durable; the caller is the flush leader.
    pub(super) fn flush_all(&self, _turn: &FlushGuard<'_>) -> Result<EndOfLog> {
        self.refuse_poisoned()?;
        let mut log = lock(&self.log);
        let (from, ring) = (log.tail.durable, log.tail.ring.clone());
        let sealed = match self.mutation(Mutation::AppendIntoFlushedBlock) {
            false => log.tail.pad_block(),
            true => Ok(log.tail.appended),
        };
        let to = sealed.map_err(|error| self.poisoned_by("write the log", error))?;
        let end = EndOfLog {
            position: to,
            prev_checksum: log.tail.prev_checksum,
            heap_bytes: log.heap_bytes,
        };
        drop(log);
        if from < to && !self.mutation(Mutation::AcknowledgeBeforeFlush) {
            ring.flush(from, to).map_err(|error| self.poisoned_by("flush the log", error))?;
        }
        // A checkpoint's sync may have failed meanwhile, and consumed the error that this flush
        // should have seen.
        self.refuse_poisoned()?;
        let mut log = lock(&self.log);
        log.tail.flushed(to);
        self.publish(&log);
        Ok(end)
    }

    /// Makes everything appended so far durable, and begins a checkpoint's window there.
    pub(super) fn flush_for_checkpoint(&self) -> Result<EndOfLog> {
        let turn = self.flush_leader.take();
        let end = self.flush_all(&turn)?;
        let mut log = lock(&self.log);
        // Records appended since the block was padded belong to the new window as well, so it
        // begins with the longer of the two lengths.
        let heap_bytes = end.heap_bytes.max(log.heap_bytes);
        log.ends.begin_checkpoint(heap_bytes);
        log.checkpoint = end.position;
        Ok(end)
    }

    /// Publishes the positions to threads that read them without the lock. `visible` comes first: a
    /// commit returns when it is durable, and readers must see it by then.
    pub(super) fn publish(&self, log: &LogState) {
        let visible = match self.mutation(Mutation::VisibleBeforeDurable) {
            false => log.tail.visible(),
            true => log.tail.appended,
        };
        if let Some(sharing) = &self.sharing {
            sharing.page().visible.fetch_max(visible, SeqCst);
            // Return before `visible` and `durable` move, so no commit that the other processes
            // cannot see is acknowledged. Each one finds itself neither visible nor durable, asks
            // for a flush, and is refused.
            if self.expect_connected(sharing).is_err() {
                return;
            }
        }
        let before = self.visible.swap(visible, AcqRel);
        if before < visible {
            self.commit_event().notify();
        }
        self.durable.store(log.tail.durable, Release);
    }

    /// Syncs the file through the heap's descriptor. One sync runs at a time; a failure poisons.
    pub(super) fn sync_heap(&self, action: &'static str) -> Result<()> {
        let _turn = self.flush_leader.take();
        self.refuse_poisoned()?;
        self.disk.sync().map_err(|error| self.poisoned_by(action, error))?;
        self.refuse_poisoned()
    }

    /// Returns the error for a commit whose flush failed.
    #[cold]
    pub(super) fn commit_unknown(&self) -> crate::error::Error {
        let cause = self.poison.get().cloned().unwrap_or_default();
        ErrorKind::CommitUnknown { path: self.path.clone(), cause }.into()
    }
}
