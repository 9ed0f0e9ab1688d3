//! A store's file, opened for reading only.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::file::{open_locked, retry_while_replaced};
use super::file_system::FileSystem;
use super::holes::{Holes, may_have_holes};
use super::interface::{Disk, LogRegion};
use super::lock::LockedFile;
use super::open_flags::to_read;
use super::retry::uninterrupted;
use super::system::{length_of, settled_length_of};
use crate::format::HEAP_START_BYTES;
use crate::map::PrivateMap;

/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A file opened for reading only, under a shared lock. Images of it are private, so records can be
/// applied to them. Writes are refused, here and by the kernel.
pub(crate) struct ReadOnlyDisk {
    file: LockedFile,
    /// For messages.
    path: PathBuf,
}

/// Opens the store's file at `path` for reading. Returns `None` if there is no file.
pub(crate) fn open_to_read(path: &Path) -> crate::error::Result<Option<ReadOnlyDisk>> {
    let action = "open the file for reading";
    let open = || open_locked(path, &to_read(), action, LockedFile::for_reading);
    let file = retry_while_replaced(path, open)?;
    Ok(file.map(|file| ReadOnlyDisk { file, path: path.to_path_buf() }))
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the file was opened read-only"))
}

impl ReadOnlyDisk {
    /// Returns the next part of the file, from `at` on, that is not a hole.
    fn next_data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        uninterrupted(|| match seek(&*self.file, SeekFrom::Data(at)) {
            Ok(start) => Ok(Some(start..seek(&*self.file, SeekFrom::Hole(start))?)),
            // ENXIO means that no data follows.
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error),
        })
    }
}

impl Disk for ReadOnlyDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len_bytes(&self) -> io::Result<u64> {
        length_of(&self.file)
    }

    fn settled_len_bytes(&self, wanted_bytes: u64) -> io::Result<u64> {
        settled_length_of(&self.file, wanted_bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn grow(&self, _from: u64, _to: u64) -> io::Result<()> {
        refused()
    }

    fn truncate(&self, _len_bytes: u64) -> io::Result<()> {
        refused()
    }

    fn open_log(&self, offset: u64, _len_bytes: u64) -> io::Result<Box<dyn LogRegion>> {
        Ok(Box::new(ReadOnlyLog { file: uninterrupted(|| self.file.try_clone())?, start: offset }))
    }

    fn read_through(&self) -> Result<(), (u64, io::Error)> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while let Some(data) = self.next_data(at).map_err(|error| (at, error))? {
            at = data.start;
            while at < data.end {
                let bytes = (data.end - at).min(PIECE_BYTES as u64);
                let read = self.read_at(at, &mut piece[..bytes as usize]);
                read.map_err(|error| (at, error))?;
                at += bytes;
            }
        }
        Ok(())
    }

    fn map_heap(&self, len_bytes: u64) -> io::Result<PrivateMap> {
        let map = uninterrupted(|| PrivateMap::of_file(&self.file, len_bytes))?;
        if may_have_holes(&self.file)? && FileSystem::of(&self.file)?.holes_take_space() {
            let heap = HEAP_START_BYTES..HEAP_START_BYTES + len_bytes;
            for hole in (Holes { file: &self.file, range: heap }) {
                let hole = hole?;
                let (start, bytes) = (hole.start - HEAP_START_BYTES, hole.end - hole.start);
                map.look_at(start, bytes).map_err(no_room)?;
            }
        }
        Ok(map)
    }
}

#[cold]
fn no_room(error: io::Error) -> io::Error {
    let why = format!(
        "the file has holes; reading one takes space on this file system, which has none left \
         ({error}); free some space, or open a private copy"
    );
    io::Error::new(io::ErrorKind::StorageFull, why)
}

/// A log that is only read.
struct ReadOnlyLog {
    file: File,
    start: u64,
}

impl LogRegion for ReadOnlyLog {
    fn store(&self, _at: u64, _bytes: &[u8]) -> io::Result<()> {
        refused()
    }

    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.start + at)
    }

    fn flush(&self, _at: u64, _len_bytes: u64) -> io::Result<()> {
        refused()
    }
}
