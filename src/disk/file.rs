//! A store's file: how it is opened, created and locked, and [`FileDisk`].

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, CWD, FallocateFlags, OFlags, RenameFlags, fadvise};
use rustix::io::Errno;

use super::lock::LockedFile;
use super::{Disk, LogRegion};
use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::map::{LogMap, PrivateMap};

/// A file behind two descriptions of its own (D1).
pub(crate) struct FileDisk {
    heap: LockedFile,
    log: File,
}

pub(super) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ErrorKind + 'a {
    move |source| ErrorKind::Io { action, path: path.to_path_buf(), source }
}

/// Opens the store's file at `path` and locks it; `None` if there is none.
pub(crate) fn open_file(path: &Path) -> Result<Option<FileDisk>> {
    let action = "open the file for reading and writing";
    let Some(heap) = open_locked(path, &read_and_write(), action, LockedFile::exclusive)? else {
        return Ok(None);
    };
    let log = read_and_write().open(path).map_err(io_error("open the file a second time", path))?;
    same_file(&heap, &log, path)?;
    Ok(Some(FileDisk { heap, log }))
}

/// Opens the store's file at `path` for several processes, and once more for
/// [`meet`](super::meet); `None` if there is none.
pub(crate) fn open_shared(path: &Path) -> Result<Option<(FileDisk, File)>> {
    let action = "open the file for reading and writing";
    let Some(heap) = open_locked(path, &read_and_write(), action, LockedFile::by_turns)? else {
        return Ok(None);
    };
    let again = |action| read_and_write().open(path).map_err(io_error(action, path));
    let log = again("open the file a second time")?;
    let meeting = again("open the file a third time")?;
    same_file(&heap, &log, path)?;
    same_file(&heap, &meeting, path)?;
    if copies_on_write(&meeting).map_err(io_error("look at the file system", path))? {
        let expected = "a file system that overwrites files in place, for several processes";
        let found = "btrfs, zfs or bcachefs: a full disk would end them with SIGBUS".to_string();
        return Err(ErrorKind::Unsupported { expected, found }.into());
    }
    Ok(Some((FileDisk { heap, log }, meeting)))
}

/// Opens what must be a regular file, and locks it; `None` if there is none.
pub(super) fn open_locked(
    path: &Path,
    options: &OpenOptions,
    action: &'static str,
    lock: fn(File, &Path) -> Result<LockedFile>,
) -> Result<Option<LockedFile>> {
    // Judged before opening: opening a FIFO for both ways would succeed.
    match std::fs::metadata(path) {
        Ok(found) => refuse_special(path, found.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("look at the file", path)(error).into()),
    }
    let file = options.open(path).map_err(io_error(action, path))?;
    refuse_special(path, file.metadata().map_err(io_error("look at the file", path))?.file_type())?;
    lock(file, path).map(Some)
}

/// Options to read what may, for an instant, be no regular file.
pub(super) fn to_read() -> OpenOptions {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits() as i32);
    options
}

fn read_and_write() -> OpenOptions {
    let mut options = to_read();
    options.write(true);
    options
}

fn refuse_special(path: &Path, kind: FileType) -> Result<()> {
    let found = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(ErrorKind::NotAFile { path: path.to_path_buf(), found }.into())
}

/// Both descriptions must be of one file, also if somebody moved another one
/// to the path in between.
fn same_file(heap: &File, log: &File, path: &Path) -> Result<()> {
    let look = |file: &File| file.metadata().map_err(io_error("look at the file", path));
    let (heap, log) = (look(heap)?, look(log)?);
    if (heap.dev(), heap.ino()) == (log.dev(), log.ino()) {
        return Ok(());
    }
    let moved = io::Error::other("the file was replaced while it was being opened");
    Err(io_error("open the file", path)(moved).into())
}

/// Makes a new file of whatever `fill` writes to it, and only then gives it its
/// name: a crash on the way leaves nothing at `path`, and at most a file with
/// a name of its own beside it.
pub(crate) fn create_file(
    path: &Path,
    fill: impl FnOnce(&FileDisk) -> io::Result<()>,
) -> Result<FileDisk> {
    let draft = draft_path(path).map_err(io_error("name a new file", path))?;
    let heap = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&draft)
        .map_err(io_error("create the file (is there a folder to hold it?)", path))?;
    let made = finish(path, &draft, heap, fill);
    let _ = std::fs::remove_file(&draft);
    made
}

fn finish(
    path: &Path,
    draft: &Path,
    heap: File,
    fill: impl FnOnce(&FileDisk) -> io::Result<()>,
) -> Result<FileDisk> {
    let heap = LockedFile::exclusive(heap, path)?;
    let log =
        read_and_write().open(draft).map_err(io_error("open the new file a second time", path))?;
    let disk = FileDisk { heap, log };
    fill(&disk).map_err(io_error("write the new file", path))?;
    give_name(draft, path).map_err(io_error("give the new file its name", path))?;
    sync_folder(path).map_err(io_error("sync the folder of the new file", path))?;
    Ok(disk)
}

