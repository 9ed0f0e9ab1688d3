//! The commit path.
//!
//! 1. Build the record from the lines that the transaction dirtied.
//! 2. Bulk pages and growth reach the disk before anything refers to them.
//! 3. Append the record; wait for log space if it does not fit.
//! 4. Release the writer's lock (the caller does).
//! 5. Flush if the commit is to be durable, or if it follows one that is.

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use super::{Core, Writer, lock};
use crate::error::{ErrorKind, Result};
use crate::format::record::{HEADER_BYTES, KIND_COMMIT, KIND_SPILL, Spill};
use crate::format::{HEAP_START_BYTES, PAGE_BYTES, checksum, round_up};
use crate::log::Append;
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};
use crate::workspace::Workspace;

/// An appended record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    /// The position after the record.
    pub(crate) position: u64,
    /// Whether the caller waits until the record is durable.
    durable: bool,
    /// Whether the log is full enough for a checkpoint to be due.
    pub(crate) checkpoint_due: bool,
    /// The length that the log should be moved to, if a move is due.
    pub(crate) log_bytes_wanted: Option<u64>,
}

impl Committed {
    /// Returns a commit after which nothing is due.
    fn no_op(position: u64, durable: bool) -> Self {
        Self { position, durable, checkpoint_due: false, log_bytes_wanted: None }
    }
}

impl Core {
    /// Performs steps 1 to 3. After an error the transaction is rolled back.
    pub(crate) fn append_commit(&self, writer: &mut Writer, durable: bool) -> Result<Committed> {
        let record = std::mem::take(&mut writer.record);
        let workspace = &mut writer.workspace;
        let appended = self.append_workspace(workspace, record, durable);
        let (committed, record) = match appended {
            Ok(appended) => appended,
            Err(error) => {
                self.roll_back(workspace)?;
                return Err(error);
            }
        };
        workspace.finish();
        workspace.image_mut().set_position(committed.position);
        writer.record = record;
        Ok(committed)
    }

