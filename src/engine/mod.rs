//! The protocol: commit, flush, checkpoint, recovery.
//!
//! **Owns** the order in which log and heap reach the disk, the superblocks, and the positions that
//! say what is durable and what is visible. **Must not know** the heap's content beyond its header,
//! or who allocates it.
//!
//! docs/design/commit.md and its neighbours argue the protocol step by step: the state of disk and
//! memory if the power, the process or the disk fails at that step.
//!
//! # Invariants
//!
//! `E1` The protocol writes a heap page to the file only from an image that holds nothing but
//! durable records, or as a bulk page that no state or image refers to. `E2` Both superblocks name
//! complete states: the log holds every record from the older one's position on. `E3` One sync runs
//! at a time; after a failed one nothing more is written. `E4` The file is longer than any heap
//! that a superblock, a record or an image names.
//!
//! # Lock order
//!
//! write lock, writer, checkpointer, flush leader, pool, log.

mod checkpoint;
mod close;
mod commit;
mod flush;
mod flush_leader;
mod format_store;
mod log_move;
mod open;
mod recovery;
mod replay_horizon;
mod sharing;

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Disk, FileSize};
use crate::error::{ErrorKind, Result};
use crate::format::coordination::Event;
use crate::format::superblock::Superblock;
use crate::image::{Checkpointed, Image, ImageTraits, LinkChecks, Pool, PoolStats, ReaderReport};
use crate::log::{LogSource, READING, Tail};
use crate::map::ForkGuard;
use crate::mutation::{ActiveMutation, Mutation};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::SeqCst};
use crate::sync::{Mutex, MutexGuard};
use crate::workspace::Workspace;

use flush_leader::FlushLeader;
use replay_horizon::ReplayHorizon;
use sharing::Sharing;

pub(crate) use commit::Committed;
pub(crate) use format_store::{create, create_in_place};
pub(crate) use recovery::{LogEnd, OnDamage, Recovered, expect_store, read_head};
pub(crate) use sharing::WriteLock;

/// The open options that the engine uses.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) link_checks: LinkChecks,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) max_log_bytes: u64,
    pub(crate) salvage: bool,
    pub(crate) access: Access,
    /// Limit on the images that readers may pin.
    pub(crate) max_held_images: usize,
    pub(crate) reader_report: Option<ReaderReport>,
    /// Eighths of the log that may fill before a checkpoint is due.
    pub(crate) checkpoint_eighths: u64,
    pub(crate) mutation: ActiveMutation,
}

/// What an opening may do to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The opening writes nothing: records are applied in memory only.
    Read,
    Write,
}

impl Settings {
    /// Returns how many bytes may be logged before a checkpoint is due.
    fn checkpoint_after(&self, log_bytes: u64) -> u64 {
        log_bytes / 8 * self.checkpoint_eighths
    }

    /// Returns the traits of images of the store that `block` belongs to.
    fn image_traits(&self, block: &Superblock) -> ImageTraits {
        ImageTraits { tests: self.link_checks, hash_key: block.hash_key }
    }
}

/// An open store below its allocator.
pub(crate) struct Core {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    growth: Arc<FileSize>,
    settings: Settings,
    /// A copy outside the superblocks: reading the key must not wait for a checkpoint, nor block
    /// forever in a forked child.
    hash_key: [u8; 16],
    writer: Mutex<Writer>,
    checkpointer: Mutex<Checkpointer>,
    flush_leader: FlushLeader,
    pool: Mutex<Pool>,
    log: Mutex<LogState>,
    /// Copies of `Tail::visible` and `Tail::durable` that are read without the lock.
    visible: AtomicU64,
    durable: AtomicU64,
    /// Whether a checkpoint ran since long readers were last reported to the program.
    readers_untold: AtomicBool,
    poison: OnceLock<String>,
    birth: ForkGuard,
    /// Notified when more becomes visible, in a store that only this process has open.
    event: Event,
    /// The other processes, in a store that several have open.
    sharing: Option<Sharing>,
    /// Log bytes that opening replayed because the store was not closed cleanly.
    replayed_bytes: u64,
    /// The longest record that always fits into the ring; longer ones are spilled.
    max_record_bytes: AtomicU64,
}

/// State that the writer's lock guards.
pub(crate) struct Writer {
    pub(crate) workspace: Workspace,
    /// The record's buffer, reused from one commit to the next.
    record: Vec<u8>,
    /// Whether a write transaction has begun since the store was opened.
    has_begun: bool,
}

/// The log's end, and the recent lengths of the heap.
struct LogState {
    tail: Tail,
    ends: ReplayHorizon,
    /// Length of the heap after the last record.
    heap_bytes: u64,
    /// Position at which the last checkpoint began.
    checkpoint: u64,
    /// No move of the log is tried before this position, because the last one failed.
    no_move_before: u64,
}

