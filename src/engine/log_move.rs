//! Moves the log to another region, while commits go on.
//!
//! 1. A commit finds that the load asks for a longer log. It grows the file, and allocates a region
//!    there in a transaction of its own (`store::log_move`). From here on the region belongs to
//!    nobody else.
//! 2. If the load waits for flushes, whoever runs checkpoints fills the region with zeros, a piece at a
//!    time, each one synced.
//! 3. The records that are still needed are copied, and a superblock names the new region. Commits
//!    wait for what was appended during the copy, and for no sync: until both superblocks are
//!    durable, only flushes wait.
//! 4. The next commit frees the old region.
//!
//! docs/design/log-length.md argues each step.

use std::sync::Arc;
use std::time::Duration;

use zerocopy::little_endian::U64;

use super::blocked_log::SHARE_FOR_MOVE;
use super::core::Core;
use super::flush_leader::{FlushGuard, SyncFor};
use super::format_store::zero_log;
use super::log_region::{LogMove, LogStep, Region};
use super::sharing::blocked::Patience;
use super::state::{Checkpointer, LogState};
use crate::deadline::Deadline;
use crate::error::{ErrorKind, Result};
use crate::format::heap::{CHUNK_PAGES, PAGES_PER_SEGMENT};
use crate::format::superblock::Superblock;
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::log::Ring;
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::lock;

/// The log is to last for so long between the end of a checkpoint and the next one that it makes
/// due.
const TIME_BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(1);
/// The most by which a move makes the log longer.
const MAX_GROWTH: u64 = 16;
/// A log up to this length may be any part of the heap.
const SMALL_LOG_BYTES: u64 = 16 << 20;
/// A longer one is at most this fraction of it.
const SHARE_OF_HEAP: u64 = 4;
/// The new region takes at most this fraction of the disk's free space.
const SHARE_OF_FREE_SPACE: u64 = 8;
/// After a move that failed, usually for lack of space, so many laps pass before the next try: a try
/// costs more than a commit.
const LAPS_BEFORE_RETRY: u64 = 16;
/// If this fraction of the log or more was not flushed when it became too short, commits do not wait
/// for flushes.
const SHARE_UNFLUSHED: u64 = 4;
/// The least pages of a piece of zeros.
const MIN_PIECE_PAGES: u64 = 128;
/// While this fraction of the log is free, zeros go before a checkpoint.
const ROOM_FOR_ZEROS: u64 = 4;
/// The record that allocates a region is shorter than this fraction of it.
const BYTES_PER_LOGGED: u64 = 64;
/// How much of the log may be copied while appends wait, and how often it is tried to make it so
/// little.
const COPIED_AT_LAST: u64 = 256 * 1024;
const MAX_COPIES: usize = 3;
/// Bytes that are copied at a time.
const COPIED_BYTES: u64 = 64 * 1024;

const SYNCING: &str = "sync a superblock that names a new log region";

impl Core {
    /// Returns what is to be done for the log's length, after an append.
    pub(super) fn log_step(&self, log: &mut LogState) -> Option<LogStep> {
        if self.is_log_filling(log) {
            self.note_load(log);
        }
        if self.sharing.is_some() && log.log_move == LogMove::None {
            self.note_blocked_load(log);
        }
        let len = log.tail.ring.len_bytes();
        let step = match log.log_move.step()? {
            LogStep::Allocate { bytes } if self.sharing.is_some() => LogStep::GrowAtOnce { bytes },
            step => step,
        };
        let can_be_taken = match step {
            // Its record must not wait for room.
            LogStep::Allocate { bytes } => log.tail.fits(bytes / BYTES_PER_LOGGED),
            // Another process may have made the log longer since this was noted.
            LogStep::GrowAtOnce { bytes } if bytes < 2 * len => {
                log.log_move = LogMove::None;
                false
            }
            LogStep::GrowAtOnce { bytes } => {
                log.tail.fits((bytes / BYTES_PER_LOGGED).min(len / SHARE_FOR_MOVE))
            }
            // What is freed may be overwritten.
            LogStep::Free => log.old_ring.strong_count() == 0,
            LogStep::Continue => true,
        };
        if can_be_taken && matches!(step, LogStep::GrowAtOnce { .. }) {
            self.note_growth(len);
        }
        can_be_taken.then_some(step)
    }

