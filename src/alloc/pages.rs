//! Runs of pages: taking them, giving them back.

use crate::error::Result;
use crate::format::PAGE_BYTES;
use crate::format::heap::{PageDescriptor, PageKind};
use crate::workspace::Workspace;

use super::segments::{cut_end, ensure_chunks, set_heap_pages};
use super::{bad_page, free_runs, set_descriptor};

/// Takes `pages` pages into use; they are zero, and their descriptors too.
/// The best fit among the free runs, or else the heap grows.
pub(super) fn take(workspace: &mut Workspace, pages: u64) -> Result<u64> {
    let first = match free_runs::find(workspace, pages)? {
        Some((first, run_pages)) => {
            free_runs::remove(workspace, first, run_pages)?;
            if run_pages > pages {
                free_runs::insert(workspace, first + pages, run_pages - pages)?;
            }
            first
        }
        None => grow(workspace, pages)?,
    };
    workspace.take_pages(first, pages)?;
    Ok(first)
}

/// Grows the heap by as much as is missing behind a free run at its end.
fn grow(workspace: &mut Workspace, pages: u64) -> Result<u64> {
    ensure_chunks(workspace, pages)?;
    let end = workspace.heap_pages();
    let mut first = end;
    if let Some((run, run_pages)) = free_runs::run_before(workspace, end)?
        && run_pages < pages
    {
        // Before anything is changed, since it may fail for want of space.
        workspace.extend((run + pages) * PAGE_BYTES)?;
        free_runs::remove(workspace, run, run_pages)?;
        first = run;
    }
    set_heap_pages(workspace, first + pages)?;
    Ok(first)
}

/// A run for one object or array, which `head` describes but for the pages; returns its
/// offset.
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

/// A region for the log that begins at or past page `floor`, at the heap's end.
/// Returns its first page.
pub(crate) fn allocate_log_region(
    workspace: &mut Workspace,
    floor: u64,
    pages: u64,
) -> Result<u64> {
    let gap = floor.saturating_sub(workspace.heap_pages());
    ensure_chunks(workspace, gap + pages)?;
    let end = workspace.heap_pages();
    let first = end.max(floor);
    set_heap_pages(workspace, first + pages)?;
    for page in first..first + pages {
        set_descriptor(workspace, page, PageDescriptor::of(PageKind::Log))?;
    }
    if first > end {
        give_back(workspace, end, first - end)?;
    }
    Ok(first)
}

/// Gives back a region that `allocate_log_region` returned.
pub(crate) fn free_log_region(workspace: &mut Workspace, first: u64, pages: u64) -> Result<()> {
    for page in first..first + pages {
        let kind = workspace.page_kind(page)?;
        if kind != PageKind::Log {
            return Err(bad_page(page, "a page of the log", format!("{kind:?}")));
        }
    }
    free_pages(workspace, first, pages)
}

/// Gives a run back whose first page was tested. So are the others: what its length says may
/// be forged, and reach over pages of others.
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

/// Gives pages back: their descriptors become zero, and they join the free
/// runs beside them.
pub(super) fn free_pages(workspace: &mut Workspace, first: u64, pages: u64) -> Result<()> {
    for page in first..first + pages {
        set_descriptor(workspace, page, PageDescriptor::default())?;
    }
    workspace.release_pages(first, pages);
    give_back(workspace, first, pages)?;
    cut_end(workspace)
}

fn give_back(workspace: &mut Workspace, mut first: u64, mut pages: u64) -> Result<()> {
    if let Some((after, after_pages)) = free_runs::run_at(workspace, first + pages)? {
        free_runs::remove(workspace, after, after_pages)?;
        pages += after_pages;
    }
    if let Some((before, before_pages)) = free_runs::run_before(workspace, first)? {
        free_runs::remove(workspace, before, before_pages)?;
        first = before;
        pages += before_pages;
    }
    free_runs::insert(workspace, first, pages)
}
