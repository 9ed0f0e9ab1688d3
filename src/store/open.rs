//! The ways to open a store.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

use crate::disk::{
    Disk, FileDisk, MemoryDisk, Mirror, anonymous, copy_of, create_file,
    expect_folder_of_one_machine, expect_one_machine, fill_in_place, in_memory, open_coordination,
    open_file, open_shared, open_to_read,
};
use crate::engine::{Access, Settings, create, create_in_place, expect_store};
use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
#[cfg(any(test, feature = "sim"))]
use crate::format::superblock;

use super::{OpenOptions, Store};

impl OpenOptions {
    /// Opens the store at `path`.
    ///
    /// The file is locked with `flock`. On a network that keeps programs of this machine out,
    /// and of others only where the file system hands such locks to its server.
    ///
    /// # Safety
    ///
    /// As [`Store::open`]: nothing but flagstone may change the file while it
    /// is open.
    ///
    /// # Errors
    ///
    /// As [`Store::open`]; and an option that makes no sense.
    /// [`ErrorKind::CreationUnsure`] if the store was made and its name may not be durable.
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn open(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        self.start(Arc::new(self.open_disk(path)?), path)
    }

    /// Opens the store at `path` to read it: no byte of the file is written, also where
    /// the file system could not be written. Records of a store that was not closed in
    /// order are applied in memory alone, at each such opening; only opening to
    /// write recovers the file. Any number of programs can have a store open to read at
    /// once, and none to write meanwhile. A write transaction is
    /// [`ErrorKind::ReadOnly`].
    ///
    /// # Safety
    ///
    /// As [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and there is no store at `path`.
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn open_read_only(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        expect_machine()?;
        let Some(file) = open_to_read(path)? else { return Err(no_such_file(path)) };
        let settings = Settings { access: Access::Read, ..self.settings() };
        self.start_with(Arc::new(file), path, settings)
    }

    /// Opens the store at `path` to share it with other processes that open it in this
    /// way, up to 64 of them: all may write, by turns, and each sees the commits of the
    /// others with its next transaction. The first one recovers the store if it was not
    /// closed in order, and the last one closes it. A process that is killed, at any
    /// instant, leaves a store to the others that is whole: a transaction that it had not
    /// committed never happened.
    ///
    /// A process has its turn from the begin of a write transaction to the end of its
    /// commit, and its threads join it for 2 milliseconds; flushes are shared among
    /// threads, not among processes. A checkpoint is made in a turn too, and waits until
    /// each process has answered that its readers have what they need; a thread of the store
    /// answers. If a process is stopped, others get
    /// [`ErrorKind::ProcessUnresponsive`] after 10 seconds, and can go on later. The log keeps
    /// the length that it was created with.
    ///
    /// [`Store::wait_for_commit`] waits for others.
    ///
    /// # Safety
    ///
    /// As [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). [`ErrorKind::Locked`] if it is open in another way, and
    /// [`ErrorKind::NotOneMachine`] where other machines may reach the file, for all that is
    /// known of its file system; see [`assume_local`](Self::assume_local).
    #[expect(unsafe_code, reason = "the promise is the caller's, as with every file mapping")]
    pub unsafe fn open_shared(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        let log_bytes = self.rounded_log_bytes()?;
        expect_machine()?;
        let begun = Instant::now();
        let (disk, meeting) = loop {
            match self.find_shared(path, log_bytes) {
                // It is being made, by somebody who is to have it alone for that long.
                Err(error) if is_locked(&error) && begun.elapsed() < TIMEOUT => {
                    sleep(TIMEOUT / 50);
                }
                found => break found?,
            }
        };
        let coordination =
            open_coordination(meeting).map_err(failed("map the page of all processes", path))?;
        self.start_shared(Arc::new(disk), coordination, path)
    }

    /// The store's file, which is made if there is none.
    fn find_shared(&self, path: &Path, log_bytes: u64) -> Result<(FileDisk, File)> {
        for _ in 0..MAX_TRIES {
            match open_shared(path)? {
                Some((disk, meeting)) => {
                    if !self.assume_local {
                        expect_one_machine(&meeting, path)?;
                    }
                    // What is no store is told before anything of it is mapped.
                    match expect_store(&disk, path, self.mutation) {
                        Err(error) if self.makes_store_of(&error).is_some() => {}
                        judged => return judged.map(|()| (disk, meeting)),
                    }
                }
                None if !self.create => return Err(no_such_file(path)),
                None if self.assume_local => {}
                None => expect_folder_of_one_machine(path)?,
            }
            // Its lock is for one process, so it is opened once more.
            drop(self.open_or_create(path, log_bytes)?);
        }
        Err(comes_and_goes(path))
    }

    /// Opens the store at `path` without mapping its file: the whole store is copied into
    /// memory under the file's lock, and what is written goes to both. It needs no
    /// promise, and so no `unsafe`: no other program can change bytes behind a reference.
    ///
    /// Opening takes time and memory in proportion to the store; everything else is as
    /// with [`open`](Self::open), durability too. The file is locked as there.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("store");
    /// let store = flagstone::OpenOptions::new().open_copy(&path)?;
    /// store.update(|tx| tx.root_or_insert_with("visits", || 0u64).map(drop))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and no memory for the copy.
    pub fn open_copy(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        let mirror = Mirror::new(self.open_disk(path)?);
        self.start(Arc::new(mirror.map_err(failed("copy the file into memory", path))?), path)
    }

