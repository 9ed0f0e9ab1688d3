//! Checks the pages: descriptors against each other, and checksums against contents.
//!
//! **Owns** what each kind of page may have in its descriptor. **Must not know** which list names
//! a page (`free_lists`).

use std::collections::HashSet;

use zerocopy::little_endian::U64;

use crate::check::report::Report;
use crate::check::schema::layout::Layouts;
use crate::format::heap::{
    ARRAY_CLASSES, FREE_FIRST, FREE_LAST, MAX_SLOT_BYTES, MAX_SLOTS, PAGES_PER_SEGMENT,
    PageDescriptor, PageKind, RUN_OBJECT, RegionRef, SLAB_ARRAYS, TYPE_FIRST_USER,
};
use crate::format::{LINES_PER_PAGE, PAGE_BYTES, checksum};
use crate::image::{Image, ReadAhead};

use super::chunks::{Chunks, expect_kind};

/// What the descriptors say about the lists that must name their pages.
#[derive(Default)]
pub(in crate::check) struct PageFindings {
    /// First pages of free runs.
    pub(super) free_runs: HashSet<u64>,
    /// Slabs with a free slot.
    pub(super) open_slabs: HashSet<u64>,
}

/// Checks each page that has a descriptor.
pub(in crate::check) fn check(image: &Image, report: &mut Report, chunks: &Chunks) -> PageFindings {
    let mut seen = PageFindings::default();
    let end = image.heap_pages();
    let mut page = 0;
    while page < end {
        let segment = page / PAGES_PER_SEGMENT;
        page = match chunks.has(segment) {
            true => page + check_from(image, report, &mut seen, page).max(1),
            false => (segment + 1) * PAGES_PER_SEGMENT,
        };
    }
    let mut read_ahead = ReadAhead::default();
    for page in chunks.described() {
        read_ahead.reach(image, page * PAGE_BYTES);
        match page < end {
            true => check_sum(image, report, chunks, page),
            false => check_past_end(image, report, page),
        }
    }
    seen
}

/// Checks the page, or the run that begins there; returns its length.
fn check_from(image: &Image, report: &mut Report, seen: &mut PageFindings, page: u64) -> u64 {
    let offset = page * PAGE_BYTES;
    let Some(found) = report.note(offset, image.descriptor(page)).copied() else {
        return 1;
    };
    match found.kind() {
        Some(PageKind::Free) => check_free(image, report, seen, page, &found),
        Some(PageKind::Slab) => check_slab(report, seen, page, &found),
        Some(PageKind::Run) => check_run(image, report, page, &found),
        Some(PageKind::RunBody) => {
            report.add_at(offset, "a run's later page without its first page");
            1
        }
        Some(PageKind::Log) => check_log(image, report, page),
        Some(kind @ (PageKind::Meta | PageKind::Sums)) => {
            expect_fields(report, page, &found, PageDescriptor::of(kind));
            1
        }
        None => {
            report.add_at(offset, format!("page kind {} is unknown", found.kind_code()));
            1
        }
    }
}

/// Reports fields that this kind of page does not use.
fn expect_fields(report: &mut Report, page: u64, found: &PageDescriptor, used: PageDescriptor) {
    if *found != used {
        report
            .add_at(page * PAGE_BYTES, format!("expected {used:?} for its kind, found {found:?}"));
    }
}

