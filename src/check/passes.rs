//! Runs the passes over a heap, from its pages to its objects.

use std::collections::HashSet;

use crate::image::Image;

use super::report::Report;
use super::system_catalog::{SystemAllocs, check_roots, check_types};
use super::{chunks, lists, pages, reach};

/// What the page passes found, for the list passes.
#[derive(Default)]
pub(super) struct PageFindings {
    /// First pages of free runs.
    pub(super) free_runs: HashSet<u64>,
    /// Slabs with a free slot.
    pub(super) open_slabs: HashSet<u64>,
}

/// Checks the whole heap.
pub(super) fn check(image: &Image, report: &mut Report) {
    report.pages = image.heap_pages();
    let (mut seen, mut system) = (PageFindings::default(), SystemAllocs::default());
    let chunks = chunks::check(image, report, &mut system);
    pages::check(image, report, &chunks, &mut seen);
    lists::check(image, report, &seen);
    let layouts = check_types(image, report, &mut system);
    pages::check_slots(image, report, &chunks, &layouts);
    check_roots(image, report, &mut system, &layouts);
    reach::check(image, report, &chunks, &layouts, &system);
}
