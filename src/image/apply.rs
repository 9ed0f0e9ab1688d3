//! Applies log records to an image.

use std::ops::Range;

use zerocopy::IntoBytes;

use crate::disk::{Disk, uninterrupted};
use crate::error::{ErrorKind, Result, io_error};
use crate::format::record::{Entries, Entry, RecordHeader};
use crate::format::{HEAP_START_BYTES, LINES_PER_PAGE, PAGE_BYTES, heap_room_bytes};
use crate::log::{LogSource, Piece};
use crate::map::machine_page_bytes;

use super::open::expect_room;
use super::page_ranges::PageRanges;
use super::page_set::PageSet;
use super::view::Image;

/// Learns what records touch while they are applied to an image.
pub(crate) trait Touched {
    /// Records changed `count` pages from `first` on, in place or by writing zeros over them; pages
    /// that they take from the file as they are do not count.
    fn note(&mut self, first: u64, count: u64);

    /// Returns those of `count` pages from `first` on to which records are to be applied, as
    /// `(first, count)`. The others stay as they are.
    #[inline]
    fn clip(&self, first: u64, count: u64) -> (u64, u64) {
        (first, count)
    }

    /// One more page of `image` may have become private.
    fn limit_memory(&mut self, _image: &mut Image) -> Result<()> {
        Ok(())
    }
}

/// For images of readers: nobody asks what their records touch.
pub(super) struct NothingNoted;

impl Touched for NothingNoted {
    #[inline]
    fn note(&mut self, _first: u64, _count: u64) {}
}

impl Touched for PageSet {
    #[inline]
    fn note(&mut self, first: u64, count: u64) {
        match count {
            1 => _ = self.insert(first),
            _ => self.insert_range(first, count),
        }
    }
}

impl Image {
    /// Applies the records from the image's position up to `target`. Adds the pages that they
    /// touch to `touched`, except for pages written in place.
    ///
    /// After an error the image is still at its old position, and applying the same records
    /// again repairs it.
    pub(crate) fn advance(
        &mut self,
        source: &LogSource,
        target: u64,
        touched: &mut impl Touched,
    ) -> Result<()> {
        let heap_bytes = self.apply_records(source, target, touched)?;
        self.finish_replay(heap_bytes)?;
        self.position = self.position.max(target);
        Ok(())
    }

    /// Does the same for a part of the pages, which `touched` chooses: the position stays. Returns
    /// the heap's length after the last record.
    pub(crate) fn apply_records(
        &mut self,
        source: &LogSource,
        target: u64,
        touched: &mut impl Touched,
    ) -> Result<u64> {
        let mut heap_bytes = self.heap_bytes();
        self.forget_ranges();
        source.each_piece(self.position, target, |piece| {
            heap_bytes = piece.header.heap_bytes.get();
            self.apply(&*source.disk, piece, touched)
        })?;
        Ok(heap_bytes)
    }

    /// Has the system load these pages, and the few between them, before records are applied to
    /// them.
    pub(crate) fn will_need_pages(&self, pages: impl Iterator<Item = u64>) {
        /// Pages between two that are loaded along with them.
        const MAX_GAP: u64 = 16;
        let ask = |run: Range<u64>| {
            self.map.will_need(run.start * PAGE_BYTES, (run.end - run.start) * PAGE_BYTES);
        };
        let mut run = 0..0;
        for page in pages {
            if page > run.end + MAX_GAP {
                ask(std::mem::replace(&mut run, page..page));
            }
            run.end = page + 1;
        }
        ask(run);
    }

    /// Takes the bounds from the heap's header. Called after the last record.
    ///
    /// Not before, because a heap whose checkpoint was cut off shows the header of a later
    /// state until the last record is applied.
    pub(crate) fn finish_replay(&mut self, heap_bytes: u64) -> Result<()> {
        self.forget_ranges();
        self.refresh_view()?;
        if self.heap_bytes() == heap_bytes {
            return Ok(());
        }
        let found = self.heap_bytes();
        Err(ErrorKind::corrupt("heap length in the heap's header", 0, heap_bytes, found))
    }

    /// Forgets what is known of pages, which holds only while records are applied in sequence.
    fn forget_ranges(&mut self) {
        self.zeroed = PageRanges::default();
        self.in_file = PageRanges::default();
        self.has_new_header = false;
    }

