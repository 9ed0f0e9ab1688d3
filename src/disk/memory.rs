//! Plain memory instead of a file.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::interface::{Disk, LogRegion};
use crate::format::HEAP_START_BYTES;
use crate::map::{Excluded, PrivateMap};
use crate::sync::unpoisoned;

/// A file that is a vector, without a history of its writes. Images of it are copies. A clone of
/// the disk is the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    bytes: Arc<Mutex<Vec<u8>>>,
}

struct MemoryLog {
    disk: MemoryDisk,
    start: u64,
}

impl MemoryDisk {
    /// Makes a file with these bytes.
    #[cfg(any(test, feature = "sim"))]
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)) }
    }

    /// Returns a copy of the file's current bytes.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes().clone()
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        unpoisoned(self.bytes.lock())
    }
}

fn range(offset: u64, len: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    start..start.saturating_add(len)
}

fn past_the_end() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

impl Disk for MemoryDisk {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes();
        let found = bytes.get(range(offset, buffer.len())).ok_or_else(past_the_end)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes();
        let place = bytes.get_mut(range(offset, new.len())).ok_or_else(past_the_end)?;
        place.copy_from_slice(new);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn grow(&self, _from: u64, to: u64) -> io::Result<()> {
        let mut bytes = self.bytes();
        let more = usize::try_from(to).map_err(io::Error::other)?.saturating_sub(bytes.len());
        bytes.try_reserve_exact(more).map_err(io::Error::other)?;
        let len = bytes.len() + more;
        bytes.resize(len, 0);
        Ok(())
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.bytes().truncate(usize::try_from(len_bytes).map_err(io::Error::other)?);
        Ok(())
    }

    fn open_log(&self, offset: u64, _len_bytes: u64) -> io::Result<Box<dyn LogRegion>> {
        Ok(Box::new(MemoryLog { disk: self.clone(), start: offset }))
    }

    fn map_heap(&self, len_bytes: u64) -> io::Result<PrivateMap> {
        let mut map = PrivateMap::of_memory(len_bytes)?;
        map.set_view(len_bytes, [Excluded::default(); 2]);
        let whole = map.items_mut::<u8>(0, len_bytes).map_err(|_| past_the_end())?;
        self.read_at(HEAP_START_BYTES, whole)?;
        Ok(map)
    }
}

impl LogRegion for MemoryLog {
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(self.start + at, bytes)
    }

    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(self.start + at, buffer)
    }

    fn flush(&self, _at: u64, _len_bytes: u64) -> io::Result<()> {
        Ok(())
    }
}
