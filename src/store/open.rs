//! The ways to open a store.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::disk::{
    Coordination, Disk, FileDisk, MemoryDisk, Mirror, anonymous, copy_of, create_file,
    expect_folder_of_one_machine, expect_one_machine, fill_in_place, in_memory, open_coordination,
    open_file, open_shared, open_to_read,
};
use crate::engine::{Access, Core, Settings, create, create_in_place, expect_store};
use crate::error::{ErrorKind, Result, io_error};
#[cfg(any(test, feature = "sim"))]
use crate::format::superblock;
use crate::map::{MACHINE_PAGES_BYTES, system_page_bytes};

use super::handle::Store;
use super::options::OpenOptions;
use super::threads::Service;

impl OpenOptions {
    /// Opens the store at `path`.
    ///
    /// Locks the file with `flock`. On a network file system that keeps out programs on this
    /// machine; it keeps out other machines only if the file system forwards such locks to its
    /// server.
    ///
    /// ```
    /// # use flagstone::{Durability, ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// let options = OpenOptions::new().durability(Durability::Deferred);
    /// // SAFETY: only flagstone changes this file.
    /// let store = unsafe { options.open(&path)? };
    /// // SAFETY: as above.
    /// let error = unsafe { options.open(&path) }.unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::Locked { .. }));
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Store::open`]: only flagstone may change the file while it is open.
    ///
    /// # Errors
    ///
    /// As for [`Store::open`]; and an option with an invalid value. [`ErrorKind::CreationUnsure`]
    /// if the store was created but its name may not be durable.
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn open(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        self.start(Arc::new(self.open_disk(path)?), path)
    }

    /// Opens the store at `path` read-only: no byte of the file is written, so a read-only file
    /// system works too. If the store was not closed cleanly, its log is replayed in memory only,
    /// at each such open; only an open for writing recovers the file. Any number of programs can
    /// have a store open read-only at once, while none has it open for writing. A write
    /// transaction returns [`ErrorKind::ReadOnly`].
    ///
    /// ```
    /// # use flagstone::{ErrorKind, OpenOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// # let store = OpenOptions::new().open_copy(&path)?;
    /// # store.update(|tx| tx.alloc(3u64).and_then(|visits| tx.set_root("visits", visits)))?;
    /// # store.close()?;
    /// // SAFETY: only flagstone changes this file.
    /// let store = unsafe { OpenOptions::new().open_read_only(&path)? };
    /// assert_eq!(*store.read()?.root_object::<u64>("visits")?, 3);
    /// let error = store.update(|tx| tx.alloc(4u64)).unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::ReadOnly { .. }));
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and there is no store at `path`.
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        expect_machine()?;
        let Some(file) = open_to_read(path)? else { return Err(no_such_file(path)) };
        let settings = Settings { access: Access::Read, ..self.settings() };
        self.start_with(Arc::new(file), path, settings)
    }

    /// Opens the store at `path` to share it with other processes that open it this way, up to 64
    /// in all: all of them may write, one at a time, and each sees the others' commits in its next
    /// transaction. The first process recovers the store if it was not closed cleanly, and the last
    /// one closes it. A process that is killed, at any instant, leaves the store intact for the
    /// others: a transaction that it had not committed never happened.
    ///
    /// A process holds the write lock from the start of a write transaction to the end of its
    /// commit, and its other threads may join it for 2 milliseconds. Threads share flushes;
    /// processes do not. A checkpoint takes the write lock as well, and waits until each process
    /// has acknowledged that its readers have what they need; a thread of the store acknowledges.
    /// If a process is stopped, the others get [`ErrorKind::ProcessUnresponsive`] after 10
    /// seconds, and can go on later. The log keeps the length that it was created with.
    ///
    /// [`Store::wait_for_commit`] waits for other processes' commits.
    ///
    /// ```
    /// # use flagstone::{OpenOptions, Store};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// // SAFETY: only flagstone changes this file.
    /// let open = || unsafe { OpenOptions::new().open_shared(&path) };
    /// let (one, other) = (open()?, open()?); // in two processes, usually
    /// let visits = one.update(|tx| tx.alloc(1u64))?;
    /// other.update(|tx| tx.at_mut(visits).map(|visits| *visits += 1))?;
    /// assert_eq!(one.read()?.read(visits)?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open). [`ErrorKind::Locked`] if the store is open in another mode,
    /// and [`ErrorKind::NotOneMachine`] if the file system is not known to be reachable from this
    /// machine only; see [`assume_local`](Self::assume_local).
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn open_shared(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        let log_bytes = self.rounded_log_bytes()?;
        expect_machine()?;
        let started = Instant::now();
        let (disk, coordination) = loop {
            match self.open_or_create_shared(path, log_bytes) {
                // Another process may be creating the store, with the file locked exclusively.
                Err(error) if is_locked(&error) && started.elapsed() < EXCLUSIVE_TIMEOUT => {
                    sleep(EXCLUSIVE_TIMEOUT / 200);
                }
                found => break found?,
            }
        };
        let coordination = open_coordination(coordination)
            .map_err(io_error("map the page that all processes share", path))?;
        self.start_shared(Arc::new(disk), coordination, path)
    }

    /// Opens the store's file, and creates it if it does not exist.
    fn open_or_create_shared(&self, path: &Path, log_bytes: u64) -> Result<(FileDisk, File)> {
        for _ in 0..MAX_TRIES {
            match open_shared(path)? {
                Some((disk, coordination)) => {
                    if !self.assume_local {
                        expect_one_machine(&coordination, path)?;
                    }
                    // Reject a file that is not a store before any of it is mapped.
                    match expect_store(&disk, path, self.mutation) {
                        Err(error) if self.makes_store_of(&error).is_some() => {}
                        checked => return checked.map(|()| (disk, coordination)),
                    }
                }
                None if !self.create => return Err(no_such_file(path)),
                None if self.assume_local => {}
                None => expect_folder_of_one_machine(path)?,
            }
            // Creating takes an exclusive lock, so the file is opened again to share it.
            drop(self.open_or_create(path, log_bytes)?);
        }
        Err(keeps_vanishing(path))
    }

    /// Opens the store at `path` without mapping its file: copies the whole store into memory
    /// under the file's lock, and writes every change to both. Needs no promise from the caller,
    /// and so no `unsafe`: no other program can change bytes behind a reference.
    ///
    /// Opening takes time and memory in proportion to the store's size; everything else, including
    /// durability and locking, is as for [`open`](Self::open).
    ///
    /// ```
    /// # use flagstone::OpenOptions;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// for expected in 1..=3 {
    ///     let store = OpenOptions::new().open_copy(&path)?;
    ///     let mut tx = store.write()?;
    ///     let visits = tx.root_or_insert_with("visits", || 0u64)?;
    ///     *tx.at_mut(visits)? += 1;
    ///     assert_eq!(tx.read(visits)?, expected);
    ///     tx.commit()?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and no memory for the copy.
    pub fn open_copy(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        let mirror = Mirror::new(self.open_disk(path)?);
        self.start(Arc::new(mirror.map_err(io_error("copy the file into memory", path))?), path)
    }

    /// Opens a private in-memory copy of the store at `path`: transactions, commits and snapshots
    /// work, and none of them reaches the file. The file is locked only while it is copied, so any
    /// number of programs can have copies, and change them, at once. A copy shows the store as it
    /// was when it was opened. As with [`open_copy`](Self::open_copy), opening takes time and
    /// memory in proportion to the store's size, and needs no `unsafe`.
    ///
    /// ```
    /// # use flagstone::OpenOptions;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("visits.flag");
    /// # let store = OpenOptions::new().open_copy(&path)?;
    /// # store.update(|tx| tx.alloc(3u64).and_then(|visits| tx.set_root("visits", visits)))?;
    /// # store.close()?;
    /// let copy = OpenOptions::new().open_private(&path)?;
    /// copy.update(|tx| tx.root_object_mut::<u64>("visits").map(|visits| *visits = 100))?;
    /// assert_eq!(*copy.read()?.root_object::<u64>("visits")?, 100);
    /// let store = OpenOptions::new().open_copy(&path)?;
    /// assert_eq!(*store.read()?.root_object::<u64>("visits")?, 3);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); there is no store at `path`; or no memory for the copy.
    pub fn open_private(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        expect_machine()?;
        let Some(file) = open_to_read(path)? else { return Err(no_such_file(path)) };
        expect_store(&file, path, self.mutation)?;
        let copy = copy_of(&file).map_err(io_error("copy the file into memory", path))?;
        self.start(Arc::new(copy), path)
    }

    /// Opens the store on `disk`.
    pub(crate) fn start(&self, disk: Arc<dyn Disk>, path: &Path) -> Result<Store> {
        self.start_with(disk, path, self.settings())
    }

    fn start_with(&self, disk: Arc<dyn Disk>, path: &Path, settings: Settings) -> Result<Store> {
        self.expect_consistent()?;
        let core = Arc::new(Core::open(disk, path, settings)?);
        self.verified(Store::from_core(core, Service::default(), self.durability, self.checkpoints))
    }

    /// Opens the store on `disk`, shared with the processes that use the same `coordination`.
    pub(crate) fn start_shared(
        &self,
        disk: Arc<dyn Disk>,
        coordination: Box<dyn Coordination>,
        path: &Path,
    ) -> Result<Store> {
        self.expect_consistent()?;
        let core = Arc::new(Core::open_shared(disk, coordination, path, self.settings())?);
        let service = Service::begin(&core)
            .map_err(io_error("start a thread that answers other processes", path))?;
        let store = Store::from_core(core, service, self.durability, self.checkpoints);
        store.core.finish_attach()?;
        self.verified(store)
    }

    /// Returns the store after the check that [`verify`](Self::verify) asks for.
    fn verified(&self, store: Store) -> Result<Store> {
        if self.verify {
            store.check()?.into_result()?;
        }
        Ok(store)
    }

    fn open_disk(&self, path: &Path) -> Result<FileDisk> {
        let log_bytes = self.rounded_log_bytes()?;
        expect_machine()?;
        self.open_or_create(path, log_bytes)
    }

    /// Opens the store's file exclusively, and creates it if it does not exist. A new file is then
    /// opened like any other: the first process to lock it owns it.
    fn open_or_create(&self, path: &Path, log_bytes: u64) -> Result<FileDisk> {
        let mut made: Option<Instant> = None;
        for _ in 0..MAX_TRIES {
            match open_file(path) {
                Ok(Some(disk)) => return self.with_store(disk, path, log_bytes),
                Ok(None) if !self.create => return Err(no_such_file(path)),
                Ok(None) => {
                    self.expect_room_for_new_store(log_bytes)?;
                    let random = random()?;
                    create_file(path, |disk| create(disk, log_bytes, random))?;
                    made = Some(Instant::now());
                }
                // A process that sweeps for unfinished files may hold the lock for a moment.
                Err(error)
                    if is_locked(&error)
                        && made.is_some_and(|made| made.elapsed() < SWEEP_TIMEOUT) =>
                {
                    sleep(SWEEP_TIMEOUT / 20);
                }
                Err(error) => return Err(error),
            }
        }
        Err(keeps_vanishing(path))
    }

    /// Returns the file with a store in it: formats an empty file, and formats a file again if
    /// creating the store in it was interrupted.
    fn with_store(&self, disk: FileDisk, path: &Path, log_bytes: u64) -> Result<FileDisk> {
        let Err(error) = expect_store(&disk, path, self.mutation) else { return Ok(disk) };
        let Some(is_unfinished) = self.makes_store_of(&error) else { return Err(error) };
        self.expect_room_for_new_store(log_bytes)?;
        let random = random()?;
        let fill = |disk: &FileDisk| create_in_place(disk, is_unfinished, log_bytes, random);
        fill_in_place(&disk, path, fill)?;
        Ok(disk)
    }

    /// Returns `Some` if `error` calls for creating a store in the file; the value says whether
    /// the file is unfinished.
    fn makes_store_of(&self, error: &crate::error::Error) -> Option<bool> {
        match error.kind() {
            ErrorKind::EmptyFile { .. } if self.create => Some(false),
            ErrorKind::Unfinished { .. } if self.create => Some(true),
            _ => None,
        }
    }

    /// Opens a store in memory, without a file; see [`Store::in_memory`].
    ///
    /// ```
    /// # use flagstone::{Checkpoints, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let options = OpenOptions::new().log_bytes(64 * 1024).checkpoints(Checkpoints::ByCommits);
    /// let (one, other) = (options.open_in_memory()?, options.open_in_memory()?);
    /// one.update(|tx| tx.root_or_insert_with("visits", || 0u64).map(drop))?;
    /// assert_eq!(one.read()?.roots()?.len(), 1);
    /// assert!(other.read()?.roots()?.is_empty());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Out of memory, or no random numbers for the store's keys.
    pub fn open_in_memory(&self) -> Result<Store> {
        expect_machine()?;
        let no_path = in_memory();
        // Miri has no mappings.
        let disk: Arc<dyn Disk> = match cfg!(miri) {
            true => Arc::new(MemoryDisk::default()),
            false => {
                Arc::new(anonymous(no_path).map_err(io_error("create a file in memory", no_path))?)
            }
        };
        let log_bytes = self.rounded_log_bytes()?;
        self.expect_room_for_new_store(log_bytes)?;
        create(&*disk, log_bytes, random()?)
            .map_err(io_error("create a store in memory", no_path))?;
        self.start(disk, no_path)
    }

    /// Creates a store on an empty disk, always with the same keys. Its log may be as short as the
    /// format allows, so that test runs reach the log's end, and with it spills and checkpoints,
    /// after a few transactions.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn create_on(&self, disk: &dyn Disk) -> Result<()> {
        let is_least = self.log_bytes == *superblock::LOG_BYTES.start();
        let log_bytes = if is_least { self.log_bytes } else { self.rounded_log_bytes()? };
        let created = create(disk, log_bytes, [1, 2, 3, 4]);
        Ok(created.map_err(|source| ErrorKind::Io {
            action: "create a store on a simulated disk",
            path: Default::default(),
            source,
        })?)
    }
}

