//! The protocol: commit, flush, checkpoint, recovery.
//!
//! **Owns** the order in which log and heap reach the disk, the superblocks,
//! and the positions that say what is durable and what is visible. **Must not
//! know** what lies in the heap beyond its header, or who allocates it.
//!
//! ARCHITECTURE.md argues the protocol step by step: what is on disk and in
//! memory if the power, the process or the disk fails right there.
//!
//! # Invariants
//!
//! `E1` A heap page of the file is written only from an image that holds
//! durable records alone, or as a bulk page that no state or image refers to.
//! `E2` Both superblocks name complete states: the log holds every record from
//! the older one's position on. `E3` One sync at a time; after a failed one
//! nothing is written any more. `E4` The file is longer than any heap that a
//! superblock, a record or an image names.
//!
//! # Locks, in the order in which they are taken
//!
//! the turn to write, writer, checkpointer, the turn to sync, pool, log.

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

/// What the engine has to know of the open options.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) link_checks: LinkChecks,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) max_log_bytes: u64,
    pub(crate) salvage: bool,
    pub(crate) access: Access,
    /// Images that readers may hold.
    pub(crate) max_held_images: usize,
    pub(crate) reader_report: Option<ReaderReport>,
    /// Eighths of the log after which a checkpoint is due.
    pub(crate) checkpoint_eighths: u64,
    pub(crate) mutation: ActiveMutation,
}

/// What an opening may do to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: records are applied in memory alone.
    Read,
    Write,
}

impl Settings {
    /// Bytes that are logged before a checkpoint is due.
    fn checkpoint_after(&self, log_bytes: u64) -> u64 {
        log_bytes / 8 * self.checkpoint_eighths
    }

    /// The traits of images of the store that `block` is of.
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
    /// Apart from the superblocks: to ask for it must not wait for a checkpoint, nor, in a forked
    /// child, for ever.
    hash_key: [u8; 16],
    writer: Mutex<Writer>,
    checkpointer: Mutex<Checkpointer>,
    flush_leader: FlushLeader,
    pool: Mutex<Pool>,
    log: Mutex<LogState>,
    /// `Tail::visible` and `Tail::durable`, to look at without the lock.
    visible: AtomicU64,
    durable: AtomicU64,
    /// Whether a checkpoint was made since the program was told of old readers.
    readers_untold: AtomicBool,
    poison: OnceLock<String>,
    birth: ForkGuard,
    /// Rung when there is more to see, in a store of this process alone.
    event: Event,
    /// Of a store that several processes have open: the others.
    sharing: Option<Sharing>,
    /// Log bytes that opening applied, since the store was not closed in order.
    replayed_bytes: u64,
    /// The longest record that always fits into the ring; others are spilled.
    max_record_bytes: AtomicU64,
}

/// The holder of the writer's lock.
pub(crate) struct Writer {
    pub(crate) workspace: Workspace,
    /// The record's buffer, kept from one commit to the next.
    record: Vec<u8>,
    /// Whether a write transaction was begun since the store was opened.
    has_begun: bool,
}

/// The log's end, and how long the heap was lately.
struct LogState {
    tail: Tail,
    ends: ReplayHorizon,
    /// Length of the heap after the last record.
    heap_bytes: u64,
    /// Where the last checkpoint was begun.
    checkpoint: u64,
    /// The log is not moved before this position, since it could not be.
    no_move_before: u64,
}

/// The holder of the checkpointer's lock.
struct Checkpointer {
    /// The image from which heap pages are written; never past `durable`.
    image: Option<Image>,
    /// The newest superblock.
    last: Superblock,
    /// Its slot; after opening, the slot to write first.
    slot: usize,
    /// Whether both superblocks name this opening's epoch, so that records may
    /// be appended.
    begun: bool,
}

/// The position and checksum of the end of a record, with the heap's length.
#[derive(Clone, Copy, Debug)]
struct EndOfLog {
    position: u64,
    prev_checksum: u64,
    heap_bytes: u64,
}

