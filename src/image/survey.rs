//! Surveys records before any of them is applied.
//!
//! Recovery writes to the file while it applies records, so it must know beforehand that all of them
//! can be applied, and how many pages they touch. A survey refuses what `Image::apply` refuses, by
//! the same bounds, without touching a page.

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use crate::error::{ErrorKind, Result};
use crate::format::heap::{HeapHeader, RegionRef};
use crate::format::record::{Entries, Entry, KIND_SPILL, RecordHeader};
use crate::format::{LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES};
use crate::log::Piece;
use crate::map::{Excluded, is_in_view, machine_page_shift};

use super::allocator_view::hole;
use super::apply::{bad_record, no_pages};
use super::open::expect_room;
use super::page_ranges::PageRanges;
use super::page_set::PageSet;
use super::view::Image;

/// The first line of the heap's header, which has the heap's length and the log's regions.
type HeadLine = [[u8; 8]; 8];

/// The offset of the log's regions in the header.
const REGIONS: usize = std::mem::offset_of!(HeapHeader, log);
const REGIONS_BYTES: usize = size_of::<[RegionRef; 2]>();
const _: () = assert!(REGIONS + REGIONS_BYTES <= LINE_BYTES as usize);
const _: () = assert!(std::mem::offset_of!(HeapHeader, heap_pages) == 0);

/// What applying records would do to an image.
pub(crate) struct Survey {
    room_bytes: u64,
    /// The image's bounds after the records so far, and before the one that is being added.
    limit: u64,
    limit_before: u64,
    holes: [Excluded; 2],
    head: HeadLine,
    changes_head_page: bool,
    in_file: PageRanges,
    /// Pages past all earlier heaps that the record being added has changed.
    changed: PageRanges,
    zeroed: PageRanges,
    /// The pages that may become private. None lies past `room_bytes`, so the file's length bounds
    /// the set, at one bit a page.
    pages: PageSet,
    /// Machine pages of which pages that are taken from the file are a part.
    edges: PageSet,
    spilled_bytes: u64,
}

/// What applying the surveyed records changes and reads.
#[derive(Default)]
pub(crate) struct Surveyed {
    /// The pages that records change.
    pub(crate) pages: PageSet,
    /// Number of pages that may become private: those of whole machine pages.
    pub(crate) private_pages: u64,
    /// The entries that lie outside of the log.
    pub(crate) spilled_bytes: u64,
}

impl Survey {
    /// Begins a survey of records to be applied to `image`.
    pub(crate) fn of(image: &Image) -> Result<Self> {
        let head = image.map.peek::<{ LINE_BYTES as usize }>(0).map_err(|_| no_header())?;
        let head = HeadLine::read_from_bytes(&head).map_err(|_| no_header())?;
        Ok(Self {
            room_bytes: image.map.len_bytes(),
            limit: image.map.limit(),
            limit_before: image.map.limit(),
            holes: image.map.holes(),
            head,
            changes_head_page: false,
            in_file: PageRanges::default(),
            changed: PageRanges::default(),
            zeroed: PageRanges::default(),
            pages: PageSet::default(),
            edges: PageSet::default(),
            spilled_bytes: 0,
        })
    }

    /// Adds the entries of a piece; refuses them if an image would.
    pub(crate) fn add(&mut self, piece: Piece<'_>) -> Result<()> {
        let header = piece.header;
        let heap_bytes = header.heap_bytes.get();
        expect_room(self.room_bytes, heap_bytes)?;
        // Of a heap that ended within a page, that page would be changed and never written.
        if heap_bytes == 0 || !heap_bytes.is_multiple_of(PAGE_BYTES) {
            return Err(bad_record(header, "a heap of whole pages"));
        }
        if header.kind == KIND_SPILL {
            self.spilled_bytes += piece.entries.len() as u64;
        }
        self.limit = self.limit.max(heap_bytes);
        for entry in Entries::new(piece.entries) {
            let entry =
                entry.map_err(|_| bad_record(header, "entries that are known and whole"))?;
            self.add_entry(header, entry)?;
        }
        if !piece.is_last {
            return Ok(());
        }
        self.limit_before = self.limit;
        self.changed = PageRanges::default();
        match std::mem::take(&mut self.changes_head_page) {
            true => self.refresh_holes(),
            false => Ok(()),
        }
    }

    fn add_entry(&mut self, header: &RecordHeader, entry: Entry<'_>) -> Result<()> {
        match entry {
            Entry::Line { line, mask, words } => self.add_line(header, line, mask, words),
            Entry::Zero { page, count } => {
                self.expect_pages(header, page, count)?;
                self.in_file.remove(page, count);
                self.note_changed(page, count);
                for (first, count) in self.zeroed.insert(page, count) {
                    self.pages.insert_range(first, count);
                }
                Ok(())
            }
            Entry::Bulk { page, count } => {
                // A round may have written over what the file had, if the page was in an earlier
                // heap, or if this record has changed it.
                let is_past = page.saturating_mul(PAGE_BYTES) >= self.limit_before;
                if !is_past || self.changed.contains_any(page, count) {
                    return Err(bad_record(header, "bulk pages past all heaps before"));
                }
                self.expect_pages(header, page, count)?;
                self.in_file.insert(page, count);
                self.note_edges([page, page + count]);
                Ok(())
            }
        }
    }

