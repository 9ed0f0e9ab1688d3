//! The commit path.
//!
//! 1. Build the record from the lines that the transaction dirtied.
//! 2. Bulk pages and growth reach the disk before anything refers to them.
//! 3. Append the record; wait for log space if it does not fit.
//! 4. Release the writer's lock (the caller does).
//! 5. Flush if the commit is to be durable, or if it follows one that is (`flush`).
//! 6. Wait if the log fills faster than it is freed (`throttle`).
//!
//! A record that is longer than the log takes a way of its own (`spill`). Who waits for log space,
//! and who frees it, is decided in `log_space`.

use std::time::Instant;

use super::core::Core;
use super::log_region::LogStep;
use super::state::{LogState, Writer};
use super::throttle::Demand;
use crate::error::Result;
use crate::format::record::KIND_COMMIT;
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::log::Append;
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};
use crate::sync::{lock, sleep};
use crate::workspace::{RecordBody, Workspace};

/// An appended record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    /// The position after the record.
    pub(crate) position: u64,
    /// Whether the caller waits until the record is durable.
    durable: bool,
    /// Whether the log is full enough for a checkpoint to be due.
    pub(crate) checkpoint_due: bool,
    /// Whether the store's thread must look when to flush.
    pub(crate) flush_scheduled: bool,
    /// What is to be done for the log's move.
    pub(crate) log_step: Option<LogStep>,
    /// When the caller may go on, since the log fills faster than it is freed.
    delayed_until: Option<Instant>,
}

impl Committed {
    /// Returns a commit after which nothing is due.
    fn no_op(position: u64, durable: bool) -> Self {
        Self {
            position,
            durable,
            checkpoint_due: false,
            flush_scheduled: false,
            log_step: None,
            delayed_until: None,
        }
    }
}

impl Core {
    /// Performs steps 1 to 3. After an error the transaction is rolled back.
    pub(crate) fn append_commit(&self, writer: &mut Writer, durable: bool) -> Result<Committed> {
        let committed = match self.append_transaction(writer, durable) {
            Ok(committed) => committed,
            Err(error) => {
                self.roll_back(&mut writer.workspace)?;
                return Err(error);
            }
        };
        writer.workspace.finish();
        writer.workspace.image_mut().set_position(committed.position);
        Ok(committed)
    }

    fn append_transaction(&self, writer: &mut Writer, durable: bool) -> Result<Committed> {
        self.refuse_poisoned()?;
        let Writer { workspace, body, .. } = writer;
        if self.mutation(Mutation::DirtyNotedLate) {
            let mut log = lock(&self.log);
            let appended = log.tail.appended;
            log.dirty.note(appended, &body.changed);
        }
        if !workspace.build_record(body, || self.in_place_from_bytes())? {
            let position = lock(&self.log).tail.appended;
            return Ok(Committed::no_op(position, durable));
        }
        let heap_bytes = workspace.heap_bytes();
        self.in_order(
            Mutation::BulkNotSynced,
            || self.write_bulk(workspace, &body.bulk),
            || self.sync_new_pages(&body.bulk, heap_bytes),
        )?;
        if body.record.len() as u64 > self.max_record_bytes.load(Relaxed) {
            return self.append_spilled(std::mem::take(body), heap_bytes);
        }
        self.append_record(body, KIND_COMMIT, heap_bytes, durable)
    }

    /// Writes pages in place that no state and no image refers to.
    fn write_bulk(&self, workspace: &Workspace, bulk: &[(u64, u64)]) -> Result<()> {
        /// Pages per write.
        const SLICE: u64 = 256;
        // These pages lie past other processes' images only if the page that listed those images is
        // still shared, so check that first.
        self.refuse_poisoned()?;
        for (first, count) in bulk {
            let end = first + count;
            for page in (*first..end).step_by(SLICE as usize) {
                let pages = workspace.pages(page, SLICE.min(end - page))?;
                let written = self.disk.write_at(HEAP_START_BYTES + page * PAGE_BYTES, pages);
                written.map_err(self.write_failed("write new pages in place"))?;
            }
        }
        Ok(())
    }

