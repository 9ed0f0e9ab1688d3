//! Free runs of pages: listed by length, merged with their neighbours.

use crate::error::Result;
use crate::format::PAGE_BYTES;
use crate::format::heap::{
    BUCKETS, FREE_FIRST, FREE_LAST, HeapHeader, PageDescriptor, PageKind, bucket_of,
};
use crate::image::Image;
use crate::workspace::Workspace;

use super::descriptors::{bad_page, set_descriptor, set_in_header};

/// Runs per list that are considered for the best fit.
const MAX_CANDIDATES: usize = 16;

/// Returns the free run that fits `pages` best among those considered: `(first, pages)`.
pub(super) fn find(image: &Image, pages: u64) -> Result<Option<(u64, u64)>> {
    let mut bucket = bucket_of(pages);
    while let Some(next) = next_bucket(image, bucket)? {
        if let Some(found) = best_in_bucket(image, next, pages)? {
            return Ok(Some(found));
        }
        bucket = next + 1;
    }
    Ok(None)
}

/// Returns free runs of at least `pages` pages, as `(first, pages)`: the longest first, as far as
/// their lists tell. Looks at no more than `most` runs.
pub(crate) fn long_free_runs(image: &Image, pages: u64, most: usize) -> Result<Vec<(u64, u64)>> {
    let (mut runs, mut left) = (Vec::new(), most);
    for bucket in (bucket_of(pages)..BUCKETS).rev() {
        let mut page = u64::from(image.header()?.buckets[bucket].get());
        while page != 0 && left > 0 {
            let run = first_of_run(image, page)?;
            let run_pages = u64::from(run.run_pages.get());
            expect_last(image, page, &run)?;
            if run_pages >= pages {
                runs.push((page, run_pages));
            }
            (page, left) = (u64::from(run.next.get()), left - 1);
        }
    }
    Ok(runs)
}

/// Returns the same runs, whose pages no allocation uses. Unlike `long_free_runs` it asks each page,
/// since a damaged list may name pages in use, and their bytes are about to be gone.
pub(crate) fn unused_runs(image: &Image, pages: u64, most: usize) -> Result<Vec<(u64, u64)>> {
    let runs = long_free_runs(image, pages, most)?;
    for run in &runs {
        expect_unused(image, *run)?;
    }
    Ok(runs)
}

/// Refuses a free run, whose ends were validated, if one of its pages is in use or belongs to the log.
pub(super) fn expect_unused(image: &Image, (first, pages): (u64, u64)) -> Result<()> {
    image.bytes("free run", first * PAGE_BYTES, pages * PAGE_BYTES)?;
    for page in first + 1..(first + pages).saturating_sub(1) {
        let found = image.descriptor(page)?;
        if *found != PageDescriptor::default() {
            return Err(bad_page(page, "a page of a free run", format!("{found:?}")));
        }
    }
    Ok(())
}

/// Refuses a free run whose last page says something else than its first.
fn expect_last(image: &Image, page: u64, run: &PageDescriptor) -> Result<()> {
    let last = image.descriptor(page + u64::from(run.run_pages.get()) - 1)?;
    let is_last = last.kind() == Some(PageKind::Free) && last.flags & FREE_LAST != 0;
    if is_last && last.run_pages == run.run_pages {
        return Ok(());
    }
    let expected = "a last page with the length of its free run";
    Err(bad_page(page, expected, format!("{last:?}")))
}

fn next_bucket(image: &Image, from: usize) -> Result<Option<usize>> {
    let header = image.header()?;
    let is_used = |bucket: &usize| header.bucket_mask[bucket / 64].get() >> (bucket % 64) & 1 == 1;
    Ok((from..BUCKETS).find(is_used))
}

fn best_in_bucket(image: &Image, bucket: usize, pages: u64) -> Result<Option<(u64, u64)>> {
    let mut best: Option<(u64, u64)> = None;
    let mut page = u64::from(image.header()?.buckets[bucket].get());
    for _ in 0..MAX_CANDIDATES {
        if page == 0 {
            break;
        }
        let run = first_of_run(image, page)?;
        let run_pages = u64::from(run.run_pages.get());
        if bucket_of(run_pages) != bucket {
            return Err(bad_page(page, "a free run of its list's length", run_pages));
        }
        if run_pages >= pages && best.is_none_or(|(_, best)| run_pages < best) {
            best = Some((page, run_pages));
        }
        page = u64::from(run.next.get());
    }
    Ok(best)
}

/// Returns the descriptor of a free run's first page, validated.
pub(super) fn first_of_run(image: &Image, page: u64) -> Result<PageDescriptor> {
    let run = *image.descriptor(page)?;
    let is_first = run.kind() == Some(PageKind::Free) && run.flags & FREE_FIRST != 0;
    let end = page + u64::from(run.run_pages.get());
    if !is_first || run.run_pages.get() == 0 || end > image.heap_pages() {
        return Err(bad_page(page, "the first page of a free run", format!("{run:?}")));
    }
    Ok(run)
}