    /// Notes how long the log should be, where it makes a checkpoint due, or has no room for a record,
    /// or is too short for one: if that is soon after the last checkpoint, it is too short for the load.
    pub(super) fn note_load(&self, log: &mut LogState) {
        if log.log_move != LogMove::None || log.tail.appended < log.no_move_before {
            return;
        }
        let Some(ended) = log.checkpoint_ended else { return };
        let len = log.tail.ring.len_bytes();
        let bytes = longer(len, self.disk.now() - ended).min(self.longest_log(log.heap_bytes));
        // Each move leaves a hole in the heap; less than doubling is not worth it.
        if bytes >= 2 * len {
            log.log_move = LogMove::Wanted { bytes };
        }
    }

    fn longest_log(&self, heap_bytes: u64) -> u64 {
        let most = (heap_bytes / SHARE_OF_HEAP).max(SMALL_LOG_BYTES);
        most.min(self.settings.max_log_bytes) / PAGE_BYTES * PAGE_BYTES
    }

    /// Grows the file by a region of `bytes` past its end, hence past all heaps. It is shorter, or
    /// refused, if that takes too much of the disk.
    ///
    /// Nothing has read that part of the file before it is written, page by page. Otherwise the page
    /// cache might hold it in large folios from someone's read-ahead, and each flush of the log
    /// would write a whole folio: 1.5 MB per durable commit, measured, instead of 4 KiB.
    pub(crate) fn reserve_log_region(&self, bytes: u64) -> Result<Region> {
        let free_bytes = self.growth.free_bytes().map_err(self.io_error("look for free space"))?;
        let share = free_bytes / SHARE_OF_FREE_SPACE / PAGE_BYTES * PAGE_BYTES;
        if share < 2 * lock(&self.log).tail.ring.len_bytes() {
            let path = self.path.clone();
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(ErrorKind::NoSpace { path, wanted_bytes: bytes, source }.into());
        }
        let bytes = bytes.min(share);
        let taken = self.in_place_from_bytes().max(self.growth.capacity_bytes()) / PAGE_BYTES;
        let pages = bytes / PAGE_BYTES;
        // The allocator puts chunks between the heap's end and the region.
        let segments = |pages: u64| pages.div_ceil(PAGES_PER_SEGMENT);
        let chunks = segments(taken + pages) - segments(taken) + 2;
        let region = Region { page: taken + chunks * CHUNK_PAGES, pages };
        self.growth.reserve((region.page + pages) * PAGE_BYTES)?;
        Ok(region)
    }

    /// Notes that the transaction that allocates `region` is in the log.
    pub(crate) fn note_log_region(&self, region: Region) {
        let mut log = lock(&self.log);
        let unflushed = log.tail.appended - log.tail.durable;
        // Such a load fills the log before the zeros are written, and does not wait for the journal.
        let needs_zeros = unflushed < log.tail.ring.len_bytes() / SHARE_UNFLUSHED;
        let zeroed = if needs_zeros { 0 } else { region.pages };
        log.log_move = LogMove::Allocated { region, zeroed };
    }

    /// Gives the move up for a while. The log keeps its length; a region that was allocated for it is
    /// freed by the next commit.
    pub(crate) fn put_off_log_move(&self) {
        let mut log = lock(&self.log);
        let len = log.tail.ring.len_bytes();
        // A log that checkpoints do not free has no laps.
        let retry_after = match self.is_blocked() {
            true => len / SHARE_FOR_MOVE,
            false => LAPS_BEFORE_RETRY * len,
        };
        log.no_move_before = log.tail.appended + retry_after;
        log.log_move = match log.log_move {
            LogMove::Allocated { .. } | LogMove::Stale => LogMove::Stale,
            LogMove::None | LogMove::Wanted { .. } => LogMove::None,
        };
    }

    /// Notes that the heap's header names no region but the log.
    pub(crate) fn note_no_stale_region(&self) {
        let mut log = lock(&self.log);
        if !matches!(log.log_move, LogMove::Wanted { .. }) {
            log.log_move = LogMove::None;
        }
    }

