//! Checks the allocator's lists: each must name exactly the pages that belong to it.
//!
//! **Owns** the comparison of lists with descriptors. **Must not know** whether a descriptor is
//! right (`descriptors`).

use std::collections::HashSet;

use crate::alloc::type_entry_offset;
use crate::check::report::Report;
use crate::format::PAGE_BYTES;
use crate::format::heap::{
    ARRAY_CLASSES, PageDescriptor, PageKind, SLAB_ARRAYS, TypeEntry, bucket_of,
};
use crate::image::Image;

use super::descriptors::PageFindings;

pub(in crate::check) fn check(image: &Image, report: &mut Report, seen: &PageFindings) {
    let mut listed = HashSet::new();
    check_free_lists(image, report, &mut listed);
    compare(report, &seen.free_runs, &listed, "a free run");
    listed.clear();
    check_slab_lists(image, report, &mut listed);
    compare(report, &seen.open_slabs, &listed, "a slab with room");
}

fn compare(report: &mut Report, seen: &HashSet<u64>, listed: &HashSet<u64>, what: &str) {
    for page in seen.difference(listed) {
        report.add_at(page * PAGE_BYTES, format!("{what} that no list names"));
    }
    for page in listed.difference(seen) {
        report.add_at(page * PAGE_BYTES, format!("a list names this page, which is not {what}"));
    }
}

fn check_free_lists(image: &Image, report: &mut Report, listed: &mut HashSet<u64>) {
    let Some(header) = report.note(0, image.header()) else {
        return;
    };
    let buckets = header.buckets;
    for (bucket, head) in buckets.into_iter().enumerate() {
        let head = u64::from(head.get());
        let marked = header.bucket_mask[bucket / 64].get() >> (bucket % 64) & 1 == 1;
        if marked != (head != 0) {
            report.add_at(0, format!("list {bucket} of free runs: its bit does not fit"));
        }
        let is_right = |run: &PageDescriptor| {
            run.kind() == Some(PageKind::Free)
                && bucket_of(u64::from(run.run_pages.get())) == bucket
        };
        walk(image, report, head, listed, is_right);
    }
}

fn check_slab_lists(image: &Image, report: &mut Report, listed: &mut HashSet<u64>) {
    let Some(registry) = report.note(0, image.registry()) else {
        return;
    };
    for number in 0..registry.len.get() {
        let Some(at) = report.note(0, type_entry_offset(image, number)) else {
            return;
        };
        let Some(entry) = report.note(at, image.pod::<TypeEntry>("type entry", at)) else {
            return;
        };
        let is_right = |flags: u8, slot_bytes: Option<u16>| {
            move |slab: &PageDescriptor| {
                slab.kind() == Some(PageKind::Slab)
                    && slab.owner.get() == number
                    && slab.flags == flags
                    && slot_bytes.is_none_or(|bytes| bytes == slab.slot_bytes.get())
            }
        };
        walk(image, report, u64::from(entry.objects.get()), listed, is_right(0, None));
        for (class, head) in ARRAY_CLASSES.into_iter().zip(entry.arrays) {
            let is_right = is_right(SLAB_ARRAYS, Some(class));
            walk(image, report, u64::from(head.get()), listed, is_right);
        }
    }
}

/// Follows a list to its end. A page that was listed before also ends the list.
fn walk(
    image: &Image,
    report: &mut Report,
    head: u64,
    listed: &mut HashSet<u64>,
    is_right: impl Fn(&PageDescriptor) -> bool,
) {
    let (mut page, mut before) = (head, 0);
    while page != 0 {
        let offset = page * PAGE_BYTES;
        let Some(found) = report.note(offset, image.descriptor(page)) else {
            return;
        };
        if !is_right(found) {
            return report.add_at(offset, "a list names a page of another kind, type or size");
        }
        if u64::from(found.prev.get()) != before {
            report.add_at(offset, "a page of a list does not name the one before it");
        }
        if !listed.insert(page) {
            return report.add_at(offset, "a list comes back to a page");
        }
        (before, page) = (page, u64::from(found.next.get()));
    }
}