/// Returns the free run that ends before `page`, as `(first, pages)`.
pub(super) fn run_before(image: &Image, page: u64) -> Result<Option<(u64, u64)>> {
    let Some(last) = page.checked_sub(1) else {
        return Ok(None);
    };
    let run = image.descriptor(last)?;
    if run.kind() != Some(PageKind::Free) || run.flags & FREE_LAST == 0 {
        return Ok(None);
    }
    let pages = u64::from(run.run_pages.get());
    match page.checked_sub(pages) {
        Some(first) if pages > 0 => Ok(Some((first, pages))),
        _ => Err(bad_page(last, "the length of a free run", pages)),
    }
}

/// Returns the free run that begins at `page`.
pub(super) fn run_at(image: &Image, page: u64) -> Result<Option<(u64, u64)>> {
    if page >= image.heap_pages() || image.page_kind(page)? != PageKind::Free {
        return Ok(None);
    }
    let run = first_of_run(image, page)?;
    Ok(Some((page, u64::from(run.run_pages.get()))))
}

/// Creates a free run of pages whose descriptors are all zero.
pub(super) fn insert(workspace: &mut Workspace, page: u64, pages: u64) -> Result<()> {
    let bucket = bucket_of(pages);
    let head = u64::from(workspace.header()?.buckets[bucket].get());
    let mut first = PageDescriptor::of(PageKind::Free);
    first.flags = FREE_FIRST;
    first.run_pages.set(pages as u32);
    let mut last = first;
    last.flags = FREE_LAST;
    first.next.set(head as u32);
    if pages == 1 {
        first.flags |= FREE_LAST;
    } else {
        set_descriptor(workspace, page + pages - 1, last)?;
    }
    set_descriptor(workspace, page, first)?;
    if head != 0 {
        let mut next = first_of_run(workspace, head)?;
        next.prev.set(page as u32);
        set_descriptor(workspace, head, next)?;
    }
    set_bucket(workspace, bucket, page)
}

/// Adds pages whose descriptors are zero to the free runs, merged with their neighbours (A2).
pub(super) fn insert_merged(
    workspace: &mut Workspace,
    mut first: u64,
    mut pages: u64,
) -> Result<()> {
    if let Some((after, after_pages)) = run_at(workspace, first + pages)? {
        remove(workspace, after, after_pages)?;
        pages += after_pages;
    }
    if let Some((before, before_pages)) = run_before(workspace, first)? {
        remove(workspace, before, before_pages)?;
        first = before;
        pages += before_pages;
    }
    insert(workspace, first, pages)
}

/// Takes the first `pages` pages out of a free run that has as many. Fails before it changes anything if
/// the file has no space for them.
pub(super) fn take_front(
    workspace: &mut Workspace,
    (first, run_pages): (u64, u64),
    pages: u64,
) -> Result<u64> {
    workspace.fill_holes(first, pages)?;
    remove(workspace, first, run_pages)?;
    if run_pages > pages {
        insert(workspace, first + pages, run_pages - pages)?;
    }
    Ok(first)
}

/// Removes a free run from its list and zeroes its descriptors.
pub(super) fn remove(workspace: &mut Workspace, page: u64, pages: u64) -> Result<()> {
    let run = first_of_run(workspace, page)?;
    if u64::from(run.run_pages.get()) != pages {
        return Err(bad_page(
            page,
            "a free run of the length that its last page says",
            run.run_pages.get(),
        ));
    }
    expect_last(workspace, page, &run)?;
    let (next, prev) = (u64::from(run.next.get()), u64::from(run.prev.get()));
    let bucket = bucket_of(pages);
    if prev == 0 {
        let head = u64::from(workspace.header()?.buckets[bucket].get());
        if head != page {
            return Err(bad_page(page, "the first free run of its list", head));
        }
        set_bucket(workspace, bucket, next)?;
    } else {
        relink(workspace, prev, page, |run| run.next.set(next as u32))?;
    }
    if next != 0 {
        relink(workspace, next, page, |run| run.prev.set(prev as u32))?;
    }
    set_descriptor(workspace, page, PageDescriptor::default())?;
    set_descriptor(workspace, page + pages - 1, PageDescriptor::default())
}

fn relink(
    workspace: &mut Workspace,
    page: u64,
    neighbour: u64,
    change: impl FnOnce(&mut PageDescriptor),
) -> Result<()> {
    let mut run = first_of_run(workspace, page)?;
    if ![u64::from(run.next.get()), u64::from(run.prev.get())].contains(&neighbour) {
        return Err(bad_page(page, "a free run that names its neighbour", neighbour));
    }
    change(&mut run);
    set_descriptor(workspace, page, run)
}

fn set_bucket(workspace: &mut Workspace, bucket: usize, page: u64) -> Result<()> {
    let at = std::mem::offset_of!(HeapHeader, buckets) + 4 * bucket;
    set_in_header(workspace, at, page)?;
    let at = std::mem::offset_of!(HeapHeader, bucket_mask) + bucket / 64 * 8;
    let mask: &mut zerocopy::little_endian::U64 = workspace.header_mut(at)?;
    let bit = 1 << (bucket % 64);
    mask.set(if page == 0 { mask.get() & !bit } else { mask.get() | bit });
    Ok(())
}
