//! The heap's end, and the chunks that describe its segments.

use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::heap::{
    CHUNK_PAGES, DESCRIPTOR_PAGES, HeapHeader, MAX_PAGES, PAGES_PER_SEGMENT, PageDescriptor,
    PageKind, SEGMENTS_PER_DIRECTORY, TYPE_SYSTEM,
};
use crate::workspace::Workspace;

use super::descriptors::{bad_page, set_descriptor, set_in_header, set_u32};
use super::free_runs;

/// Minimum of free pages at the heap's end before the heap shrinks.
const MIN_CUT_PAGES: u64 = 64;

/// Ensures that the next `more_pages` pages past the heap's end will have descriptors. May move
/// the heap's end: new chunks go there.
pub(super) fn ensure_chunks(workspace: &mut Workspace, more_pages: u64) -> Result<()> {
    reserve(workspace, more_pages)?;
    loop {
        let end = workspace.heap_pages().saturating_add(more_pages);
        if end > MAX_PAGES {
            let why = "a heap holds at most 1 TiB";
            let (count, size_bytes) = (more_pages, PAGE_BYTES);
            return Err(ErrorKind::TooLarge { count, size_bytes, why }.into());
        }
        let segments = u64::from(workspace.header()?.segments.get());
        if end <= segments * PAGES_PER_SEGMENT {
            return Ok(());
        }
        add_chunk(workspace, segments)?;
    }
}

/// Refuses growth that the file cannot hold before the first chunk is created: a large array needs
/// many chunks.
fn reserve(workspace: &mut Workspace, more_pages: u64) -> Result<()> {
    let end = workspace.heap_pages().saturating_add(more_pages).min(MAX_PAGES);
    let segments = u64::from(workspace.header()?.segments.get());
    match end.div_ceil(PAGES_PER_SEGMENT).saturating_sub(segments) {
        0 | 1 => Ok(()),
        chunks => workspace.extend((end + chunks * CHUNK_PAGES) * PAGE_BYTES),
    }
}

/// Adds the chunk of `segment`, in a free run or at the heap's end. If it is the first chunk of a
/// directory page, adds that page in front.
fn add_chunk(workspace: &mut Workspace, segment: u64) -> Result<()> {
    let directory_pages = u64::from(segment.is_multiple_of(SEGMENTS_PER_DIRECTORY));
    let pages = directory_pages + CHUNK_PAGES;
    let first = match free_runs::find(workspace, pages)? {
        Some(run) => free_runs::take_front(workspace, run, pages)?,
        None => {
            let end = workspace.heap_pages();
            workspace.reserve_pages(end, pages)?;
            set_heap_pages(workspace, end + pages)?;
            end
        }
    };
    workspace.take_pages(first, pages)?;
    if directory_pages == 1 {
        set_directory(workspace, segment, first)?;
    }
    let chunk = first + directory_pages;
    set_chunk(workspace, segment, chunk)?;
    set_segments(workspace, segment + 1)?;
    for page in first..first + pages {
        set_descriptor(workspace, page, own_page(page, chunk))?;
    }
    Ok(())
}

/// Returns the descriptor of a page of a chunk, or of a directory page.
fn own_page(page: u64, chunk: u64) -> PageDescriptor {
    if page == chunk + DESCRIPTOR_PAGES {
        return PageDescriptor::of(PageKind::Sums);
    }
    if page >= chunk {
        return PageDescriptor::of(PageKind::Meta);
    }
    let mut directory = PageDescriptor::of(PageKind::Run);
    directory.owner.set(TYPE_SYSTEM);
    directory.run_pages.set(1);
    directory.object_bytes.set(PAGE_BYTES);
    directory
}

fn set_chunk(workspace: &mut Workspace, segment: u64, chunk: u64) -> Result<()> {
    let index = (segment / SEGMENTS_PER_DIRECTORY) as usize;
    let directory = workspace.header()?.directory.get(index).map_or(0, |page| page.get());
    let at = u64::from(directory) * PAGE_BYTES + segment % SEGMENTS_PER_DIRECTORY * 4;
    set_u32(workspace, "directory of chunks", at, chunk)
}

