//! The pages: descriptors against each other, and sums against contents.

use crate::format::heap::{FREE_FIRST, FREE_LAST, MAX_SLOTS, PageDescriptor, PageKind, TypeEntry};
use crate::format::{LINES_PER_PAGE, PAGE_BYTES, checksum};
use crate::image::Image;

use super::{Report, Seen};

/// Looks at each page of the heap.
pub(super) fn check(image: &Image, report: &mut Report, seen: &mut Seen) {
    let end = image.heap_pages();
    let mut page = 0;
    while page < end {
        page += check_from(image, report, seen, page).max(1);
    }
    for page in 0..end {
        check_sum(image, report, page);
    }
    check_past_end(image, report, end);
}

/// Looks at the page, or the run that begins there; returns its length.
fn check_from(image: &Image, report: &mut Report, seen: &mut Seen, page: u64) -> u64 {
    let offset = page * PAGE_BYTES;
    let Some(found) = report.note(offset, image.descriptor(page)).copied() else {
        return 1;
    };
    match found.kind() {
        Some(PageKind::Free) => check_free(image, report, seen, page, &found),
        Some(PageKind::Slab) => check_slab(image, report, seen, page, &found),
        Some(PageKind::Run) => check_run(image, report, page, &found),
        Some(PageKind::RunBody) => {
            report.find(offset, "a run's later page without its first page");
            1
        }
        Some(PageKind::Log) => check_log(image, report, page),
        Some(PageKind::Meta | PageKind::Sums) => 1,
        None => {
            report.find(offset, format!("page kind {} is unknown", found.kind_code()));
            1
        }
    }
}

fn check_free(
    image: &Image,
    report: &mut Report,
    seen: &mut Seen,
    page: u64,
    first: &PageDescriptor,
) -> u64 {
    let pages = u64::from(first.run_pages.get());
    let offset = page * PAGE_BYTES;
    if first.flags & FREE_FIRST == 0 || pages == 0 || page + pages > image.heap_pages() {
        report.find(offset, "a free page that no free run begins with");
        return 1;
    }
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
            report.find(inside * PAGE_BYTES, "a page inside of a free run is described otherwise");
        }
    }
    let next = image.page_kind(page + pages);
    if page + pages < image.heap_pages() && next.is_ok_and(|kind| kind == PageKind::Free) {
        report.find(offset, "two free runs touch");
    }
    pages
}

fn check_slab(
    image: &Image,
    report: &mut Report,
    seen: &mut Seen,
    page: u64,
    slab: &PageDescriptor,
) -> u64 {
    let offset = page * PAGE_BYTES;
    let slot_bytes = u64::from(slab.slot_bytes.get());
    let slots = PAGE_BYTES.checked_div(slot_bytes).unwrap_or(0).min(MAX_SLOTS);
    if slots == 0 || slots != u64::from(slab.slots.get()) {
        report.find(offset, format!("a slab of {} slots of {slot_bytes} bytes", slab.slots));
        return 1;
    }
    if slab.slots_in_bitmap() != u64::from(slab.used.get()) {
        report.find(offset, "a slab whose count of used slots is not its bitmap's");
    }
    if (slots..MAX_SLOTS).any(|slot| slab.slot_used(slot)) {
        report.find(offset, "a slab with a used slot past its last one");
    }
    if slab.used < slab.slots {
        seen.open_slabs.insert(page);
    }
    check_owner(image, report, page, slab);
    1
}

fn check_owner(image: &Image, report: &mut Report, page: u64, descriptor: &PageDescriptor) {
    let Some(header) = report.note(0, image.header()) else {
        return;
    };
    let (number, len) = (descriptor.owner.get(), header.registry.len.get());
    if number >= len && number != 0 {
        report.find(page * PAGE_BYTES, format!("type number {number} of {len}"));
    }
}

fn check_run(image: &Image, report: &mut Report, page: u64, head: &PageDescriptor) -> u64 {
    let offset = page * PAGE_BYTES;
    let pages = u64::from(head.run_pages.get());
    if pages == 0 || page + pages > image.heap_pages() {
        report.find(offset, format!("a run of {pages} pages"));
        return 1;
    }
    let needed = head.object_bytes.get().div_ceil(PAGE_BYTES).max(1);
    if needed != pages {
        report.find(offset, format!("a run of {pages} pages for {} bytes", head.object_bytes));
    }
    for inside in page + 1..page + pages {
        let Some(body) = report.note(offset, image.descriptor(inside)) else {
            return pages;
        };
        let mut expected = PageDescriptor::of(PageKind::RunBody);
        expected.owner.set(page as u32);
        if *body != expected {
            report.find(inside * PAGE_BYTES, "a page inside of a run is described otherwise");
            return inside - page;
        }
    }
    check_owner(image, report, page, head);
    pages
}

/// Log pages lie in a region that the header names.
fn check_log(image: &Image, report: &mut Report, page: u64) -> u64 {
    let Some(header) = report.note(0, image.header()) else {
        return 1;
    };
    let around = |region: &&crate::format::heap::RegionRef| {
        let first = u64::from(region.page.get());
        (first..first + u64::from(region.pages.get())).contains(&page)
    };
    match header.log.iter().find(around) {
        Some(region) => {
            let end = u64::from(region.page.get()) + u64::from(region.pages.get());
            let rest = page..end.min(image.heap_pages());
            let is_log = |page: &u64| matches!(image.page_kind(*page), Ok(PageKind::Log));
            rest.take_while(is_log).count() as u64
        }
        None => {
            report.find(page * PAGE_BYTES, "a log page outside of the log's regions");
            1
        }
    }
}

fn check_sum(image: &Image, report: &mut Report, page: u64) {
    let offset = page * PAGE_BYTES;
    let Ok(kind) = image.page_kind(page) else {
        return;
    };
    let Some(at) = report.note(offset, image.sum_offset(page)) else {
        return;
    };
    let sum = image.pod::<zerocopy::little_endian::U64>("page sum", at);
    let Some(stored) = report.note(at, sum).map(|sum| sum.get()) else {
        return;
    };
    let expected = match kind {
        PageKind::Free | PageKind::Log | PageKind::Sums => 0,
        _ => match report.note(offset, image.pages(page, 1)) {
            Some(bytes) => checksum::of_page(page * LINES_PER_PAGE, bytes),
            None => return,
        },
    };
    if stored != expected {
        report.find(offset, format!("page sum {stored:#018x}, expected {expected:#018x}"));
    }
}

/// Descriptors and sums of pages past the heap's end are zero.
fn check_past_end(image: &Image, report: &mut Report, end: u64) {
    let Some(header) = report.note(0, image.header()) else {
        return;
    };
    let segments = u64::from(header.segments.get());
    let last = segments.saturating_mul(crate::format::heap::PAGES_PER_SEGMENT);
    for page in end..last.min(end + crate::format::heap::PAGES_PER_SEGMENT * 64) {
        let descriptor = image.descriptor(page).copied();
        if descriptor.is_ok_and(|found| found != PageDescriptor::default()) {
            report.find(page * PAGE_BYTES, "a page past the heap's end is described");
        }
        let Ok(at) = image.sum_offset(page) else {
            continue;
        };
        let sum = image.pod::<zerocopy::little_endian::U64>("page sum", at);
        if sum.is_ok_and(|sum| sum.get() != 0) {
            report.find(at, "a page past the heap's end has a sum");
        }
    }
}

const _: () = assert!(size_of::<TypeEntry>() == 128);
