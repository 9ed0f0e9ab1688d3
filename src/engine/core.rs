//! An open store below its allocator: what all steps of the protocol share.
//!
//! **Owns** the locks with what they guard, and the positions that threads read without a lock.
//! **Must not know** the steps: each is an `impl Core` in the file of its subject, and imports this
//! one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::checkpoint_progress::CheckpointProgress;
use super::deferred::OldestDeferred;
use super::flush_leader::FlushLeader;
use super::pace::Pace;
use super::poison::Poison;
use super::settings::Settings;
use super::sharing::state::Sharing;
use super::state::{Checkpointer, EndOfLog, LogState, Writer};
use crate::disk::{Disk, FileSize};
use crate::error::{Error, ErrorKind, Result, io_error};
use crate::format::coordination::Event;
use crate::image::{Account, Pool};
use crate::log::LogSource;
use crate::map::ForkGuard;
use crate::mutation::Mutation;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire};
use crate::sync::{Condvar, Mutex, lock};

/// An open store below its allocator.
pub(crate) struct Core {
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) growth: Arc<FileSize>,
    pub(super) settings: Settings,
    /// A copy outside the superblocks: reading the key must not wait for a checkpoint, nor block
    /// forever in a forked child.
    pub(super) hash_key: [u8; 16],
    pub(super) writer: Mutex<Writer>,
    pub(super) checkpointer: Mutex<Checkpointer>,
    pub(super) flush_leader: FlushLeader,
    pub(super) pool: Pool,
    pub(super) log: Mutex<LogState>,
    /// Notified, with `log`, when a commit that waits for space in the log should look again.
    pub(super) log_freed: Condvar,
    /// Copies of `Tail::visible` and `Tail::durable` that are read without the lock.
    pub(super) visible: AtomicU64,
    pub(super) durable: AtomicU64,
    /// The position up to which the heap in the file is complete: the superblocks'.
    pub(super) checkpointed: AtomicU64,
    /// The checkpoint after which the writer's image last released memory. Changed under the writer's
    /// lock.
    pub(super) released_at: AtomicU64,
    /// The private memory of the store's images.
    pub(super) account: Arc<Account>,
    /// What transactions that wait for memory see of checkpoints.
    pub(super) progress: CheckpointProgress,
    /// Whether a checkpoint ran since long readers were last reported to the program.
    pub(super) readers_unreported: AtomicBool,
    pub(super) pace: Pace,
    pub(super) deferred: OldestDeferred,
    pub(super) poison: Poison,
    pub(super) fork_guard: ForkGuard,
    pub(super) opened_at: SystemTime,
    /// Notified when more becomes visible, in a store that only this process has open.
    pub(super) event: Event,
    /// The other processes, in a store that several have open.
    pub(super) sharing: Option<Sharing>,
    /// Log bytes that opening replayed because the store was not closed cleanly.
    pub(super) replayed_bytes: u64,
    /// The longest record that always fits into the ring; longer ones are spilled.
    pub(super) max_record_bytes: AtomicU64,
}

impl Core {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the random key of the store's hash tables.
    pub(crate) fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }

    /// Returns the log bytes that opening replayed because the store was not closed cleanly.
    pub(crate) fn replayed_bytes(&self) -> u64 {
        self.replayed_bytes
    }

    /// Returns the log position up to which everything is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Acquire)
    }

    /// Returns the log bytes in use, and the ring's length.
    pub(crate) fn log_use(&self) -> (u64, u64) {
        if let Some(sharing) = &self.sharing {
            // If that fails, the length that this process knows is told.
            let _ = self.follow_ring(sharing);
        }
        let log = lock(&self.log);
        (log.tail.appended - log.tail.start, log.tail.ring.len_bytes())
    }

    pub(super) fn log_source(&self) -> LogSource {
        LogSource { ring: Arc::clone(&lock(&self.log).tail.ring), disk: Arc::clone(&self.disk) }
    }

    pub(super) fn end_of_log(&self) -> EndOfLog {
        lock(&self.log).end()
    }

    /// Returns random numbers for epochs and keys.
    pub(super) fn random(&self) -> Result<u64> {
        self.disk.random().map_err(self.io_error("get random numbers"))
    }

    /// Returns a function that turns the system's answer to `action` into an error.
    pub(super) fn io_error(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        io_error(action, &self.path)
    }

    /// Refuses a store that was inherited from a parent process. Call it before any lock is taken:
    /// the lock's holder may be a thread that the child does not have.
    #[inline]
    pub(crate) fn expect_own_process(&self) -> Result<()> {
        if self.fork_guard.is_same_process() { Ok(()) } else { Err(self.forked()) }
    }

    /// Returns whether this process opened the store.
    pub(crate) fn is_own_process(&self) -> bool {
        self.fork_guard.is_same_process()
    }

    #[cold]
    fn forked(&self) -> Error {
        ErrorKind::Forked { path: self.path.clone() }.into()
    }

    /// Returns whether a test has enabled this mutation.
    pub(super) fn mutation(&self, mutation: Mutation) -> bool {
        self.settings.mutation.has(mutation)
    }

    /// Takes a step of the protocol that `mutation` leaves out.
    #[inline]
    pub(super) fn unless(
        &self,
        mutation: Mutation,
        step: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.mutation(mutation) { Ok(()) } else { step() }
    }

    /// Takes two steps of the protocol, whose order `mutation` reverses.
    #[inline]
    pub(super) fn in_order(
        &self,
        mutation: Mutation,
        first: impl FnOnce() -> Result<()>,
        second: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.mutation(mutation) {
            second()?;
            return first();
        }
        first()?;
        second()
    }
}
