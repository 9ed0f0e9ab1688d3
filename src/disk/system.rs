//! What the system knows of a file: its identity, its length where the kernel may have cached a
//! stale one, its space.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{AtFlags, FallocateFlags, StatxFlags, statx};
use rustix::io::Errno;

use super::file_system::FileSystem;
use super::retry::uninterrupted;

/// Minimum to allocate at a time after a signal has interrupted the allocation.
const MIN_PIECE_BYTES: u64 = 64 * 1024;

/// The pauses before a length that is too short is read again, where another machine or process
/// keeps the file.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// The identity of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::new(&uninterrupted(|| file.metadata())?))
    }

    /// Returns the identity of the file that `path` names now, if there is one.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        match uninterrupted(|| std::fs::metadata(path)) {
            Ok(found) => Ok(Some(Self::new(&found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(found: &std::fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// Returns the file's length, asked of the machine or process that keeps the file. The kernel's
/// cached length of a file on FUSE or a network may be stale, such as 0 for a file just named.
pub(super) fn length_of(file: &File) -> io::Result<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    match uninterrupted(|| statx(file, c"", flags, StatxFlags::SIZE)) {
        Ok(found) => Ok(found.stx_size),
        // An old kernel, or a sandbox that does not know the call.
        Err(_) => Ok(uninterrupted(|| file.metadata())?.len()),
    }
}

/// Returns the file's length. If it is shorter than `wanted_bytes`, and the file could be longer,
/// reads it again for a while.
pub(super) fn settled_length_of(file: &File, wanted_bytes: u64) -> io::Result<u64> {
    let mut found = length_of(file)?;
    if found >= wanted_bytes || FileSystem::of(file).is_ok_and(FileSystem::is_of_one_machine) {
        return Ok(found);
    }
    for pause in PAUSES {
        sleep(pause);
        found = length_of(file)?;
        if found >= wanted_bytes {
            break;
        }
    }
    Ok(found)
}

/// Allocates space in the file system for the bytes from `from` to `to`.
///
/// A tmpfs releases everything that an interrupted call had allocated. Where signals come faster
/// than such a call ends, shorter calls make progress.
pub(super) fn allocate(file: &File, from: u64, to: u64) -> Result<(), Errno> {
    let mut piece_bytes = to.saturating_sub(from);
    let mut at = from;
    while at < to {
        let bytes = piece_bytes.min(to - at);
        match rustix::fs::fallocate(file, FallocateFlags::empty(), at, bytes) {
            Ok(()) => at += bytes,
            Err(Errno::INTR) => piece_bytes = (piece_bytes / 2).max(MIN_PIECE_BYTES),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes zeros to `from..to`.
pub(super) fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = [0; 64 * 1024];
    let mut at = from;
    while at < to {
        let len = (to - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..len as usize], at)?;
        at += len;
    }
    Ok(())
}
