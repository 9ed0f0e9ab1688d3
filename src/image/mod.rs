//! Images: the heap in private memory, following the log.
//!
//! **Owns** the private mapping of the heap together with the log position up
//! to which records were applied to it, and the pool from which readers take
//! snapshots. **Must not know** how records come about or who writes the heap's
//! pages to the file.
//!
//! # Invariants
//!
//! `I1` The bytes of an image at position P are those of the heap after all
//! records up to P, for every page in use then. `I2` Every page that a record
//! between the checkpoint an image began from and its own position touches is
//! private in it. `I3` An image that a reader holds does not change.

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

/// There is no address space, or the file system has given up: that is no damage.
#[cold]
fn io_error(action: &'static str, disk: &dyn Disk) -> impl FnOnce(io::Error) -> Error {
    move |source| ErrorKind::Io { action, path: disk.path().to_path_buf(), source }.into()
}
