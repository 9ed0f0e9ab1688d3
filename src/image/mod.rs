//! Images: the heap in private memory, following the log.
//!
//! **Owns** the private mapping of the heap together with the log position up
//! to which records were applied to it, and the pool from which readers take
//! snapshots. **Must not know** how records are built or who writes the heap's
//! pages to the file.
//!
//! # Invariants
//!
//! `I1` For every page in use at position P, an image at P holds the bytes of the heap
//! after all records up to P. `I2` An image begins from a checkpoint. Every page touched by
//! a record between that checkpoint and the image's own position is private in the image.
//! `I3` An image that a reader holds does not change.

use std::io;

use crate::disk::Disk;
use crate::error::{Error, ErrorKind};

mod allocator_view;
mod apply;
mod page_ranges;
mod page_set;
mod pool;
mod reader;
mod view;

pub use reader::LongReader;
pub use view::Image;

pub(crate) use allocator_view::Allocation;
pub(crate) use page_set::PageSet;
pub(crate) use pool::{Checkpointed, Pool, PoolStats, open_image};
pub(crate) use reader::ReaderReport;
pub(crate) use view::ImageTraits;
pub use view::LinkChecks;

/// Reports a lack of address space or a failure of the file system, neither of which is damage.
#[cold]
fn io_error(action: &'static str, disk: &dyn Disk) -> impl FnOnce(io::Error) -> Error {
    move |source| ErrorKind::Io { action, path: disk.path().to_path_buf(), source }.into()
}
