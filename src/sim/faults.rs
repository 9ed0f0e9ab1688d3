//! Injected faults: calls that fail.

use std::io;
use std::ops::Range;

use super::random::Random;

/// The calls of the disk interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// Query of the file's length.
    Length,
    /// A read.
    Read,
    /// A positioned write.
    Write,
    /// A sync of the whole file.
    Sync,
    /// Growth of the file, with its space.
    Grow,
    /// Allocation of the space of holes.
    Fill,
    /// A hole is punched.
    Punch,
    /// Truncation of the file.
    Truncate,
    /// Access to a log region.
    OpenLog,
    /// A private image of the heap.
    MapHeap,
    /// An append to the log.
    Append,
    /// A read of the log.
    Load,
    /// A flush of the log.
    Flush,
}

impl Call {
    /// All calls.
    pub const ALL: [Self; 13] = [
        Self::Length,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Grow,
        Self::Fill,
        Self::Punch,
        Self::Truncate,
        Self::OpenLog,
        Self::MapHeap,
        Self::Append,
        Self::Load,
        Self::Flush,
    ];

    /// Returns whether the call leaves the disk unchanged.
    #[must_use]
    pub fn is_reading(self) -> bool {
        matches!(self, Self::Length | Self::Read | Self::OpenLog | Self::MapHeap | Self::Load)
    }
}

/// The part of a call that took effect before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing.
    Nothing,
    /// A part that this seed determines: the first bytes of a write, any sectors of a sync.
    Part(u64),
    /// The whole call.
    All,
}

/// A set of calls that fail.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The calls, as indices in [`SimDisk::calls`](super::SimDisk::calls).
    pub calls: Range<u64>,
    /// The error of the operating system: EIO, ENOSPC and the like.
    pub errno: i32,
    /// The part of each call that takes effect.
    pub done: Done,
    /// Whether only calls that change something fail.
    pub spares_reading: bool,
}

/// A call that fails.
pub(super) struct Failure {
    errno: i32,
    pub(super) done: Done,
}

impl Faults {
    pub(super) fn failure_of(&self, number: u64, call: Call) -> Option<Failure> {
        let fails = self.calls.contains(&number) && !(self.spares_reading && call.is_reading());
        fails.then_some(Failure { errno: self.errno, done: self.done })
    }
}

impl Failure {
    /// Returns the error for the caller.
    pub(super) fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }

    /// Returns how many of `len` bytes are written.
    pub(super) fn portion(&self, len: usize) -> usize {
        match self.done {
            Done::Nothing => 0,
            Done::Part(seed) => Random(seed).below(len as u64) as usize,
            Done::All => len,
        }
    }
}
