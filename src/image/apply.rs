//! Following the log: applying records to an image.

use zerocopy::IntoBytes;

use crate::disk::Disk;
use crate::error::{ErrorKind, Result};
use crate::format::record::{Entries, Entry, KIND_SKIP, RecordHeader};
use crate::format::{HEAP_START_BYTES, LINES_PER_PAGE, PAGE_BYTES};
use crate::log::LogSource;

use super::{Image, PageSet};

impl Image {
    /// Applies the records from the image's position up to `target`; notes the
    /// pages that they touch in `touched`, but for those written in place.
    ///
    /// After an error the image is still at its old position, and applying the
    /// same records again repairs it.
    pub(crate) fn advance(
        &mut self,
        source: &LogSource,
        target: u64,
        touched: &mut PageSet,
    ) -> Result<()> {
        let mut heap_bytes = self.heap_bytes();
        source.each_record(self.position, target, |header, body| {
            heap_bytes = self.apply(&*source.disk, header, body, touched)?.unwrap_or(heap_bytes);
            Ok(())
        })?;
        self.settle(heap_bytes)?;
        self.position = self.position.max(target);
        Ok(())
    }

    /// After the last record: from here on the heap's header tells the bounds.
    ///
    /// Not before, because a heap that a checkpoint was writing when it was cut
    /// off shows the header of a later state until the last record is applied.
    pub(crate) fn settle(&mut self, heap_bytes: u64) -> Result<()> {
        self.refresh_view()?;
        if self.heap_bytes() == heap_bytes {
            return Ok(());
        }
        let found = self.heap_bytes();
        Err(ErrorKind::corrupt("heap length in the heap's header", 0, heap_bytes, found))
    }

    /// Applies one record; returns the heap's length after it. The caller calls
    /// `settle` after the last one.
    pub(crate) fn apply(
        &mut self,
        disk: &dyn Disk,
        header: &RecordHeader,
        body: &[u8],
        touched: &mut PageSet,
    ) -> Result<Option<u64>> {
        if header.kind == KIND_SKIP {
            return Ok(None);
        }
        let heap_bytes = header.heap_bytes.get();
        if heap_bytes > self.map.limit() {
            self.cover(disk, heap_bytes)?;
            // No record may touch a log region: the checkpoint would write it
            // there.
            self.map.set_view(heap_bytes, self.map.holes());
        }
        let mut changes_header = false;
        for entry in Entries::new(body) {
            let entry =
                entry.map_err(|_| bad_record(header, "entries that are known and whole"))?;
            let (first, count) = self.apply_entry(disk, header, entry)?;
            changes_header |= first == 0;
            note((first, count), touched, &mut self.touched);
        }
        if changes_header {
            self.refresh_holes()?;
        }
        Ok(Some(heap_bytes))
    }

    /// Maps at least `heap_bytes`, which the file must have.
    fn cover(&mut self, disk: &dyn Disk, heap_bytes: u64) -> Result<()> {
        if heap_bytes <= self.map.len_bytes() {
            return Ok(());
        }
        let failed = |error: std::io::Error| {
            ErrorKind::corrupt("image of the heap", heap_bytes, "memory to map it", error)
        };
        let file = disk.len_bytes().map_err(failed)?;
        let room = file.saturating_sub(HEAP_START_BYTES) / PAGE_BYTES * PAGE_BYTES;
        if heap_bytes > room {
            let found = format!("room for {room}");
            return Err(ErrorKind::corrupt("file's length", file, heap_bytes, found));
        }
        self.map.resize(room).map_err(failed)
    }

    /// Makes at least `heap_bytes` mapped and usable, for the writer's image.
    pub(crate) fn extend(&mut self, disk: &dyn Disk, heap_bytes: u64) -> Result<()> {
        self.cover(disk, heap_bytes)
    }

