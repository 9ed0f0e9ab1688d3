//! A store's file: opening it, locking it, and [`FileDisk`].

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, fstatvfs};
use rustix::io::Errno;

use super::file_system::FileSystem;
use super::holes::{fill, may_have_holes, zero};
use super::interface::{Disk, LogRegion};
use super::lock::LockedFile;
use super::open_flags::read_and_write;
use super::retry::uninterrupted;
use super::spill_file::open_spill_file;
use super::system::{FileId, allocate, length_of, settled_length_of, write_zeros};
use crate::error::{ErrorKind, Result, io_error};
use crate::format::{COORDINATION_BYTES, PAGE_BYTES};
use crate::map::{LogMap, PrivateMap, SpillFile, machine_page_bytes};

/// A file behind two separate descriptions (D1).
pub(crate) struct FileDisk {
    heap: LockedFile,
    /// Shared with the log's regions: a process that may open no more files follows a log that moves.
    log: Arc<File>,
    /// For messages, unless it has a name.
    path: PathBuf,
    has_name: bool,
}

/// The number of times that a path may name another file by the time the first one is locked.
const MAX_TRIES: usize = 16;

/// The result of opening the file at a path.
pub(super) enum Opened<T> {
    Locked(T),
    Nothing,
    /// By now the path names another file, or none.
    Replaced,
}

/// Opens the store's file at `path` and locks it. Returns `None` if there is no file.
pub(crate) fn open_file(path: &Path) -> Result<Option<FileDisk>> {
    open_to_write(path, LockedFile::exclusive, |heap| {
        let log = open_again("open the file a second time", &heap, path)?;
        Ok(log.map(|log| FileDisk::of(heap, log, path)))
    })
}

/// Opens the store's file at `path` for several processes, and once more for
/// [`open_coordination`](super::open_coordination). Returns `None` if there is no file.
pub(crate) fn open_shared(path: &Path) -> Result<Option<(FileDisk, File)>> {
    let opened = open_to_write(path, LockedFile::for_sharing, |heap| {
        let log = open_again("open the file a second time", &heap, path)?;
        let coordination = open_again("open the file a third time", &heap, path)?;
        Ok(log.map(|log| FileDisk::of(heap, log, path)).zip(coordination))
    })?;
    let Some((disk, coordination)) = opened else { return Ok(None) };
    let file_system =
        FileSystem::of(&coordination).map_err(io_error("identify the file system", path))?;
    if file_system.copies_on_write() {
        let expected = "a file system that overwrites files in place, for several processes";
        let found = "btrfs, zfs or bcachefs: a full disk would kill them with SIGBUS".to_string();
        return Err(ErrorKind::Unsupported { expected, found }.into());
    }
    Ok(Some((disk, coordination)))
}

/// Opens the file at `path` to read and write it, and locks it. `open_more` opens it again; its
/// answer is `None` if the path names another file by then.
fn open_to_write<T>(
    path: &Path,
    lock: fn(File, &Path) -> Result<LockedFile>,
    open_more: impl Fn(LockedFile) -> Result<Option<T>>,
) -> Result<Option<T>> {
    retry_while_replaced(path, || {
        let action = "open the file for reading and writing";
        let heap = match open_locked(path, &read_and_write(), action, lock)? {
            Opened::Locked(heap) => heap,
            Opened::Nothing => return Ok(Opened::Nothing),
            Opened::Replaced => return Ok(Opened::Replaced),
        };
        Ok(open_more(heap)?.map_or(Opened::Replaced, Opened::Locked))
    })
}

/// Opens a file until the locked file is the one that the path names.
pub(super) fn retry_while_replaced<T>(
    path: &Path,
    mut open: impl FnMut() -> Result<Opened<T>>,
) -> Result<Option<T>> {
    for _ in 0..MAX_TRIES {
        match open()? {
            Opened::Locked(file) => return Ok(Some(file)),
            Opened::Nothing => return Ok(None),
            Opened::Replaced => {}
        }
    }
    let moved = io::Error::other("another program keeps replacing it");
    Err(io_error("open the file", path)(moved))
}

