//! Calls that fail.

use std::io;
use std::ops::Range;

use super::Random;

/// The calls that go through the seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// The file's length.
    Length,
    /// A read.
    Read,
    /// A positioned write.
    Write,
    /// A sync of everything.
    Sync,
    /// More length, with the space for it.
    Grow,
    /// Less length.
    Truncate,
    /// Getting at a log region.
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
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Length,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Grow,
        Self::Truncate,
        Self::OpenLog,
        Self::MapHeap,
        Self::Append,
        Self::Load,
        Self::Flush,
    ];

    /// Whether it leaves the disk as it was.
    #[must_use]
    pub fn is_reading(self) -> bool {
        matches!(self, Self::Length | Self::Read | Self::OpenLog | Self::MapHeap | Self::Load)
    }
}

/// How much of a call was done before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing.
    Nothing,
    /// A part, as this seed has it: the first bytes of a write, any sectors of a
    /// sync.
    Part(u64),
    /// All of it.
    All,
}

/// Calls that are to fail.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Which: places in [`SimDisk::calls`](super::SimDisk::calls).
    pub calls: Range<u64>,
    /// What the operating system answers: EIO, ENOSPC and the like.
    pub errno: i32,
    /// How much of each is done.
    pub done: Done,
    /// Whether only those fail that change something.
    pub spares_reading: bool,
}

/// A call that fails.
pub(super) struct Failure {
    errno: i32,
    pub(super) done: Done,
}

impl Faults {
    pub(super) fn strike(&self, number: u64, call: Call) -> Option<Failure> {
        let strikes = self.calls.contains(&number) && !(self.spares_reading && call.is_reading());
        strikes.then_some(Failure { errno: self.errno, done: self.done })
    }
}

impl Failure {
    /// The caller's answer.
    pub(super) fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }

    /// How many of `len` bytes are written.
    pub(super) fn portion(&self, len: usize) -> usize {
        match self.done {
            Done::Nothing => 0,
            Done::Part(seed) => Random(seed).below(len as u64) as usize,
            Done::All => len,
        }
    }
}
