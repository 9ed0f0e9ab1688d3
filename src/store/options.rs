//! Options of opening a store.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Access, Settings};
use crate::format::PAGE_BYTES;
use crate::image::{Budget, LinkChecks, LongReader, ReaderReport, SpillLimits};
use crate::map::machine_page_shift;
use crate::mutation::ActiveMutation;

use super::access_pattern::AccessPattern;

/// Recovery keeps this part of the memory budget for changed pages, and at least these bytes.
const ROUND_SHARE: u64 = 2;
const MIN_ROUND_BYTES: u64 = 8 << 20;

/// Shortest and longest log, in bytes.
pub(super) const LOG_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=1 << 30;

/// When a commit becomes durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Before `commit` returns: `commit` waits for `msync(MS_SYNC)`.
    #[default]
    Durable,
    /// Survives the death of the process at once, and a power cut from the next durable commit,
    /// [`Store::sync`](super::Store::sync) or checkpoint on. A power cut before that leaves an earlier committed
    /// state, never a mixture.
    Deferred,
}

/// Who runs the checkpoint when the log fills up.
///
/// In both modes a commit that finds no space in the log waits for a checkpoint, which bounds the
/// log's length and the time of recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checkpoints {
    /// A background thread of the store, started when it is first needed: no commit pays for a
    /// checkpoint. It starts one when half of the log is used, which leaves the other half to
    /// commits meanwhile.
    #[default]
    Background,
    /// The thread whose commit finds three quarters of the log used, after that commit. For
    /// programs that must not have threads they did not start, and that call [`Store::checkpoint`](super::Store::checkpoint)
    /// when it suits them.
    ByCommits,
}

impl Checkpoints {
    fn eighths_of_log(self) -> u64 {
        match self {
            Self::Background => 4,
            Self::ByCommits => 6,
        }
    }
}

/// Options of opening a store.
///
/// ```
/// use flagstone::{Durability, OpenOptions};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = OpenOptions::new()
///     .log_bytes(4 << 20)
///     .durability(Durability::Deferred)
///     .open_in_memory()?;
/// assert_eq!(store.stats()?.log_bytes, 4 << 20);
/// # Ok(()) }
/// ```
#[must_use = "options do nothing by themselves: call `open` or one of its variants"]
#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub(super) create: bool,
    pub(super) log_bytes: u64,
    max_log_bytes: u64,
    pub(super) max_blocked_log_bytes: Option<u64>,
    memory_budget_bytes: Option<u64>,
    round_pages: Option<u64>,
    pub(super) durability: Durability,
    pub(super) checkpoints: Checkpoints,
    max_snapshots: usize,
    reader_report: Option<ReaderReport>,
    link_checks: LinkChecks,
    pub(super) verify: bool,
    salvage: bool,
    pub(super) assume_local: bool,
    pub(super) flush_every: Option<Duration>,
    pub(super) max_file_bytes: u64,
    pub(super) access_pattern: AccessPattern,
    pub(super) spill_limits: SpillLimits,
    pub(super) mutation: ActiveMutation,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            create: true,
            log_bytes: 1 << 20,
            max_log_bytes: 64 << 20,
            max_blocked_log_bytes: None,
            memory_budget_bytes: None,
            round_pages: None,
            durability: Durability::Durable,
            checkpoints: Checkpoints::Background,
            max_snapshots: 1000,
            reader_report: None,
            link_checks: LinkChecks::default(),
            verify: false,
            salvage: false,
            assume_local: false,
            flush_every: None,
            max_file_bytes: u64::MAX,
            access_pattern: AccessPattern::Auto,
            spill_limits: SpillLimits::default(),
            mutation: ActiveMutation::default(),
        }
    }
}