    /// Does what is due: a checkpoint, or the next piece of the log's move. Returns whether more may
    /// be. The move goes first if it can: it is there because checkpoints of a short log do not keep
    /// up with the load, and the longer log may not need one yet.
    pub(crate) fn do_due_work(&self) -> Result<bool> {
        if !self.is_log_move_first() {
            self.checkpoint_if_due(Deadline::NEVER)?;
        }
        self.continue_log_move()
    }

    fn is_log_move_first(&self) -> bool {
        let log = lock(&self.log);
        let LogMove::Allocated { region, zeroed } = log.log_move else { return false };
        let has_room = log.tail.free_bytes() > log.tail.ring.len_bytes() / ROOM_FOR_ZEROS;
        let is_first = zeroed == region.pages || has_room;
        is_first && !self.is_checkpoint_due_for_memory(&log)
    }

    /// Writes the next piece of zeros into the new region, or moves the log there. Returns whether
    /// something may be due after that. Does nothing while another thread runs a checkpoint.
    fn continue_log_move(&self) -> Result<bool> {
        let Some(mut checkpointer) = self.try_lock_checkpointer() else { return Ok(false) };
        let log_move = lock(&self.log).log_move;
        let LogMove::Allocated { region, zeroed } = log_move else { return Ok(false) };
        let continued = match zeroed < region.pages {
            true => self.zero_piece(region, zeroed),
            false => self.move_log(&mut checkpointer, region),
        };
        if continued.is_err() {
            self.put_off_log_move();
        }
        continued.map(|()| true)
    }

    fn zero_piece(&self, region: Region, zeroed: u64) -> Result<()> {
        self.refuse_poisoned()?;
        let piece = self.pace.slice_pages().max(MIN_PIECE_PAGES).min(region.pages - zeroed);
        let offset = region.offset() + zeroed * PAGE_BYTES;
        zero_log(&*self.disk, offset, piece * PAGE_BYTES)
            .map_err(self.write_failed("write a new log region"))?;
        self.sync_heap(SyncFor::Checkpoint, "sync a new log region")?;
        self.progress.note_step();
        lock(&self.log).log_move = LogMove::Allocated { region, zeroed: zeroed + piece };
        Ok(())
    }

    /// Performs step 3. The transaction that allocated `region` is in the log.
    fn move_log(&self, checkpointer: &mut Checkpointer, region: Region) -> Result<()> {
        self.refuse_poisoned()?;
        let (old, start, durable) = {
            let log = lock(&self.log);
            let whole_blocks = |position: u64| position / PAGE_BYTES * PAGE_BYTES;
            let (start, durable) = (whole_blocks(log.tail.start), whole_blocks(log.tail.durable));
            (Arc::clone(&log.tail.ring), start, durable)
        };
        let ring =
            Ring::new(&*self.disk, region.offset(), region.bytes(), start, self.settings.mutation)
                .map_err(self.io_error("map a new log region"))?
                .numbered(old.seq() + 1);
        if region.bytes() < old.len_bytes() {
            self.expect_room_in(&ring, start)?;
        }
        // What is durable does not change any more, and is the most of it.
        self.copy_and_flush(&old, &ring, start, durable)?;
        // Nobody flushes before both superblocks are durable: what is flushed to the new region would
        // be lost with the superblock that names it.
        let leader = self.flush_leader.take(SyncFor::Checkpoint);
        self.refuse_poisoned()?;
        let end = self.copy_tail(&old, &ring, durable)?;
        if self.mutation(Mutation::RingSeqBeforeSuperblock) {
            self.publish_ring_seq(ring.seq())?;
        }
        self.switch_to(checkpointer, &leader, &old, ring, end)?;
        self.unless(Mutation::LogMoveNotSynced, || self.sync_led(&leader, SYNCING))?;
        self.unless(Mutation::LogMovedWithOneSuperblock, || {
            let ring = Arc::clone(&lock(&self.log).tail.ring);
            self.put_superblock(checkpointer, name(&ring))?;
            self.unless(Mutation::LogMoveNotSynced, || self.sync_led(&leader, SYNCING))?;
            lock(&self.log).least_start = end;
            Ok(())
        })?;
        self.publish_ring()?;
        let mut log = lock(&self.log);
        log.tail.flushed(end);
        log.log_move = LogMove::Stale;
        log.old_ring = Arc::downgrade(&old);
        self.publish(&log);
        Ok(())
    }

