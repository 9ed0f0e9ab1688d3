//! Reads the allocator's structures in an image: header, chunks, descriptors, allocations.
//!
//! Nothing here trusts what it reads: an offset that comes from the file is checked like a link.

use std::hint::black_box;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::error::{ErrorKind, Result};
use crate::format::heap::{
    ArrayRef, DESCRIPTOR_PAGES, HeapHeader, MAX_ENTRIES, PAGES_PER_SEGMENT, PageDescriptor,
    PageKind, RUN_OBJECT, RegionRef, SEGMENTS_PER_DIRECTORY, SLAB_ARRAYS, TYPE_FIRST_USER,
};
use crate::format::{LINE_BYTES, PAGE_BYTES};
use crate::map::{Excluded, machine_page_bytes};
use crate::persist::{Link, Pointee};

use super::view::Image;

/// A live allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocation {
    pub(crate) offset: u64,
    /// Bytes of the slot, or of the object in a run.
    pub(crate) len_bytes: u64,
    /// The registry number of its type.
    pub(crate) owner: u32,
    /// Whether it holds an array, or is a slot for small arrays, rather than a single object.
    pub(crate) is_array: bool,
    /// Whether it is a run of pages.
    pub(crate) is_run: bool,
}

impl Image {
    pub(crate) fn header(&self) -> Result<&HeapHeader> {
        self.pod("heap header", 0)
    }

    /// Returns the registry of types.
    #[inline]
    pub(crate) fn registry(&self) -> Result<ArrayRef> {
        expect_entries("registry of types", self.header()?.registry)
    }

    /// Returns the directory of roots.
    pub(crate) fn roots(&self) -> Result<ArrayRef> {
        expect_entries("directory of roots", self.header()?.roots)
    }

    /// Reads the log regions from the header, even while records are being applied to it.
    pub(crate) fn refresh_holes(&mut self) -> Result<()> {
        let holes = self.peek_holes()?;
        self.map.set_view(self.map.limit(), holes);
        Ok(())
    }

    fn peek_holes(&self) -> Result<[Excluded; 2]> {
        const REGIONS: u64 = std::mem::offset_of!(HeapHeader, log) as u64;
        let bytes = self.map.peek::<{ size_of::<[RegionRef; 2]>() }>(REGIONS);
        let regions = bytes.ok().and_then(|bytes| <[RegionRef; 2]>::read_from_bytes(&bytes).ok());
        Ok(regions.ok_or_else(no_header)?.map(hole))
    }

    /// Makes all mapped bytes usable, until `refresh_view`.
    pub(crate) fn widen_view(&mut self) {
        self.map.set_view(self.map.len_bytes(), [Excluded::default(); 2]);
    }

    /// Takes the bounds and the log regions from the header, by copies: the file may be changing under
    /// an image that nobody will use as it is now (M4). Changes nothing if they make no sense: such an
    /// image has more records to apply.
    pub(crate) fn refresh_view(&mut self) -> Result<()> {
        let before = (self.map.limit(), self.map.holes());
        self.map.set_view(PAGE_BYTES, [Excluded::default(); 2]);
        let found = self.peek_view();
        let (limit, holes) = *found.as_ref().unwrap_or(&before);
        self.map.set_view(limit, holes);
        found.map(drop)
    }

    /// Reads the heap's length and the log regions from the header.
    fn peek_view(&self) -> Result<(u64, [Excluded; 2])> {
        const LENGTH: u64 = std::mem::offset_of!(HeapHeader, heap_pages) as u64;
        let heap_pages = self.map.peek::<4>(LENGTH).map_err(|_| no_header())?;
        let heap_bytes = u64::from(u32::from_le_bytes(heap_pages)) * PAGE_BYTES;
        if heap_bytes > self.map.len_bytes() || heap_bytes < PAGE_BYTES {
            let room = format!("a length of up to {} bytes", self.map.len_bytes());
            return Err(ErrorKind::corrupt("heap header", 0, room, heap_bytes));
        }
        Ok((heap_bytes, self.peek_holes()?))
    }