impl OpenOptions {
    /// Returns the defaults that each method names.
    ///
    /// ```
    /// # use flagstone::OpenOptions;
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = OpenOptions::new().open_in_memory()?;
    /// assert_eq!(store.stats()?.log_bytes, 1 << 20);
    /// # Ok(()) }
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to create a store if the file does not exist, is empty (as
    /// `tempfile::NamedTempFile` leaves it), or holds a store whose creation was interrupted. An
    /// existing file keeps its identity and its permissions. Default: yes.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// let error = OpenOptions::new().create(false).open_copy(&path).unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::NoSuchFile { .. }));
    /// OpenOptions::new().open_copy(&path)?.close()?;
    /// assert!(OpenOptions::new().create(false).open_copy(&path).is_ok());
    /// # Ok(()) }
    /// ```
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets the length of a new store's log, from 64 KiB to 1 GiB, rounded up to whole pages.
    /// Default: 1 MiB. A longer log of an existing store gets this length when the store is closed
    /// after a write; a shorter one stays. (The log of a store that is shared stays as it is.)
    ///
    /// A longer log makes checkpoints rarer, so a page that changes often is written less often;
    /// but recovery after a crash takes longer.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// let options = OpenOptions::new().log_bytes(64 * 1024);
    /// options.open_copy(&path)?.close()?;
    /// let store = OpenOptions::new().log_bytes(4 << 20).open_copy(&path)?;
    /// assert_eq!(store.stats()?.log_bytes, 64 * 1024); // it keeps its log
    ///
    /// let error = OpenOptions::new().log_bytes(100).open_in_memory().unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::BadOption { option: "log_bytes", .. }));
    /// # Ok(()) }
    /// ```
    pub fn log_bytes(mut self, log_bytes: u64) -> Self {
        self.log_bytes = log_bytes;
        self
    }

    /// Sets the length up to which the log grows under load: when it makes a checkpoint due less than a
    /// second after the last one, it becomes up to sixteen times as long. It takes at most a quarter of
    /// the heap, or 16 MiB if that is more, and an eighth of the disk's free space. Default: 64 MiB.
    ///
    /// ```
    /// # use flagstone::OpenOptions;
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let options = OpenOptions::new().log_bytes(64 * 1024);
    /// for max_log_bytes in [64 * 1024, 256 * 1024] {
    ///     let store = options.clone().max_log_bytes(max_log_bytes).open_in_memory()?;
    ///     let numbers = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1 << 19))?;
    ///     for round in 1..100 {
    ///         store.update(|tx| tx.at_mut(numbers).map(|numbers| numbers[..1000].fill(round)))?;
    ///     }
    ///     assert!(store.stats()?.log_bytes <= max_log_bytes);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn max_log_bytes(mut self, max_log_bytes: u64) -> Self {
        self.max_log_bytes = max_log_bytes;
        self
    }

