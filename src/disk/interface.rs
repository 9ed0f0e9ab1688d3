//! The interface to storage: the trait that all writes of a store's file go through.

use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::map::{PrivateMap, SpillFile};

/// Returns the name that messages use for a store without a file.
pub(crate) fn in_memory() -> &'static Path {
    Path::new("(in memory)")
}

/// A store's file, or its replacement.
///
/// Offsets count from the start of the file.
pub(crate) trait Disk: Send + Sync {
    /// Returns the file's name, for messages.
    fn path(&self) -> &Path {
        in_memory()
    }

    /// Returns the length of the file.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Returns the length, to check whether the file has `wanted_bytes`. Where the system may
    /// report a stale length, a shorter one is asked for again, for a while.
    fn settled_len_bytes(&self, _wanted_bytes: u64) -> io::Result<u64> {
        self.len_bytes()
    }

    /// Fills `buffer` from `offset` on. Fails if the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` at `offset`. They are durable after the next `sync`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes all written bytes, and the length, durable.
    fn sync(&self) -> io::Result<()>;

    /// Recovers from a process that did not close the file: makes its writes durable and drops
    /// the system's cache of the file. The file is then read from the disk, and written as if
    /// for the first time.
    fn start_afresh(&self) -> io::Result<()> {
        Ok(())
    }

    /// Allocates the space for holes that would be stored to through a mapping, above all in the
    /// log at `log_offset`. Changes no byte.
    fn fill_holes(&self, _log_offset: u64, _log_bytes: u64) -> io::Result<()> {
        Ok(())
    }

    /// Allocates the space for holes from `from` to `to`, which stay zeros, so that no later write
    /// there can fail for lack of it. Returns whether there may have been one.
    fn allocate_holes(&self, _from: u64, _to: u64) -> io::Result<bool> {
        Ok(false)
    }

    /// Writes zeros to holes from `from` to `to`. Unlike `allocate_holes` it succeeds, on a full disk as
    /// well, wherever the space is there and was only never written, which passes for a hole.
    fn zero_holes(&self, from: u64, to: u64) -> io::Result<()> {
        self.allocate_holes(from, to).map(drop)
    }

    /// Gives the space from `from` to `to` back: the bytes become zeros. Where a hole takes space as
    /// soon as it is read, nothing changes.
    fn punch(&self, _from: u64, _to: u64) -> io::Result<()> {
        Ok(())
    }

    /// Has the system forget what it holds in memory of a range that becomes zeros, if that is
    /// possible without giving its space up. It is written anew before anything is read there. Fails
    /// if there may be no space for that.
    fn renew(&self, _offset: u64, _len_bytes: u64) -> io::Result<()> {
        Ok(())
    }

    /// Grows the file from `from` to `to` bytes and allocates the space, so that no later write
    /// there can fail for lack of it. A failure leaves the file as it was.
    fn grow(&self, from: u64, to: u64) -> io::Result<()>;

    /// Returns how many bytes the file can grow by, or another one beside it have, as far as that is
    /// known.
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    /// Cuts the file to `len_bytes`.
    fn truncate(&self, len_bytes: u64) -> io::Result<()>;

    /// Opens the log region at `offset`.
    fn open_log(&self, offset: u64, len_bytes: u64) -> io::Result<Box<dyn LogRegion>>;

    /// Reads the whole file; on failure, returns where it failed. Needed for an unknown file
    /// before it is mapped: through a mapping, a sector that cannot be read ends the process
    /// with SIGBUS.
    fn read_through(&self) -> Result<(), (u64, io::Error)> {
        Ok(())
    }

    /// Maps `len_bytes` of the heap privately.
    fn map_heap(&self, len_bytes: u64) -> io::Result<PrivateMap>;

    /// Makes a nameless file beside the store that can take over pages of images. `None` if whatever
    /// there is would be memory as well.
    fn spill_file(&self) -> io::Result<Option<SpillFile>> {
        Ok(None)
    }

    /// Returns the time since a fixed instant. A simulated disk has a clock of its own, which its
    /// calls advance, so that a run can be repeated.
    fn now(&self) -> Duration {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        BEGIN.get_or_init(Instant::now).elapsed()
    }

    /// Returns an unpredictable number.
    fn random(&self) -> io::Result<u64> {
        getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// A log region of a [`Disk`]. Offsets count from the start of the region.
pub(crate) trait LogRegion: Send + Sync {
    /// Appends: `bytes` follow the last stored ones, or begin a block. The rest of the last
    /// block may become zero if the store begins that block.
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills `buffer` from `at` on.
    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Makes `len_bytes` from `at` on durable.
    fn flush(&self, at: u64, len_bytes: u64) -> io::Result<()>;
}