fn check_free(
    image: &Image,
    report: &mut Report,
    seen: &mut PageFindings,
    page: u64,
    first: &PageDescriptor,
) -> u64 {
    let pages = u64::from(first.run_pages.get());
    let offset = page * PAGE_BYTES;
    if first.flags & FREE_FIRST == 0 || pages == 0 || page + pages > image.heap_pages() {
        report.add_at(offset, "a free page that no free run begins with");
        return 1;
    }
    let mut expected = PageDescriptor::of(PageKind::Free);
    expected.flags = if pages == 1 { FREE_FIRST | FREE_LAST } else { FREE_FIRST };
    (expected.run_pages, expected.next, expected.prev) = (first.run_pages, first.next, first.prev);
    expect_fields(report, page, first, expected);
    seen.free_runs.insert(page);
    for inside in page + 1..page + pages {
        let Some(found) = report.note(offset, image.descriptor(inside)) else {
            return pages;
        };
        let is_last = inside + 1 == page + pages;
        let mut expected = PageDescriptor::of(PageKind::Free);
        if is_last {
            expected.flags = FREE_LAST;
            expected.run_pages = first.run_pages;
        }
        if *found != expected {
            report
                .add_at(inside * PAGE_BYTES, "a page inside of a free run is described otherwise");
        }
    }
    let next = image.page_kind(page + pages);
    if page + pages < image.heap_pages() && next.is_ok_and(|kind| kind == PageKind::Free) {
        report.add_at(offset, "two free runs touch");
    }
    pages
}

fn check_slab(
    report: &mut Report,
    seen: &mut PageFindings,
    page: u64,
    slab: &PageDescriptor,
) -> u64 {
    let offset = page * PAGE_BYTES;
    let slot_bytes = u64::from(slab.slot_bytes.get());
    let slots = PAGE_BYTES.checked_div(slot_bytes).unwrap_or(0).min(MAX_SLOTS);
    if slots == 0 || slots != u64::from(slab.slots.get()) {
        report.add_at(offset, format!("a slab of {} slots of {slot_bytes} bytes", slab.slots));
        return 1;
    }
    let mut expected = PageDescriptor::of(PageKind::Slab);
    expected.flags = slab.flags & SLAB_ARRAYS;
    (expected.slot_bytes, expected.owner) = (slab.slot_bytes, slab.owner);
    (expected.slots, expected.used, expected.bitmap) = (slab.slots, slab.used, slab.bitmap);
    let is_full = slab.used >= slab.slots;
    if !is_full {
        (expected.next, expected.prev) = (slab.next, slab.prev);
        seen.open_slabs.insert(page);
    }
    expect_fields(report, page, slab, expected);
    if slab.slots_in_bitmap() != u64::from(slab.used.get()) {
        report.add_at(offset, "a slab whose count of used slots is not its bitmap's");
    }
    if (slots..MAX_SLOTS).any(|slot| slab.slot_used(slot)) {
        report.add_at(offset, "a slab with a used slot past its last one");
    }
    1
}

fn check_run(image: &Image, report: &mut Report, page: u64, head: &PageDescriptor) -> u64 {
    let offset = page * PAGE_BYTES;
    let pages = u64::from(head.run_pages.get());
    if pages == 0 || page + pages > image.heap_pages() {
        report.add_at(offset, format!("a run of {pages} pages"));
        return 1;
    }
    let mut expected = PageDescriptor::of(PageKind::Run);
    (expected.owner, expected.run_pages) = (head.owner, head.run_pages);
    expected.object_bytes = head.object_bytes;
    expected.flags = head.flags & RUN_OBJECT;
    expect_fields(report, page, head, expected);
    let needed = head.object_bytes.get().div_ceil(PAGE_BYTES).max(1);
    if needed != pages {
        report.add_at(offset, format!("a run of {pages} pages for {} bytes", head.object_bytes));
    }
    for inside in page + 1..page + pages {
        let Some(body) = report.note(offset, image.descriptor(inside)) else {
            return pages;
        };
        let mut expected = PageDescriptor::of(PageKind::RunBody);
        expected.owner.set(page as u32);
        if *body != expected {
            report.add_at(inside * PAGE_BYTES, "a page inside of a run is described otherwise");
            return inside - page;
        }
    }
    pages
}