    fn append_workspace(
        &self,
        workspace: &mut Workspace,
        record: Vec<u8>,
        durable: bool,
    ) -> Result<(Committed, Vec<u8>)> {
        self.refuse_poisoned()?;
        let Some(body) = workspace.build_record(record, || self.in_place_from_bytes())? else {
            let position = lock(&self.log).tail.appended;
            return Ok((Committed::no_op(position, durable), Vec::new()));
        };
        let heap_bytes = workspace.heap_bytes();
        if self.mutation(Mutation::BulkNotSynced) {
            self.sync_growth()?;
        }
        self.write_bulk(workspace, &body.bulk)?;
        self.sync_new_pages(&body.bulk, heap_bytes)?;
        let mut record = body.record;
        if record.len() as u64 > self.max_record_bytes() {
            return Ok((self.append_spilled(&record, heap_bytes)?, Vec::new()));
        }
        let committed = self.append(&mut record, KIND_COMMIT, heap_bytes, durable)?;
        Ok((committed, record))
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
                written.map_err(|error| self.poisoned_by("write new pages in place", error))?;
            }
        }
        Ok(())
    }

    /// Syncs what the next record will name: bulk pages and the file's growth.
    fn sync_new_pages(&self, bulk: &[(u64, u64)], heap_bytes: u64) -> Result<()> {
        let is_bulk = !bulk.is_empty() && !self.mutation(Mutation::BulkNotSynced);
        let grows = self.growth.needs_sync(heap_bytes) && !self.mutation(Mutation::GrowthNotSynced);
        if is_bulk || grows { self.sync_growth() } else { Ok(()) }
    }

    /// Returns the length of the longest record that always fits into an empty log.
    fn max_record_bytes(&self) -> u64 {
        self.max_record_bytes.load(Relaxed)
    }

    fn sync_growth(&self) -> Result<()> {
        let capacity_bytes = self.growth.capacity_bytes();
        self.sync_heap("sync new pages and the file's length")?;
        self.growth.synced(capacity_bytes);
        Ok(())
    }

    fn append(
        &self,
        record: &mut Vec<u8>,
        kind: u8,
        heap_bytes: u64,
        durable: bool,
    ) -> Result<Committed> {
        let mut log = lock(&self.log);
        if !log.tail.fits(record.len() as u64) {
            drop(log);
            self.make_room(record.len() as u64)?;
            log = lock(&self.log);
        }
        if !log.tail.fits(record.len() as u64) {
            return Err(ErrorKind::corrupt("log", 0, "room after a checkpoint", "none"));
        }
        let failed = |error| self.poisoned_by("append to the log", error);
        let what = Append { record, kind, heap_bytes, durable };
        let position = log.tail.append(what).map_err(failed)?;
        log.heap_bytes = heap_bytes;
        log.ends.note(heap_bytes);
        self.publish(&log);
        let since_checkpoint = position - log.checkpoint;
        let checkpoint_due =
            since_checkpoint > self.settings.checkpoint_after(log.tail.ring.len_bytes());
        let durable = durable || log.tail.awaits_flush();
        let log_bytes_wanted = self.log_bytes_wanted(&log);
        let nothing = Committed::no_op(position, durable);
        Ok(Committed { checkpoint_due, log_bytes_wanted, ..nothing })
    }

    /// Waits for a running checkpoint, and runs another if the record still does not fit.
    fn make_room(&self, len_bytes: u64) -> Result<()> {
        let mut checkpointer = lock(&self.checkpointer);
        if lock(&self.log).tail.fits(len_bytes) {
            return Ok(());
        }
        self.run_checkpoint(&mut checkpointer)
    }

    /// Commits a record that is larger than the log. Its entries go to a run past all heaps, and
    /// the record names that run. Both superblocks move past the record before the writer's lock is
    /// released; from then on the run is free.
    fn append_spilled(&self, record: &[u8], heap_bytes: u64) -> Result<Committed> {
        // Checkpoint first: the one that must follow the record is not to fail because a process is
        // stopped.
        if self.sharing.is_some() {
            self.checkpoint_within()?;
        }
        let entries = &record[HEADER_BYTES as usize..];
        let floor = self.in_place_from_bytes().max(heap_bytes);
        let end = round_up(floor + entries.len() as u64, PAGE_BYTES).ok_or_else(too_large)?;
        self.growth.reserve(end)?;
        self.refuse_poisoned()?;
        let written = self.disk.write_at(HEAP_START_BYTES + floor, entries);
        written.map_err(|error| self.poisoned_by("write a large transaction", error))?;
        if !self.mutation(Mutation::SpillNotSynced) {
            self.sync_growth()?;
        }
        let spill = Spill {
            offset: U64::new(floor),
            len_bytes: U64::new(entries.len() as u64),
            checksum: U64::new(checksum::of_record(lock(&self.log).tail.epoch, entries)),
        };
        let mut record = vec![0; HEADER_BYTES as usize];
        record.extend_from_slice(spill.as_bytes());
        let committed = self.append(&mut record, KIND_SPILL, heap_bytes, true)?;
        if self.mutation(Mutation::SpillNotCheckpointed) {
            return Ok(committed);
        }
        // From here on the record is valid, and it must not outlive its run.
        while let Err(error) = self.checkpoint_within() {
            // A stopped process delays this one and all others, but the record must not be left
            // without its checkpoint.
            if !matches!(error.kind(), ErrorKind::ProcessUnresponsive { .. }) {
                self.poison(error.to_string());
                return Err(self.commit_unknown());
            }
        }
        Ok(committed)
    }

    /// Runs a checkpoint inside a commit that holds the write lock. It must not call the program's
    /// own code: the record may be valid already while the writer's image is not.
    fn checkpoint_within(&self) -> Result<()> {
        self.run_checkpoint(&mut lock(&self.checkpointer))
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
        let turn = self.join_write_lock_unless(is_durable);
        let flushed = turn.and_then(|_turn| self.flush_to(committed.position));
        flushed.map_err(|error| match self.poison.get() {
            Some(_) => self.commit_unknown(),
            None => error,
        })
    }

    /// Makes all commits so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.expect_own_process()?;
        let _turn = self.join_write_lock()?;
        self.refuse_poisoned()?;
        let appended = lock(&self.log).tail.appended;
        self.flush_to(appended)
    }
}

#[cold]
fn too_large() -> crate::error::Error {
    ErrorKind::TooLarge { count: 1, size_bytes: u64::MAX, why: "the file's length" }.into()
}