    /// Applies a piece of a record.
    pub(super) fn apply(
        &mut self,
        disk: &dyn Disk,
        piece: Piece<'_>,
        touched: &mut impl Touched,
    ) -> Result<()> {
        let header = piece.header;
        let heap_bytes = header.heap_bytes.get();
        if heap_bytes > self.map.limit() {
            self.cover(disk, heap_bytes)?;
            // No record may touch a log region: the checkpoint would write it there.
            self.map.set_view(heap_bytes, self.map.holes());
        }
        for entry in Entries::new(piece.entries) {
            let entry =
                entry.map_err(|_| bad_record(header, "entries that are known and whole"))?;
            let page = self.apply_entry(disk, header, entry, touched)?;
            self.has_new_header |= page == 0;
        }
        if piece.is_last && std::mem::take(&mut self.has_new_header) {
            self.refresh_holes()?;
        }
        Ok(())
    }

    /// Maps at least `heap_bytes`. Fails if the file does not have them.
    fn cover(&mut self, disk: &dyn Disk, heap_bytes: u64) -> Result<()> {
        if heap_bytes <= self.map.len_bytes() {
            return Ok(());
        }
        let file = disk.len_bytes().map_err(io_error("look at the file's length", disk.path()))?;
        let room = heap_room_bytes(file);
        expect_room(room, heap_bytes)?;
        uninterrupted(|| self.map.resize(room)).map_err(io_error("map the heap", disk.path()))
    }

    /// Maps at least `heap_bytes` and makes them usable, for the writer's image.
    pub(crate) fn extend(&mut self, disk: &dyn Disk, heap_bytes: u64) -> Result<()> {
        self.cover(disk, heap_bytes)
    }

    /// Applies one entry and returns the first page that it touches.
    fn apply_entry(
        &mut self,
        disk: &dyn Disk,
        header: &RecordHeader,
        entry: Entry<'_>,
        touched: &mut impl Touched,
    ) -> Result<u64> {
        match entry {
            Entry::Line { line, mask, words } => {
                let page = line / LINES_PER_PAGE;
                if touched.clip(page, 1).1 == 0 {
                    return Ok(page);
                }
                self.apply_line(header, line, mask, words)?;
                self.zeroed.remove(page, 1);
                self.in_file.remove(page, 1);
                touched.note(page, 1);
                self.made_private(page, touched)?;
                Ok(page)
            }
            Entry::Zero { page, count } => {
                self.apply_zero(header, page, count, touched)?;
                Ok(page)
            }
            Entry::Bulk { page, count } => {
                self.expect_pages(header, page, count)?;
                let (first, count) = touched.clip(page, count);
                if count > 0 {
                    self.take_bulk(disk, header, first, count, touched)?;
                }
                Ok(page)
            }
        }
    }

    /// Zeroes those of the pages that are not zero yet.
    ///
    /// A few bytes of log can name a whole heap, and many records can name the same one.
    /// Writing a page makes it private, so each page is read first. A page is not read again as
    /// long as the records at hand leave it alone. So a hole in the file costs no memory, and
    /// naming it again costs no time.
    fn apply_zero(
        &mut self,
        header: &RecordHeader,
        first: u64,
        count: u64,
        touched: &mut impl Touched,
    ) -> Result<()> {
        self.expect_pages(header, first, count)?;
        let (first, count) = touched.clip(first, count);
        if count == 0 {
            return Ok(());
        }
        self.in_file.remove(first, count);
        for (first, count) in self.zeroed.insert(first, count) {
            for page in first..first + count {
                let is_zero = self.map.is_zero_page(page).map_err(|_| no_pages(header))?;
                // Each by itself: noting it may be followed by writing what was noted so far.
                touched.note(page, 1);
                if !is_zero {
                    self.put_pages(header, page, &[0; PAGE_BYTES as usize])?;
                    self.made_private(page, touched)?;
                }
            }
        }
        Ok(())
    }

    /// Notes that a page is private now.
    #[inline]
    fn made_private(&mut self, page: u64, touched: &mut impl Touched) -> Result<()> {
        match self.touch(page) {
            true => touched.limit_memory(self),
            false => Ok(()),
        }
    }

