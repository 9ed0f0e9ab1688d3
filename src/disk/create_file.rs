//! Creates a store's file. docs/design/creation.md argues it step by step.
//!
//! A file is completed before it gets its name. Then everything that made it is closed, locks
//! included, and the caller opens the file that the path names. The two are not the same where the
//! kernel treats each name as a separate file, as on FUSE.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, openat, renameat_with, syncfs};
use rustix::io::Errno;

use super::draft::{self, Draft};
use super::file::FileDisk;
use super::file_system::folder_of;
use super::lock::LockedFile;
use super::open_flags::read_and_write;
use super::retry::uninterrupted;
use crate::error::{ErrorKind, Result, io_error};

/// The folder of a file that is being created.
struct Folder {
    path: PathBuf,
    /// The folder itself, for syncing. Opened before anything is made, so a shortage (of
    /// descriptors) shows before that. `None` if the folder may not be read.
    file: Option<File>,
}

impl Folder {
    fn of(path: &Path) -> Result<Self> {
        let folder = folder_of(path).to_path_buf();
        match File::open(&folder) {
            Ok(file) => Ok(Self { path: folder, file: Some(file) }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Self { path: folder, file: None })
            }
            Err(error) => {
                let action = "open the folder of the new file (does it exist?)";
                Err(io_error(action, path)(error))
            }
        }
    }

    /// Makes the name of a file in it durable, as far as the system can.
    ///
    /// The file is synced once more: btrfs does not log a file without a name.
    fn sync(&self, file: &File, path: &Path) -> Result<()> {
        let unsure = |source| ErrorKind::CreationUnsure { path: path.to_path_buf(), source };
        file.sync_all().map_err(unsure)?;
        let synced = match &self.file {
            Some(folder) => folder.sync_all(),
            None => Err(Errno::ACCESS.into()),
        };
        let synced = match synced {
            Err(error) if is_inability(&error) => uninterrupted(|| syncfs(file)),
            synced => synced,
        };
        match synced {
            Err(error) if !is_inability(&error) => Err(unsure(error).into()),
            _ => Ok(()),
        }
    }
}

/// Returns whether a sync failed because the system does not offer it, or denies it to us.
fn is_inability(error: &io::Error) -> bool {
    let cannot = [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS, Errno::ACCESS, Errno::PERM];
    error.raw_os_error().is_some_and(|code| cannot.contains(&Errno::from_raw_os_error(code)))
}

/// The result of an attempt to give a file its name.
enum Naming {
    Done,
    /// Another file already has the name.
    Taken,
    /// The file cannot get the name in this way.
    Impossible,
}

impl Naming {
    fn of(named: io::Result<()>) -> Self {
        match named {
            Ok(()) => Self::Done,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::Taken,
            Err(_) => Self::Impossible,
        }
    }
}

/// Makes sure that there is a file at `path`. `fill` has completed it, or somebody else has made
/// it meanwhile. Where no file can be named without replacing another, an empty one is made, and
/// the caller fills it like any other that it finds empty.
pub(crate) fn create_file(path: &Path, fill: impl Fn(&FileDisk) -> io::Result<()>) -> Result<()> {
    if path.file_name().is_none() {
        let why = "the path has no file name; give the path of a file";
        let error = io::Error::new(io::ErrorKind::InvalidInput, why);
        return Err(io_error("name a new file", path)(error));
    }
    let folder = Folder::of(path)?;
    draft::remove_abandoned(&folder.path);
    match make_unnamed(&folder, path, &fill)? {
        Naming::Done => return Ok(()),
        Naming::Taken => return expect_no_dangling_link(path),
        Naming::Impossible => {}
    }
    match make_as_draft(&folder, path, &fill)? {
        Naming::Done => return Ok(()),
        Naming::Taken => return expect_no_dangling_link(path),
        Naming::Impossible => {}
    }
    match read_and_write().create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => expect_no_dangling_link(path),
        Err(error) => Err(io_error("create the file", path)(error)),
    }
}

