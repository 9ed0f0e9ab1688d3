//! The first bytes of a new store.

use std::io;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use crate::disk::Disk;
use crate::format::heap::{
    CHUNK_PAGES, DESCRIPTOR_PAGES, HEAD_PAGES, HeapHeader, PAGES_PER_SEGMENT, PageDescriptor,
    PageKind, RegionRef, TYPE_SYSTEM,
};
use crate::format::superblock::{FLAG_CLEAN, Identity, SLOT_OFFSETS_BYTES, Superblock, UNFINISHED};
use crate::format::{
    COORDINATION_BYTES, HEAP_START_BYTES, LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES, checksum,
};

/// Heap page 0 is the header. The chunk of segment 0 follows, then the directory, then the log.
const CHUNK_PAGE: u64 = 1;
const DIRECTORY_PAGE: u64 = CHUNK_PAGE + CHUNK_PAGES;
const LOG_PAGE: u64 = HEAD_PAGES;
const _: () = assert!(LOG_PAGE == DIRECTORY_PAGE + 1);

/// The end of the unfinished mark in the file.
const MARK_END: u64 = COORDINATION_BYTES + UNFINISHED.len() as u64;

/// Does the same as [`create`] in a file that already has its name and was found empty or
/// unfinished.
///
/// The mark is written first, alone, and synced: a crash leaves either an empty file or one that
/// bears the mark. The write is also a probe. If the file was not empty after all, because a stale
/// length was reported, the file is now longer than the mark's end. All that was overwritten then
/// is part of one page, which means nothing in a store that no process has open.
pub(crate) fn create_in_place(
    disk: &dyn Disk,
    is_unfinished: bool,
    log_bytes: u64,
    random: [u64; 4],
) -> io::Result<()> {
    if is_unfinished {
        disk.truncate(0)?;
    }
    disk.write_at(COORDINATION_BYTES, &UNFINISHED)?;
    disk.sync()?;
    let found = disk.len_bytes()?;
    if found != MARK_END {
        let why = format!("it was said to be empty, and has {found} bytes; try again");
        return Err(io::Error::other(why));
    }
    create(disk, log_bytes, random)
}

/// Clears the unfinished mark, which a crash during creation may have left after the superblocks
/// were written. A store that holds data must not bear it. The first write to the store makes this
/// durable.
pub(super) fn clear_mark(disk: &dyn Disk) -> io::Result<()> {
    let mut found = [0; UNFINISHED.len()];
    disk.read_at(COORDINATION_BYTES, &mut found)?;
    match found == UNFINISHED {
        true => disk.write_at(COORDINATION_BYTES, &[0; UNFINISHED.len()]),
        false => Ok(()),
    }
}

/// Returns the length of a new store's file, whose log has `log_bytes`.
pub(crate) fn new_file_bytes(log_bytes: u64) -> u64 {
    HEAP_START_BYTES + Layout::new(log_bytes / PAGE_BYTES).pages * PAGE_BYTES
}

/// Writes a store without objects, whose log has `log_bytes`, to an empty disk.
///
/// The superblocks come last. The mark on the coordination page says that the file is unfinished,
/// and is cleared once they are written. The caller syncs that last write together with the file's
/// name.
pub(crate) fn create(disk: &dyn Disk, log_bytes: u64, random: [u64; 4]) -> io::Result<()> {
    let heap = Layout::new(log_bytes / PAGE_BYTES);
    let heap_bytes = heap.pages * PAGE_BYTES;
    disk.grow(0, HEAP_START_BYTES + heap_bytes)?;
    disk.write_at(COORDINATION_BYTES, &UNFINISHED)?;
    for (page, bytes) in (0..).zip(heap.bytes().chunks(PAGE_BYTES as usize)) {
        if (LOG_PAGE..LOG_PAGE + heap.log_pages).contains(&page) {
            continue;
        }
        disk.write_at(HEAP_START_BYTES + page * PAGE_BYTES, bytes)?;
    }
    let log_offset = HEAP_START_BYTES + LOG_PAGE * PAGE_BYTES;
    zero_log(disk, log_offset, log_bytes)?;
    disk.sync()?;
    let mut block = Superblock::new(&identity(random));
    block.flags = U32::new(FLAG_CLEAN);
    block.log_offset = U64::new(log_offset);
    block.log_bytes = U64::new(log_bytes);
    block.heap_bytes = U64::new(heap_bytes);
    for (generation, offset) in (1..).zip(SLOT_OFFSETS_BYTES) {
        block.generation = U64::new(generation);
        disk.write_at(offset, &block.to_page())?;
    }
    disk.sync()?;
    clear_mark(disk)
}

