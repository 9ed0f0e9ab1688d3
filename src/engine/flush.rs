//! Flushes the log: makes everything appended so far durable.

use std::time::{Duration, Instant};

use super::core::Core;
use super::flush_leader::{FlushGuard, SyncFor};
use super::state::{EndOfLog, LogState};
use crate::error::Result;
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::lock;

impl Core {
    /// Returns when everything before `position` is durable. The thread that becomes the flush
    /// leader flushes for all that wait.
    pub(super) fn flush_to(&self, position: u64) -> Result<()> {
        let is_durable = || self.durable.load(Acquire) >= position;
        match self.flush_leader.take_unless(SyncFor::Commits, is_durable) {
            Some(leader) => self.flush_all(&leader).map(drop),
            None => Ok(()),
        }
    }

    /// Makes everything appended so far durable; the caller is the flush leader.
    pub(super) fn flush_all(&self, leader: &FlushGuard<'_>) -> Result<EndOfLog> {
        self.refuse_poisoned()?;
        let end = self.pad_and_sync_log(leader)?;
        // A checkpoint's sync may have failed meanwhile, and consumed the error that this flush
        // should have seen.
        self.refuse_poisoned()?;
        let mut log = lock(&self.log);
        log.tail.flushed(end.position);
        self.publish(&log);
        Ok(end)
    }

    /// Pads the log's last block and syncs its mapping up to there. Commits append meanwhile.
    fn pad_and_sync_log(&self, _leader: &FlushGuard<'_>) -> Result<EndOfLog> {
        let mut log = lock(&self.log);
        log.tail.pad_block().map_err(self.write_failed("write the log"))?;
        self.deferred.flush_begins();
        let (from, end, ring) = (log.tail.durable, log.end(), log.tail.ring.clone());
        drop(log);
        if from < end.position {
            self.unless(Mutation::AcknowledgeBeforeFlush, || {
                ring.flush(from, end.position).map_err(self.sync_failed("flush the log"))
            })?;
        }
        Ok(end)
    }

    /// Begins a checkpoint's window at the log's end, and makes everything before it durable.
    pub(super) fn flush_for_checkpoint(&self) -> Result<EndOfLog> {
        let leader = self.flush_leader.take(SyncFor::Checkpoint);
        let begin = self.begin_window(&leader)?;
        self.unless(Mutation::HeapPageBeforeRecord, || self.flush_all(&leader).map(drop))?;
        Ok(begin)
    }

    /// Captures the log's end, and splits there what is noted of the records, in one step: a record
    /// appended a moment later belongs to the next checkpoint, with its pages and its heap.
    fn begin_window(&self, _leader: &FlushGuard<'_>) -> Result<EndOfLog> {
        self.refuse_poisoned()?;
        let mut log = lock(&self.log);
        // Pad first: the flush would, and the superblock names a block's begin.
        log.tail.pad_block().map_err(self.write_failed("write the log"))?;
        let begin = log.end();
        log.ends.begin_checkpoint(begin.heap_bytes);
        if self.mutation(Mutation::DirtyWindowDropped) {
            let begun = log.checkpoint;
            log.dirty.superblock_moved(begun);
        }
        log.dirty.begin_window(begin.position);
        log.checkpoint = begin.position;
        Ok(begin)
    }

    /// Publishes the positions to threads that read them without the lock. `visible` comes first: a
    /// commit returns when it is durable, and readers must see it by then.
    pub(super) fn publish(&self, log: &LogState) {
        let visible = log.tail.visible();
        if let Some(sharing) = &self.sharing {
            sharing.page().visible.fetch_max(visible, SeqCst);
            // Return before `visible` and `durable` move, so no commit that the other processes
            // cannot see is acknowledged. Each one finds itself neither visible nor durable, asks
            // for a flush, and is refused.
            if self.expect_connected(sharing).is_err() {
                return;
            }
        }
        // The log's lock lets one thread at a time change it.
        let before = self.visible.load(Relaxed);
        self.visible.store(visible, Release);
        if before < visible {
            self.commit_event().notify();
        }
        self.durable.store(log.tail.durable, Release);
    }

    /// Syncs the file through the heap's descriptor. One sync runs at a time; a failure poisons.
    /// Returns how long the sync took, without the wait for the one before.
    pub(super) fn sync_heap(&self, sync_for: SyncFor, action: &'static str) -> Result<Duration> {
        let leader = self.flush_leader.take(sync_for);
        let begun = self.disk.now();
        self.sync_led(&leader, action)?;
        Ok(self.disk.now() - begun)
    }

    /// Does the same as the flush leader.
    pub(super) fn sync_led(&self, _leader: &FlushGuard<'_>, action: &'static str) -> Result<()> {
        self.refuse_poisoned()?;
        self.disk.sync().map_err(self.sync_failed(action))?;
        self.refuse_poisoned()
    }

    /// Notes a deferred commit that was just appended; the log is locked. Returns whether a flush
    /// becomes due because of it, at the time that `flush_deadline` says.
    pub(super) fn note_deferred(&self, position: u64) -> bool {
        self.settings.flush_every.is_some() && self.deferred.note(position, self.durable())
    }

    /// Returns when the store's thread should look what is due, if no commit wakes it before.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.flush_deadline().into_iter().chain(self.look_at_blocked()).min()
    }

    /// Returns when a flush is due, if the option `flush_every` asks for one.
    fn flush_deadline(&self) -> Option<Instant> {
        let age = self.settings.flush_every?;
        // Of a poisoned store nothing is flushed any more.
        self.refuse_poisoned().ok()?;
        self.deferred.reaches(age, self.durable())
    }

    fn is_flush_due(&self) -> bool {
        self.flush_deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Flushes if that is due.
    pub(crate) fn flush_if_due(&self) -> Result<()> {
        if self.is_flush_due() { self.sync() } else { Ok(()) }
    }

    /// Does the same within a checkpoint, which holds the write lock.
    pub(super) fn flush_if_due_within(&self) -> Result<()> {
        if !self.is_flush_due() {
            return Ok(());
        }
        let appended = lock(&self.log).tail.appended;
        self.flush_to(appended)
    }
}
