//! Options about the disk: when commits are flushed, how long the file may be, what lies beside it, how it
//! is read.

use std::time::Duration;

use crate::engine::new_file_bytes;
use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;

use super::access_pattern::AccessPattern;
use super::options::{Checkpoints, LOG_BYTES, OpenOptions};

impl OpenOptions {
    /// Bounds how long a [`Deferred`](super::Durability::Deferred) commit stays in memory alone: a
    /// thread of the store flushes when the oldest one is that old. A power cut then takes away at
    /// most the commits of the last `interval`, and of the time that the flush takes. Default: no
    /// bound but the next durable commit, [`Store::sync`](super::Store::sync) or checkpoint.
    ///
    /// It needs [`Checkpoints::Background`], since a flush is due even if no commit follows.
    ///
    /// ```
    /// # use std::{thread::sleep, time::Duration};
    /// # use flagstone::{Durability, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let interval = Duration::from_millis(10);
    /// let options = OpenOptions::new().durability(Durability::Deferred).flush_every(interval);
    /// let store = options.open_in_memory()?;
    /// store.update(|tx| tx.alloc(1u64).map(drop))?;
    /// let position = store.read()?.position();
    /// while store.stats()?.durable_position < position {
    ///     sleep(interval);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn flush_every(mut self, interval: Duration) -> Self {
        self.flush_every = Some(interval);
        self
    }

    /// Bounds the length of the file, in bytes. A transaction that would make it longer gets
    /// [`ErrorKind::FileLimitReached`]; it can be rolled back, and what it frees or what others free
    /// can be used again. Transactions larger than the log, and the log's own growth, need space
    /// past the end of the heap for a time. A file that is longer already is opened, and does not
    /// grow. Default: no bound.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = OpenOptions::new().max_file_bytes(8 << 20).open_in_memory()?;
    /// let error = store.update(|tx| tx.alloc_slice_zeroed::<u8>(8 << 20)).unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::FileLimitReached { .. }));
    /// store.update(|tx| tx.alloc_slice_zeroed::<u8>(1 << 20).map(drop))?;
    /// assert!(store.stats()?.file_bytes <= 8 << 20);
    /// # Ok(()) }
    /// ```
    pub fn max_file_bytes(mut self, max_file_bytes: u64) -> Self {
        self.max_file_bytes = max_file_bytes;
        self
    }

    /// Sets the length up to which the log of a [shared](Self::open_shared) store grows while a process
    /// that holds a snapshot is stopped. Nothing of the log can be freed meanwhile, and commits go on; at
    /// this length they get [`ErrorKind::LogBlocked`]. When the process goes on, or is gone, the log gets
    /// its usual length back. At most 1 GiB. Default: [`max_log_bytes`](Self::max_log_bytes), or an eighth
    /// of the disk's free space if that is more. With 0, the log does not grow then.
    ///
    /// ```
    /// # use flagstone::OpenOptions;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// let options = OpenOptions::new().max_blocked_log_bytes(256 << 20);
    /// // SAFETY: only flagstone changes this file.
    /// let store = unsafe { options.open_shared(&path)? };
    /// assert_eq!(store.stats()?.log_bytes, 1 << 20, "nobody is stopped");
    /// # Ok(()) }
    /// ```
    pub fn max_blocked_log_bytes(mut self, max_blocked_log_bytes: u64) -> Self {
        self.max_blocked_log_bytes = Some(max_blocked_log_bytes);
        self
    }

    /// Bounds the temporary files that hold the old content of pages for readers. A snapshot that is held
    /// keeps each page that changes meanwhile; beyond half of the
    /// [memory budget](Self::memory_budget_bytes), pages go to a file without a name in the store's
    /// folder, as long as the snapshot at most, and until it ends. So one snapshot takes at most
    /// the heap's length there. Where that is not possible, the pages stay in memory:
    /// [`Stats::is_spill_refused`](super::Stats::is_spill_refused) says so. Default: half of the space
    /// that is free. With 0, nothing is spilled, as nothing is for stores that are in memory themselves.
    ///
    /// ```
    /// # use flagstone::{Durability, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("large.flag");
    /// let options = OpenOptions::new().memory_budget_bytes(1 << 20).max_spill_bytes(1 << 30);
    /// // SAFETY: only flagstone changes this file.
    /// let store = unsafe { options.durability(Durability::Deferred).open(&path)? };
    /// let numbers = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1 << 20))?; // 8 MiB
    /// let held = store.read()?;
    /// store.update(|tx| tx.at_mut(numbers).map(|numbers| numbers.fill(7)))?;
    /// store.checkpoint()?;
    /// let stats = store.stats()?;
    /// assert!(stats.spilled_bytes >= 6 << 20 || stats.is_spill_refused);
    /// assert_eq!(held.at(numbers)?[..3], [0; 3]);
    /// # Ok(()) }
    /// ```
    pub fn max_spill_bytes(mut self, max_spill_bytes: u64) -> Self {
        self.spill_limits.max_bytes = Some(max_spill_bytes);
        self
    }

    /// Sets how many pages are spilled as one run, so that tests need few of them. Default: 512, more in
    /// a heap of more than 8 GiB.
    ///
    /// ```
    /// # use flagstone::{OpenOptions, sim::SimDisk};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let options = OpenOptions::new().memory_budget_bytes(0).spill_run_pages(4);
    /// let (store, _disk) = SimDisk::create(&options)?;
    /// assert_eq!(store.stats()?.spilled_bytes, 0, "nothing is held");
    /// # Ok(()) }
    /// ```
    #[cfg(any(test, feature = "sim"))]
    pub fn spill_run_pages(mut self, pages: u64) -> Self {
        self.spill_limits.run_pages = Some(pages);
        self
    }

    /// Sets how the program accesses the store. It changes no result, only the speed of access to
    /// what is not in memory. Default: [`AccessPattern::Auto`].
    ///
    /// ```
    /// # use flagstone::{AccessPattern, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let options = OpenOptions::new().access_pattern(AccessPattern::Random);
    /// let store = options.open_in_memory()?;
    /// let visits = store.update(|tx| tx.alloc(1u64))?;
    /// assert_eq!(store.read()?.read(visits)?, 1);
    /// # Ok(()) }
    /// ```
    pub fn access_pattern(mut self, access_pattern: AccessPattern) -> Self {
        self.access_pattern = access_pattern;
        self
    }

    /// Refuses options that contradict each other.
    pub(super) fn expect_consistent(&self) -> Result<()> {
        if self.flush_every.is_none() || self.checkpoints == Checkpoints::Background {
            return Ok(());
        }
        let why = "it needs a thread of the store's own, `Checkpoints::Background`".to_string();
        Err(ErrorKind::BadOption { option: "flush_every", why }.into())
    }

    /// Refuses to create a store whose file would be too long from the start.
    pub(super) fn expect_room_for_new_store(&self, log_bytes: u64) -> Result<()> {
        let needed = new_file_bytes(log_bytes);
        if needed <= self.max_file_bytes {
            return Ok(());
        }
        let why = format!(
            "a new store with a log of {log_bytes} bytes takes {needed}, not {}",
            self.max_file_bytes
        );
        Err(ErrorKind::BadOption { option: "max_file_bytes", why }.into())
    }

    /// Returns the log's length, in whole pages; refuses one that is too short or too long.
    pub(super) fn rounded_log_bytes(&self) -> Result<u64> {
        if LOG_BYTES.contains(&self.log_bytes) {
            return Ok(self.log_bytes.next_multiple_of(PAGE_BYTES));
        }
        let (least, most) = (LOG_BYTES.start(), LOG_BYTES.end());
        let why = format!("{} is not between {least} and {most}", self.log_bytes);
        Err(ErrorKind::BadOption { option: "log_bytes", why }.into())
    }

    /// Returns the same of an opening that does not refuse one, since it creates no log.
    pub(super) fn usable_log_bytes(&self) -> u64 {
        let log_bytes = self.log_bytes.clamp(*LOG_BYTES.start(), *LOG_BYTES.end());
        log_bytes.next_multiple_of(PAGE_BYTES)
    }
}
