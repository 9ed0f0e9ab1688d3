//! Commits a transaction whose record is longer than the log.
//!
//! 1. Write its entries to a run past all heaps, and sync.
//! 2. Append a record that names the run.
//! 3. Checkpoint: both superblocks move past the record, and the run is free again.
//!
//! What readers hold is spilled elsewhere: `image::spiller`.

use std::time::Duration;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

use super::commit::Committed;
use super::core::Core;
use super::sharing::blocked::Patience;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{HEADER_BYTES, KIND_SPILL, Spill};
use crate::format::{HEAP_START_BYTES, PAGE_BYTES, checksum, round_up};
use crate::mutation::Mutation;
use crate::sync::{lock, sleep};
use crate::workspace::RecordBody;

impl Core {
    /// Performs steps 1 to 3, all before the writer's lock is released.
    pub(super) fn append_spilled(
        &self,
        mut body: RecordBody,
        heap_bytes: u64,
    ) -> Result<Committed> {
        self.note_load(&mut lock(&self.log));
        // Checkpoint first: the one that must follow the record is not to fail because a process is
        // stopped.
        if self.sharing.is_some() {
            let len_bytes = body.record.len() as u64;
            self.checkpoint_within().map_err(|error| self.no_room(error, len_bytes))?;
        }
        let spill = self.write_spill(&body.record[HEADER_BYTES as usize..], heap_bytes)?;
        body.record = vec![0; HEADER_BYTES as usize];
        body.record.extend_from_slice(spill.as_bytes());
        let committed = self.append_record(&mut body, KIND_SPILL, heap_bytes, true)?;
        self.unless(Mutation::SpillNotCheckpointed, || self.checkpoint_past_spill())?;
        Ok(committed)
    }

    /// Performs step 1; returns the body of the record that names the entries.
    fn write_spill(&self, entries: &[u8], heap_bytes: u64) -> Result<Spill> {
        let start = self.in_place_from_bytes().max(heap_bytes);
        let end = round_up(start + entries.len() as u64, PAGE_BYTES).ok_or_else(too_large)?;
        self.growth.reserve(end)?;
        self.growth.fill_holes(start, end)?;
        self.refuse_poisoned()?;
        let written = self.disk.write_at(HEAP_START_BYTES + start, entries);
        written.map_err(self.write_failed("write a large transaction"))?;
        self.unless(Mutation::SpillNotSynced, || self.sync_growth())?;
        Ok(Spill {
            offset: U64::new(start),
            len_bytes: U64::new(entries.len() as u64),
            checksum: U64::new(checksum::of_record(lock(&self.log).tail.epoch, entries)),
        })
    }

    /// Performs step 3. The record is valid since its append, and it must not outlive its run.
    fn checkpoint_past_spill(&self) -> Result<()> {
        const BETWEEN_TRIES: Duration = Duration::from_millis(20);
        while let Err(error) = self.checkpoint_within() {
            // A stopped process delays this one and all others, but the record must not be left
            // without its checkpoint.
            if !matches!(error.kind(), ErrorKind::ProcessUnresponsive { .. }) {
                self.poison.set(error.to_string());
                return Err(self.poison.commit_unknown());
            }
            sleep(BETWEEN_TRIES);
        }
        Ok(())
    }

    /// Runs a checkpoint inside a commit that holds the write lock. It must not call the program's
    /// own code: the record may be valid already while the writer's image is not.
    fn checkpoint_within(&self) -> Result<()> {
        self.run_checkpoint(&mut self.lock_checkpointer(), Patience::Full)
    }
}

#[cold]
fn too_large() -> Error {
    ErrorKind::TooLarge { count: 1, size_bytes: u64::MAX, why: "the file's length" }.into()
}
