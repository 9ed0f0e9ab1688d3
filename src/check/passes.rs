//! Runs the passes over a heap, from its pages to its objects.
//!
//! **Owns** their order: a pass relies on what earlier ones have found. **Must not know** what any
//! of them looks for.

use crate::image::Image;

use super::objects::reachability;
use super::pages::{chunks, descriptors, free_lists};
use super::report::Report;
use super::system_catalog::{SystemAllocs, check_roots, check_types};

/// Checks the whole heap.
pub(super) fn check(image: &Image, report: &mut Report) {
    report.pages = image.heap_pages();
    let mut system = SystemAllocs::default();
    let chunks = chunks::check(image, report, &mut system);
    let seen = descriptors::check(image, report, &chunks);
    free_lists::check(image, report, &seen);
    let layouts = check_types(image, report, &mut system);
    descriptors::check_slots(image, report, &chunks, &layouts);
    check_roots(image, report, &mut system, &layouts);
    reachability::check(image, report, &chunks, &layouts, &system);
}
