//! Tracks the file's length, and how much of it is durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::interface::Disk;
use crate::error::{ErrorKind, Result};
use crate::format::{HEAP_START_BYTES, PAGE_BYTES, heap_room_bytes, round_up};

/// The bounds of a growth step, which is a sixteenth of the file.
const STEP_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=64 * 1024 * 1024;

/// Keeps the file long enough for the heap. Lengths are the heap's, without the bytes before it
/// in the file.
pub(crate) struct FileSize {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    max_file_bytes: u64,
    /// Bytes of heap that fit in the file.
    capacity_bytes: AtomicU64,
    /// The durable part of the capacity.
    durable_bytes: AtomicU64,
}

impl FileSize {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: &Path, max_file_bytes: u64) -> io::Result<Self> {
        let room = heap_room_bytes(disk.len_bytes()?);
        let (capacity_bytes, durable_bytes) = (room.into(), room.into());
        Ok(Self { disk, path: path.to_path_buf(), max_file_bytes, capacity_bytes, durable_bytes })
    }

    /// Returns the number of heap bytes that fit in the file.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes.load(Relaxed)
    }

    /// Returns how many bytes the file may still grow by, as far as that is known.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let left = self.max_file_bytes.saturating_sub(self.capacity_bytes() + HEAP_START_BYTES);
        Ok(self.disk.free_bytes()?.min(left))
    }

    /// Makes space for a heap of `heap_bytes`, in a step proportional to the file's size. Only
    /// the holder of the write lock may call it.
    pub(crate) fn reserve(&self, heap_bytes: u64) -> Result<()> {
        let room = self.capacity_bytes();
        if heap_bytes <= room {
            return Ok(());
        }
        self.expect_within_limit(heap_bytes)?;
        let step = (room / 16).clamp(*STEP_BYTES.start(), *STEP_BYTES.end());
        let wanted = round_up(heap_bytes.max(room + step), PAGE_BYTES).unwrap_or(heap_bytes);
        let wanted = wanted.min(heap_room_bytes(self.max_file_bytes)).max(heap_bytes);
        // A disk too full for the step may still have space for what is needed.
        let grown = self.grow_to(room, wanted).or_else(|_| self.grow_to(room, heap_bytes));
        let failed = |source| ErrorKind::NoSpace {
            path: self.path.clone(),
            wanted_bytes: heap_bytes + HEAP_START_BYTES,
            source,
        };
        Ok(grown.map_err(failed)?)
    }

    fn expect_within_limit(&self, heap_bytes: u64) -> Result<()> {
        let wanted_bytes = heap_bytes.saturating_add(HEAP_START_BYTES);
        if wanted_bytes <= self.max_file_bytes {
            return Ok(());
        }
        let (path, max_file_bytes) = (self.path.clone(), self.max_file_bytes);
        Err(ErrorKind::FileLimitReached { path, wanted_bytes, max_file_bytes }.into())
    }

    fn grow_to(&self, room: u64, wanted: u64) -> io::Result<()> {
        self.disk.grow(room + HEAP_START_BYTES, wanted + HEAP_START_BYTES)?;
        self.capacity_bytes.store(wanted, Relaxed);
        Ok(())
    }

    /// Reads the length again, after another process may have grown the file. The length of
    /// `durable_bytes` of heap is known to be durable.
    pub(crate) fn refresh(&self, durable_bytes: u64) -> io::Result<()> {
        let room = heap_room_bytes(self.disk.len_bytes()?);
        self.capacity_bytes.store(room, Relaxed);
        self.durable_bytes.store(durable_bytes, Relaxed);
        Ok(())
    }

    /// Returns the number of heap bytes for which the file's length is durable.
    pub(crate) fn durable_bytes(&self) -> u64 {
        self.durable_bytes.load(Relaxed)
    }

    /// Returns whether a heap of `heap_bytes` relies on a length that is not durable.
    pub(crate) fn needs_sync(&self, heap_bytes: u64) -> bool {
        heap_bytes > self.durable_bytes.load(Relaxed)
    }

    /// Notes that the length `capacity_bytes` was synced.
    pub(crate) fn synced(&self, capacity_bytes: u64) {
        self.durable_bytes.store(capacity_bytes, Relaxed);
    }

    /// Cuts the file to a heap of `heap_bytes`, if that is shorter.
    pub(crate) fn truncate(&self, heap_bytes: u64) -> io::Result<()> {
        if heap_bytes >= self.capacity_bytes() {
            return Ok(());
        }
        self.durable_bytes.fetch_min(heap_bytes, Relaxed);
        self.capacity_bytes.store(heap_bytes, Relaxed);
        self.disk.truncate(heap_bytes + HEAP_START_BYTES)
    }
}