    /// Performs steps 2 and 3 within this hold of the write lock, with the writer's lock: nothing is
    /// appended meanwhile.
    pub(crate) fn move_log_at_once(&self, region: Region) -> Result<()> {
        // The header names the region, whatever comes of it.
        lock(&self.log).log_move = LogMove::Stale;
        self.refuse_poisoned()?;
        zero_log(&*self.disk, region.offset(), region.bytes())
            .map_err(self.write_failed("write a new log region"))?;
        self.sync_heap(SyncFor::Checkpoint, "sync a new log region")?;
        self.move_log(&mut self.lock_checkpointer(), region)
    }

    /// Refuses to move to a shorter ring with more records than fit wherever they lie.
    fn expect_room_in(&self, ring: &Ring, start: u64) -> Result<()> {
        let needed = self.end_of_log().position - start;
        if needed <= ring.max_record_bytes() {
            return Ok(());
        }
        Err(ErrorKind::corrupt("log", 0, "few records, since a checkpoint was the last", needed))
    }

    /// Copies the records from `copied` on, and flushes the copy, until little is left that was appended
    /// meanwhile. Returns where the copy ends.
    fn copy_tail(&self, old: &Ring, ring: &Ring, mut copied: u64) -> Result<u64> {
        for _ in 0..MAX_COPIES {
            let end = self.pad_log_block()?;
            self.unless(Mutation::LogTailNotCopied, || {
                self.copy_and_flush(old, ring, copied, end)
            })?;
            copied = end;
            if self.end_of_log().position - copied <= COPIED_AT_LAST {
                break;
            }
        }
        Ok(copied)
    }

    /// Pads the log's last block, so that what lies before is whole blocks, which no append touches any
    /// more (L3). Returns its end.
    fn pad_log_block(&self) -> Result<u64> {
        let mut log = lock(&self.log);
        log.tail.pad_block().map_err(self.write_failed("write the log"))?;
        Ok(log.tail.appended)
    }

    fn copy_and_flush(&self, from: &Ring, to: &Ring, start: u64, end: u64) -> Result<()> {
        self.copy_records(from, to, start, end)?;
        self.unless(Mutation::LogCopyNotFlushed, || {
            to.flush(start, end).map_err(self.sync_failed("flush a new log region"))
        })
    }

    /// Copies the records after `copied`, and has a superblock and the next append name the new
    /// ring. Appends wait for this, so it makes no sync.
    fn switch_to(
        &self,
        checkpointer: &mut Checkpointer,
        _leader: &FlushGuard<'_>,
        old: &Ring,
        ring: Ring,
        copied: u64,
    ) -> Result<()> {
        let mut log = lock(&self.log);
        // The next append begins a block of the new ring, as after a flush.
        log.tail.pad_block().map_err(self.write_failed("write the log"))?;
        self.unless(Mutation::LogTailNotCopied, || {
            self.copy_records(old, &ring, copied, log.tail.appended)
        })?;
        self.put_superblock(checkpointer, name(&ring))?;
        self.max_record_bytes.store(ring.max_record_bytes(), Relaxed);
        log.tail.ring = Arc::new(ring);
        self.log_freed.notify_all();
        Ok(())
    }

    /// Fills the region with zeros that the last transaction has allocated, and moves the log there.
    /// The caller is alone, and the log holds that transaction.
    ///
    /// The region was part of the heap, and the page cache may hold it in large folios: it is made to
    /// forget them, since it outlives the close, and each flush would write a whole folio.
    pub(crate) fn finish_log_move(&self) -> Result<()> {
        let LogMove::Allocated { region, .. } = lock(&self.log).log_move else { return Ok(()) };
        if let Err(error) = self.disk.renew(region.offset(), region.bytes()) {
            self.put_off_log_move();
            return Err(self.io_error("renew a log region")(error));
        }
        // Unlike pages past the file's end, these have bytes.
        lock(&self.log).log_move = LogMove::Allocated { region, zeroed: 0 };
        while self.continue_log_move()? {}
        Ok(())
    }

