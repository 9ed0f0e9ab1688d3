//! The open store: its state, closing it, and the calls that concern the whole of it.

use std::path::Path;
use std::sync::Arc;

use crate::catalog::{KnownTypes, TypeNumbers};
use crate::deadline::Deadline;
use crate::engine::Core;
use crate::error::Result;
use crate::sync::Mutex;

use super::gate::Gate;
use super::options::{Checkpoints, Durability, OpenOptions};
use super::threads::{Background, Service, do_all_due_work};
use super::tidy::tidy;

/// An open store.
///
/// A store is locked while it is open: opening it again, in this process or another, fails.
/// Dropping the store closes it; [`close`](Self::close) also reports whether that succeeded.
///
/// Threads can share a store by reference or `Arc`. Any number of read transactions run in
/// parallel with one write transaction, and neither side waits for the other.
///
/// A store belongs to the process that opened it. In a forked child every call returns
/// [`ErrorKind::Forked`](crate::error::ErrorKind::Forked), and references borrowed from the store
/// before the fork are unmapped, so touching one kills the child. Dropping the store in a child
/// does nothing. `exec` closes its descriptors; a child that does not `exec` keeps the lock of a
/// killed parent until the child ends.
#[must_use = "a store closes when it is dropped: keep it, or call `close`, which reports errors"]
pub struct Store {
    pub(super) core: Arc<Core>,
    pub(super) types: KnownTypes,
    pub(super) numbers: Mutex<TypeNumbers>,
    pub(super) gate: Gate,
    pub(super) durability: Durability,
    checkpoints: Checkpoints,
    background: Background,
    /// Answers other processes that share the store.
    service: Service,
    is_closed: bool,
}

impl Store {
    /// Opens the store at `path`, and creates it if it does not exist. An empty file is turned
    /// into a store in place, and keeps its permissions.
    ///
    /// Under a file size limit (`RLIMIT_FSIZE`), the kernel sends SIGXFSZ to a program whose file
    /// would grow past the limit, which kills it. A program that ignores the signal gets an error
    /// (EFBIG) from that transaction instead, and can go on. Nothing is lost.
    ///
    /// ```
    /// # use flagstone::Store;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// // SAFETY: only flagstone changes this file.
    /// let store = unsafe { Store::open(&path)? };
    /// store.update(|tx| tx.alloc(3u64).and_then(|visits| tx.set_root("visits", visits)))?;
    /// drop(store);
    ///
    /// // SAFETY: as above.
    /// let store = unsafe { Store::open(&path)? };
    /// assert_eq!(*store.read()?.root_object::<u64>("visits")?, 3);
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    ///
    /// Only flagstone may change the file while it is open. References into the store point at its
    /// mapped pages: a change by another program would invalidate them behind Rust's back, and
    /// truncating the file would kill the process with SIGBUS. The store's lock keeps other
    /// flagstone processes out; it cannot stop a program that ignores the lock.
    ///
    /// # Errors
    ///
    /// The file at `path` is not a store, is locked, is damaged, or cannot be opened: see
    /// [`ErrorKind`](crate::error::ErrorKind). A file that is not a store is left unchanged.
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<Self> {
        // SAFETY: the caller gives the same promise.
        unsafe { OpenOptions::new().open(path) }
    }

    /// Creates a store in memory, without a file, for tests and scratch data. Dropping it discards
    /// all data.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let numbers = store.update(|tx| tx.alloc_slice([3u64, 1, 2]))?;
    /// store.update(|tx| tx.at_mut(numbers).map(|numbers| numbers.sort()))?;
    /// assert_eq!(store.read()?.at(numbers)?, [1, 2, 3]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Out of memory, or no random numbers for the store's keys.
    pub fn in_memory() -> Result<Self> {
        OpenOptions::new().open_in_memory()
    }

    /// Makes a store of an open core. `service` answers the processes that share it.
    pub(super) fn from_core(
        core: Arc<Core>,
        service: Service,
        durability: Durability,
        checkpoints: Checkpoints,
    ) -> Self {
        Self {
            core,
            types: KnownTypes::default(),
            numbers: Mutex::default(),
            gate: Gate::default(),
            durability,
            checkpoints,
            background: Background::default(),
            service,
            is_closed: false,
        }
    }