    #[inline]
    fn apply_line(
        &mut self,
        header: &RecordHeader,
        line: u64,
        mask: u8,
        words: &[[u8; 8]],
    ) -> Result<()> {
        let stored = self.map.store_words(line.saturating_mul(64), mask, words);
        stored.map_err(|_| bad_record(header, "lines within the heap"))
    }

    /// Takes over pages that were written in place. A mapping shows them; a copy reads them. Does
    /// neither again as long as the records at hand leave the pages alone.
    fn take_bulk(
        &mut self,
        disk: &dyn Disk,
        header: &RecordHeader,
        page: u64,
        count: u64,
        touched: &mut impl Touched,
    ) -> Result<()> {
        // Otherwise, zeroing them and dropping them again could go on for a whole log.
        if self.zeroed.contains_any(page, count) {
            return Err(bad_record(header, "bulk pages past all heaps before"));
        }
        let new = self.in_file.insert(page, count);
        new.into_iter()
            .try_for_each(|(page, count)| self.see_file(disk, header, page..page + count, touched))
    }

    /// Shows the file's bytes in `pages`. A private page may be left from when the heap was longer, or
    /// because a page near it is private; it would hide the file's.
    fn see_file(
        &mut self,
        disk: &dyn Disk,
        header: &RecordHeader,
        pages: Range<u64>,
        touched: &mut impl Touched,
    ) -> Result<()> {
        if self.map.is_copy() {
            return self.copy_file(disk, header, pages);
        }
        let whole = self.whole_machine_pages(&pages);
        let (offset, bytes) = (whole.start * PAGE_BYTES, (whole.end - whole.start) * PAGE_BYTES);
        if bytes > 0 && self.map.release_memory(offset, bytes).is_err() {
            // A program that locks its memory (`mlockall`) releases none: it gets a copy.
            return self.copy_file(disk, header, pages);
        }
        // Other pages of these machine pages must stay as they are.
        for edge in [pages.start..whole.start, whole.end..pages.end] {
            self.copy_file(disk, header, edge.clone())?;
            edge.into_iter().try_for_each(|page| self.made_private(page, touched))?;
        }
        Ok(())
    }

    /// Returns the pages of a range whose machine pages lie in it; if there is none, an empty range at
    /// its end.
    fn whole_machine_pages(&self, pages: &Range<u64>) -> Range<u64> {
        let unit = 1 << self.machine_page_shift;
        let (start, end) = (pages.start.next_multiple_of(unit), pages.end / unit * unit);
        if start < end { start..end } else { pages.end..pages.end }
    }

    /// Copies pages of the file.
    fn copy_file(
        &mut self,
        disk: &dyn Disk,
        header: &RecordHeader,
        pages: Range<u64>,
    ) -> Result<()> {
        let mut bytes = [0; PAGE_BYTES as usize];
        for page in pages {
            let offset = HEAP_START_BYTES.saturating_add(page.saturating_mul(PAGE_BYTES));
            let read = disk.read_at(offset, &mut bytes);
            read.map_err(io_error("read pages that the log names", disk.path()))?;
            self.put_pages(header, page, &bytes)?;
        }
        Ok(())
    }

    fn expect_pages(&self, header: &RecordHeader, page: u64, count: u64) -> Result<()> {
        let (offset, bytes) = (page.saturating_mul(PAGE_BYTES), count.saturating_mul(PAGE_BYTES));
        self.map.expect(offset, bytes).map_err(|_| no_pages(header))
    }

    fn put_pages(&mut self, header: &RecordHeader, page: u64, bytes: &[u8]) -> Result<()> {
        let stored = self.map.store_bytes(page.saturating_mul(PAGE_BYTES), bytes);
        stored.map_err(|_| no_pages(header))
    }

    /// Drops the pages that may be private, all of which equal the file's.
    pub(crate) fn release_memory(&mut self) -> std::io::Result<()> {
        self.release_runs(&PageSet::default(), usize::MAX).map(drop)
    }

