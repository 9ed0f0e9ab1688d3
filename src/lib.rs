//! A persistent heap of plain structs in one mapped file.
//!
//! **Owns** the list of public items. Start with [`Store`] to open a store, [`WriteTx`] and
//! [`ReadTx`] to use it, and [`persist`](macro@persist) to declare structs.

#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_os = "linux"))]
compile_error!("flagstone needs Linux: private pages are frozen with MADV_POPULATE_WRITE");

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "flagstone needs a 64-bit target: each image maps the whole heap, up to 1 TiB, into one address space, and file offsets, counts and alignments are those of 64-bit words"
);

mod alloc;
mod catalog;
mod check;
pub mod collections;
mod deadline;
mod disk;
mod engine;
mod error;
mod format;
#[cfg(feature = "harness")]
#[cfg_attr(docsrs, doc(cfg(feature = "harness")))]
pub mod harness;
mod image;
mod log;
mod map;
mod mutation;
pub mod persist;
#[cfg(any(test, feature = "sim"))]
#[cfg_attr(docsrs, doc(cfg(feature = "sim")))]
pub mod sim;
mod store;
mod sync;
mod workspace;

pub use catalog::RootInfo;
pub use check::{Dangling, DanglingList, Finding, Report, Unreachable, UnreachableList};
pub use collections::{Bytes, Pair, Text};
pub use engine::{ProcessInfo, SnapshotInfo};
pub use error::{Error, ErrorKind, Result};
pub use flagstone_derive::persist;
pub use image::{Image, LinkChecks, LongReader};
pub use persist::{FieldOf, Link, Persist, Pointee};
pub use store::{
    AccessPattern, Checkpoints, Durability, OpenOptions, OwnedReadTx, PagesByUse, PendingCommit,
    ReadTx, Savepoint, Snapshot, Stats, Store, WriteTx,
};
