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
//!
//! Beside a checkpoint at L (docs/design/reading.md): `F3` An image at rest at L or later has its own
//! copies of the pages to be written, or they are zero and are written as zeros. `F4` An image becomes
//! usable only at a position of at least the floor, which is compared after the last byte of the file
//! was read for that image, and becomes L before the first page is written. `F5` An image that can be
//! used behind L has its own copies of the pages before the first is written. A copy is in memory, or
//! in a file of the image alone (docs/design/spilling.md).

mod allocator_view;
mod apply;
mod budget;
mod frozen;
mod lists;
mod memory_limit;
mod open;
mod others;
mod out;
mod page_ranges;
mod page_set;
mod pool;
mod read_ahead;
mod reader;
mod reading;
mod spilled;
mod spiller;
mod survey;
mod upkeep;
mod view;

pub use reader::LongReader;
pub use view::Image;

pub(crate) use allocator_view::Allocation;
pub(crate) use apply::Touched;
pub(crate) use budget::{Account, Budget, Use};
pub(crate) use memory_limit::memory_limit_bytes;
pub(crate) use open::{Checkpointed, open_image};
pub(crate) use page_set::PageSet;
pub(crate) use pool::{Follow, Pool};
pub(crate) use read_ahead::ReadAhead;
pub(crate) use reader::ReaderReport;
pub(crate) use reading::Reading;
pub(crate) use spiller::{SpillLimits, Spiller};
pub(crate) use survey::{Survey, Surveyed};
pub(crate) use upkeep::PoolStats;
pub(crate) use view::ImageTraits;
pub use view::LinkChecks;
