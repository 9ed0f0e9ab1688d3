//! Makes the state that opening found durable, in bounded memory.
//!
//! 1. Write the accepted records again and sync: after a failed flush the page cache may show bytes
//!    that the disk does not have.
//! 2. Write the log's end as the reach of both superblocks, one after the other: pages of the heap
//!    will be newer than the position that they name.
//! 3. Apply the records, unless they are applied already. Whenever more pages are private than
//!    memory is to hold, write these, release their memory, and go on. Where the records touch many
//!    pages, sweep over the log several times, each time for one part of the heap.
//! 4. Write the pages that are left, and sync.
//! 5. Write both superblocks with the new position and a new epoch, so that no dropped record can
//!    reappear.
//!
//! docs/design/recovery.md argues each step. **Must not know** how the log's end was found
//! (`recovery`).

use std::ops::Range;

use super::core::Core;
use super::flush_leader::SyncFor;
use super::recovery::replay;
use super::state::EndOfLog;
use crate::error::Result;
use crate::format::superblock::Superblock;
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::image::{Image, PageSet, Surveyed, Touched};
use crate::mutation::Mutation;

/// Pages per positioned write.
const PAGES_PER_WRITE: u64 = 64;

/// Sweeps over the log at most.
const MAX_SWEEPS: u64 = 256;

/// All sweeps together read at most so many times the bytes of the log and of the pages that it
/// changes. The entries of a large transaction are longer than these pages.
const SWEPT_TIMES: u64 = 4;

/// Writes the changed pages of an image whenever too many of them are private.
struct Rounds<'a> {
    core: &'a Core,
    max_pages: u64,
    /// The part of the heap to which records are applied.
    part: Range<u64>,
    /// Changed since the last round. A page that was zeroed and showed zeros already is among them,
    /// and not private: after a failed flush, the disk may hold something else.
    unwritten: PageSet,
}

impl Touched for Rounds<'_> {
    fn note(&mut self, first: u64, count: u64) {
        self.unwritten.note(first, count);
    }

    #[inline]
    fn clip(&self, first: u64, count: u64) -> (u64, u64) {
        let start = first.max(self.part.start);
        let end = first.saturating_add(count).min(self.part.end);
        (start, end.saturating_sub(start))
    }

    fn limit_memory(&mut self, image: &mut Image) -> Result<()> {
        if image.private_bytes() / PAGE_BYTES <= self.max_pages {
            return Ok(());
        }
        self.write(image)?;
        self.release(image);
        Ok(())
    }
}

impl Rounds<'_> {
    /// Performs step 3.
    fn replay(
        &mut self,
        image: &mut Image,
        block: &Superblock,
        surveyed: &Surveyed,
        end: EndOfLog,
    ) -> Result<()> {
        if image.position() == end.position {
            return Ok(());
        }
        let source = self.core.log_source();
        image.set_random_from(0);
        let Surveyed { pages, spilled_bytes, .. } = surveyed;
        let log_bytes = end.position - image.position() + spilled_bytes;
        let mut parts = parts(pages, self.max_pages, max_sweeps(pages.len(), log_bytes));
        let last = parts.pop().unwrap_or(0..u64::MAX);
        for part in parts {
            self.begin_part(image, pages, part);
            image.apply_records(&source, end.position, self)?;
            self.finish(image)?;
            self.release(image);
        }
        self.begin_part(image, pages, last);
        replay(image, &source, block, end.position, self)?;
        image.set_random_from(self.core.settings.random_from_bytes);
        Ok(())
    }

    fn begin_part(&mut self, image: &Image, pages: &PageSet, part: Range<u64>) {
        image.will_need_pages(pages.within(part.clone()));
        self.part = part;
    }

    /// Writes the pages that are left, and syncs.
    fn finish(&mut self, image: &Image) -> Result<()> {
        self.write(image)?;
        self.core.unless(Mutation::RoundNotSynced, || {
            self.core.sync_heap(SyncFor::Checkpoint, "sync the heap").map(drop)
        })
    }

    /// Releases memory that holds what the file holds.
    fn release(&mut self, image: &mut Image) {
        // A program that locks its memory (`mlockall`) releases none: it keeps the pages.
        if image.release_all_memory().is_err() {
            self.max_pages = u64::MAX;
        }
    }

    /// Writes the changed pages, in the order of the file.
    fn write(&mut self, image: &Image) -> Result<()> {
        let unwritten = std::mem::take(&mut self.unwritten);
        // The heap may have shrunk since.
        let in_heap = |(page, _): &(u64, u64)| *page < image.heap_pages();
        for (page, count) in unwritten.runs(PAGES_PER_WRITE).into_iter().filter(in_heap) {
            let bytes = image.pages(page, count.min(image.heap_pages() - page))?;
            let written = self.core.disk.write_at(HEAP_START_BYTES + page * PAGE_BYTES, bytes);
            written.map_err(self.core.write_failed("write the heap"))?;
        }
        Ok(())
    }
}

