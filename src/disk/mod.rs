//! Storage: the interface that all writes go through, and the file behind it.
//!
//! **Owns** the one trait through which each write, resize and sync of a
//! store's file goes, the file behind it, files beside it, and plain memory as a replacement.
//! **Must not know** what the bytes mean.
//!
//! # Invariants
//!
//! `D1` Log and heap are written and synced through separate descriptions:
//! the kernel reports a write error once per open file description, and a
//! reader of the error must not take it from the other one. `D2` The length of
//! the file changes in [`Disk::grow`] and [`Disk::truncate`] alone.

mod anonymous;
mod coordination;
mod create_file;
mod draft;
mod event;
mod file;
mod file_size;
mod file_system;
mod holes;
mod interface;
mod lock;
mod memory;
mod mirror;
mod open_flags;
mod read_only;
mod retry;
mod spill_file;
mod system;

pub(crate) use anonymous::{anonymous, copy_of};
pub(crate) use coordination::{Coordination, Lock, open_coordination};
pub(crate) use create_file::{create_file, fill_in_place};
pub(crate) use file::{FileDisk, open_file, open_shared};
pub(crate) use file_size::FileSize;
pub(crate) use file_system::{expect_folder_of_one_machine, expect_one_machine};
pub(crate) use interface::{Disk, LogRegion, in_memory};
pub use memory::MemoryDisk;
pub(crate) use mirror::Mirror;
pub(crate) use read_only::open_to_read;
pub(crate) use retry::uninterrupted;
#[cfg(any(test, feature = "sim"))]
pub(crate) use spill_file::spill_file_in_memory;