/// State that the checkpointer's lock guards.
struct Checkpointer {
    /// The image that heap pages are written from; never past `durable`.
    image: Option<Image>,
    /// The newest superblock.
    last: Superblock,
    /// Its slot; after opening, the slot to write first.
    slot: usize,
    /// Whether both superblocks name this opening's epoch, the condition for appending records.
    begun: bool,
}

/// The end of a record: position, checksum and the heap's length there.
#[derive(Clone, Copy, Debug)]
struct EndOfLog {
    position: u64,
    prev_checksum: u64,
    heap_bytes: u64,
}

/// Locks `mutex` even if a holder panicked. Such a holder leaves nothing half-done: transactions
/// roll back when they are dropped, and the protocol's own state changes in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether a test has enabled this mutation.
    fn mutation(&self, fault: Mutation) -> bool {
        self.settings.mutation.has(fault)
    }

    /// Acquires the lock that makes its holder the writer.
    pub(crate) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// Prepares for a write transaction; returns whether it is the first one.
    pub(crate) fn begin_write(&self, writer: &mut Writer) -> Result<bool> {
        if self.settings.access == Access::Read {
            return Err(ErrorKind::ReadOnly { path: self.path.clone() }.into());
        }
        self.refuse_poisoned()?;
        let is_first = !writer.has_begun;
        if is_first {
            self.begin_epoch(&mut lock(&self.checkpointer))?;
            writer.has_begun = true;
        }
        self.follow_others(writer)?;
        self.give_back_writer(writer);
        Ok(is_first)
    }

    /// Takes a snapshot at the visible position and records the caller's caller as its holder.
    #[inline]
    #[track_caller]
    pub(crate) fn snapshot(&self) -> Result<Arc<Image>> {
        let caller = Location::caller();
        self.expect_own_process()?;
        if let Some(sharing) = &self.sharing {
            return self.shared_snapshot(sharing, caller);
        }
        // Read `visible` under the pool's lock: a position read earlier could lie before the pages
        // that a checkpoint is writing.
        let mut pool = lock(&self.pool);
        let visible = self.visible.load(Acquire);
        let max_held = self.settings.max_held_images;
        let taken = pool.take(&|| self.log_source(), visible, max_held, caller);
        taken.map_err(|error| self.unreadable(error))
    }

    /// Replaces a read error after a failed write by the poison. The kernel may drop pages that it
    /// could not write, and the file then shows older bytes. That is a result of the failed write,
    /// not damage.
    #[cold]
    fn unreadable(&self, error: crate::error::Error) -> crate::error::Error {
        match (error.kind(), self.poison.get()) {
            (ErrorKind::Corrupt { .. } | ErrorKind::Io { action: READING, .. }, Some(cause)) => {
                let cause = format!("{cause}; since then the log cannot be read back: {error}");
                ErrorKind::Poisoned { path: self.path.clone(), cause }.into()
            }
            _ => error,
        }
    }

    fn log_source(&self) -> LogSource {
        LogSource { ring: Arc::clone(&lock(&self.log).tail.ring), disk: Arc::clone(&self.disk) }
    }

    fn end_of_log(&self) -> EndOfLog {
        let log = lock(&self.log);
        let tail = &log.tail;
        EndOfLog {
            position: tail.appended,
            prev_checksum: tail.prev_checksum,
            heap_bytes: log.heap_bytes,
        }
    }

    /// Returns the lowest offset at which the file may be written in place. No image, and no state
    /// that can still be replayed, reaches up to it.
    pub(crate) fn in_place_from_bytes(&self) -> u64 {
        if self.mutation(Mutation::InPlaceFromHeapEnd) {
            return lock(&self.log).heap_bytes;
        }
        let in_images = lock(&self.pool).longest_heap_bytes();
        let in_others = self.sharing.as_ref().map_or(0, Sharing::longest_heap_bytes);
        lock(&self.log).ends.longest().max(in_images).max(in_others)
    }

    /// Returns random numbers for epochs and keys.
    fn random(&self) -> Result<u64> {
        self.disk.random().map_err(|error| self.io_error("get random numbers", error))
    }

    #[cold]
    fn io_error(&self, action: &'static str, source: std::io::Error) -> crate::error::Error {
        ErrorKind::Io { action, path: self.path.clone(), source }.into()
    }

    /// Poisons the store and returns the error. Nothing more may be written: the kernel reports a
    /// failed write once, and then shows the new bytes in memory as if they were safe.
    #[cold]
    fn poisoned_by(&self, action: &'static str, source: std::io::Error) -> crate::error::Error {
        self.poison(format!("{action}: {source}"));
        self.io_error(action, source)
    }

    /// Rolls a transaction back. This fails only on an image that is damaged beyond use. Its state
    /// is then unknown, so a failure poisons the store.
    pub(crate) fn roll_back(&self, workspace: &mut Workspace) -> Result<()> {
        workspace.rollback().inspect_err(|error| self.poison_writer(error))
    }

    /// Poisons the store after a failed rollback.
    #[cold]
    pub(crate) fn poison_writer(&self, cause: &crate::error::Error) {
        self.poison(format!("take a transaction back: {cause}"));
    }

    /// Poisons the store after an error that makes the file unsafe to write.
    #[cold]
    fn poisoned_because(&self, error: crate::error::Error) -> crate::error::Error {
        self.poison(error.to_string());
        error
    }

    /// Poisons the store for this process and for all that share it.
    fn poison(&self, cause: String) {
        let _ = self.poison.set(cause);
        if let Some(sharing) = &self.sharing {
            sharing.page().poisoned.store(1, SeqCst);
        }
    }

    /// Refuses a store that was inherited from a parent process. Call it before any lock is taken:
    /// the lock's holder may be a thread that the child does not have.
    #[inline]
    pub(crate) fn expect_own_process(&self) -> Result<()> {
        if self.birth.is_same_process() { Ok(()) } else { Err(self.forked()) }
    }

    /// Returns whether this process opened the store.
    pub(crate) fn is_own_process(&self) -> bool {
        self.birth.is_same_process()
    }

    #[cold]
    fn forked(&self) -> crate::error::Error {
        ErrorKind::Forked { path: self.path.clone() }.into()
    }

    /// Refuses to write after an earlier write failed.
    pub(crate) fn refuse_poisoned(&self) -> Result<()> {
        self.hear_of_poison();
        match self.poison.get() {
            None => Ok(()),
            Some(_) if self.mutation(Mutation::PoisonIgnored) => Ok(()),
            Some(cause) => {
                let (path, cause) = (self.path.clone(), cause.clone());
                Err(ErrorKind::Poisoned { path, cause }.into())
            }
        }
    }

    fn hear_of_poison(&self) {
        let Some(sharing) = &self.sharing else { return };
        if sharing.page().poisoned.load(SeqCst) != 0 {
            let _ = self.poison.set("another process could not write the file".to_string());
        }
        // The check itself poisons the store if the page is lost.
        let _ = self.expect_connected(sharing);
    }

    /// Updates the pool after a reader has released an image that is not the current one. Surplus
    /// images are unmapped here, after the lock is released.
    pub(crate) fn reader_left(&self) {
        if self.is_own_process() {
            let surplus = lock(&self.pool).reader_left();
            drop(surplus);
        }
    }

    pub(crate) fn pool_stats(&self) -> PoolStats {
        lock(&self.pool).stats()
    }

    /// Returns the log bytes in use, and the ring's length.
    pub(crate) fn log_use(&self) -> (u64, u64) {
        let log = lock(&self.log);
        (log.tail.appended - log.tail.start, log.tail.ring.len_bytes())
    }

    /// Returns the log position up to which everything is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Acquire)
    }

    /// Waits until readers see more than at `seen`; returns whether they do.
    pub(crate) fn wait_for_commit(&self, seen: u64, at_most: Duration) -> Result<bool> {
        /// Sleep between two checks whether a commit can still come.
        const POLL_INTERVAL: Duration = Duration::from_millis(100);
        self.expect_own_process()?;
        let begun = Instant::now();
        loop {
            let epoch = self.commit_event().epoch();
            if self.visible_to_all() > seen {
                return Ok(true);
            }
            self.refuse_poisoned()?;
            let Some(left) = at_most.checked_sub(begun.elapsed()) else { return Ok(false) };
            self.commit_event().wait_after(epoch, left.min(POLL_INTERVAL));
        }
    }

    fn commit_event(&self) -> &Event {
        self.sharing.as_ref().map_or(&self.event, |sharing| &sharing.page().commit_event)
    }

    fn visible_to_all(&self) -> u64 {
        match &self.sharing {
            Some(sharing) => sharing.page().visible.load(SeqCst),
            None => self.visible.load(Acquire),
        }
    }

    /// Returns the log bytes that opening replayed because the store was not closed cleanly.
    pub(crate) fn replayed_bytes(&self) -> u64 {
        self.replayed_bytes
    }

    /// Returns the length of the file.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        self.expect_own_process()?;
        self.disk.len_bytes().map_err(|source| self.io_error("look at the file's length", source))
    }

    /// Reads the pages before the heap, while no superblock is being written.
    pub(crate) fn read_head(&self) -> Result<Vec<u8>> {
        let _turn = self.join_write_lock()?;
        let _checkpointer = lock(&self.checkpointer);
        recovery::read_head(&*self.disk, &self.path)
    }

    /// Returns the random key of the store's hash tables.
    pub(crate) fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }
}

impl Checkpointer {
    fn checkpointed(&self) -> Checkpointed {
        Checkpointed::of(&self.last)
    }

    /// Drops an image that does not start at the last checkpoint: it would miss pages to be
    /// written.
    fn drop_image_unless_at_last(&mut self) {
        let last = self.last.position.get();
        self.image.take_if(|image| image.position() != last);
    }

    fn drop_image_before(&mut self, position: u64) {
        self.image.take_if(|image| image.position() < position);
    }
}
