//! Checks a store for damage.
//!
//! **Owns** the report and the passes that fill it, over a file and over an image of its heap.
//! **Must not know** how to repair damage: a check changes nothing. Every pass terminates on any
//! bytes: it follows a list for at most as many steps as there are pages.

#![forbid(unsafe_code)]

mod bitmap;
mod file;
mod objects;
mod open;
mod pages;
mod passes;
mod report;
mod schema;
mod superblocks;
mod system_catalog;

pub(crate) use file::check as check_file;
pub(crate) use open::check as check_open;
pub use report::{Dangling, DanglingList, Finding, Report, Unreachable, UnreachableList};
