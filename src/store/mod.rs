//! The face: stores, transactions, options, figures.
//!
//! **Owns** what a user of the crate sees and holds. **Must not know** bytes of
//! the file: everything goes through the layers below.

#![deny(unsafe_code)]

mod blocks;
mod log_growth;
mod options;
mod read;
mod release;
mod savepoint;
mod stats;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::catalog::{CheckedTypes, TypeNumbers};
use crate::check::{self, Report};
use crate::disk::Disk;
use crate::engine::{Core, Settings};
use crate::error::Result;

pub(crate) use blocks::Area;
pub use options::{Durability, OpenOptions};
pub use read::ReadTx;
pub use savepoint::Savepoint;
pub use stats::{PagesByUse, Stats};
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
pub struct Store {
    core: Core,
    checked: CheckedTypes,
    numbers: std::sync::Mutex<TypeNumbers>,
    /// Which thread has the write transaction; 0 for none.
    writer_thread: AtomicU64,
    durability: Durability,
    is_closed: bool,
}

impl Store {
    /// Opens the store at `path`, and creates it if there is none.
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
    /// opened: see [`ErrorKind`](crate::ErrorKind). A file that is not a store
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
    ) -> Result<Self> {
        Ok(Self {
            core: Core::open(disk, path, settings)?,
            checked: CheckedTypes::default(),
            numbers: Default::default(),
            writer_thread: AtomicU64::new(0),
            durability,
            is_closed: false,
        })
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
    /// when the log fills up, and when the store is closed.
    ///
    /// # Errors
    ///
    /// A write failed; the store is poisoned then.
    pub fn checkpoint(&self) -> Result<()> {
        self.core.checkpoint()
    }

    /// Looks through the whole store for damage: superblocks, page sums, the
    /// allocator's structures against each other, types and roots. Then follows
    /// all links from the roots on, by the types' descriptions in the store, and
    /// lists allocations that no root reaches and links that dangle; these are no
    /// damage. Linear in the store's size, in time; takes memory for a bitmap of
    /// up to 2.4 % of what the roots reach.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// store.update(|tx| tx.alloc(7u64).map(drop))?;
    /// let report = store.check()?;
    /// assert!(report.is_clean());
    /// assert_eq!(report.unreachable.allocations, 1);
    /// assert_eq!(report.unreachable.listed[0].type_name, "u64");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Only if it could not look; what it finds is in the report.
    pub fn check(&self) -> Result<Report> {
        let image = self.core.snapshot()?;
        Ok(check::run(&image))
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
        self.is_closed = true;
        self.core.close()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !self.is_closed {
            // Whoever wants to know calls `close`. What is in the log is safe.
            let _ = self.core.close();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}