    /// Applies one entry; returns the pages that it touched, `(first, count)`.
    fn apply_entry(
        &mut self,
        disk: &dyn Disk,
        header: &RecordHeader,
        entry: Entry<'_>,
    ) -> Result<(u64, u64)> {
        match entry {
            Entry::Line { line, mask, words } => {
                self.apply_line(header, line, mask, words)?;
                Ok((line / LINES_PER_PAGE, 1))
            }
            Entry::Zero { page, count } => {
                self.pages_mut(header, page, count)?.fill(0);
                Ok((page, count))
            }
            Entry::Bulk { page, count } => {
                self.take_bulk(disk, header, page, count)?;
                Ok((page, 0))
            }
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
        let place = self.map.items_mut::<[[u8; 8]; 8]>(line.saturating_mul(64), 1);
        let place = place.map_err(|_| bad_record(header, "lines within the heap"))?;
        let mut rest = mask;
        for word in words {
            place[0][rest.trailing_zeros() as usize % 8] = *word;
            rest &= rest.wrapping_sub(1);
        }
        Ok(())
    }

    /// Pages that were written in place are seen through the mapping, and read
    /// where the image is a copy.
    fn take_bulk(
        &mut self,
        disk: &dyn Disk,
        header: &RecordHeader,
        page: u64,
        count: u64,
    ) -> Result<()> {
        let is_copy = self.map.is_copy();
        let offset = HEAP_START_BYTES.saturating_add(page.saturating_mul(PAGE_BYTES));
        let pages = self.pages_mut(header, page, count)?;
        if !is_copy {
            // A page of the image's own may be left from when the heap was longer;
            // it would hide the file's.
            let dropped = self.map.give_back(page * PAGE_BYTES, count * PAGE_BYTES);
            return dropped.map_err(|error| {
                ErrorKind::corrupt("bulk pages", offset, "memory to give back", error)
            });
        }
        let read = disk.read_at(offset, pages);
        read.map_err(|error| ErrorKind::corrupt("bulk pages", offset, "readable bytes", error))
    }

    fn pages_mut(&mut self, header: &RecordHeader, page: u64, count: u64) -> Result<&mut [u8]> {
        let offset = page.saturating_mul(PAGE_BYTES);
        let bytes = count.saturating_mul(PAGE_BYTES);
        let pages = self.map.items_mut::<u8>(offset, bytes);
        pages.map_err(|_| bad_record(header, "pages within the heap"))
    }

    /// Drops private pages that equal the file's, all but those in `keep`.
    pub(crate) fn give_back(&mut self, keep: &PageSet) -> std::io::Result<()> {
        for (page, count) in self.touched.runs(u64::MAX) {
            let free = (page..page + count).filter(|page| !keep.contains(*page));
            for page in free {
                self.map.give_back(page * PAGE_BYTES, PAGE_BYTES)?;
            }
        }
        self.touched.retain_in(keep);
        Ok(())
    }

    /// Makes `pages` private with the bytes that they show now (I3).
    pub(crate) fn freeze(&self, pages: &PageSet) -> std::io::Result<()> {
        let runs = pages.runs(u64::MAX).into_iter();
        runs.map(|(page, count)| (page * PAGE_BYTES, count * PAGE_BYTES))
            .try_for_each(|(offset, bytes)| self.map.freeze(offset, bytes))
    }

    /// The bytes of pages, to be written to the file.
    pub(crate) fn pages(&self, page: u64, count: u64) -> Result<&[u8]> {
        self.bytes("pages of the heap", page * PAGE_BYTES, count * PAGE_BYTES)
    }
}

#[inline]
fn note((page, count): (u64, u64), touched: &mut PageSet, private: &mut PageSet) {
    for page in page..page + count {
        touched.insert(page);
        private.insert(page);
    }
}

#[cold]
fn bad_record(header: &RecordHeader, expected: &str) -> crate::Error {
    let position = header.position.get();
    let found = format!("others, in a record of {} bytes", header.as_bytes().len());
    ErrorKind::corrupt("log record (position)", position, expected, found)
}