/// Checks that log pages lie in a region that the header names, and that the region holds only
/// log pages.
fn check_log(image: &Image, report: &mut Report, page: u64) -> u64 {
    let Some(header) = report.note(0, image.header()) else {
        return 1;
    };
    let begins = |region: &&RegionRef| u64::from(region.page.get()) == page;
    let Some(region) = header.log.iter().find(begins) else {
        report.add_at(page * PAGE_BYTES, "a log page outside of the log's regions");
        return 1;
    };
    let pages = u64::from(region.pages.get()).min(image.heap_pages() - page);
    for inside in page..page + pages {
        let found = image.descriptor(inside).copied();
        if found.is_ok_and(|found| found != PageDescriptor::of(PageKind::Log)) {
            report.add_at(inside * PAGE_BYTES, "a page of the log is described otherwise");
        }
    }
    pages
}

fn stored_sum(image: &Image, report: &mut Report, page: u64) -> Option<u64> {
    let at = report.note(page * PAGE_BYTES, image.sum_offset(page))?;
    report.note(at, image.pod::<U64>("page sum", at)).map(|sum| sum.get())
}

fn check_sum(image: &Image, report: &mut Report, chunks: &Chunks, page: u64) {
    let offset = page * PAGE_BYTES;
    let (Ok(kind), Some(stored)) = (image.page_kind(page), stored_sum(image, report, page)) else {
        return;
    };
    expect_kind(report, chunks, page, kind);
    let expected = match kind {
        PageKind::Free | PageKind::Log | PageKind::Sums => 0,
        _ => match report.note(offset, image.pages(page, 1)) {
            Some(bytes) => checksum::of_page(page * LINES_PER_PAGE, bytes),
            None => return,
        },
    };
    if stored != expected {
        report.add_at(offset, format!("page sum {stored:#018x}, expected {expected:#018x}"));
    }
}

/// Checks that descriptors and checksums of pages past the end of the heap are zero.
fn check_past_end(image: &Image, report: &mut Report, page: u64) {
    let offset = page * PAGE_BYTES;
    let descriptor = image.descriptor(page).copied();
    if descriptor.is_ok_and(|found| found != PageDescriptor::default()) {
        report.add_at(offset, "a page past the heap's end is described");
    }
    if stored_sum(image, report, page).is_some_and(|sum| sum != 0) {
        report.add_at(offset, "a page past the heap's end has a sum");
    }
}

/// Checks that slabs and runs fit their types.
pub(in crate::check) fn check_slots(
    image: &Image,
    report: &mut Report,
    chunks: &Chunks,
    layouts: &Layouts,
) {
    for page in chunks.described().take_while(|page| *page < image.heap_pages()) {
        let Ok(found) = image.descriptor(page) else { continue };
        let is_slab = found.kind() == Some(PageKind::Slab);
        if !is_slab && found.kind() != Some(PageKind::Run) {
            continue;
        }
        let owner = found.owner.get();
        let (size, align) = match layouts.of(owner) {
            Some(layout) => (layout.size_bytes, layout.align_bytes),
            None if owner < TYPE_FIRST_USER => (1, 1),
            None => {
                let known = layouts.types.len();
                report.add_at(page * PAGE_BYTES, format!("type number {owner} of {known}"));
                continue;
            }
        };
        let slot = u64::from(found.slot_bytes.get());
        let object_bytes = found.object_bytes.get();
        let is_right = match is_slab {
            false if found.flags & RUN_OBJECT != 0 => object_bytes == size && size > MAX_SLOT_BYTES,
            false => object_bytes.is_multiple_of(size),
            true if found.flags & SLAB_ARRAYS != 0 => {
                ARRAY_CLASSES.contains(&(slot as u16)) && slot.is_multiple_of(align)
            }
            true => slot == size.max(16) && size <= MAX_SLOT_BYTES && owner != 0,
        };
        if !is_right {
            let what =
                format!("slots or an object of other sizes than type {owner}'s, {size} bytes");
            report.add_at(page * PAGE_BYTES, what);
        }
    }
}
