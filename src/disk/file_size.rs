//! Tracks the file's length, and how much of it is durable.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::interface::Disk;
use crate::error::{ErrorKind, Result};
use crate::format::{HEAP_START_BYTES, PAGE_BYTES, heap_room_bytes, round_up};
use crate::mutation::{ActiveMutation, Mutation};
use crate::sync::unpoisoned;

/// The bounds of a growth step, which is a sixteenth of the file.
const STEP_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=64 * 1024 * 1024;
/// The unit of what is known of holes.
const UNIT_BYTES: u64 = 64 * 1024;

/// Keeps the file long enough for the heap. Lengths are the heap's, without the bytes before it
/// in the file.
pub(crate) struct FileSize {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    max_file_bytes: u64,
    mutation: ActiveMutation,
    /// Bytes of heap that fit in the file.
    capacity_bytes: AtomicU64,
    /// The durable part of the capacity.
    durable_bytes: AtomicU64,
    known: Mutex<Known>,
}

/// The parts of the file that have no holes, as far as that is known.
struct Known {
    /// What lies behind has grown in this opening, with its space.
    from_bytes: u64,
    /// A bit for each unit before it.
    units: Vec<u64>,
    /// How often the file got space that is not durable, or lost some.
    changes: u64,
}

/// What a sync that begins now makes durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syncing {
    capacity_bytes: u64,
    changes: u64,
}

impl Known {
    fn has(&self, unit: u64) -> bool {
        let word = self.units.get((unit / 64) as usize);
        word.is_some_and(|word| word >> (unit % 64) & 1 == 1)
    }

    fn add(&mut self, units: Range<u64>) {
        let words = units.end.div_ceil(64) as usize;
        if self.units.len() < words {
            self.units.resize(words, 0);
        }
        units.for_each(|unit| self.units[(unit / 64) as usize] |= 1 << (unit % 64));
    }
}

impl FileSize {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        path: &Path,
        max_file_bytes: u64,
        mutation: ActiveMutation,
    ) -> io::Result<Self> {
        let room = heap_room_bytes(disk.len_bytes()?);
        let (capacity_bytes, durable_bytes) = (room.into(), room.into());
        let known = Mutex::new(Known { from_bytes: room, units: Vec::new(), changes: 0 });
        let path = path.to_path_buf();
        Ok(Self { disk, path, max_file_bytes, mutation, capacity_bytes, durable_bytes, known })
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
        let wanted =
            round_up(heap_bytes.max(room + self.step_bytes()), PAGE_BYTES).unwrap_or(heap_bytes);
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

    /// Allocates the space of holes in the heap from `from` to `to`, and of more behind as a step of
    /// growth does. The next record waits until that is durable. Only the holder of the write lock
    /// may call it, before it takes these pages into use: a checkpoint that found no space for
    /// one would poison a store whose commits were acknowledged.
    pub(crate) fn fill_holes(&self, from: u64, to: u64) -> Result<()> {
        if self.mutation.has(Mutation::HoleUsedAsIs) {
            return Ok(());
        }
        let mut known = unpoisoned(self.known.lock());
        let to = to.min(known.from_bytes);
        let mut units = from / UNIT_BYTES..to.div_ceil(UNIT_BYTES);
        while let Some(unit) = units.find(|unit| !known.has(*unit)) {
            let end = unit * UNIT_BYTES + self.step_bytes();
            let end = end.max(to).min(known.from_bytes);
            units.start = self.fill_units(&mut known, unit, to, end)?;
        }
        Ok(())
    }

    /// Fills holes from a unit to `end`, or only to `needed`. Returns the unit after the last one.
    fn fill_units(&self, known: &mut Known, first: u64, needed: u64, end: u64) -> Result<u64> {
        let fill = |end: u64| {
            let file = |heap: u64| heap + HEAP_START_BYTES;
            let filled = self.disk.allocate_holes(file(first * UNIT_BYTES), file(end))?;
            Ok((filled, end))
        };
        let failed = |source| ErrorKind::NoSpace {
            path: self.path.clone(),
            wanted_bytes: needed + HEAP_START_BYTES,
            source,
        };
        let zero = |_: io::Error| {
            let (from, to) = (first * UNIT_BYTES + HEAP_START_BYTES, needed + HEAP_START_BYTES);
            self.disk.zero_holes(from, to).map(|()| (true, needed))
        };
        // What fails has filled a part, which is then no hole to the next call.
        let narrow = |_: io::Error| fill(needed).map(|(_, to)| (true, to));
        let filled = fill(end).or_else(narrow).or_else(zero);
        let were_holes = !matches!(filled, Ok((false, _)));
        if were_holes && !self.mutation.has(Mutation::HoleAllocationNotSynced) {
            known.changes += 1;
            self.durable_bytes.store(0, Relaxed);
        }
        let (_, end) = filled.map_err(failed)?;
        // A unit that is filled in part is looked at again.
        let whole =
            if end == known.from_bytes { end.div_ceil(UNIT_BYTES) } else { end / UNIT_BYTES };
        known.add(first..whole);
        Ok(end.div_ceil(UNIT_BYTES))
    }

    fn step_bytes(&self) -> u64 {
        (self.capacity_bytes() / 16).clamp(*STEP_BYTES.start(), *STEP_BYTES.end())
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

    /// Returns what to pass to [`synced`](Self::synced), before a sync begins.
    pub(crate) fn begin_sync(&self) -> Syncing {
        let changes = unpoisoned(self.known.lock()).changes;
        Syncing { capacity_bytes: self.capacity_bytes(), changes }
    }

    /// Notes that a sync has ended. It may have missed what changed after its begin.
    pub(crate) fn synced(&self, syncing: Syncing) {
        let known = unpoisoned(self.known.lock());
        if known.changes == syncing.changes {
            self.durable_bytes.store(syncing.capacity_bytes, Relaxed);
        }
    }

    /// Notes that the file's length has room for a heap of `durable_bytes`, durably.
    pub(crate) fn note_durable(&self, durable_bytes: u64) {
        self.durable_bytes.store(durable_bytes, Relaxed);
    }

    /// Cuts the file to a heap of `heap_bytes`, if that is shorter.
    pub(crate) fn truncate(&self, heap_bytes: u64) -> io::Result<()> {
        if heap_bytes >= self.capacity_bytes() {
            return Ok(());
        }
        let mut known = unpoisoned(self.known.lock());
        known.from_bytes = heap_bytes.min(known.from_bytes);
        known.changes += 1;
        drop(known);
        self.durable_bytes.fetch_min(heap_bytes, Relaxed);
        self.capacity_bytes.store(heap_bytes, Relaxed);
        self.disk.truncate(heap_bytes + HEAP_START_BYTES)
    }
}