    fn add_line(
        &mut self,
        header: &RecordHeader,
        line: u64,
        mask: u8,
        words: &[[u8; 8]],
    ) -> Result<()> {
        if !is_in_view(self.limit, &self.holes, line.saturating_mul(LINE_BYTES), LINE_BYTES) {
            return Err(bad_record(header, "lines within the heap"));
        }
        if line == 0 {
            let changed = (0..8).filter(|word| mask >> word & 1 == 1);
            changed.zip(words).for_each(|(word, new)| self.head[word] = *new);
        }
        let page = line / LINES_PER_PAGE;
        self.changes_head_page |= page == 0;
        self.zeroed.remove(page, 1);
        self.in_file.remove(page, 1);
        self.note_changed(page, 1);
        self.pages.insert(page);
        Ok(())
    }

    /// Notes the machine pages of which pages taken from the file are a part.
    fn note_edges(&mut self, bounds: [u64; 2]) {
        let shift = machine_page_shift();
        for bound in bounds.into_iter().filter(|bound| !bound.is_multiple_of(1 << shift)) {
            self.edges.insert(bound >> shift);
        }
    }

    fn note_changed(&mut self, page: u64, count: u64) {
        let end = page.saturating_add(count);
        let first = page.max(self.limit_before / PAGE_BYTES);
        if first < end && !(count == 1 && self.changed.contains_any(page, 1)) {
            self.changed.insert(first, end - first);
        }
    }

    fn expect_pages(&self, header: &RecordHeader, page: u64, count: u64) -> Result<()> {
        let (offset, bytes) = (page.saturating_mul(PAGE_BYTES), count.saturating_mul(PAGE_BYTES));
        match is_in_view(self.limit, &self.holes, offset, bytes) {
            true => Ok(()),
            false => Err(no_pages(header)),
        }
    }

    fn refresh_holes(&mut self) -> Result<()> {
        if !is_in_view(self.limit, &self.holes, REGIONS as u64, REGIONS_BYTES as u64) {
            return Err(no_header());
        }
        let holes = self.log_regions().map(hole);
        if holes != self.holes {
            self.log_regions().iter().try_for_each(|region| self.expect_unchanged(region))?;
        }
        self.holes = holes;
        Ok(())
    }

    /// Returns the log's regions after the last record.
    pub(crate) fn log_regions(&self) -> [RegionRef; 2] {
        let regions = <[RegionRef; 2]>::read_from_prefix(&self.head.as_bytes()[REGIONS..]);
        regions.map_or([RegionRef::default(); 2], |(regions, _)| regions)
    }

    /// Ends the survey: after the last record, the heap must be `heap_bytes` long.
    pub(crate) fn finish(mut self, heap_bytes: u64) -> Result<Surveyed> {
        let pages = U32::read_from_prefix(self.head.as_bytes()).map_or(0, |(pages, _)| pages.get());
        let found = u64::from(pages) * PAGE_BYTES;
        if found != heap_bytes || heap_bytes < PAGE_BYTES {
            let what = "heap length in the heap's header";
            return Err(ErrorKind::corrupt(what, 0, heap_bytes, found));
        }
        self.edges.insert_all(&self.pages.machine_pages());
        let private_pages = self.edges.len() << machine_page_shift();
        Ok(Surveyed { pages: self.pages, private_pages, spilled_bytes: self.spilled_bytes })
    }

    /// Refuses a new log region if an earlier record has changed its pages: a round would write them
    /// to the file, over records that are still to be read. Later records cannot: it is hidden.
    fn expect_unchanged(&self, region: &RegionRef) -> Result<()> {
        let (first, pages) = (u64::from(region.page.get()), u64::from(region.pages.get()));
        let mut changed = self.pages.within(first..first + pages);
        if changed.next().is_none() && !self.in_file.contains_any(first, pages) {
            return Ok(());
        }
        let found = "pages that an earlier record changes";
        const UNCHANGED: &str = "pages that no record changes";
        let what = "log region in the heap's header";
        Err(ErrorKind::corrupt(what, first * PAGE_BYTES, UNCHANGED, found))
    }
}