/// Writes zeros over a log region, page by page. A log on blocks that were only allocated would pay
/// for the first write to each block. Larger writes would leave large folios in the page cache, and
/// a flush writes a whole folio.
pub(super) fn zero_log(disk: &dyn Disk, offset: u64, log_bytes: u64) -> io::Result<()> {
    let zeros = [0; PAGE_BYTES as usize];
    (0..log_bytes / PAGE_BYTES)
        .try_for_each(|page| disk.write_at(offset + page * PAGE_BYTES, &zeros))
}

fn identity([a, b, c, d]: [u64; 4]) -> Identity {
    let both = |x: u64, y: u64| (u128::from(x) << 64 | u128::from(y)).to_le_bytes();
    Identity { store_id: both(a, b), hash_key: both(c, d) }
}

/// The heap of a new store.
struct Layout {
    log_pages: u64,
    pages: u64,
    segments: u64,
}

impl Layout {
    fn new(log_pages: u64) -> Self {
        let mut layout = Self { log_pages, pages: LOG_PAGE + log_pages, segments: 1 };
        // Each further segment that the log reaches into has a chunk after the log.
        while layout.segments * PAGES_PER_SEGMENT < layout.pages {
            layout.segments += 1;
            layout.pages += CHUNK_PAGES;
        }
        layout
    }

    fn chunk_page(&self, segment: u64) -> u64 {
        match segment {
            0 => CHUNK_PAGE,
            _ => LOG_PAGE + self.log_pages + (segment - 1) * CHUNK_PAGES,
        }
    }

    /// Returns the bytes of the pages, the log's as zeros.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; (self.pages * PAGE_BYTES) as usize];
        self.put_header(&mut bytes);
        for segment in 0..self.segments {
            let entry = DIRECTORY_PAGE * PAGE_BYTES + segment * 4;
            put(&mut bytes, entry, U32::new(self.chunk_page(segment) as u32).as_bytes());
        }
        for page in 0..self.pages {
            put(&mut bytes, self.descriptor_offset(page), self.descriptor(page).as_bytes());
        }
        for page in 0..self.pages {
            self.put_sum(&mut bytes, page);
        }
        bytes
    }

    fn put_header(&self, bytes: &mut [u8]) {
        let mut header = HeapHeader::new_zeroed();
        header.heap_pages = U32::new(self.pages as u32);
        header.segments = U32::new(self.segments as u32);
        header.directory[0] = U32::new(DIRECTORY_PAGE as u32);
        header.log[0] =
            RegionRef { page: U32::new(LOG_PAGE as u32), pages: U32::new(self.log_pages as u32) };
        put(bytes, 0, header.as_bytes());
    }

    fn descriptor(&self, page: u64) -> PageDescriptor {
        let log = LOG_PAGE..LOG_PAGE + self.log_pages;
        let kind = match page {
            DIRECTORY_PAGE => PageKind::Run,
            page if log.contains(&page) => PageKind::Log,
            page if self.is_sums_page(page) => PageKind::Sums,
            _ => PageKind::Meta,
        };
        let mut descriptor = PageDescriptor::of(kind);
        if kind == PageKind::Run {
            descriptor.owner = U32::new(TYPE_SYSTEM);
            descriptor.run_pages = U32::new(1);
            descriptor.object_bytes = U64::new(PAGE_BYTES);
        }
        descriptor
    }

    fn is_sums_page(&self, page: u64) -> bool {
        (0..self.segments).any(|segment| self.chunk_page(segment) + DESCRIPTOR_PAGES == page)
    }

    fn descriptor_offset(&self, page: u64) -> u64 {
        let chunk = self.chunk_page(page / PAGES_PER_SEGMENT) * PAGE_BYTES;
        chunk + page % PAGES_PER_SEGMENT * LINE_BYTES
    }

    fn put_sum(&self, bytes: &mut [u8], page: u64) {
        let kind = self.descriptor(page).kind();
        if matches!(kind, Some(PageKind::Log | PageKind::Sums)) {
            return;
        }
        let start = (page * PAGE_BYTES) as usize;
        let content = &bytes[start..start + PAGE_BYTES as usize];
        let sum = checksum::of_page(page * LINES_PER_PAGE, content);
        let chunk = self.chunk_page(page / PAGES_PER_SEGMENT) * PAGE_BYTES;
        let at = chunk + DESCRIPTOR_PAGES * PAGE_BYTES + page % PAGES_PER_SEGMENT * 8;
        put(bytes, at, &sum.to_le_bytes());
    }
}

fn put(bytes: &mut [u8], offset: u64, new: &[u8]) {
    bytes[offset as usize..][..new.len()].copy_from_slice(new);
}