    /// Returns the number of heap pages in this image.
    pub(crate) fn heap_pages(&self) -> u64 {
        self.heap_bytes() / PAGE_BYTES
    }

    /// Returns the number of machine pages that have any page of the heap.
    pub(crate) fn heap_machine_pages(&self) -> u64 {
        self.heap_bytes().div_ceil(machine_page_bytes())
    }

    /// Returns the offset of a segment's chunk.
    #[inline]
    pub(crate) fn chunk_offset(&self, segment: u64) -> Result<u64> {
        let header = self.header()?;
        let segments = u64::from(header.segments.get());
        if segment >= segments {
            let expected = format!("one of {segments}");
            return Err(ErrorKind::corrupt("segment of a page", 0, expected, segment));
        }
        let directory = header.directory.get((segment / SEGMENTS_PER_DIRECTORY) as usize);
        let directory = directory.map_or(0, |page| u64::from(page.get())) * PAGE_BYTES;
        let entry = directory + segment % SEGMENTS_PER_DIRECTORY * 4;
        let page: &U32 = self.pod("directory of chunks", entry)?;
        match (directory, page.get()) {
            // Page 0 is the heap's header.
            (0, _) | (_, 0) => Err(no_chunk(segment)),
            (_, page) => Ok(u64::from(page) * PAGE_BYTES),
        }
    }

    /// Returns the offset of a page's descriptor.
    #[inline]
    pub(crate) fn descriptor_offset(&self, page: u64) -> Result<u64> {
        let chunk = self.chunk_offset(page / PAGES_PER_SEGMENT)?;
        Ok(chunk + page % PAGES_PER_SEGMENT * LINE_BYTES)
    }

    /// Returns the offset of a page's checksum.
    #[inline]
    pub(crate) fn sum_offset(&self, page: u64) -> Result<u64> {
        let chunk = self.chunk_offset(page / PAGES_PER_SEGMENT)?;
        Ok(chunk + DESCRIPTOR_PAGES * PAGE_BYTES + page % PAGES_PER_SEGMENT * 8)
    }

    #[inline]
    pub(crate) fn descriptor(&self, page: u64) -> Result<&PageDescriptor> {
        self.pod("page descriptor", self.descriptor_offset(page)?)
    }

    /// Loads all lines of an allocation and its page's descriptor at once, before the caller
    /// knows which of them it needs. Otherwise each load waits for the one before. Checks
    /// nothing.
    #[inline]
    pub(crate) fn fetch(&self, offset: u64, len_bytes: u64) {
        const WORDS: usize = LINE_BYTES as usize / 8;
        if let Ok(descriptor) = self.descriptor(offset / PAGE_BYTES) {
            black_box(descriptor.kind_code());
        }
        if let Ok(words) = self.map.items::<u64>(offset, len_bytes / 8) {
            black_box(words.iter().step_by(WORDS).fold(0, |all, word| all ^ word));
        }
    }

    /// Returns the use of a page; a page past the heap's end is free.
    pub(crate) fn page_kind(&self, page: u64) -> Result<PageKind> {
        if page >= self.heap_pages() {
            return Ok(PageKind::Free);
        }
        let descriptor = self.descriptor(page)?;
        descriptor.kind().ok_or_else(|| {
            let found = descriptor.kind_code();
            ErrorKind::corrupt("page descriptor", page * PAGE_BYTES, "a known kind", found)
        })
    }

