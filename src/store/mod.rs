//! The public face: stores, transactions, options, statistics.
//!
//! **Owns** everything that a user of the crate sees and holds. **Must not know** the bytes of the
//! file: all access goes through the layers below.

#![deny(unsafe_code)]

mod access_pattern;
mod begin_write;
mod check;
mod commit;
mod disk_options;
mod gate;
mod handle;
mod log_move;
mod open;
mod options;
mod place;
mod processes;
mod raw_alloc;
mod read;
mod release;
mod roots;
mod savepoint;
mod stats;
mod threads;
mod tidy;
mod validated;
mod write;

pub use access_pattern::AccessPattern;
pub use commit::PendingCommit;
pub use handle::Store;
pub use options::{Checkpoints, Durability, OpenOptions};
pub(crate) use raw_alloc::Region;
pub use read::{OwnedReadTx, ReadTx, Snapshot};
pub use savepoint::Savepoint;
pub use stats::{PagesByUse, Stats};
pub use write::WriteTx;