    /// Drops private machine pages that equal the file's, all but those that have a page of `keep`, in
    /// at most `count` runs, and 128 times as many machine pages. Returns whether more are left.
    pub(crate) fn release_runs(&mut self, keep: &PageSet, count: usize) -> std::io::Result<bool> {
        /// So that a step takes no longer for long runs.
        const PAGES_PER_RUN: u64 = 128;
        let rest = self.touched.without(&keep.machine_pages());
        let most = (count as u64).saturating_mul(PAGES_PER_RUN);
        let (mut released, unit) = (PageSet::default(), machine_page_bytes());
        for (first, count) in rest.first_runs(count) {
            let count = count.min(most - released.len());
            if count == 0 {
                break;
            }
            self.map.release_memory(first * unit, count * unit)?;
            released.insert_range(first, count);
        }
        self.untouch_all_but(&self.touched.without(&released));
        Ok(released.len() < rest.len())
    }

    /// Drops all private pages, each of which equals the file's, in one call.
    pub(crate) fn release_all_memory(&mut self) -> std::io::Result<()> {
        self.map.release_memory(0, self.map.len_bytes())?;
        self.untouch_all_but(&PageSet::default());
        Ok(())
    }

    /// Makes machine pages private with the bytes that they show now.
    pub(super) fn freeze(&self, machine_pages: &PageSet) -> std::io::Result<()> {
        // The kernel keeps others from mapping memory during each call.
        const BYTES_AT_ONCE: u64 = 1 << 20;
        let unit = machine_page_bytes();
        let runs = machine_pages.runs(BYTES_AT_ONCE / unit).into_iter();
        runs.map(|(first, count)| (first * unit, count * unit))
            .try_for_each(|(offset, bytes)| uninterrupted(|| self.map.freeze(offset, bytes)))
    }

    /// Returns the bytes of pages, to be written to the file.
    pub(crate) fn pages(&self, page: u64, count: u64) -> Result<&[u8]> {
        self.bytes("pages of the heap", page * PAGE_BYTES, count * PAGE_BYTES)
    }
}

#[cold]
pub(super) fn no_pages(header: &RecordHeader) -> crate::error::Error {
    bad_record(header, "pages within the heap")
}

#[cold]
pub(super) fn bad_record(header: &RecordHeader, expected: &str) -> crate::error::Error {
    let position = header.position.get();
    let found = format!("others, in a record of {} bytes", header.as_bytes().len());
    ErrorKind::corrupt("log record (position)", position, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::format::record::{OP_BULK, OP_ZERO, push_line, push_pages};
    use crate::image::view::{ImageTraits, LinkChecks};
    use crate::map::PrivateMap;
    use zerocopy::FromZeros;

    const PAGES: u64 = 100;

    fn apply(image: &mut Image, entries: &[u8], touched: &mut PageSet) -> Result<()> {
        let mut header = RecordHeader::new_zeroed();
        header.heap_bytes.set(PAGES * PAGE_BYTES);
        let piece = Piece { header: &header, entries, is_last: true };
        image.apply(&MemoryDisk::default(), piece, touched)
    }

    #[test]
    fn only_pages_that_are_not_zero_become_private() {
        let map = PrivateMap::of_memory(PAGES * PAGE_BYTES).unwrap();
        let traits = ImageTraits {
            link_checks: LinkChecks::Bounds,
            hash_key: [0; 16],
            random_from_bytes: u64::MAX,
        };
        let mut image = Image::new(map, 0, traits);
        let (mut touched, mut body) = (PageSet::default(), Vec::new());
        push_line(&mut body, 7 * LINES_PER_PAGE, &[0; 64], &[1; 64]);
        for _ in 0..2 {
            push_pages(&mut body, 1, PAGES - 1, OP_ZERO);
        }
        apply(&mut image, &body, &mut touched).unwrap();
        assert_eq!(image.private_bytes(), machine_page_bytes());
        assert_eq!(touched.len(), PAGES - 1, "a checkpoint writes them all");
        assert_eq!(image.pages(7, 1).unwrap(), [0; PAGE_BYTES as usize]);
        // Writes another line after the page was found to be zero.
        push_line(&mut body, 8 * LINES_PER_PAGE, &[0; 64], &[1; 64]);
        push_pages(&mut body, 8, 1, OP_ZERO);
        apply(&mut image, &body, &mut touched).unwrap();
        assert_eq!(image.pages(8, 1).unwrap(), [0; PAGE_BYTES as usize]);
        body.clear();
        push_pages(&mut body, 90, 5, OP_BULK);
        assert!(apply(&mut image, &body, &mut touched).is_err(), "they were in use before");
    }
}
