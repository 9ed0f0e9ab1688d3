//! Looking through a store for damage.
//!
//! **Owns** the report, and the passes over an image that fill it. **Must not
//! know** how damage is mended: it changes nothing. Every pass ends on any
//! bytes: lists are followed no further than there are pages.

#![forbid(unsafe_code)]

mod lists;
mod pages;

use std::collections::HashSet;

use crate::catalog::{list_roots, schema_text};
use crate::error::{ErrorKind, Result};
use crate::format::checksum;
use crate::format::heap::{TYPE_FIRST_USER, TypeEntry};
use crate::image::Image;

/// Findings that are listed: a file can be all holes, and each page one of them.
const MOST_FINDINGS: usize = 10_000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Offset from the start of the heap of what is damaged.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "heap offset {:#x}: {}", self.offset, self.what)
    }
}

/// What [`Store::check`](crate::Store::check) found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The findings, in the order of the passes: all of them, or the first
    /// thousands and one that says so.
    pub findings: Vec<Finding>,
    /// Pages that were looked at.
    pub pages: u64,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// The report, or the first finding as an error.
    ///
    /// # Errors
    ///
    /// Something is wrong.
    pub fn into_result(self) -> Result<Self> {
        let Some(first) = self.findings.first() else {
            return Ok(self);
        };
        let others = self.findings.len() - 1;
        let found = format!("{} (and {others} other findings)", first.what);
        Err(ErrorKind::corrupt("store", first.offset, "no finding of check", found))
    }

    pub(crate) fn find(&mut self, offset: u64, what: impl Into<String>) {
        let what = match self.findings.len() {
            ..MOST_FINDINGS => what.into(),
            MOST_FINDINGS => "more is wrong from here on, which is not listed".to_string(),
            _ => return,
        };
        self.findings.push(Finding { offset, what });
    }

    /// Notes an error of looking at something.
    fn note<T>(&mut self, offset: u64, looked: Result<T>) -> Option<T> {
        looked.map_err(|error| self.find(offset, error.to_string())).ok()
    }
}

/// What the passes over the pages saw, for the passes over the lists.
#[derive(Default)]
struct Seen {
    /// First pages of free runs.
    free_runs: HashSet<u64>,
    /// Slabs with a free slot.
    open_slabs: HashSet<u64>,
}

/// Looks at everything.
pub(crate) fn run(image: &Image) -> Report {
    let mut report = Report { pages: image.heap_pages(), ..Report::default() };
    let mut seen = Seen::default();
    pages::check(image, &mut report, &mut seen);
    lists::check(image, &mut report, &seen);
    check_types(image, &mut report);
    check_roots(image, &mut report);
    report
}

fn check_types(image: &Image, report: &mut Report) {
    let Some(registry) = report.note(0, image.registry()) else {
        return;
    };
    // Descriptions lie beside each other, so together they fit into the heap.
    let mut room = image.heap_bytes();
    for number in TYPE_FIRST_USER..registry.len.get() {
        let at = registry.offset() + u64::from(number) * size_of::<TypeEntry>() as u64;
        let Some(entry) = report.note(at, image.pod::<TypeEntry>("type entry", at)) else {
            return;
        };
        let Some(text) = report.note(at, schema_text(image, number)) else {
            continue;
        };
        let Some(rest) = room.checked_sub(text.len() as u64) else {
            return report.find(at, "descriptions of types lie over each other");
        };
        room = rest;
        if checksum::plain(text.as_bytes()) != entry.identity.get() {
            report.find(at, format!("type {number}: its description does not match its sum"));
        }
    }
}

fn check_roots(image: &Image, report: &mut Report) {
    let Some(roots) = report.note(0, list_roots(image)) else {
        return;
    };
    for pair in roots.windows(2) {
        if pair[0].name >= pair[1].name {
            report.find(0, format!("roots {:?} and {:?}: not sorted", pair[0].name, pair[1].name));
        }
    }
    for root in roots.iter().filter(|root| root.offset != 0) {
        match image.allocation(root.offset) {
            Ok(found) if found.offset == root.offset => {}
            Ok(_) => {
                report.find(root.offset, format!("root {:?}: inside an allocation", root.name));
            }
            Err(found) => {
                report.find(root.offset, format!("root {:?} leads to {found}", root.name));
            }
        }
    }
}
