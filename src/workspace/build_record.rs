//! Builds the body of a record from the lines and pages that a transaction touched.

use zerocopy::little_endian::U64;

use crate::error::Result;
use crate::format::checksum;
use crate::format::heap::{PAGES_PER_SEGMENT, PageKind};
use crate::format::record::{HEADER_BYTES, OP_BULK, OP_ZERO, push_line, push_pages};
use crate::format::{LINES_PER_PAGE, PAGE_BYTES};

use super::Workspace;

/// Minimum number of pages to write in place (1 MiB): below it, logging them costs less than the
/// sync that must come first.
const MIN_BULK_PAGES: usize = 256;

/// The changes of a transaction. Its buffers are reused from one commit to the next.
#[derive(Default)]
pub(crate) struct RecordBody {
    /// Space for a header, then the entries.
    pub(crate) record: Vec<u8>,
    /// Pages that the entries change, except those in `bulk`, as `(first, count)`.
    pub(crate) changed: Vec<(u64, u64)>,
    /// Pages to write in place before the record, as `(first, count)`.
    pub(crate) bulk: Vec<(u64, u64)>,
}

impl RecordBody {
    fn clear(&mut self) {
        self.record.clear();
        self.record.resize(HEADER_BYTES as usize, 0);
        self.changed.clear();
        self.bulk.clear();
    }

    /// Adds a line entry. Lines that follow each other are mostly of one page, which is noted once.
    fn push_line(&mut self, line: u64, old: &[u8; 64], new: &[u8; 64]) -> bool {
        let is_changed = push_line(&mut self.record, line, old, new);
        let page = (line / LINES_PER_PAGE, 1);
        if is_changed && self.changed.last() != Some(&page) {
            self.changed.push(page);
        }
        is_changed
    }
}

/// The state of a page that the transaction touched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PageState {
    /// Its changes are logged and summed.
    Used,
    /// It holds sums, and is logged after all others are known.
    Sums,
    /// No reader will access it again.
    Unused,
}

impl Workspace {
    /// Builds the body of the transaction's record. Returns whether anything changed.
    ///
    /// Pages from `in_place_from_bytes()` on belong to no image and to no state that can still be
    /// replayed. If there are many of them, they are written in place.
    ///
    /// After this, only `finish` and `rollback` may be called.
    pub(crate) fn build_record(
        &mut self,
        body: &mut RecordBody,
        in_place_from_bytes: impl FnOnce() -> u64,
    ) -> Result<bool> {
        body.clear();
        self.keep_first_saved();
        // Only the three steps that follow change sums, so all lines saved from here on are sums.
        let first_of_sums = self.saved.len();
        self.compose_lines(body)?;
        self.sum_fresh_pages()?;
        self.clear_sums_of_released()?;
        self.compose_sums(body, first_of_sums)?;
        self.build_fresh(body, in_place_from_bytes)?;
        Ok(body.record.len() > HEADER_BYTES as usize)
    }

    /// Keeps the first before-image of each line. With savepoints a line may have several; the
    /// first has the bytes from before the transaction.
    fn keep_first_saved(&mut self) {
        if self.levels.is_empty() {
            return;
        }
        self.levels.clear();
        self.dirty.forget_lines();
        let dirty = &mut self.dirty;
        self.saved.retain(|saved| {
            let first = dirty.is_clean(saved.line);
            dirty.mark_dirty(saved.line);
            first
        });
    }

    fn page_state(&self, page: u64) -> Result<PageState> {
        Ok(match self.image.page_kind(page)? {
            PageKind::Free | PageKind::Log => PageState::Unused,
            PageKind::Sums => PageState::Sums,
            PageKind::Slab | PageKind::Run | PageKind::RunBody | PageKind::Meta => PageState::Used,
        })
    }