    /// Returns the live allocation around `offset`, or a description of what lies there.
    pub(crate) fn allocation(&self, offset: u64) -> Result<Allocation, &'static str> {
        let page = offset / PAGE_BYTES;
        if page >= self.heap_pages() {
            return Err("the space past the heap's end");
        }
        if page == 0 {
            return Err("the heap's header");
        }
        let descriptor = self.descriptor(page).map_err(|_| "a page without a descriptor")?;
        match descriptor.kind() {
            Some(PageKind::Slab) => slot(descriptor, offset),
            Some(PageKind::Run) => Ok(run(descriptor, page)),
            Some(PageKind::RunBody) => self.run_around(descriptor, page),
            Some(PageKind::Free) => Err("a free page"),
            Some(PageKind::Meta | PageKind::Sums) => Err("a page of flagstone's own"),
            Some(PageKind::Log) => Err("the log"),
            None => Err("a page with a damaged descriptor"),
        }
    }

    fn run_around(&self, body: &PageDescriptor, page: u64) -> Result<Allocation, &'static str> {
        let first = u64::from(body.owner.get());
        let head = self.descriptor(first).map_err(|_| "a run without a first page")?;
        let pages = u64::from(head.run_pages.get());
        let is_inside = 0 < first && first < page && page < first + pages;
        if head.kind() != Some(PageKind::Run) || !is_inside {
            return Err("a run without a first page");
        }
        Ok(run(head, first))
    }

    /// Refuses a link that does not lie in a single live allocation of the user.
    #[inline]
    pub(crate) fn expect_live<P: Pointee + ?Sized>(&self, link: Link<P>) -> Result<()> {
        let len_bytes = link.count().saturating_mul(size_of::<P::Item>() as u64);
        let end = link.offset().saturating_add(len_bytes);
        let found = match self.allocation(link.offset()) {
            Ok(found) if found.owner < TYPE_FIRST_USER => "an allocation of flagstone's own",
            Ok(found) if end <= found.offset + found.len_bytes => return Ok(()),
            Ok(_) => "an allocation that ends before",
            Err(found) => found,
        };
        let (type_name, offset) = (P::target_name(), link.offset());
        if end > self.heap_bytes() {
            return Err(self.misfit(link, crate::map::AccessError::OutOfBounds));
        }
        Err(ErrorKind::LinkNotLive { type_name, offset, len_bytes, found }.into())
    }
}

#[cold]
fn no_header() -> crate::error::Error {
    ErrorKind::corrupt("heap header", 0, "its length and its log regions", "no heap")
}

#[inline]
fn expect_entries(what: &'static str, array: ArrayRef) -> Result<ArrayRef> {
    let len = array.len.get();
    if len <= MAX_ENTRIES {
        return Ok(array);
    }
    let expected = format!("at most {MAX_ENTRIES} entries");
    Err(ErrorKind::corrupt(what, array.offset(), expected, len))
}

#[cold]
fn no_chunk(segment: u64) -> crate::error::Error {
    let first = segment * PAGES_PER_SEGMENT * PAGE_BYTES;
    ErrorKind::corrupt(
        "directory of chunks (first page that it tells of)",
        first,
        "a chunk",
        "none",
    )
}

/// Returns the bytes that no reference may touch because the log lies there.
pub(super) fn hole(region: RegionRef) -> Excluded {
    let start = u64::from(region.page.get()) * PAGE_BYTES;
    Excluded { start, end: start + u64::from(region.pages.get()) * PAGE_BYTES }
}

fn slot(descriptor: &PageDescriptor, offset: u64) -> Result<Allocation, &'static str> {
    let slot_bytes = u64::from(descriptor.slot_bytes.get());
    let index = (offset % PAGE_BYTES).checked_div(slot_bytes).ok_or("a damaged slab")?;
    if index >= u64::from(descriptor.slots.get()) || !descriptor.slot_used(index) {
        return Err("a free slot");
    }
    let page_offset = offset / PAGE_BYTES * PAGE_BYTES;
    if (index + 1) * slot_bytes > PAGE_BYTES {
        return Err("a damaged slab");
    }
    Ok(Allocation {
        offset: page_offset + index * slot_bytes,
        len_bytes: slot_bytes,
        owner: descriptor.owner.get(),
        is_array: descriptor.flags & SLAB_ARRAYS != 0,
        is_run: false,
    })
}

fn run(head: &PageDescriptor, page: u64) -> Allocation {
    let run_bytes = u64::from(head.run_pages.get()) * PAGE_BYTES;
    Allocation {
        offset: page * PAGE_BYTES,
        len_bytes: head.object_bytes.get().min(run_bytes),
        owner: head.owner.get(),
        is_array: head.flags & RUN_OBJECT == 0,
        is_run: true,
    }
}