impl Core {
    /// Performs steps 1 to 5 for records that were surveyed.
    pub(super) fn persist_recovered_state(&self, surveyed: &Surveyed, end: EndOfLog) -> Result<()> {
        let mut writer = self.lock_writer();
        let mut checkpointer = self.lock_checkpointer();
        let image = writer.workspace.image_mut();
        let block = checkpointer.last.clone();
        let mut rounds = self.rounds(image, &surveyed.pages, end);
        let changes_heap = surveyed.pages.len() > 0;
        self.in_order(
            Mutation::RoundBeforeRewrite,
            || self.rewrite_accepted_records(&block, end),
            || {
                self.in_order(
                    Mutation::RoundBeforeReach,
                    || match changes_heap {
                        true => self.raise_reach(&mut checkpointer, end.position),
                        false => Ok(()),
                    },
                    || rounds.replay(image, &block, surveyed, end),
                )
            },
        )?;
        self.in_order(
            Mutation::RecoveredSuperblockBeforeHeap,
            || if changes_heap { rounds.finish(image) } else { Ok(()) },
            || self.begin_epoch_at(&mut checkpointer, end),
        )?;
        self.free_log(&checkpointer, end.position)?;
        self.release_writer_memory(&mut writer);
        Ok(())
    }

    /// Returns the rounds that are to come; if the records are applied already, only the last one.
    fn rounds(&self, image: &Image, pages: &PageSet, end: EndOfLog) -> Rounds<'_> {
        let is_replayed = image.position() == end.position;
        let unwritten = if is_replayed { pages.clone() } else { PageSet::default() };
        Rounds { core: self, max_pages: self.settings.round_pages, part: 0..u64::MAX, unwritten }
    }

    fn rewrite_accepted_records(&self, block: &Superblock, end: EndOfLog) -> Result<()> {
        self.unless(Mutation::RecordsNotRewritten, || {
            self.rewrite_records(block.position.get(), end.position)
        })
    }

    /// Writes the accepted records again, block by block, and syncs.
    pub(super) fn rewrite_records(&self, from: u64, to: u64) -> Result<()> {
        let ring = self.log_source().ring;
        let mut block = vec![0; PAGE_BYTES as usize];
        let mut at = from / PAGE_BYTES * PAGE_BYTES;
        let rewrite = |at: u64, block: &mut [u8]| {
            ring.load(at, block)?;
            self.disk.write_at(ring.file_offset(at), block)
        };
        while at < to {
            let rewritten = rewrite(at, &mut block);
            rewritten.map_err(self.write_failed("write recovered records"))?;
            at += PAGE_BYTES;
        }
        self.sync_heap(SyncFor::Checkpoint, "sync recovered records").map(drop)
    }
}

/// Returns how often a log of `log_bytes` that changes `pages` pages may be read.
fn max_sweeps(pages: u64, log_bytes: u64) -> u64 {
    let most_bytes = pages.saturating_mul(PAGE_BYTES).saturating_add(log_bytes);
    (most_bytes.saturating_mul(SWEPT_TIMES) / log_bytes.max(1)).clamp(1, MAX_SWEEPS)
}

/// Divides the heap into parts of which the records touch at most `max_pages` each, or more if
/// there would be more than `max_parts` parts.
fn parts(pages: &PageSet, max_pages: u64, max_parts: u64) -> Vec<Range<u64>> {
    let part_pages = max_pages.max(pages.len().div_ceil(max_parts)).max(1);
    let mut starts: Vec<u64> = pages.iter().step_by(part_pages as usize).collect();
    starts.push(u64::MAX);
    if let Some(first) = starts.first_mut() {
        *first = 0;
    }
    starts.windows(2).map(|bounds| bounds[0]..bounds[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_heap_and_have_few_pages_each() {
        let counts = [(0, 4), (1, 4), (4, 4), (5, 4), (9, 4), (5000, 4), (7, 0)];
        for ((count, max_pages), max_parts) in
            counts.into_iter().flat_map(|counts| [1, 3, 256].map(|most| (counts, most)))
        {
            let mut pages = PageSet::default();
            (0..count).for_each(|page| assert!(pages.insert(3 + 7 * page)));
            let parts = parts(&pages, max_pages, max_parts);
            let mut at = 0;
            for part in &parts {
                assert_eq!(part.start, at);
                let inside = pages.within(part.clone()).count() as u64;
                let most = max_pages.max(count.div_ceil(max_parts)).max(1);
                assert!(inside <= most && (inside > 0 || count == 0), "{part:?}");
                at = part.end;
            }
            assert!(at == u64::MAX || count == 0, "{parts:?}");
            assert!(parts.len() as u64 <= max_parts);
        }
    }

    #[test]
    fn sweeps_read_few_times_what_the_log_and_its_pages_have() {
        for (pages, log_bytes) in
            [(0, 0), (1, 1 << 30), (1 << 18, 1 << 30), (1 << 24, 1 << 20), (1 << 20, 10 << 30)]
        {
            let sweeps = max_sweeps(pages, log_bytes);
            assert!((1..=MAX_SWEEPS).contains(&sweeps));
            assert!(sweeps * log_bytes <= SWEPT_TIMES * (pages * PAGE_BYTES + log_bytes));
        }
        assert_eq!(max_sweeps(1 << 24, 1 << 20), MAX_SWEEPS, "small records of many pages");
    }
}