/// How long opening a shared store waits for a process that holds it exclusively: one that creates it
/// syncs a handful of times, and half a second was too short for eight on a busy machine.
const EXCLUSIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the file may appear and vanish while it is being opened.
const MAX_TRIES: usize = 100;

/// How long a sweep for unfinished files may hold a file that was just created.
const SWEEP_TIMEOUT: Duration = Duration::from_millis(20);

fn is_locked(error: &crate::error::Error) -> bool {
    matches!(error.kind(), ErrorKind::Locked { .. })
}

fn no_such_file(path: &Path) -> crate::error::Error {
    ErrorKind::NoSuchFile { path: path.to_path_buf() }.into()
}

fn keeps_vanishing(path: &Path) -> crate::error::Error {
    let source = io::Error::other("another program keeps creating and removing it");
    io_error("open the file", path)(source)
}

fn random() -> Result<[u64; 4]> {
    let mut random = [0; 4];
    for number in &mut random {
        *number = getrandom::u64().map_err(|error| ErrorKind::Io {
            action: "get random numbers for a new store",
            path: Default::default(),
            source: std::io::Error::other(error.to_string()),
        })?;
    }
    Ok(random)
}

/// Refuses a machine with memory pages of a size that the file's layout does not allow for, or that was
/// never tested.
pub(super) fn expect_machine() -> Result<()> {
    let found = system_page_bytes();
    if MACHINE_PAGES_BYTES.contains(&found) {
        return Ok(());
    }
    let expected = "memory pages of 4, 16 or 64 KiB";
    Err(ErrorKind::Unsupported { expected, found: format!("pages of {found} bytes") }.into())
}