    /// Returns the path that the store was opened with; `(in memory)` for a store without a file.
    ///
    /// ```
    /// # use flagstone::{OpenOptions, Store};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("visits.flag");
    /// assert_eq!(OpenOptions::new().open_copy(&path)?.path(), path);
    /// assert_eq!(Store::in_memory()?.path().to_str(), Some("(in memory)"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        self.core.path()
    }

    /// Makes all commits so far durable, including [`Deferred`](Durability::Deferred) ones.
    ///
    /// ```
    /// # use flagstone::{Durability, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = OpenOptions::new().durability(Durability::Deferred).open_in_memory()?;
    /// for number in 0..100u64 {
    ///     store.update(|tx| tx.alloc(number).map(drop))?;
    /// }
    /// let visible = store.read()?.position();
    /// assert!(store.stats()?.durable_position < visible);
    /// store.sync()?; // one flush for a hundred commits
    /// assert!(store.stats()?.durable_position >= visible);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The flush failed; the store is now poisoned.
    pub fn sync(&self) -> Result<()> {
        self.core.sync()
    }

    /// Writes all commits so far into the heap in the file, and reclaims the log behind them.
    /// Commits and reads go on meanwhile. A checkpoint also runs automatically when the log fills
    /// up, as [`Checkpoints`] says, and when the store is closed.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # let store = flagstone::Store::in_memory()?;
    /// store.update(|tx| tx.alloc_slice([7u64; 100]).map(drop))?;
    /// assert!(store.stats()?.log_used_bytes > 0);
    /// store.checkpoint()?;
    /// assert_eq!(store.stats()?.log_used_bytes, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// A write failed; the store is now poisoned.
    pub fn checkpoint(&self) -> Result<()> {
        self.core.checkpoint()
    }

    /// Returns the random key of this store's hash tables, chosen when the store was created.
    ///
    /// ```
    /// # use flagstone::{OpenOptions, Store};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// let key = OpenOptions::new().open_copy(&path)?.hash_key();
    /// assert_eq!(OpenOptions::new().open_copy(&path)?.hash_key(), key);
    /// assert_ne!(Store::in_memory()?.hash_key(), key);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn hash_key(&self) -> [u8; 16] {
        self.core.hash_key()
    }

    /// Closes the store: runs a checkpoint, makes the log short again if it has grown under load, and
    /// shrinks the file to the size that it needs.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// let options = OpenOptions::new();
    /// let store = options.open_copy(&path)?;
    /// let error = options.open_copy(&path).unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::Locked { .. }));
    /// store.close()?;
    /// let store = options.open_copy(&path)?;
    /// assert_eq!(store.stats()?.replayed_bytes, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// A write failed. Durable data is safe: the next open recovers it from the log.
    pub fn close(mut self) -> Result<()> {
        self.close_inner()
    }

    fn close_inner(&mut self) -> Result<()> {
        self.is_closed = true;
        self.background.stop();
        let left = self.core.detach(tidy);
        self.service.stop(&self.core);
        self.core.release_slot();
        left
    }

    /// Waits for a checkpoint that gives memory back, before a transaction begins. Returns whether
    /// it may begin before the deadline.
    pub(super) fn wait_for_memory(&self, deadline: Deadline) -> Result<bool> {
        self.core.wait_for_memory(deadline, || match self.checkpoints {
            Checkpoints::Background => {
                self.background.request_checkpoint_to_wait_for(&self.core, deadline)
            }
            Checkpoints::ByCommits => self.core.checkpoint_if_due(deadline),
        })
    }

    /// Returns the pages that are noted as changed since the last checkpoint, and those that a scan
    /// of the log finds; see `sim::dirty_pages`.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn noted_and_scanned_pages(&self) -> Result<[crate::image::PageSet; 2]> {
        let _tx = self.write()?;
        self.core.noted_and_scanned_pages()
    }

    /// Moves the log to a region of `bytes`; see `sim::grow_log`.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn grow_log(&self, bytes: u64) -> Result<()> {
        let mut tx = self.write()?;
        if self.core.log_use().1 >= bytes {
            return Ok(());
        }
        super::log_move::grow_at_once(&self.core, &mut tx.writer.writer, bytes).map(drop)
    }

    /// Has a checkpoint run, or the log moved, after a commit that found the log filling up.
    pub(super) fn start_due_work(&self) {
        match self.checkpoints {
            Checkpoints::Background => self.background.wake(&self.core),
            // The commit stands. If the checkpoint failed, the next commit retries it, or the
            // store is poisoned and the next commit reports that.
            Checkpoints::ByCommits => drop(do_all_due_work(&self.core)),
        }
    }

    /// Has an image made for readers, after a commit that found none.
    #[cold]
    pub(super) fn start_standby(&self) {
        match self.checkpoints {
            Checkpoints::Background => self.background.wake(&self.core),
            Checkpoints::ByCommits => self.core.make_standby(),
        }
    }

    /// Has the thread look when to flush, after the first commit that the option `flush_every`
    /// concerns since the last flush.
    pub(super) fn start_flush_timer(&self) {
        self.background.wake(&self.core);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !self.core.is_own_process() {
            // The store is the parent's: the background threads do not run here, their locks may
            // be held for ever, and none of its memory may be released.
            std::mem::forget(std::mem::take(&mut self.background));
            std::mem::forget(std::mem::take(&mut self.service));
            std::mem::forget(Arc::clone(&self.core));
            return;
        }
        if !self.is_closed {
            // A caller that wants the error calls `close`. The log holds all durable data.
            let _ = self.close_inner();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Returns a store whose budget is used up by what the last commit changed.
    fn used_up() -> Result<Store> {
        let store = OpenOptions::new()
            .memory_budget_bytes(1 << 20)
            .log_bytes(16 << 20)
            .checkpoints(Checkpoints::ByCommits)
            .open_in_memory()?;
        let array = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1 << 18))?;
        store.checkpoint()?;
        let mut tx = store.write()?;
        tx.at_mut(array)?.fill(7);
        // Nobody waits for it, so nobody runs the checkpoint that is due.
        drop(tx.commit_later()?);
        assert!(store.core.must_wait_for_memory());
        Ok(store)
    }

    #[test]
    #[cfg_attr(miri, ignore = "it waits")]
    fn a_transaction_gets_an_error_if_no_checkpoint_gives_memory_back() -> Result<()> {
        let store = used_up()?;
        let hanging = store.core.hang_checkpoint();
        let error = store.core.wait_for_memory(Deadline::NEVER, || Ok(())).unwrap_err();
        drop(hanging);
        let ErrorKind::MemoryBudget { budget_bytes, private_bytes, .. } = error.kind() else {
            return Err(error);
        };
        assert_eq!(*budget_bytes, 1 << 20);
        assert!(*private_bytes >= 2 << 20, "{private_bytes}");
        // It can be tried again.
        store.update(|tx| tx.alloc(1u64).map(drop))?;
        assert!(!store.core.must_wait_for_memory());
        Ok(())
    }

    /// As behind a thread whose reader report waits for this one.
    #[test]
    fn an_order_that_nobody_follows_is_carried_out_by_who_waits() -> Result<()> {
        let store = used_up()?;
        assert!(store.core.wait_for_memory(Deadline::NEVER, || Ok(()))?);
        assert!(!store.core.must_wait_for_memory());
        Ok(())
    }

    #[test]
    fn a_failed_checkpoint_is_the_waiting_transactions_error() -> Result<()> {
        let store = used_up()?;
        let failed = || Err(ErrorKind::SavepointGone.into());
        let error = store.core.wait_for_memory(Deadline::NEVER, failed).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::SavepointGone));
        Ok(())
    }

    /// Tries again and again without waiting, until a transaction begins.
    fn try_until_it_begins(store: &Store) -> Result<u64> {
        for tries in 1..10_000 {
            if let Some(tx) = store.try_write()? {
                tx.commit()?;
                return Ok(tries);
            }
            crate::sync::sleep(std::time::Duration::from_millis(1));
        }
        panic!("no transaction ever begins");
    }

    #[test]
    #[cfg_attr(miri, ignore = "it waits")]
    fn who_does_not_wait_for_memory_is_refused_meanwhile_and_comes_in_later() -> Result<()> {
        let store = used_up()?;
        let hanging = store.core.hang_checkpoint();
        assert!(store.try_write()?.is_none());
        assert!(store.write_timeout(std::time::Duration::from_millis(20))?.is_none());
        drop(hanging);
        // The thread that tries runs the checkpoints, or asks another one to.
        try_until_it_begins(&store)?;
        assert!(!store.core.must_wait_for_memory());
        Ok(())
    }

    /// No checkpoint gives memory back that snapshots hold: what is left is needed.
    #[test]
    #[cfg_attr(miri, ignore = "it waits")]
    fn who_does_not_wait_for_memory_comes_in_though_no_checkpoint_gives_any_back() -> Result<()> {
        for checkpoints in [Checkpoints::Background, Checkpoints::ByCommits] {
            let options = OpenOptions::new().memory_budget_bytes(1 << 20).log_bytes(16 << 20);
            let store = options.checkpoints(checkpoints).open_in_memory()?;
            let array = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1 << 18))?;
            store.checkpoint()?;
            let held = store.read()?;
            store.update(|tx| {
                tx.at_mut(array)?.fill(7);
                Ok(())
            })?;
            for _ in 0..3 {
                try_until_it_begins(&store)?;
            }
            assert_eq!(held.at(array)?[0], 0);
        }
        Ok(())
    }
}