    /// Empties the log, before it is put into pages that are free now. The caller is alone, and has the
    /// writer's lock.
    pub(crate) fn empty_log(&self) -> Result<()> {
        self.unless(Mutation::LogPlacedBeforeCheckpoint, || {
            self.run_checkpoint(&mut self.lock_checkpointer(), Patience::Full)
        })
    }

    /// Returns the length of the log without load.
    pub(crate) fn idle_log_bytes(&self) -> u64 {
        self.settings.log_bytes
    }

    /// Makes the log, which is empty, as short as its first `pages` pages. The caller is alone. The
    /// ring begins anew at the log's end: bytes that it holds already have other positions.
    pub(crate) fn shorten_log(&self, pages: u64) -> Result<()> {
        let mut checkpointer = self.lock_checkpointer();
        let (region, end) = (self.log_region(), self.end_of_log().position);
        let (offset, bytes) = (region.offset(), pages * PAGE_BYTES);
        let seq = self.log_source().ring.seq() + 1;
        let ring = Ring::new(&*self.disk, offset, bytes, end, self.settings.mutation)
            .map_err(self.io_error("map the log"))?
            .numbered(seq);
        self.write_superblock(&mut checkpointer, name(&ring))?;
        self.unless(Mutation::LogMovedWithOneSuperblock, || {
            self.write_superblock(&mut checkpointer, name(&ring))
        })?;
        let mut log = lock(&self.log);
        self.max_record_bytes.store(ring.max_record_bytes(), Relaxed);
        log.tail.ring = Arc::new(ring);
        log.log_move = LogMove::Stale;
        drop(log);
        self.publish_ring()
    }

    /// Copies whole blocks from one ring to another.
    fn copy_records(&self, from: &Ring, to: &Ring, start: u64, end: u64) -> Result<()> {
        let mut bytes = vec![0; COPIED_BYTES.min(end.saturating_sub(start)) as usize];
        let mut at = start;
        while at < end {
            let len = COPIED_BYTES.min(end - at).min(from.room_to_end(at)).min(to.room_to_end(at));
            let piece = &mut bytes[..len as usize];
            from.load(at, piece).map_err(self.io_error("read the log"))?;
            to.store(at, piece).map_err(self.write_failed("copy the log"))?;
            at += len;
        }
        Ok(())
    }

    /// Returns the log's region. Both superblocks name it, except while `move_log` runs.
    pub(crate) fn log_region(&self) -> Region {
        let ring = Arc::clone(&lock(&self.log).tail.ring);
        let offset = ring.file_offset(ring.base()).saturating_sub(HEAP_START_BYTES);
        Region { page: offset / PAGE_BYTES, pages: ring.len_bytes() / PAGE_BYTES }
    }
}

/// Returns a change that makes a superblock name `ring` as the log.
fn name(ring: &Ring) -> impl FnOnce(&mut Superblock) + use<> {
    let (base, len_bytes) = (ring.base(), ring.len_bytes());
    let offset = ring.file_offset(base);
    move |block| {
        block.log_offset = U64::new(offset);
        block.log_bytes = U64::new(len_bytes);
        block.log_base = U64::new(base);
    }
}

/// Returns the length of a log that is due for a checkpoint after the time that it should last, at
/// the load that makes one of `len` due `after` the last one's end.
fn longer(len: u64, after: Duration) -> u64 {
    let mut growth = 1;
    while growth < MAX_GROWTH && after * (growth as u32) < TIME_BETWEEN_CHECKPOINTS {
        growth *= 2;
    }
    len * growth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_grows_to_what_lasts_a_second_at_the_load() {
        let ms = Duration::from_millis;
        for (after, growth) in
            [(0, 16), (62, 16), (125, 8), (250, 4), (499, 4), (500, 2), (1000, 1)]
        {
            assert_eq!(longer(1 << 20, ms(after)), growth << 20, "{after}");
        }
    }
}
