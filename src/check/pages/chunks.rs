//! Checks the heap header and the chunks that describe the heap's segments.
//!
//! **Owns** which segments have a chunk, so that later passes look at no other. **Must not know**
//! what the descriptors in a chunk say.

use zerocopy::little_endian::U32;

use crate::check::bitmap::Bitmap;
use crate::check::report::Report;
use crate::check::system_catalog::SystemAllocs;
use crate::format::PAGE_BYTES;
use crate::format::heap::{
    CHUNK_PAGES, DESCRIPTOR_PAGES, HeapHeader, MAX_PAGES, PAGES_PER_SEGMENT, PageKind, RegionRef,
    SEGMENTS_PER_DIRECTORY,
};
use crate::image::Image;

/// The segments that can be checked.
pub(in crate::check) struct Chunks {
    /// Pages of chunks; each chunk describes one segment.
    pages: Bitmap,
    /// Segments whose chunk is missing or belongs to another segment.
    missing: Vec<u64>,
    segments: u64,
}

impl Chunks {
    /// Returns whether a segment has its own chunk.
    pub(super) fn has(&self, segment: u64) -> bool {
        segment < self.segments && self.missing.binary_search(&segment).is_err()
    }

    /// Returns the pages that have a descriptor, within the heap and past its end.
    pub(in crate::check) fn described(&self) -> impl Iterator<Item = u64> {
        let segments = (0..self.segments).filter(|segment| self.has(*segment));
        segments
            .map(|segment| segment * PAGES_PER_SEGMENT)
            .flat_map(|first| first..first + PAGES_PER_SEGMENT)
    }

    /// Returns whether a page belongs to a chunk.
    fn is_page(&self, page: u64) -> bool {
        self.pages.is_set(page * PAGE_BYTES)
    }
}

/// Checks the header and the assignment of chunks to segments.
pub(in crate::check) fn check(
    image: &Image,
    report: &mut Report,
    system: &mut SystemAllocs,
) -> Chunks {
    let pages = Bitmap::new(image.heap_bytes(), PAGE_BYTES);
    let mut chunks = Chunks { pages, missing: vec![], segments: 0 };
    let Some(header) = report.note(0, image.header()) else {
        return chunks;
    };
    check_header(image, report, header);
    let needed = image.heap_pages().div_ceil(PAGES_PER_SEGMENT);
    let found = u64::from(header.segments.get());
    // Each segment has its own chunk in the heap. Without this bound, one forged number would
    // make the check run longer than the heap.
    let most = (MAX_PAGES / PAGES_PER_SEGMENT).min(image.heap_pages() / CHUNK_PAGES);
    if found < needed || found > most {
        report.add_at(4, format!("expected {needed} to {most} segments, found {found}"));
    }
    chunks.segments = found.min(most);
    check_directory(image, report, header, system, chunks.segments);
    for segment in 0..chunks.segments {
        if let Err(why) = take_chunk(image, &mut chunks.pages, segment) {
            let first = segment * PAGES_PER_SEGMENT * PAGE_BYTES;
            report.add_at(first, format!("segment {segment}: {why}; its pages are unknown"));
            chunks.missing.push(segment);
        }
    }
    chunks
}

fn check_header(image: &Image, report: &mut Report, header: &HeapHeader) {
    if header.has_unknown_bits() {
        report.add_at(0, "bits of the header that this version does not know");
    }
    let used = size_of::<HeapHeader>() as u64;
    let rest = image.bytes("first page", used, PAGE_BYTES - used).unwrap_or_default();
    if let Some(at) = rest.iter().position(|byte| *byte != 0) {
        report.add_at(used + at as u64, "expected zeros behind the header");
    }
    if image.heap_pages() > MAX_PAGES {
        report
            .add_at(0, format!("{} pages, and a heap has {MAX_PAGES} at most", image.heap_pages()));
    }
    let end = |region: &RegionRef| u64::from(region.page.get()) + u64::from(region.pages.get());
    let [first, second] = &header.log;
    for region in [first, second] {
        let is_sound = match (region.page.get(), region.pages.get()) {
            (0, pages) => pages == 0,
            (_, pages) => pages != 0 && end(region) <= image.heap_pages(),
        };
        if !is_sound {
            report.add_at(40, format!("expected a log region or none, found {region:?}"));
        }
    }
    if u64::from(first.page.get()) < end(second) && u64::from(second.page.get()) < end(first) {
        report.add_at(40, "the log's regions lie over each other");
    }
}

/// Checks that only the needed directory pages exist and that they name no extra chunks.
fn check_directory(
    image: &Image,
    report: &mut Report,
    header: &HeapHeader,
    system: &mut SystemAllocs,
    segments: u64,
) {
    for (index, page) in (0..).zip(&header.directory) {
        let (offset, first) = (u64::from(page.get()) * PAGE_BYTES, index * SEGMENTS_PER_DIRECTORY);
        if first >= segments {
            if offset != 0 {
                report.add_at(
                    656 + 4 * index,
                    format!("directory page {index}, which is not needed"),
                );
            }
            continue;
        }
        system.add(image, report, (offset, PAGE_BYTES), format!("directory page {index}"));
        let used = (segments - first).min(SEGMENTS_PER_DIRECTORY) * 4;
        let rest = image.bytes("directory of chunks", offset + used, PAGE_BYTES - used);
        if rest.is_ok_and(|rest| rest.iter().any(|byte| *byte != 0)) {
            report.add_at(offset + used, "expected zeros behind the last chunk of the directory");
        }
    }
}

/// Claims the pages of a segment's chunk, which no other segment may share.
fn take_chunk(image: &Image, taken: &mut Bitmap, segment: u64) -> Result<(), String> {
    let offset = image.chunk_offset(segment).map_err(|error| error.to_string())?;
    let end = offset + CHUNK_PAGES * PAGE_BYTES;
    // The chunk may hold the descriptors of its own pages.
    image.bytes("chunk", offset, CHUNK_PAGES * PAGE_BYTES).map_err(|error| error.to_string())?;
    if (0..CHUNK_PAGES).any(|page| taken.is_set(offset + page * PAGE_BYTES)) {
        return Err(format!("its chunk at {offset:#x} is that of another one"));
    }
    taken.set(offset, end);
    Ok(())
}

/// Checks that pages of chunks, and no other pages, are described as such.
pub(super) fn expect_kind(report: &mut Report, chunks: &Chunks, page: u64, kind: PageKind) {
    let is_own = matches!(kind, PageKind::Meta | PageKind::Sums);
    if is_own != (page == 0 || chunks.is_page(page)) {
        let what = if is_own { "a page that belongs to no chunk" } else { "a page of a chunk" };
        report.add_at(page * PAGE_BYTES, format!("{what}, and it is described as {kind:?}"));
    }
}

const _: () = assert!(size_of::<U32>() == 4 && DESCRIPTOR_PAGES + 1 == CHUNK_PAGES);
