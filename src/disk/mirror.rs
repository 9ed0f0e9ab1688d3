//! A store's file that is never mapped. A copy in memory is mapped, and writes go to both.

use std::io;
use std::path::Path;

use super::anonymous::copy_of;
use super::file::FileDisk;
use super::interface::{Disk, LogRegion};
use crate::map::PrivateMap;

/// The file, and a copy of it that nobody else can reach. If another program writes to the file in
/// spite of the lock, no byte behind a reference changes.
pub(crate) struct Mirror {
    file: FileDisk,
    copy: FileDisk,
}

impl Mirror {
    /// Copies the file.
    pub(crate) fn new(file: FileDisk) -> io::Result<Self> {
        let copy = copy_of(&file)?;
        Ok(Self { file, copy })
    }
}

impl Disk for Mirror {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn len_bytes(&self) -> io::Result<u64> {
        self.copy.len_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.copy.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.copy.write_at(offset, bytes)?;
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn start_afresh(&self) -> io::Result<()> {
        self.file.start_afresh()
    }

    fn allocate_holes(&self, from: u64, to: u64) -> io::Result<bool> {
        self.file.allocate_holes(from, to)
    }

    fn zero_holes(&self, from: u64, to: u64) -> io::Result<()> {
        self.file.zero_holes(from, to)
    }

    fn punch(&self, from: u64, to: u64) -> io::Result<()> {
        self.file.punch(from, to)
    }

    fn renew(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        self.file.renew(offset, len_bytes)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.file.free_bytes()
    }

    fn grow(&self, from: u64, to: u64) -> io::Result<()> {
        self.file.grow(from, to)?;
        self.copy.set_len(to)
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.copy.truncate(len_bytes)?;
        self.file.truncate(len_bytes)
    }

    fn open_log(&self, offset: u64, len_bytes: u64) -> io::Result<Box<dyn LogRegion>> {
        let file = self.file.open_positioned_log(offset)?;
        let copy = self.copy.open_log(offset, len_bytes)?;
        Ok(Box::new(MirrorLog { file, copy }))
    }

    fn map_heap(&self, len_bytes: u64) -> io::Result<PrivateMap> {
        self.copy.map_heap(len_bytes)
    }
}

struct MirrorLog {
    file: Box<dyn LogRegion>,
    copy: Box<dyn LogRegion>,
}

impl LogRegion for MirrorLog {
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.copy.store(at, bytes)?;
        self.file.store(at, bytes)
    }

    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.copy.load(at, buffer)
    }

    fn flush(&self, at: u64, len_bytes: u64) -> io::Result<()> {
        self.file.flush(at, len_bytes)
    }
}