/// Sets the directory page that has the chunk of a segment.
fn set_directory(workspace: &mut Workspace, segment: u64, page: u64) -> Result<()> {
    let index = segment / SEGMENTS_PER_DIRECTORY * 4;
    let at = std::mem::offset_of!(HeapHeader, directory) + index as usize;
    set_in_header(workspace, at, page)
}

fn set_segments(workspace: &mut Workspace, segments: u64) -> Result<()> {
    set_in_header(workspace, std::mem::offset_of!(HeapHeader, segments), segments)
}

/// Moves the heap's end, but never into the log, which the file must keep.
pub(super) fn set_heap_pages(workspace: &mut Workspace, pages: u64) -> Result<()> {
    let ends =
        workspace.header()?.log.map(|log| u64::from(log.page.get()) + u64::from(log.pages.get()));
    if ends.into_iter().any(|end| end > pages) {
        return Err(ErrorKind::corrupt(
            "heap's end",
            pages * PAGE_BYTES,
            "one after the log",
            "one before the log's end",
        ));
    }
    workspace.extend(pages * PAGE_BYTES)?;
    set_in_header(workspace, std::mem::offset_of!(HeapHeader, heap_pages), pages)?;
    workspace.adopt_length()
}

/// Shrinks the heap if enough pages at its end are free, and drops the chunks of segments that
/// become empty.
pub(super) fn cut_end(workspace: &mut Workspace) -> Result<()> {
    if cut_free_run(workspace, MIN_CUT_PAGES)? {
        while drop_last_chunk(workspace)? {}
    }
    Ok(())
}

/// Cuts the free run at the heap's end off, if it has at least so many pages. Returns whether it
/// did.
pub(super) fn cut_free_run(workspace: &mut Workspace, least_pages: u64) -> Result<bool> {
    let end = workspace.heap_pages();
    match free_runs::run_before(workspace, end)? {
        Some((first, pages)) if pages >= least_pages => {
            free_runs::remove(workspace, first, pages)?;
            set_heap_pages(workspace, first)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Drops the last segment's chunk if the heap has no page of that segment but the chunk's own, at its
/// end. Returns whether it did. The chunk may lie anywhere: it was put into a free run if there was
/// one. If it stayed, the chunk of a segment before it could not be dropped either.
pub(super) fn drop_last_chunk(workspace: &mut Workspace) -> Result<bool> {
    let segments = u64::from(workspace.header()?.segments.get());
    let Some(last) = segments.checked_sub(1).filter(|last| *last > 0) else {
        return Ok(false);
    };
    let chunk = workspace.chunk_offset(last)? / PAGE_BYTES;
    // Its directory page goes with the first chunk that it names, and lies before it.
    let directory_pages = u64::from(last.is_multiple_of(SEGMENTS_PER_DIRECTORY));
    let (first, pages) = (chunk.saturating_sub(directory_pages), directory_pages + CHUNK_PAGES);
    let (end, begin) = (workspace.heap_pages(), last * PAGES_PER_SEGMENT);
    let is_end = first + pages == end && first <= begin;
    if !is_end && end > begin {
        return Ok(false);
    }
    expect_chunk(workspace, first, chunk)?;
    // They may describe themselves.
    for page in first..first + pages {
        set_descriptor(workspace, page, PageDescriptor::default())?;
    }
    match directory_pages {
        0 => set_chunk(workspace, last, 0)?,
        _ => set_directory(workspace, last, 0)?,
    }
    set_segments(workspace, last)?;
    workspace.release_pages(first, pages);
    match is_end {
        true => set_heap_pages(workspace, first)?,
        false => free_runs::insert_merged(workspace, first, pages)?,
    }
    cut_free_run(workspace, 1)?;
    Ok(true)
}

/// Refuses pages that are to be freed as a chunk and what belongs to it, and are something else: an
/// entry of a directory says where the chunk of an empty segment is, and nothing else does.
fn expect_chunk(workspace: &Workspace, first: u64, chunk: u64) -> Result<()> {
    for page in first..chunk + CHUNK_PAGES {
        let found = workspace.descriptor(page)?;
        if *found != own_page(page, chunk) {
            return Err(bad_page(page, "a page of the last segment's chunk", format!("{found:?}")));
        }
    }
    Ok(())
}
