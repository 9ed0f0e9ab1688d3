//! The log's region in the heap, and how far its move to another one is.
//!
//! **Must not know** how the log is moved (`log_move`).

use crate::format::{HEAP_START_BYTES, PAGE_BYTES};

/// Where the log's move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogMove {
    None,
    /// The log should have this length.
    Wanted {
        bytes: u64,
    },
    /// A region is allocated, and so many of its pages need no zeros any more.
    Allocated {
        region: Region,
        zeroed: u64,
    },
    /// The heap's header names a region that the superblocks do not name.
    Stale,
}

/// A region of the heap, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) page: u64,
    pub(crate) pages: u64,
}

impl Region {
    /// Returns its offset in the file.
    pub(super) fn offset(self) -> u64 {
        HEAP_START_BYTES + self.page * PAGE_BYTES
    }

    pub(super) fn bytes(self) -> u64 {
        self.pages * PAGE_BYTES
    }
}

/// What a commit has to do for the log's move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogStep {
    /// Allocate a region of this length.
    Allocate { bytes: u64 },
    /// Move the log to a region of this length before the write lock is released.
    GrowAtOnce { bytes: u64 },
    /// Have somebody call `do_due_work`.
    Continue,
    /// Free the region that is no log any more.
    Free,
}

impl LogMove {
    /// Returns whether the log is about to be longer.
    pub(super) fn makes_room(self) -> bool {
        match self {
            Self::Wanted { .. } => true,
            Self::Allocated { region, zeroed } => zeroed == region.pages,
            Self::None | Self::Stale => false,
        }
    }

    /// Returns what the next commit has to do.
    pub(super) fn step(self) -> Option<LogStep> {
        match self {
            Self::None => None,
            Self::Wanted { bytes } => Some(LogStep::Allocate { bytes }),
            Self::Allocated { .. } => Some(LogStep::Continue),
            Self::Stale => Some(LogStep::Free),
        }
    }
}
