//! Looking through a store for damage.
//!
//! **Owns** the report, and the passes over an image that fill it. **Must not
//! know** how damage is mended: it changes nothing. Every pass ends on any
//! bytes: lists are followed no further than there are pages.

#![forbid(unsafe_code)]

mod description;
mod layout;
mod lists;
mod marks;
mod pages;
mod reach;

use std::collections::HashSet;

use crate::catalog::{list_roots, schema_text};
use crate::error::{ErrorKind, Result};
use crate::format::checksum;
use crate::format::heap::{TYPE_FIRST_USER, TypeEntry};
use crate::image::Image;

use description::TypeText;
use layout::Layouts;
pub use reach::{Dangling, DanglingList, Unreachable, UnreachableList};

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
    /// Allocations that no root reaches along any links: leaks, as a rule. They
    /// are no damage, since a program may keep links elsewhere; `is_clean` and
    /// `into_result` do not count them.
    ///
    /// A link reaches the whole allocation that it leads into, and whatever the
    /// elements that it spans link to; elements that no link spans lead nowhere.
    /// With findings about types, all that is behind those types is listed.
    pub unreachable: UnreachableList,
    /// Links that a root reaches and that lead to no live allocation, or past
    /// the end of one. They are no damage either: a program may leave a link
    /// where it has freed the object. A link to memory that was given to another
    /// object since is not told from one to that object.
    pub dangling: DanglingList,
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
    let layouts = check_types(image, &mut report);
    check_roots(image, &mut report);
    reach::check(image, &mut report, &layouts);
    report
}

fn check_types(image: &Image, report: &mut Report) -> Layouts {
    let Some(registry) = report.note(0, image.registry()) else {
        return Layouts::default();
    };
    let place = |number| registry.offset() + number * size_of::<TypeEntry>() as u64;
    let mut texts = vec![TypeText::default()];
    // Each has a place of its own: together they are no longer than the heap.
    let mut left_bytes = image.heap_bytes();
    for number in TYPE_FIRST_USER..registry.len.get() {
        let at = place(u64::from(number));
        let Some(entry) = report.note(at, image.pod::<TypeEntry>("type entry", at)) else {
            break;
        };
        texts.push(TypeText::default());
        let text_bytes = u64::from(entry.schema_bytes.get());
        if text_bytes > left_bytes {
            report.find(at, format!("type {number}: descriptions longer than the heap"));
            continue;
        }
        left_bytes -= text_bytes;
        let Some(text) = report.note(at, schema_text(image, number)) else {
            continue;
        };
        if checksum::plain(text.as_bytes()) != entry.identity.get() {
            report.find(at, format!("type {number}: its description does not match its sum"));
        }
        let size_bytes = u64::from(entry.size_bytes.get());
        texts[number as usize] = TypeText { size_bytes, text };
    }
    Layouts::read(&texts, |number, why| {
        report.find(place(number as u64), format!("type {number}: {why}"));
    })
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