    /// Opens a private copy of the store at `path`, in memory: transactions, commits and
    /// snapshots work, and nothing reaches the file. The file is locked only while it is
    /// copied, so any number of programs can have copies, and change them, at once; a
    /// copy shows the store as it was when it was opened. Like
    /// [`open_copy`](Self::open_copy) it takes time and memory in proportion to the store,
    /// and needs no `unsafe`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); there is no store at `path`; or no memory for the copy.
    pub fn open_private(&self, path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        expect_machine()?;
        let Some(file) = open_to_read(path)? else { return Err(no_such_file(path)) };
        expect_store(&file, path, self.mutation)?;
        let copy = copy_of(&file).map_err(failed("copy the file into memory", path))?;
        self.start(Arc::new(copy), path)
    }

    fn open_disk(&self, path: &Path) -> Result<FileDisk> {
        let log_bytes = self.rounded_log_bytes()?;
        expect_machine()?;
        self.open_or_create(path, log_bytes)
    }

    /// The store's file for this process alone. It is opened as any other after it was made:
    /// then whoever came first has it.
    fn open_or_create(&self, path: &Path, log_bytes: u64) -> Result<FileDisk> {
        let mut made: Option<Instant> = None;
        for _ in 0..MAX_TRIES {
            match open_file(path) {
                Ok(Some(disk)) => return self.with_store(disk, path, log_bytes),
                Ok(None) if !self.create => return Err(no_such_file(path)),
                Ok(None) => {
                    let random = random()?;
                    create_file(path, |disk| create(disk, log_bytes, random))?;
                    made = Some(Instant::now());
                }
                // Whoever looks for files that were left half-made may hold it for an instant.
                Err(error)
                    if is_locked(&error) && made.is_some_and(|made| made.elapsed() < MOMENT) =>
                {
                    sleep(MOMENT / 20);
                }
                Err(error) => return Err(error),
            }
        }
        Err(comes_and_goes(path))
    }

    /// The file, with a store in it: one is made of an empty file, and made anew where making
    /// it was interrupted.
    fn with_store(&self, disk: FileDisk, path: &Path, log_bytes: u64) -> Result<FileDisk> {
        let Err(error) = expect_store(&disk, path, self.mutation) else { return Ok(disk) };
        let Some(is_half_made) = self.makes_store_of(&error) else { return Err(error) };
        let random = random()?;
        let fill = |disk: &FileDisk| create_in_place(disk, is_half_made, log_bytes, random);
        fill_in_place(&disk, path, fill)?;
        Ok(disk)
    }

    /// Whether a store is to be made of a file that is none for this reason, and whether it
    /// is half-made.
    fn makes_store_of(&self, error: &crate::error::Error) -> Option<bool> {
        match error.kind() {
            ErrorKind::EmptyFile { .. } if self.create => Some(false),
            ErrorKind::Unfinished { .. } if self.create => Some(true),
            _ => None,
        }
    }

    /// A store in memory, without a file; see [`Store::in_memory`].
    ///
    /// # Errors
    ///
    /// No memory, or no random numbers for its keys.
    pub fn open_in_memory(&self) -> Result<Store> {
        expect_machine()?;
        let no_path = in_memory();
        // Miri has no mappings.
        let disk: Arc<dyn Disk> = match cfg!(miri) {
            true => Arc::new(MemoryDisk::default()),
            false => {
                Arc::new(anonymous(no_path).map_err(failed("make a file in memory", no_path))?)
            }
        };
        create(&*disk, self.rounded_log_bytes()?, random()?)
            .map_err(failed("make a store in memory", no_path))?;
        self.start(disk, no_path)
    }

    /// Makes a store on a disk that is empty, with keys that are always the same. Its log
    /// may be as short as the format allows: then runs come to its end, and to spills and
    /// checkpoints, after a few transactions.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn create_on(&self, disk: &dyn Disk) -> Result<()> {
        let is_least = self.log_bytes == *superblock::LOG_BYTES.start();
        let log_bytes = if is_least { self.log_bytes } else { self.rounded_log_bytes()? };
        let created = create(disk, log_bytes, [1, 2, 3, 4]);
        Ok(created.map_err(|source| ErrorKind::Io {
            action: "make a store on a simulated disk",
            path: Default::default(),
            source,
        })?)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ErrorKind {
    move |source| ErrorKind::Io { action, path: path.to_path_buf(), source }
}

/// How long opening a shared store waits for somebody who has it alone.
const TIMEOUT: Duration = Duration::from_millis(500);

/// How often a file may come and go while it is being opened.
const MAX_TRIES: usize = 100;

/// How long a file that was just made may be in somebody's hands who does not want it.
const MOMENT: Duration = Duration::from_millis(20);

fn is_locked(error: &crate::error::Error) -> bool {
    matches!(error.kind(), ErrorKind::Locked { .. })
}

fn no_such_file(path: &Path) -> crate::error::Error {
    ErrorKind::NoSuchFile { path: path.to_path_buf() }.into()
}

fn comes_and_goes(path: &Path) -> crate::error::Error {
    let source = io::Error::other("another program makes and removes it, again and again");
    failed("open the file", path)(source).into()
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

/// Private pages are given back and frozen one by one, so the machine's pages
/// must be the file's.
pub(super) fn expect_machine() -> Result<()> {
    // Not from the auxiliary vector: reading that ends programs that run under valgrind.
    let found = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(0);
    if u64::try_from(found) == Ok(PAGE_BYTES) {
        return Ok(());
    }
    let expected = "memory pages of 4096 bytes";
    Err(ErrorKind::Unsupported { expected, found: format!("pages of {found} bytes") }.into())
}