    /// Syncs what the next record will name: bulk pages and the file's growth.
    fn sync_new_pages(&self, bulk: &[(u64, u64)], heap_bytes: u64) -> Result<()> {
        match bulk.is_empty() {
            true => self.sync_growth_for(heap_bytes),
            false => self.sync_growth(),
        }
    }

    /// Performs step 3: appends the record, once it fits.
    pub(super) fn append_record(
        &self,
        body: &mut RecordBody,
        kind: u8,
        heap_bytes: u64,
        durable: bool,
    ) -> Result<Committed> {
        let RecordBody { record, changed, .. } = body;
        let mut log = self.lock_log_with_room(record.len() as u64)?;
        // A move of the log may have failed while this thread waited for the lock, after its superblock
        // was written: nobody would find a record in the old ring.
        self.refuse_poisoned()?;
        let what = Append { record, kind, heap_bytes, durable };
        // The record may be whole all the same. Whoever recovers the log finds out.
        let position = log.tail.append(what).map_err(|error| {
            self.write_failed("append to the log")(error);
            self.poison.commit_unknown()
        })?;
        log.heap_bytes = heap_bytes;
        log.ends.note(heap_bytes);
        self.note_changed(&mut log, changed);
        self.reserve_copies(&log);
        self.publish(&log);
        let checkpoint_due = self.is_checkpoint_due(&log);
        Ok(Committed {
            position,
            durable: durable || log.tail.awaits_flush(),
            // The store's thread looks as well whether a log that has grown is to become shorter.
            checkpoint_due: checkpoint_due || self.usual_log_bytes() != 0,
            flush_scheduled: !durable && self.note_deferred(position),
            log_step: self.log_step(&mut log),
            delayed_until: self.charge(&mut log, checkpoint_due),
        })
    }

    /// Notes the pages that a record changes, before anybody else learns where it ends (Q1).
    fn note_changed(&self, log: &mut LogState, changed: &mut Vec<(u64, u64)>) {
        if self.mutation(Mutation::DirtyPageMissed) {
            changed.retain(|(_, count)| *count == 1);
        }
        if !self.mutation(Mutation::DirtyNotedLate) {
            log.dirty.note(log.tail.appended, changed);
        }
    }

    /// Charges the record just appended for its share of the log that is free until the checkpoint
    /// that runs, or is due, frees more.
    fn charge(&self, log: &mut LogState, is_due: bool) -> Option<Instant> {
        // A move of the log makes room, and may go before the checkpoint. Who waits for a stopped process
        // waits for nothing that takes its time.
        let is_due = is_due && !log.log_move.makes_room() && !self.is_blocked();
        let demand = self.pace.left(is_due).map(|left| Demand {
            free_bytes: log.tail.free_bytes(),
            left,
            sync: self.pace.sync_time(),
        });
        log.throttle.charge(log.tail.appended, demand, Instant::now)
    }

    /// Lets a commit pay for its share of the log, with no lock held.
    pub(crate) fn wait_for_log(&self, committed: Committed) {
        let Some(until) = committed.delayed_until else { return };
        let delay = until.saturating_duration_since(Instant::now());
        if !delay.is_zero() {
            sleep(delay);
        }
    }

    /// Performs step 5, without the writer's lock.
    pub(crate) fn finish_commit(&self, committed: Committed) -> Result<()> {
        self.expect_own_process()?;
        let is_durable = || self.durable() >= committed.position;
        let is_visible = self.visible.load(Acquire) >= committed.position;
        if is_visible && !committed.durable || is_durable() {
            return Ok(());
        }
        // In a shared store, this process flushes what its transactions appended before it releases
        // the write lock, on one thread or another. After that, this commit needs a flush
        // only if it changed nothing itself and follows commits that other processes deferred.
        let hold = self.join_write_lock_unless(is_durable);
        let flushed = hold.and_then(|_hold| self.flush_to(committed.position));
        flushed.map_err(|error| match self.poison.is_set() {
            true => self.poison.commit_unknown(),
            false => error,
        })
    }

    /// Makes all commits so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.expect_own_process()?;
        let _hold = self.join_write_lock()?;
        self.refuse_poisoned()?;
        let appended = lock(&self.log).tail.appended;
        self.flush_to(appended)?;
        self.acknowledge_visible();
        Ok(())
    }
}
