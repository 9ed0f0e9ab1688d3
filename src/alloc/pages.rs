//! Allocates and frees runs of pages.

use crate::error::Result;
use crate::format::PAGE_BYTES;
use crate::format::heap::{PageDescriptor, PageKind};
use crate::image::Image;
use crate::workspace::Workspace;

use super::descriptors::{bad_page, set_descriptor};
use super::free_runs;
use super::segments::{cut_end, ensure_chunks, set_heap_pages};

/// Takes `pages` zeroed pages, with zeroed descriptors, into use: the best fit among the free
/// runs, or new pages at the heap's end.
pub(super) fn take(workspace: &mut Workspace, pages: u64) -> Result<u64> {
    let first = match free_runs::find(workspace, pages)? {
        Some(run) => free_runs::take_front(workspace, run, pages)?,
        None => grow(workspace, pages)?,
    };
    workspace.take_pages(first, pages)?;
    Ok(first)
}

/// Grows the heap. Extends a free run at its end, if there is one, by the missing pages.
fn grow(workspace: &mut Workspace, pages: u64) -> Result<u64> {
    ensure_chunks(workspace, pages)?;
    let end = workspace.heap_pages();
    let run = free_runs::run_before(workspace, end)?.filter(|(_, run_pages)| *run_pages < pages);
    let first = run.map_or(end, |(first, _)| first);
    workspace.reserve_pages(first, pages)?;
    if let Some((run, run_pages)) = run {
        free_runs::remove(workspace, run, run_pages)?;
    }
    set_heap_pages(workspace, first + pages)?;
    Ok(first)
}

/// Allocates a run for one object or array, described by `head` except for its page count; returns
/// its offset.
pub(super) fn allocate_run(
    workspace: &mut Workspace,
    pages: u64,
    mut head: PageDescriptor,
) -> Result<u64> {
    let pages = pages.max(1);
    let first = take(workspace, pages)?;
    head.run_pages.set(pages as u32);
    set_descriptor(workspace, first, head)?;
    let mut body = PageDescriptor::of(PageKind::RunBody);
    body.owner.set(first as u32);
    for page in first + 1..first + pages {
        set_descriptor(workspace, page, body)?;
    }
    Ok(first * PAGE_BYTES)
}

/// Allocates a region for the log at the heap's end, at or past `min_page`. Returns its first
/// page.
pub(crate) fn allocate_log_region(
    workspace: &mut Workspace,
    min_page: u64,
    pages: u64,
) -> Result<u64> {
    let gap = min_page.saturating_sub(workspace.heap_pages());
    ensure_chunks(workspace, gap + pages)?;
    let end = workspace.heap_pages();
    let first = end.max(min_page);
    workspace.reserve_pages(first, pages)?;
    set_heap_pages(workspace, first + pages)?;
    for page in first..first + pages {
        set_descriptor(workspace, page, PageDescriptor::of(PageKind::Log))?;
    }
    if first > end {
        free_runs::insert_merged(workspace, end, first - end)?;
    }
    Ok(first)
}

/// Allocates a region for the log at the beginning of a free run. Returns its first page.
pub(crate) fn allocate_log_region_within(
    workspace: &mut Workspace,
    run @ (first, _): (u64, u64),
    pages: u64,
) -> Result<u64> {
    // A run that a damaged list names may reach over the log that there is.
    free_runs::expect_unused(workspace, run)?;
    free_runs::take_front(workspace, run, pages)?;
    for page in first..first + pages {
        set_descriptor(workspace, page, PageDescriptor::of(PageKind::Log))?;
    }
    Ok(first)
}

/// Returns where the heap would end if the log region that begins at `first` were free. Chunks may
/// make it longer than it has to be.
pub(crate) fn heap_pages_without(image: &Image, first: u64, pages: u64) -> Result<u64> {
    let end = image.heap_pages();
    let after = free_runs::run_at(image, first + pages)?.map_or(0, |(_, pages)| pages);
    if first + pages + after < end {
        return Ok(end);
    }
    Ok(free_runs::run_before(image, first)?.map_or(first, |(before, _)| before))
}

/// Frees a region that `allocate_log_region` returned, or a part of it.
pub(crate) fn free_log_region(workspace: &mut Workspace, first: u64, pages: u64) -> Result<()> {
    for page in first..first + pages {
        let kind = workspace.page_kind(page)?;
        if kind != PageKind::Log {
            return Err(bad_page(page, "a page of the log", format!("{kind:?}")));
        }
    }
    free_pages(workspace, first, pages)
}

/// Frees a run whose first page was validated. Validates the other pages too: a forged length may
/// reach over pages of other allocations.
pub(super) fn free_run(workspace: &mut Workspace, first: u64, pages: u64) -> Result<()> {
    if first + pages > workspace.heap_pages() {
        return Err(bad_page(first, "a run that ends within the heap", pages));
    }
    for page in first + 1..first + pages {
        let found = workspace.descriptor(page)?;
        let is_body = found.kind() == Some(PageKind::RunBody);
        if !is_body || u64::from(found.owner.get()) != first {
            let expected = format!("a page of the run that begins at page {first}");
            return Err(bad_page(page, &expected, format!("{found:?}")));
        }
    }
    free_pages(workspace, first, pages)
}

/// Frees pages: zeroes their descriptors and merges them with adjacent free runs.
pub(super) fn free_pages(workspace: &mut Workspace, first: u64, pages: u64) -> Result<()> {
    for page in first..first + pages {
        set_descriptor(workspace, page, PageDescriptor::default())?;
    }
    workspace.release_pages(first, pages);
    free_runs::insert_merged(workspace, first, pages)?;
    cut_end(workspace)
}
