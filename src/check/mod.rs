//! Checks a store for damage.
//!
//! **Owns** the report and the passes that fill it, over a file and over an image of its heap.
//! **Must not know** how to repair damage: a check changes nothing. Every pass terminates on any
//! bytes: it follows a list for at most as many steps as there are pages.

#![forbid(unsafe_code)]

mod bitmap;
mod chunks;
mod description;
mod file;
mod hash;
mod layout;
mod lists;
mod owned;
mod pages;
mod passes;
mod path;
mod reach;
mod reader;
mod report;
mod roles;
mod superblocks;
mod system_catalog;
mod tree;
mod walk;

use crate::image::Image;

pub(crate) use file::check as check_file;
pub use reach::{Dangling, DanglingList, Unreachable, UnreachableList};
pub use report::{Finding, Report};

/// Checks an open store: the pages before its heap, and the heap as `image` shows it.
pub(crate) fn check_open(before_heap: &[u8], image: &Image) -> Report {
    let mut report = Report::default();
    superblocks::check(before_heap, &mut report);
    passes::check(image, &mut report);
    report
}
