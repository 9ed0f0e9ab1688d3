//! The face: stores, transactions, options, figures.
//!
//! **Owns** what a user of the crate sees and holds. **Must not know** bytes of
//! the file: everything goes through the layers below.

#![deny(unsafe_code)]

mod check;
mod commit;
mod gate;
mod log_move;
mod open;
mod options;
mod place;
mod raw_alloc;
mod read;
mod release;
mod roots;
mod savepoint;
mod service;
mod stats;
mod threads;
mod validated;
mod wait;
mod write;

use std::path::Path;
use std::sync::Arc;

use crate::catalog::{KnownTypes, TypeNumbers};
use crate::disk::{Coordination, Disk};
use crate::engine::{Core, Settings};
use crate::error::{ErrorKind, Result};
use crate::sync::Mutex;

pub use commit::PendingCommit;
use gate::Gate;
pub use options::{Checkpoints, Durability, OpenOptions};
pub(crate) use raw_alloc::Region;
pub use read::{OwnedReadTx, ReadTx, Snapshot};
pub use savepoint::Savepoint;
use service::Service;
pub use stats::{PagesByUse, Stats};
use threads::Background;
pub use write::WriteTx;

/// An open store.
///
/// It is locked while it is open: a second opening, in this process or another,
/// fails. Dropping it closes it; [`close`](Self::close) does the same and says
/// whether it went well.
///
/// A store can be shared between threads by reference or `Arc`. Any number of
/// read transactions run beside one write transaction, and neither waits for
/// the other.
///
/// A store belongs to the process that opened it: in a forked child every call is
/// [`ErrorKind::Forked`](crate::error::ErrorKind::Forked), and what was borrowed from it before is
/// no longer mapped, so that touching it ends the child. Dropping it there does nothing.
/// Descriptors are closed by `exec`; a child that does not `exec` keeps the lock of a parent
/// that is killed until it ends itself.
#[must_use = "a store is closed where it is dropped: keep it, or call `close`, which says whether it went well"]
pub struct Store {
    core: Arc<Core>,
    types: KnownTypes,
    numbers: Mutex<TypeNumbers>,
    gate: Gate,
    durability: Durability,
    checkpoints: Checkpoints,
    background: Background,
    /// Answers other processes that share the store.
    service: Service,
    is_closed: bool,
}

impl Store {
    /// Opens the store at `path`, and creates it if there is none. An empty file becomes a
    /// store, as the same file with the same permissions.
    ///
    /// Where the length of files is limited (`RLIMIT_FSIZE`), the kernel sends SIGXFSZ to a program
    /// whose file would grow past the limit, which ends it. A program that ignores the signal
    /// gets an error from that transaction instead (EFBIG), and can go on. Nothing is lost.
    ///
    /// # Safety
    ///
    /// Nothing but flagstone may change the file while it is open. References
    /// into the store point at mapped pages of it; a change from outside would
    /// be one behind Rust's back, and cutting the file would end the process
    /// with SIGBUS. The store's lock keeps other flagstones out; it cannot keep
    /// a program out that does not ask.
    ///
    /// # Errors
    ///
    /// What stands at `path` is no store, is locked, is damaged, or cannot be
    /// opened: see [`ErrorKind`](crate::error::ErrorKind). A file that is not a store
    /// is left as it is.
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Self> {
        // SAFETY: the caller's promise is the same.
        unsafe { OpenOptions::new().open(path) }
    }

    /// A store in memory, without a file: for tests and scratch. It is gone
    /// when it is dropped.
    ///
    /// # Errors
    ///
    /// No memory, or no random numbers for its keys.
    pub fn in_memory() -> Result<Self> {
        OpenOptions::new().open_in_memory()
    }

    fn start(
        disk: Arc<dyn Disk>,
        path: &Path,
        settings: Settings,
        durability: Durability,
        checkpoints: Checkpoints,
    ) -> Result<Self> {
        let core = Arc::new(Core::open(disk, path, settings)?);
        Ok(Self::from_core(core, Service::default(), durability, checkpoints))
    }

    fn start_shared(
        disk: Arc<dyn Disk>,
        coordination: Box<dyn Coordination>,
        path: &Path,
        settings: Settings,
        durability: Durability,
        checkpoints: Checkpoints,
    ) -> Result<Self> {
        let core = Arc::new(Core::open_shared(disk, coordination, path, settings)?);
        let service = Service::begin(&core).map_err(|source| ErrorKind::Io {
            action: "start a thread that answers other processes",
            path: path.to_path_buf(),
            source,
        })?;
        let store = Self::from_core(core, service, durability, checkpoints);
        store.core.finish_attach()?;
        Ok(store)
    }

    fn from_core(
        core: Arc<Core>,
        service: Service,
        durability: Durability,
        checkpoints: Checkpoints,
    ) -> Self {
        Self {
            core,
            types: KnownTypes::default(),
            numbers: Default::default(),
            gate: Gate::default(),
            durability,
            checkpoints,
            background: Background::default(),
            service,
            is_closed: false,
        }
    }

    /// The path that the store was opened with; empty for one in memory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.core.path()
    }

    /// Makes all commits so far durable: those that were
    /// [`Deferred`](Durability::Deferred) as well.
    ///
    /// # Errors
    ///
    /// The flush failed; the store is poisoned then.
    pub fn sync(&self) -> Result<()> {
        self.core.sync()
    }

    /// Brings the heap in the file up to everything committed so far, and frees
    /// the log behind. Commits and reads go on meanwhile. It happens by itself
    /// when the log fills up, as [`Checkpoints`] says, and when the store is closed.
    ///
    /// # Errors
    ///
    /// A write failed; the store is poisoned then.
    pub fn checkpoint(&self) -> Result<()> {
        self.core.checkpoint()
    }

    /// The random key of this store's hash tables, chosen when it was created.
    #[must_use]
    pub fn hash_key(&self) -> [u8; 16] {
        self.core.hash_key()
    }

    /// Closes the store: a checkpoint, then the file is cut to what it needs.
    ///
    /// # Errors
    ///
    /// A write failed. Nothing that was durable is lost: the next opening
    /// recovers it from the log.
    pub fn close(mut self) -> Result<()> {
        self.close_inner()
    }

    fn close_inner(&mut self) -> Result<()> {
        self.is_closed = true;
        self.background.stop();
        let left = self.core.detach();
        self.service.stop(&self.core);
        self.core.release_slot();
        left
    }

    /// After a commit that found the log filling up.
    fn checkpoint_due(&self) {
        match self.checkpoints {
            Checkpoints::Background => self.background.checkpoint(&self.core),
            // The commit stands. A checkpoint that failed is tried again by the next
            // commit, or has poisoned the store, which that one will tell.
            Checkpoints::ByCommits => drop(self.core.checkpoint_if_idle()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !self.core.is_own_process() {
            // The parent's: its thread is not here, its locks may be held for ever, and
            // nothing of it may be given back.
            std::mem::forget(std::mem::take(&mut self.background));
            std::mem::forget(std::mem::take(&mut self.service));
            std::mem::forget(Arc::clone(&self.core));
            return;
        }
        if !self.is_closed {
            // Whoever wants to know calls `close`. What is in the log is safe.
            let _ = self.close_inner();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}
