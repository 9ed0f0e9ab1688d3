//! System calls as they have to be made here: tried again when a signal interrupts them,
//! and asked anew where the kernel may remember what is no longer so.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{AtFlags, FallocateFlags, StatxFlags, statx};
use rustix::io::Errno;

use super::file_system::FileSystem;

/// What is allocated at a time after a signal has interrupted that.
const LEAST_PIECE_BYTES: u64 = 64 * 1024;

/// How long it waits before it looks again at a length that is too short, where another
/// machine or process keeps the file.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// Makes a call until no signal interrupts it.
pub(crate) fn uninterrupted<T, E: Into<io::Error>>(
    mut call: impl FnMut() -> Result<T, E>,
) -> io::Result<T> {
    loop {
        match call().map_err(Into::into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::new(&uninterrupted(|| file.metadata())?))
    }

    /// That of the file which `path` names now, if there is one.
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

/// The file's length, asked of whoever keeps the file: what the kernel remembers of one on
/// FUSE or a network may be older, as 0 of a name that was just given.
pub(super) fn length_of(file: &File) -> io::Result<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    match uninterrupted(|| statx(file, c"", flags, StatxFlags::SIZE)) {
        Ok(found) => Ok(found.stx_size),
        // An old kernel, or a sandbox that does not know the call.
        Err(_) => Ok(uninterrupted(|| file.metadata())?.len()),
    }
}

/// The same; of a file that is shorter than `wanted_bytes`, only after it was looked at for
/// a while where it could be longer.
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

/// Takes space from the file system for the bytes from `from` to `to`.
///
/// A tmpfs gives back what an interrupted call had taken. Where signals come faster than
/// such a call ends, shorter ones get on.
pub(super) fn allocate(file: &File, from: u64, to: u64) -> Result<(), Errno> {
    let mut piece_bytes = to.saturating_sub(from);
    let mut at = from;
    while at < to {
        let bytes = piece_bytes.min(to - at);
        match rustix::fs::fallocate(file, FallocateFlags::empty(), at, bytes) {
            Ok(()) => at += bytes,
            Err(Errno::INTR) => piece_bytes = (piece_bytes / 2).max(LEAST_PIECE_BYTES),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