fn draft_path(path: &Path) -> io::Result<PathBuf> {
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    if path.file_name().is_none() {
        let why = "the path has no file name; give the path of a file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    // Not made of the name, which may be as long as names can be.
    Ok(path.with_file_name(format!(".flagstone.{random:016x}.new")))
}

/// A link fails where a name is taken, so a file that appeared meanwhile is
/// not lost; renaming serves file systems without links.
fn give_name(draft: &Path, path: &Path) -> io::Result<()> {
    if path.is_symlink() && !path.exists() {
        let why =
            "a symbolic link lies there that leads nowhere; give the path where it should lead";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    match std::fs::hard_link(draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
            // Another process may give the name in between.
            match rustix::fs::renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(draft, path),
                renamed => renamed.map_err(io::Error::from),
            }
        }
        other => other,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

impl FileDisk {
    /// Two descriptions of one new file, which is locked here.
    pub(super) fn new(heap: File, log: File, path: &Path) -> Result<Self> {
        Ok(Self { heap: LockedFile::exclusive(heap, path)?, log })
    }

    /// Sets the length of a file that takes no space of its own for it.
    pub(super) fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.heap.set_len(len_bytes)
    }

    /// A log region that is not mapped.
    pub(super) fn open_positioned_log(&self, offset: u64) -> io::Result<Box<dyn LogRegion>> {
        Ok(Box::new(PositionedLog { file: self.log.try_clone()?, start: offset }))
    }
}

impl Disk for FileDisk {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.heap.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.heap.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.heap.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.heap.sync_data()
    }

    /// A write that failed leaves pages in memory that the disk does not have. ext4
    /// takes the block of such a page, if it was preallocated, for one that was written
    /// once: the next write of the page, and its sync, would succeed, and the page be
    /// zeros after a power cut, or when memory is short. (xfs and btrfs do not.)
    ///
    /// Pages before the heap's end are no exception: a transaction can have taken them and
    /// given them up, or the log's move have left a gap, and none of it was ever written.
    fn start_afresh(&self) -> io::Result<()> {
        self.sync()?;
        Ok(fadvise(&*self.heap, 0, None, Advice::DontNeed)?)
    }

    fn grow(&self, from: u64, to: u64) -> io::Result<()> {
        let flags = FallocateFlags::empty();
        let grown = match rustix::fs::fallocate(&*self.heap, flags, from, to - from) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(&self.heap, from, to),
            other => other.map_err(io::Error::from),
        };
        if grown.is_err() {
            // ext4 keeps the length and the blocks that it got as far as.
            self.heap.set_len(from)?;
        }
        grown
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.heap.set_len(len_bytes)
    }

    fn open_log(&self, offset: u64, len_bytes: u64) -> io::Result<Box<dyn LogRegion>> {
        if copies_on_write(&self.log)? {
            return self.open_positioned_log(offset);
        }
        let file = self.log.try_clone()?;
        let map = LogMap::new(&file, offset, len_bytes)?;
        Ok(Box::new(MappedLog { map, file, start: offset }))
    }

    fn map_heap(&self, len_bytes: u64) -> io::Result<PrivateMap> {
        PrivateMap::of_file(&self.heap, len_bytes)
    }
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = [0; 64 * 1024];
    let mut at = from;
    while at < to {
        let len = (to - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

/// Whether an overwrite may need new space, so that a store to a mapping could
/// raise SIGBUS on a full disk.
fn copies_on_write(file: &File) -> io::Result<bool> {
    const BTRFS: i64 = 0x9123_683e;
    const ZFS: i64 = 0x2fc1_2fc1;
    const BCACHEFS: i64 = 0xca45_1a4e;
    let kind = rustix::fs::fstatfs(file)?.f_type as i64;
    Ok([BTRFS, ZFS, BCACHEFS].contains(&kind))
}

/// Appends by stores to memory. The first touch of a page is a positioned
/// write of that page alone, which keeps its folio in the page cache small: a
/// flush then writes 4 KiB and not the megabytes of a large folio.
struct MappedLog {
    map: LogMap,
    file: File,
    start: u64,
}

impl LogRegion for MappedLog {
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let begun = (at.next_multiple_of(PAGE_BYTES) - at).min(bytes.len() as u64);
        let (rest_of_page, new_pages) = bytes.split_at(begun as usize);
        // New pages first: a process that dies in between leaves the header of
        // the record, which lies in the begun page, unwritten.
        for (index, page) in (0..).zip(new_pages.chunks(PAGE_BYTES as usize)) {
            let offset = self.start + at + begun + index * PAGE_BYTES;
            write_page(&self.file, offset, page)?;
        }
        self.map.store(at, rest_of_page)
    }

    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.map.load(at, buffer)
    }

    fn flush(&self, at: u64, len_bytes: u64) -> io::Result<()> {
        self.map.flush(at, len_bytes)
    }
}

fn write_page(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() as u64 == PAGE_BYTES {
        return file.write_all_at(bytes, offset);
    }
    let mut page = [0; PAGE_BYTES as usize];
    page[..bytes.len()].copy_from_slice(bytes);
    file.write_all_at(&page, offset)
}

/// Appends by positioned writes, which answer a full disk with an error.
struct PositionedLog {
    file: File,
    start: u64,
}

impl LogRegion for PositionedLog {
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.start + at)
    }

    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.start + at)
    }

    fn flush(&self, _at: u64, _len_bytes: u64) -> io::Result<()> {
        self.file.sync_data()
    }
}