    /// Sets how much memory the store's images may take for changed pages: those of the write
    /// transaction, of readers, and of the checkpoint. Stores that do not set it share one budget.
    /// Default: a quarter of the memory that the process may use, from 16 MiB to 2 GiB. That is the
    /// least of the machine's memory, the limits of its control groups (`memory.max`,
    /// `memory.high`, or those of version 1, also of their ancestors), and its resource limits.
    ///
    /// A checkpoint becomes due when a part of the budget is used. Once all of it is, the next
    /// transaction waits for the checkpoint before it begins. After a checkpoint, pages that equal
    /// the file's are released if they take more than a quarter of the budget; they cost a page
    /// fault when they are used again. [`Store::stats`](super::Store::stats) shows budget and use.
    ///
    /// Beyond the budget, memory is taken by what cannot be given back: 4096 bytes for each page
    /// that the open transaction changes or takes into use; and what readers hold beyond half of
    /// the budget, the old content of pages that changed since (`report_readers` finds them,
    /// `max_snapshots` limits them). A transaction whose record is longer than half of the log
    /// needs up to four times the memory of its pages, until it is committed. If the program locks
    /// its memory (`mlockall`), there is no bound. The page cache is not counted, nor is the file
    /// of a store in memory.
    ///
    /// Recovery keeps changed pages up to half of it, at least 8 MiB, before it writes them.
    /// [`open_read_only`](Self::open_read_only), which writes nothing, fails with
    /// [`ErrorKind::ReplayNeedsMemory`](crate::ErrorKind::ReplayNeedsMemory) if the log changes more pages than the budget holds.
    ///
    /// ```
    /// # use flagstone::OpenOptions;
    /// # fn main() -> Result<(), flagstone::Error> {
    /// for (budget, is_kept) in [(64 << 10, false), (256 << 20, true)] {
    ///     let store = OpenOptions::new().memory_budget_bytes(budget).open_in_memory()?;
    ///     let numbers = store.update(|tx| tx.alloc_slice_zeroed::<u64>(100_000))?;
    ///     drop(store.read()?);
    ///     store.update(|tx| tx.at_mut(numbers).map(|numbers| numbers[..50_000].fill(7)))?;
    ///     assert_eq!(store.read()?.at(numbers)?[0], 7); // in an image that keeps 98 pages
    ///     store.checkpoint()?;
    ///     assert_eq!(store.stats()?.private_bytes > 300_000, is_kept);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn memory_budget_bytes(mut self, memory_budget_bytes: u64) -> Self {
        self.memory_budget_bytes = Some(memory_budget_bytes);
        self
    }

    /// Sets the durability of commits that do not name one. Default: [`Durability::Durable`].
    ///
    /// ```
    /// # use flagstone::{Durability, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// for durability in [Durability::Durable, Durability::Deferred] {
    ///     let store = OpenOptions::new().durability(durability).open_in_memory()?;
    ///     store.update(|tx| tx.alloc(1u64).map(drop))?;
    ///     let is_durable = store.stats()?.durable_position >= store.read()?.position();
    ///     assert_eq!(is_durable, durability == Durability::Durable);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets who runs checkpoints. Default: [`Checkpoints::Background`].
    ///
    /// ```
    /// # use flagstone::{Checkpoints, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = OpenOptions::new().checkpoints(Checkpoints::ByCommits).open_in_memory()?;
    /// let numbers = store.update(|tx| tx.alloc_slice([0u64; 10_000]))?;
    /// for round in 1..50 {
    ///     store.update(|tx| tx.at_mut(numbers).map(|numbers| numbers.fill(round)))?;
    ///     let stats = store.stats()?;
    ///     assert!(stats.log_used_bytes < stats.log_bytes / 4 * 3);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = checkpoints;
        self
    }

    /// Limits how many snapshots of different states readers may hold at once. A reader that needs
    /// one more gets [`ErrorKind::TooManySnapshots`](crate::ErrorKind::TooManySnapshots), which says where the oldest one began.
    /// Readers of the same state share a snapshot. Default: 1000.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = OpenOptions::new().max_snapshots(1).open_in_memory()?;
    /// let (old, same) = (store.read()?, store.read()?);
    /// store.update(|tx| tx.alloc(1u64).map(drop))?;
    /// let error = store.read().err().expect("two states at once");
    /// assert!(matches!(error.kind(), ErrorKind::TooManySnapshots { held: 1, .. }));
    /// drop((old, same));
    /// assert!(store.read().is_ok());
    /// # Ok(()) }
    /// ```
    pub fn max_snapshots(mut self, max_snapshots: usize) -> Self {
        self.max_snapshots = max_snapshots.max(1);
        self
    }

    /// Calls `report` once for each reader that holds a snapshot for longer than `age`: after a
    /// checkpoint, on the thread that ran it, since an old snapshot starts to cost memory then. A
    /// reader that still sees the latest commit is not reported. In a [shared](Self::open_shared)
    /// store, checkpoints of other processes are reported after this process's next commit.
    ///
    /// ```
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let (sender, reports) = mpsc::channel();
    /// let store = flagstone::OpenOptions::new()
    ///     .report_readers(Duration::ZERO, move |reader| {
    ///         let _ = sender.send(format!("a reader from {} holds memory", reader.begun_at));
    ///     })
    ///     .open_in_memory()?;
    /// let (old, line) = (store.read()?, line!());
    /// store.update(|tx| tx.alloc(1u64).map(drop))?;
    /// let new = store.read()?;
    /// store.checkpoint()?;
    /// let report = reports.try_recv().expect("the old reader");
    /// assert!(report.contains(&format!(":{line}:")));
    /// # Ok(()) }
    /// ```
    pub fn report_readers(
        mut self,
        age: Duration,
        report: impl Fn(&LongReader) + Send + Sync + 'static,
    ) -> Self {
        self.reader_report = Some(ReaderReport { age, report: Arc::new(report) });
        self
    }

    /// Sets how much is checked when a link is followed for reading. Default: [`LinkChecks::Live`]
    /// in builds with debug assertions, else [`LinkChecks::Bounds`].
    ///
    /// ```
    /// # use flagstone::{ErrorKind, LinkChecks, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = OpenOptions::new().link_checks(LinkChecks::Live).open_in_memory()?;
    /// let seven = store.update(|tx| tx.alloc(7u64))?;
    /// store.update(|tx| tx.free(seven))?;
    /// let error = store.read()?.read(seven).unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::LinkNotLive { .. }));
    /// # Ok(()) }
    /// ```
    pub fn link_checks(mut self, link_checks: LinkChecks) -> Self {
        self.link_checks = link_checks;
        self
    }

    /// Sets whether opening checks the whole store, as [`Store::check`](super::Store::check) does, and fails on damage.
    /// Default: no.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("names.flag");
    /// # let store = OpenOptions::new().open_copy(&path)?;
    /// # store.update(|tx| tx.alloc_slice(*b"Ada Lovelace").and_then(|n| tx.set_root("name", n)))?;
    /// # store.close()?;
    /// let mut bytes = std::fs::read(&path)?;
    /// let at = bytes.windows(3).rposition(|bytes| bytes == b"Ada").expect("the name");
    /// bytes[at] ^= 1; // a bit flips on the disk
    /// std::fs::write(&path, &bytes)?;
    /// assert!(OpenOptions::new().open_private(&path).is_ok());
    /// let error = OpenOptions::new().verify(true).open_private(&path).unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }));
    /// # Ok(()) }
    /// ```
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Sets whether to go on from the state before a damaged record in the middle of the log,
    /// which gives up the durable commits after it. Default: no.
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// let store = OpenOptions::new().open_copy(&path)?;
    /// for name in ["Ada", "Bob", "Eve"] {
    ///     store.update(|tx| tx.root_or_insert_with(name, || 0u64).map(drop))?;
    /// }
    /// let mut bytes = std::fs::read(&path)?; // of a store that was not closed
    /// drop(store);
    /// let at = bytes.windows(3).position(|bytes| bytes == b"Bob").expect("the second commit");
    /// bytes[at] ^= 1; // a bit flips on the disk
    /// std::fs::write(&path, &bytes)?;
    /// let error = OpenOptions::new().open_private(&path).unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::LogDamaged { .. }));
    /// let store = OpenOptions::new().salvage(true).open_private(&path)?;
    /// assert_eq!(store.read()?.roots()?[0].name, "Ada");
    /// # Ok(()) }
    /// ```
    pub fn salvage(mut self, salvage: bool) -> Self {
        self.salvage = salvage;
        self
    }

    /// Sets whether [`open_shared`](Self::open_shared) treats the file system as local to this
    /// machine, whatever its type. Default: no.
    ///
    /// Processes that share a store coordinate through the locks and memory of one kernel. On NFS,
    /// SMB, 9p, virtiofs, a cluster file system or FUSE, another machine, a virtual machine or its
    /// host may open the same file, and each would silently overwrite the other's commits. A file
    /// system that is not known to be local is therefore refused with
    /// [`ErrorKind::NotOneMachine`](crate::ErrorKind::NotOneMachine). With `true` the caller promises that all processes that have
    /// the store open at a time run under one kernel, and reach it through one mount.
    ///
    /// ```
    /// # use flagstone::OpenOptions;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// let options = OpenOptions::new().assume_local(true);
    /// // SAFETY: only flagstone changes this file, and on this machine alone.
    /// let store = unsafe { options.open_shared(&path)? };
    /// let visits = store.update(|tx| tx.alloc(3u64))?;
    /// // SAFETY: as above.
    /// let other = unsafe { options.open_shared(&path)? };
    /// assert_eq!(other.read()?.read(visits)?, 3);
    /// # Ok(()) }
    /// ```
    pub fn assume_local(mut self, assume_local: bool) -> Self {
        self.assume_local = assume_local;
        self
    }

    /// Activates a mutation in the protocol of the opened store, for crash tests to prove that
    /// they notice it. Such a store loses data.
    ///
    /// ```
    /// # use flagstone::{OpenOptions, sim::{Mutation, Random, SimDisk}};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let options = OpenOptions::new().mutation(Mutation::AcknowledgeBeforeFlush);
    /// let (store, disk) = SimDisk::create(&options)?;
    /// store.update(|tx| tx.root_or_insert_with("visits", || 1u64).map(drop))?;
    /// let mut is_lost = false;
    /// for seed in 0..20 {
    ///     let after_cut = SimDisk::new(disk.crash(&mut Random(seed)));
    ///     is_lost |= after_cut.open(&OpenOptions::new())?.read()?.roots()?.is_empty();
    /// }
    /// assert!(is_lost, "the durable commit is missing after some power cuts");
    /// # Ok(()) }
    /// ```
    #[cfg(any(test, feature = "sim"))]
    pub fn mutation(mut self, mutation: crate::mutation::Mutation) -> Self {
        self.mutation = ActiveMutation::one(mutation);
        self
    }

    /// Sets how many changed pages recovery keeps in memory before it writes them, so that tests
    /// reach the next round after a few. Default: as [`memory_budget_bytes`](Self::memory_budget_bytes)
    /// says.
    ///
    /// ```
    /// # use flagstone::{OpenOptions, sim::SimDisk};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let (store, disk) = SimDisk::create(&OpenOptions::new())?;
    /// let numbers = store.update(|tx| tx.alloc_slice_copy(&[7u64; 20_000]))?;
    /// disk.fail_after(0); // the process dies
    /// drop(store);
    /// disk.fail_after(u64::MAX);
    /// let store = disk.open(&OpenOptions::new().round_pages(4))?;
    /// assert_eq!(store.read()?.at(numbers)?, [7; 20_000]);
    /// # Ok(()) }
    /// ```
    #[cfg(any(test, feature = "sim"))]
    pub fn round_pages(mut self, pages: u64) -> Self {
        self.round_pages = Some(pages);
        self
    }

    /// Returns the options that the engine uses.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            access: Access::Write,
            link_checks: self.link_checks,
            budget: self.budget(),
            round_pages: self.max_round_pages(),
            log_bytes: self.usable_log_bytes(),
            max_log_bytes: self.max_log_bytes.min(*LOG_BYTES.end()),
            max_blocked_log_bytes: self.max_blocked_log_bytes,
            salvage: self.salvage,
            max_held_images: self.max_snapshots,
            reader_report: self.reader_report.clone(),
            checkpoint_eighths: self.checkpoints.eighths_of_log(),
            flush_every: self.flush_every,
            max_file_bytes: self.max_file_bytes,
            random_from_bytes: self.access_pattern.random_from_bytes(),
            spill_limits: self.spill_limits,
            mutation: self.mutation,
        }
    }

    fn budget(&self) -> Arc<Budget> {
        self.memory_budget_bytes.map_or_else(Budget::of_process, Budget::new)
    }

    fn max_round_pages(&self) -> u64 {
        let share = (self.budget().bytes() / ROUND_SHARE).max(MIN_ROUND_BYTES) / PAGE_BYTES;
        // With less than a machine page, a round would follow each change.
        self.round_pages.unwrap_or(share).max(1 << machine_page_shift())
    }
}