    fn compose_lines(&mut self, body: &mut RecordBody) -> Result<()> {
        for index in 0..self.saved.len() {
            let saved = &self.saved[index];
            let (line, page) = (saved.line, saved.line / LINES_PER_PAGE);
            if self.dirty.is_fresh(page) || self.page_state(page)? != PageState::Used {
                continue;
            }
            let (old, new) = (&saved.bytes, self.image.line(line)?);
            if body.push_line(line, old, new) {
                let more = checksum::of_line(line, new);
                let less = checksum::of_line(line, old);
                self.change_sum(page, |sum| sum.wrapping_add(more).wrapping_sub(less))?;
            }
        }
        Ok(())
    }

    fn sum_fresh_pages(&mut self) -> Result<()> {
        for index in 0..self.fresh.len() {
            let page = self.fresh[index];
            if self.page_state(page)? == PageState::Used {
                let bytes = self.image.pages(page, 1)?;
                let sum = checksum::of_page(page * LINES_PER_PAGE, bytes);
                self.change_sum(page, |_| sum)?;
            }
        }
        Ok(())
    }

    fn clear_sums_of_released(&mut self) -> Result<()> {
        for index in 0..self.released.len() {
            let page = self.released[index];
            let segments = u64::from(self.image.header()?.segments.get());
            let has_sum = page / PAGES_PER_SEGMENT < segments;
            if has_sum && self.page_state(page)? != PageState::Used {
                self.change_sum(page, |_| 0)?;
            }
        }
        Ok(())
    }

    fn change_sum(&mut self, page: u64, change: impl FnOnce(u64) -> u64) -> Result<()> {
        let offset = self.image.sum_offset(page)?;
        let sum: &mut U64 = self.pod_mut("page sum", offset)?;
        sum.set(change(sum.get()));
        Ok(())
    }

    fn compose_sums(&self, body: &mut RecordBody, first_of_sums: usize) -> Result<()> {
        for saved in &self.saved[first_of_sums..] {
            if !self.dirty.is_fresh(saved.line / LINES_PER_PAGE) {
                body.push_line(saved.line, &saved.bytes, self.image.line(saved.line)?);
            }
        }
        Ok(())
    }

    /// Logs fresh pages as zeroing plus their nonzero lines, or leaves them for an in-place write if
    /// they are many.
    fn build_fresh(
        &self,
        body: &mut RecordBody,
        in_place_from_bytes: impl FnOnce() -> u64,
    ) -> Result<()> {
        let mut fresh = Vec::with_capacity(self.fresh.len());
        for page in &self.fresh {
            if self.page_state(*page)? != PageState::Unused {
                fresh.push(*page);
            }
        }
        fresh.sort_unstable();
        if fresh.len() < MIN_BULK_PAGES {
            return self.log_pages(body, &fresh);
        }
        let in_place_from_bytes = in_place_from_bytes();
        let (logged, bulk) =
            fresh.split_at(fresh.partition_point(|x| x * PAGE_BYTES < in_place_from_bytes));
        if bulk.len() < MIN_BULK_PAGES {
            return self.log_pages(body, &fresh);
        }
        self.log_pages(body, logged)?;
        body.bulk = neighbours(bulk);
        let RecordBody { record, bulk, .. } = body;
        bulk.iter().for_each(|(page, count)| push_pages(record, *page, *count, OP_BULK));
        Ok(())
    }

    fn log_pages(&self, body: &mut RecordBody, pages: &[u64]) -> Result<()> {
        for (first, count) in neighbours(pages) {
            push_pages(&mut body.record, first, count, OP_ZERO);
            body.changed.push((first, count));
            let lines = first * LINES_PER_PAGE..(first + count) * LINES_PER_PAGE;
            for line in lines {
                // Their pages are noted as a whole.
                push_line(&mut body.record, line, &[0; 64], self.image.line(line)?);
            }
        }
        Ok(())
    }
}

/// Merges sorted pages into `(first, count)` runs of neighbours.
fn neighbours(pages: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *page => *count += 1,
            _ => runs.push((*page, 1)),
        }
    }
    runs
}