#[cold]
fn no_header() -> crate::error::Error {
    ErrorKind::corrupt("heap header", 0, "its log regions", "no heap")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::format::HEAP_START_BYTES;
    use crate::format::record::{OP_BULK, OP_ZERO, push_line, push_pages};
    use crate::image::view::{ImageTraits, LinkChecks};
    use crate::map::PrivateMap;
    use zerocopy::FromZeros;

    const PAGES: u64 = 40;
    /// The heap's pages before the first record.
    const PAGES_BEFORE: u64 = 30;

    /// What a survey refuses and an image takes: it is harmless where nothing is written.
    const STRICTER: [&str; 2] =
        ["bulk pages past all heaps before", "pages that no record changes"];

    /// A small random number generator, like the one in the tests.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % limit
        }
    }

    /// Appends an entry; most are such that an image takes them.
    fn push_entry(body: &mut Vec<u8>, random: &mut Random) {
        let (page, count) = (1 + random.below(PAGES), random.below(6));
        match random.below(12) {
            0..4 => push_pages(body, page, count, OP_ZERO),
            4 => push_pages(body, page, count, OP_BULK),
            5 => push_pages(body, PAGES_BEFORE + random.below(5), count, OP_BULK),
            6 => {
                // The first line of the header: the heap's length and the log's regions.
                let mut head = [0; 64];
                let pages = [PAGES, PAGES - 1].map(|pages| pages as u32);
                head[..4].copy_from_slice(&pages[random.below(2) as usize].to_le_bytes());
                head[40] = random.below(PAGES) as u8;
                head[44] = random.below(5) as u8;
                head[63] = 1;
                push_line(body, 0, &[0; 64], &head);
            }
            7 if random.below(20) == 0 => push_pages(body, page, count, 77),
            7 if random.below(20) == 0 => body.extend_from_slice(&[0; 8]),
            _ => {
                let line = page * LINES_PER_PAGE + random.below(LINES_PER_PAGE);
                push_line(body, line, &[0; 64], &[1 + random.below(9) as u8; 64]);
            }
        }
    }

    fn image() -> Image {
        let mut map = PrivateMap::of_memory(PAGES * PAGE_BYTES).unwrap();
        map.set_view(PAGES_BEFORE * PAGE_BYTES, [Excluded::default(); 2]);
        let traits = ImageTraits {
            link_checks: LinkChecks::Bounds,
            hash_key: [0; 16],
            random_from_bytes: u64::MAX,
        };
        Image::new(map, 0, traits)
    }

    /// Returns what an image says to records, and what a survey says.
    fn outcomes(random: &mut Random) -> [Result<u64, String>; 2] {
        let file = HEAP_START_BYTES + PAGES * PAGE_BYTES;
        let disk = MemoryDisk::of(vec![0; file as usize]);
        let mut image = image();
        let mut survey = Survey::of(&image).unwrap();
        let mut touched = PageSet::default();
        let (mut applied, mut surveyed) = (Ok(()), Ok(()));
        let mut heap_bytes = PAGES_BEFORE * PAGE_BYTES;
        for _ in 0..1 + random.below(6) {
            let mut entries = Vec::new();
            (0..random.below(5)).for_each(|_| push_entry(&mut entries, random));
            let mut header = RecordHeader::new_zeroed();
            heap_bytes = (PAGES - random.below(2) + u64::from(random.below(40) == 0)) * PAGE_BYTES;
            header.heap_bytes.set(heap_bytes);
            let piece = Piece { header: &header, entries: &entries, is_last: random.below(3) > 0 };
            applied = applied.and_then(|()| image.apply(&disk, piece, &mut touched));
            surveyed = surveyed.and_then(|()| survey.add(piece));
        }
        let applied = applied.and_then(|()| image.finish_replay(heap_bytes));
        let surveyed = surveyed.and_then(|()| survey.finish(heap_bytes));
        let applied = applied.map(|()| touched.len()).map_err(|error| error.to_string());
        [applied, surveyed.map(|found| found.pages.len()).map_err(|error| error.to_string())]
    }

    #[test]
    fn a_survey_refuses_what_an_image_refuses_and_counts_its_pages() {
        let mut random = Random(1);
        let (mut accepted, mut refused, mut stricter) = (0, 0, [0; STRICTER.len()]);
        for _ in 0..if cfg!(miri) { 20 } else { 20_000 } {
            let [applied, surveyed] = outcomes(&mut random);
            match (&applied, &surveyed) {
                (Ok(_), Ok(_)) => {
                    assert_eq!(applied, surveyed);
                    accepted += 1;
                }
                (Err(_), Err(_)) => refused += 1,
                (_, Err(error)) => {
                    let reason = STRICTER.iter().position(|reason| error.contains(reason));
                    stricter[reason.expect(error)] += 1;
                }
                _ => panic!("applied: {applied:?}, surveyed: {surveyed:?}"),
            }
        }
        let counts = [accepted, refused, stricter[0], stricter[1]];
        assert!(cfg!(miri) || counts.iter().all(|count| *count > 50), "{counts:?}");
        assert!(cfg!(miri) || accepted > 500 && refused > 500, "{counts:?}");
    }

    #[test]
    fn no_number_of_a_record_sizes_a_set() {
        for heap_bytes in [(PAGES + 1) * PAGE_BYTES, 1 << 60, u64::MAX, 0, PAGE_BYTES + 8] {
            let mut survey = Survey::of(&image()).unwrap();
            let mut header = RecordHeader::new_zeroed();
            header.heap_bytes.set(heap_bytes);
            let mut entries = Vec::new();
            push_line(&mut entries, (1 << 54) - 1, &[0; 64], &[1; 64]);
            let piece = Piece { header: &header, entries: &entries, is_last: true };
            assert!(survey.add(piece).is_err());
            assert_eq!(survey.pages.len(), 0);
        }
    }
}