/// Fails for a dangling symbolic link: its name is taken, but there is no file.
fn expect_no_dangling_link(path: &Path) -> Result<()> {
    if path.is_symlink() && !path.exists() {
        let why = "it is a symbolic link whose target does not exist; give the path of the target";
        let error = io::Error::new(io::ErrorKind::AlreadyExists, why);
        return Err(io_error("give the new file its name", path)(error));
    }
    Ok(())
}

/// Fills a nameless file, which leaves nothing behind whatever happens, and gives it a name.
fn make_unnamed(
    folder: &Folder,
    path: &Path,
    fill: impl Fn(&FileDisk) -> io::Result<()>,
) -> Result<Naming> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let opened = uninterrupted(|| openat(CWD, &folder.path, flags, Mode::from_raw_mode(0o666)));
    // If it failed for another reason, creating a draft fails too and reports it.
    let Ok(file) = opened else { return Ok(Naming::Impossible) };
    let file = LockedFile::exclusive(File::from(file), path)?;
    let disk = filled(file, path, fill)?;
    let naming = name_unnamed(disk.file(), path);
    if matches!(naming, Naming::Done) {
        folder.sync(disk.file(), path)?;
    }
    Ok(naming)
}

/// Names a nameless file. The first way needs a privilege on kernels before 6.10, the second one
/// needs `/proc`.
fn name_unnamed(file: &File, path: &Path) -> Naming {
    let direct = uninterrupted(|| linkat(file, c"", CWD, path, AtFlags::EMPTY_PATH));
    match Naming::of(direct) {
        Naming::Impossible => {
            let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
            let flags = AtFlags::SYMLINK_FOLLOW;
            Naming::of(uninterrupted(|| linkat(CWD, &*by_number, CWD, path, flags)))
        }
        naming => naming,
    }
}

/// Fills a draft in the same folder, and renames it.
fn make_as_draft(
    folder: &Folder,
    path: &Path,
    fill: impl Fn(&FileDisk) -> io::Result<()>,
) -> Result<Naming> {
    let (draft, file) = Draft::new(&folder.path, path)?;
    let disk = filled(file, path, fill)?;
    let naming = rename(draft.path(), path);
    drop(draft);
    if matches!(naming, Naming::Done) {
        folder.sync(disk.file(), path)?;
    }
    Ok(naming)
}

/// Renames a draft without replacing a file, which would take a store from a process that has just
/// opened it. A link fails if the name is taken. A rename serves where there are no links, if it
/// also fails then.
fn rename(draft: &Path, path: &Path) -> Naming {
    match Naming::of(uninterrupted(|| std::fs::hard_link(draft, path))) {
        Naming::Impossible => {
            let flags = RenameFlags::NOREPLACE;
            Naming::of(uninterrupted(|| renameat_with(CWD, draft, CWD, path, flags)))
        }
        naming => naming,
    }
}

fn filled(
    file: LockedFile,
    path: &Path,
    fill: impl Fn(&FileDisk) -> io::Result<()>,
) -> Result<FileDisk> {
    let log = uninterrupted(|| file.try_clone());
    let log = log.map_err(io_error("open the new file a second time", path))?;
    let disk = FileDisk::of(file, log, path);
    fill(&disk).map_err(io_error("write the new file", path))?;
    Ok(disk)
}

/// Fills a file that already has its name. Others may have seen it, but any process that opens it
/// meanwhile finds it locked.
pub(crate) fn fill_in_place(
    disk: &FileDisk,
    path: &Path,
    fill: impl FnOnce(&FileDisk) -> io::Result<()>,
) -> Result<()> {
    let real = uninterrupted(|| std::fs::canonicalize(path));
    let folder = Folder::of(&real.unwrap_or_else(|_| path.to_path_buf()))?;
    fill(disk).map_err(io_error("create a store in the empty file", path))?;
    folder.sync(disk.file(), path)
}
