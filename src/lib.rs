//! Flagstone: a persistent heap of plain structs in one mapped file.

mod alloc;
mod catalog;
mod check;
mod disk;
mod engine;
mod error;
mod format;
mod image;
mod log;
mod map;
pub mod persist;
mod store;
mod workspace;

pub use catalog::RootInfo;
pub use check::{Finding, Report};
pub use error::{Error, ErrorKind, Result};
pub use flagstone_derive::persist;
pub use image::{Image, LinkTests};
pub use persist::{Link, Persist, Pointee};
pub use store::{Durability, OpenOptions, PagesByUse, ReadTx, Savepoint, Stats, Store, WriteTx};