/// A lock whose holder panicked protects nothing half-done: transactions roll
/// back when they are dropped, and the protocol's own state moves in single
/// steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a test has planted this fault.
    fn mutation(&self, fault: Mutation) -> bool {
        self.settings.mutation.has(fault)
    }

    /// The lock that makes its holder the writer.
    pub(crate) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// Gets ready for a write transaction; whether it is the first one.
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

    /// A snapshot at the visible position, for the caller's caller to hold.
    #[inline]
    #[track_caller]
    pub(crate) fn snapshot(&self) -> Result<Arc<Image>> {
        let caller = Location::caller();
        self.expect_own_process()?;
        if let Some(sharing) = &self.sharing {
            return self.shared_snapshot(sharing, caller);
        }
        // Looked at under the pool's lock: an older position could be one behind
        // the pages that a checkpoint is writing.
        let mut pool = lock(&self.pool);
        let visible = self.visible.load(Acquire);
        let max_held = self.settings.max_held_images;
        let taken = pool.take(&|| self.log_source(), visible, max_held, caller);
        taken.map_err(|error| self.unreadable(error))
    }

    /// What the kernel could not write it may drop from memory, and then the file shows older
    /// bytes: no damage, but what the failed write has left.
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

    /// The lowest offset at which the file may be written in place: no state
    /// that can still be replayed, and no image, reaches up to it.
    pub(crate) fn in_place_from_bytes(&self) -> u64 {
        if self.mutation(Mutation::InPlaceFromHeapEnd) {
            return lock(&self.log).heap_bytes;
        }
        let in_images = lock(&self.pool).longest_heap_bytes();
        let in_others = self.sharing.as_ref().map_or(0, Sharing::longest_heap_bytes);
        lock(&self.log).ends.longest().max(in_images).max(in_others)
    }

    /// Random numbers for epochs and keys.
    fn random(&self) -> Result<u64> {
        self.disk.random().map_err(|error| self.io_error("get random numbers", error))
    }

    #[cold]
    fn io_error(&self, action: &'static str, source: std::io::Error) -> crate::error::Error {
        ErrorKind::Io { action, path: self.path.clone(), source }.into()
    }

    /// After this nothing is written any more: the kernel reports a failed
    /// write once, and then shows the new bytes in memory as if they were safe.
    #[cold]
    fn poisoned_by(&self, action: &'static str, source: std::io::Error) -> crate::error::Error {
        self.poison(format!("{action}: {source}"));
        self.io_error(action, source)
    }

    /// Takes a transaction back. That fails only on an image that is damaged
    /// beyond use: in no known state then, so that nothing more is written.
    pub(crate) fn roll_back(&self, workspace: &mut Workspace) -> Result<()> {
        workspace.rollback().inspect_err(|error| self.poison_writer(error))
    }

    /// After a rollback that failed.
    #[cold]
    pub(crate) fn poison_writer(&self, cause: &crate::error::Error) {
        self.poison(format!("take a transaction back: {cause}"));
    }

    /// After what makes the file one that must not be written.
    #[cold]
    fn poisoned_because(&self, error: crate::error::Error) -> crate::error::Error {
        self.poison(error.to_string());
        error
    }

    /// For this process, and all that share the store.
    fn poison(&self, cause: String) {
        let _ = self.poison.set(cause);
        if let Some(sharing) = &self.sharing {
            sharing.page().poisoned.store(1, SeqCst);
        }
    }

    /// Refuses a store that was inherited from a parent process. Asked before any
    /// lock is taken: a thread that the child does not have may hold it.
    #[inline]
    pub(crate) fn expect_own_process(&self) -> Result<()> {
        if self.birth.is_same_process() { Ok(()) } else { Err(self.forked()) }
    }

    /// Whether this process opened the store.
    pub(crate) fn is_own_process(&self) -> bool {
        self.birth.is_same_process()
    }

    #[cold]
    fn forked(&self) -> crate::error::Error {
        ErrorKind::Forked { path: self.path.clone() }.into()
    }

    /// Refuses to write where an earlier write failed.
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
        // Poisons by itself.
        let _ = self.expect_connected(sharing);
    }

    /// After a reader has left an image that is not the current one. The images that are one too
    /// many are unmapped here, without the lock.
    pub(crate) fn reader_left(&self) {
        if self.is_own_process() {
            let surplus = lock(&self.pool).reader_left();
            drop(surplus);
        }
    }

    pub(crate) fn pool_stats(&self) -> PoolStats {
        lock(&self.pool).stats()
    }

    /// Log bytes in use, and the ring's length.
    pub(crate) fn log_use(&self) -> (u64, u64) {
        let log = lock(&self.log);
        (log.tail.appended - log.tail.start, log.tail.ring.len_bytes())
    }

    /// Log position up to which everything is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Acquire)
    }

    /// Waits until readers see more than at `seen`; whether they do.
    pub(crate) fn wait_for_commit(&self, seen: u64, at_most: Duration) -> Result<bool> {
        /// How long it sleeps before it looks whether a commit can still come.
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

    /// Log bytes that opening applied, since the store was not closed in order.
    pub(crate) fn replayed_bytes(&self) -> u64 {
        self.replayed_bytes
    }

    /// Length of the file.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        self.expect_own_process()?;
        self.disk.len_bytes().map_err(|source| self.io_error("look at the file's length", source))
    }

    /// The pages before the heap, while no superblock is being written.
    pub(crate) fn read_head(&self) -> Result<Vec<u8>> {
        let _turn = self.join_write_lock()?;
        let _checkpointer = lock(&self.checkpointer);
        recovery::read_head(&*self.disk, &self.path)
    }

    /// The random key of the store's hash tables.
    pub(crate) fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }
}

impl Checkpointer {
    fn checkpointed(&self) -> Checkpointed {
        Checkpointed::of(&self.last)
    }

    /// An image that began elsewhere would not tell of all pages to be written.
    fn drop_image_unless_at_last(&mut self) {
        let last = self.last.position.get();
        self.image.take_if(|image| image.position() != last);
    }

    fn drop_image_before(&mut self, position: u64) {
        self.image.take_if(|image| image.position() < position);
    }
}