/// Opens and locks a file, which must be a regular file.
pub(super) fn open_locked(
    path: &Path,
    options: &OpenOptions,
    action: &'static str,
    lock: fn(File, &Path) -> Result<LockedFile>,
) -> Result<Opened<LockedFile>> {
    let look = |error| io_error("examine the file", path)(error);
    // Checked before opening, because opening a FIFO for reading and writing would succeed.
    match uninterrupted(|| std::fs::metadata(path)) {
        Ok(found) => refuse_special(path, found.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Nothing),
        Err(error) => return Err(look(error)),
    }
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Replaced),
        Err(error) => return Err(io_error(action, path)(error)),
    };
    refuse_special(path, uninterrupted(|| file.metadata()).map_err(look)?.file_type())?;
    let file = lock(file, path)?;
    match FileId::at(path).map_err(look)? == Some(FileId::of(&file).map_err(look)?) {
        true => Ok(Opened::Locked(file)),
        false => Ok(Opened::Replaced),
    }
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

/// Opens the file once more. Returns `None` if the path names another file by now.
fn open_again(action: &'static str, first: &File, path: &Path) -> Result<Option<File>> {
    let again = match read_and_write().open(path) {
        Ok(again) => again,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(action, path)(error)),
    };
    let look = |file: &File| FileId::of(file).map_err(io_error("examine the file", path));
    Ok((look(first)? == look(&again)?).then_some(again))
}

impl FileDisk {
    /// Makes a disk from two descriptions of one file.
    pub(super) fn of(heap: LockedFile, log: File, path: &Path) -> Self {
        Self { heap, log: Arc::new(log), path: path.to_path_buf(), has_name: true }
    }

    /// Makes a disk from a file that has no name, and no folder.
    pub(super) fn nameless(heap: LockedFile, log: File, path: &Path) -> Self {
        Self { has_name: false, ..Self::of(heap, log, path) }
    }

    pub(super) fn file(&self) -> &File {
        &self.heap
    }

    /// Sets the length of a file that needs no space allocated for it.
    pub(crate) fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.heap.set_len(len_bytes)
    }

    /// Opens a log region without mapping it.
    pub(super) fn open_positioned_log(&self, offset: u64) -> io::Result<Box<dyn LogRegion>> {
        Ok(Box::new(PositionedLog { file: Arc::clone(&self.log), start: offset }))
    }
}

