//! The open options that the engine uses.
//!
//! **Must not know** how a program sets them (`store::options`).

use std::sync::Arc;
use std::time::Duration;

use crate::format::superblock::Superblock;
use crate::image::{
    Budget, ImageTraits, LinkChecks, ReaderReport, SpillLimits, memory_limit_bytes,
};
use crate::mutation::ActiveMutation;

/// The open options that the engine uses.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) link_checks: LinkChecks,
    pub(crate) budget: Arc<Budget>,
    /// Pages that recovery keeps private before it writes them.
    pub(crate) round_pages: u64,
    /// The length of the log without load.
    pub(crate) log_bytes: u64,
    pub(crate) max_log_bytes: u64,
    /// The length up to which the log grows while a process blocks checkpoints.
    pub(crate) max_blocked_log_bytes: Option<u64>,
    pub(crate) salvage: bool,
    pub(crate) access: Access,
    /// Limit on the images that readers may pin.
    pub(crate) max_held_images: usize,
    pub(crate) reader_report: Option<ReaderReport>,
    /// Eighths of the log that may fill before a checkpoint is due.
    pub(crate) checkpoint_eighths: u64,
    /// The age at which a deferred commit is flushed.
    pub(crate) flush_every: Option<Duration>,
    pub(crate) max_file_bytes: u64,
    /// The length from which on mappings of the heap are accessed at random.
    pub(crate) random_from_bytes: u64,
    /// Bounds of the files that hold pages for readers.
    pub(crate) spill_limits: SpillLimits,
    pub(crate) mutation: ActiveMutation,
}

/// What an opening may do to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The opening writes nothing: records are applied in memory only.
    Read,
    Write,
}

impl Settings {
    /// Returns how many bytes may be logged before a checkpoint is due.
    pub(super) fn checkpoint_after(&self, log_bytes: u64) -> u64 {
        log_bytes / 8 * self.checkpoint_eighths
    }

    /// Returns the traits of images of the store that `block` belongs to.
    pub(super) fn image_traits(&self, block: &Superblock) -> ImageTraits {
        ImageTraits {
            link_checks: self.link_checks,
            hash_key: block.hash_key,
            random_from_bytes: self.random_from_bytes,
        }
    }
}

/// Returns the length from which on a mapping of the heap is better accessed at random, unless the
/// program says something else. In a longer heap, most pages that are read ahead are dropped again
/// before they are used, and drop others.
pub(crate) fn random_from_bytes() -> u64 {
    memory_limit_bytes() / 2
}