impl Disk for FileDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len_bytes(&self) -> io::Result<u64> {
        length_of(&self.heap)
    }

    fn settled_len_bytes(&self, wanted_bytes: u64) -> io::Result<u64> {
        settled_length_of(&self.heap, wanted_bytes)
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

    /// A failed write leaves pages in memory that the disk does not have. If the block of such a
    /// page was preallocated, ext4 then takes the block for written. The next write of the page
    /// and its sync would succeed, and the page would be zeros after a power cut, or when memory
    /// is short. (xfs and btrfs do not do this.)
    ///
    /// Pages before the heap's end are no exception: a transaction may have taken them and given
    /// them up, or a log move may have left a gap, and none of it was ever written.
    fn start_afresh(&self) -> io::Result<()> {
        self.sync()?;
        uninterrupted(|| fadvise(&*self.heap, 0, None, Advice::DontNeed))
    }

    /// The heap is mapped for this process alone, so its holes matter only where reading them
    /// takes space.
    fn fill_holes(&self, log_offset: u64, log_bytes: u64) -> io::Result<()> {
        if !may_have_holes(&self.heap)? {
            return Ok(());
        }
        let file_system = FileSystem::of(&self.heap)?;
        if file_system.holes_take_space() {
            return fill(&self.heap, 0..self.len_bytes()?).map(drop);
        }
        if !file_system.overwrites_in_place() {
            return Ok(());
        }
        // The machine maps whole pages of its own. No more: space that was never written passes for a
        // hole, and on a full disk xfs refuses to allocate it again.
        let mapped = COORDINATION_BYTES..COORDINATION_BYTES + machine_page_bytes();
        fill(&self.heap, mapped)?;
        fill(&self.heap, log_offset..log_offset + log_bytes).map(drop)
    }

    /// What was allocated and never written passes for a hole. Nothing changes then.
    fn allocate_holes(&self, from: u64, to: u64) -> io::Result<bool> {
        fill(&self.heap, from..to)
    }

    fn zero_holes(&self, from: u64, to: u64) -> io::Result<()> {
        zero(&self.heap, from..to)
    }

    fn punch(&self, from: u64, to: u64) -> io::Result<()> {
        if FileSystem::of(&self.heap)?.holes_take_space() {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        uninterrupted(|| fallocate(&*self.heap, flags, from, to - from))
    }

    /// The range keeps its blocks, and loses its pages in memory, also those that are mapped. Where
    /// the file system cannot do that, or fails, they stay: only their size matters.
    fn renew(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        let is_in_place = FileSystem::of(&self.heap)?.overwrites_in_place();
        if !is_in_place && self.free_bytes()? < 2 * len_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match fallocate(&*self.heap, FallocateFlags::ZERO_RANGE, offset, len_bytes) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn grow(&self, from: u64, to: u64) -> io::Result<()> {
        let grown = match allocate(&self.heap, from, to) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(&self.heap, from, to),
            other => other.map_err(io::Error::from),
        };
        if grown.is_err() {
            // ext4 keeps the length and the blocks that the failed call has reached.
            self.heap.set_len(from)?;
        }
        grown
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = uninterrupted(|| fstatvfs(&*self.heap))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.heap.set_len(len_bytes)
    }

    fn open_log(&self, offset: u64, len_bytes: u64) -> io::Result<Box<dyn LogRegion>> {
        // A store through a mapping makes the system write a whole machine page, and with it blocks of
        // the log that are durable (L3).
        let is_block_alone = machine_page_bytes() <= PAGE_BYTES;
        if !is_block_alone || !FileSystem::of(&self.log)?.overwrites_in_place() {
            return self.open_positioned_log(offset);
        }
        let file = Arc::clone(&self.log);
        let map = LogMap::new(&file, offset, len_bytes)?;
        Ok(Box::new(MappedLog { map, file, start: offset }))
    }

    fn map_heap(&self, len_bytes: u64) -> io::Result<PrivateMap> {
        uninterrupted(|| PrivateMap::of_file(&self.heap, len_bytes))
    }

    fn spill_file(&self) -> io::Result<Option<SpillFile>> {
        if self.has_name { open_spill_file(&self.heap, &self.path) } else { Ok(None) }
    }
}

/// Appends by stores to memory. The first touch of a page is a positioned
/// write of that page alone, which keeps its folio in the page cache small: a
/// flush then writes 4 KiB and not the megabytes of a large folio.
struct MappedLog {
    map: LogMap,
    file: Arc<File>,
    start: u64,
}

impl LogRegion for MappedLog {
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let begun = (at.next_multiple_of(PAGE_BYTES) - at).min(bytes.len() as u64);
        let (rest_of_page, new_pages) = bytes.split_at(begun as usize);
        // New pages first: if the process dies in between, the header of the record, which lies
        // in the begun page, stays unwritten.
        for (index, page) in (0..).zip(new_pages.chunks(PAGE_BYTES as usize)) {
            let offset = self.start + at + begun + index * PAGE_BYTES;
            write_page(&self.file, offset, page)?;
        }
        self.map.store(at, rest_of_page)
    }

    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.map.load(at, buffer)?;
        match self.map.is_lost() {
            // Checked after the load, part of which may have read a lost page.
            true => self.file.read_exact_at(buffer, self.start + at),
            false => Ok(()),
        }
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

/// Appends by positioned writes, which report a full disk as an error.
struct PositionedLog {
    file: Arc<File>,
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
