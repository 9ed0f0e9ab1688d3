//! Spills what readers hold: pages go to a file beside the store, beyond their part of the budget.
//!
//! **Owns** the choice of the pages, and the bounds: of the files, of the process's mappings. **Must not
//! know** how a file takes over pages (`map::SpillFile`), nor when a checkpoint asks for it.
//!
//! A run is spilled as a whole, clean pages too: each piece of a mapping costs the kernel an entry, of
//! which a process has 65,530. docs/design/spilling.md argues it. All pages here are the machine's.

use std::cmp::Reverse;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use super::budget::Account;
use super::page_set::PageSet;
use super::spilled::{Space, State};
use super::view::Image;
use crate::disk::Disk;
use crate::map::{is_in_view, machine_page_bytes, machine_page_shift};
use crate::mutation::ActiveMutation;

/// Bytes and runs that are copied at a time: what a sync then has to write, and what is done between two
/// looks at whether to go on.
const BYTES_AT_ONCE: u64 = 16 << 20;
const RUNS_AT_ONCE: u64 = 8;
/// The shortest run, and the most runs of an image.
const MIN_RUN_BYTES: u64 = 2 << 20;
const MAX_RUNS: u64 = 4096;
/// Files may take this part of what is free, if no limit is set.
const FREE_SHARE: u64 = 2;
/// Runs that stand alone may take this part of the mappings that a process may have.
const MAPPINGS_SHARE: u64 = 4;
/// The kernel's default for `vm.max_map_count`.
const MAX_MAPPINGS: u64 = 65_530;

/// Bounds of what is spilled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpillLimits {
    /// Of all files of the store; a part of what is free if it is `None`.
    pub(crate) max_bytes: Option<u64>,
    /// The length of a run in pages of the file, which tests set.
    pub(crate) run_pages: Option<u64>,
}

/// Spills for one store.
pub(crate) struct Spiller {
    disk: Arc<dyn Disk>,
    account: Arc<Account>,
    limits: SpillLimits,
    space: Arc<Space>,
    max_mappings: u64,
    is_refused: AtomicBool,
    mutation: ActiveMutation,
}

impl Spiller {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        account: Arc<Account>,
        limits: SpillLimits,
        mutation: ActiveMutation,
    ) -> Self {
        let space = Space { bytes: AtomicU64::new(0), mappings: mappings_of_process() };
        Self {
            disk,
            account,
            limits,
            space: Arc::new(space),
            max_mappings: max_mappings() / MAPPINGS_SHARE,
            is_refused: AtomicBool::new(false),
            mutation,
        }
    }

    /// Returns the bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.space.bytes.load(Relaxed)
    }

    /// Returns whether the last attempt has failed.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Relaxed)
    }

    /// Spills pages of the `held` images until those behind `position` may keep `pages` within readers'
    /// part of the budget, or `go_on` says no. Never fails: what cannot be spilled stays in memory.
    pub(super) fn make_room(
        &self,
        held: &[Arc<Image>],
        position: u64,
        pages: &PageSet,
        go_on: &dyn Fn() -> bool,
    ) {
        let (none, pages) = (PageSet::default(), pages.machine_pages());
        let coming = |image: &Image| if image.position < position { &*pages } else { &none };
        self.spill(held, &coming, 0, RUNS_AT_ONCE, go_on);
    }

    /// Spills pages of the `held` images until half of readers' part is free.
    pub(super) fn make_some_room(&self, held: &[Arc<Image>], go_on: &dyn Fn() -> bool) {
        let none = PageSet::default();
        // One run at a time: whoever asks for an answer meanwhile waits for its end.
        self.spill(held, &|_| &none, self.account.held_part() / 2, 1, go_on);
    }

    fn spill<'pages>(
        &self,
        held: &[Arc<Image>],
        coming: &dyn Fn(&Image) -> &'pages PageSet,
        more_bytes: u64,
        runs_at_once: u64,
        go_on: &dyn Fn() -> bool,
    ) {
        let missing = |image: &Image| image.missing(coming(image));
        let mut order: Vec<_> = held.iter().map(|image| (image, missing(image))).collect();
        // The one with the most first: it has the fullest runs.
        order.sort_by_key(|(image, missing)| {
            Reverse(image.private_bytes() + missing * machine_page_bytes())
        });
        let mut all: u64 = order.iter().map(|(_, missing)| missing).sum();
        let must_spill =
            |all: u64| self.account.must_spill(all * machine_page_bytes() + more_bytes);
        for (image, mut rest) in order {
            // Once its readers have left, it is dropped.
            while must_spill(all) && image.readers.is_held() {
                if !go_on() {
                    return;
                }
                let spilled = image.spill_some(self, coming(image), runs_at_once);
                self.is_refused.store(spilled.is_err(), Relaxed);
                match spilled {
                    Ok(true) => {}
                    Ok(false) => break,
                    // The next image may lie elsewhere on the disk.
                    Err(error) if is_of_this_image(&error) => break,
                    Err(_) => return,
                }
                let now = missing(image);
                all = all.saturating_sub(rest.saturating_sub(now));
                rest = now;
            }
        }
    }

    /// Returns how many bytes more the files may take. Two processes or threads that ask at the same time
    /// may each take them once.
    fn room_bytes(&self) -> io::Result<u64> {
        let taken = self.bytes();
        let most = match self.limits.max_bytes {
            Some(most) => most,
            None => self.disk.free_bytes()?.saturating_add(taken) / FREE_SHARE,
        };
        Ok(most.saturating_sub(taken))
    }

    /// Returns the length of runs in a heap of so many pages.
    fn run_pages(&self, heap_pages: u64) -> u64 {
        let shortest = MIN_RUN_BYTES / machine_page_bytes();
        let usual = heap_pages.div_ceil(MAX_RUNS).next_power_of_two().max(shortest);
        let set = self.limits.run_pages.map(|pages| pages >> machine_page_shift());
        set.unwrap_or(usual).max(1)
    }

    fn may_add_mappings(&self) -> bool {
        self.space.mappings.load(Relaxed) < self.max_mappings
    }
}

impl Image {
    /// Returns how many of `coming` pages this image would have to copy.
    fn missing(&self, coming: &PageSet) -> u64 {
        if coming.len() == 0 {
            return 0;
        }
        let mut own = self.touched.clone();
        own.insert_all(&self.spilled.lock().pages);
        self.frozen.add_to(&mut own);
        coming.without(&own).count_within(0..self.heap_machine_pages())
    }

    /// Spills the runs with the most pages that are private, or are coming to be. Returns `false` if no
    /// run has one, or may be spilled.
    fn spill_some(&self, by: &Spiller, coming: &PageSet, most: u64) -> io::Result<bool> {
        let mut state = self.spilled.lock();
        let run_pages = match state.run_pages {
            0 => by.run_pages(self.heap_machine_pages()),
            known => known,
        };
        let mut runs = self.fullest_runs(&state, run_pages, coming, by.may_add_mappings());
        if runs.is_empty() {
            return Ok(false);
        }
        runs.truncate(most.min(by.room_bytes()? / machine_page_bytes() / run_pages) as usize);
        if runs.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        runs.sort_by_key(|run| run.start);
        let pages = |runs: &[Range<u64>]| runs.iter().map(|run| run.end - run.start).sum::<u64>();
        by.space.bytes.fetch_add(pages(&runs) * machine_page_bytes(), Relaxed);
        let (placed, result) = self.spill_runs(&mut state, &runs, by);
        by.space.bytes.fetch_sub(pages(&runs[placed..]) * machine_page_bytes(), Relaxed);
        if placed > 0 {
            state.run_pages = run_pages;
            let mut spilled = PageSet::default();
            for run in &runs[..placed] {
                spilled.insert_range(run.start, run.end - run.start);
                state.add_run(run.start, run.end - run.start, &by.space);
            }
            self.note_spilled(&spilled);
        }
        result.map(|()| true)
    }

    /// Returns a few of those runs, the one with the most pages first.
    fn fullest_runs(
        &self,
        state: &State,
        run_pages: u64,
        coming: &PageSet,
        may_stand_alone: bool,
    ) -> Vec<Range<u64>> {
        let mut wanted = self.touched.clone();
        wanted.insert_all(coming);
        self.frozen.add_to(&mut wanted);
        let wanted = wanted.without(&state.pages);
        let heap_pages = self.heap_machine_pages();
        let holes = self.map.holes();
        let all = (0..heap_pages).step_by(run_pages as usize);
        let mut runs: Vec<(u64, Range<u64>)> = all
            .map(|first| first..(first + run_pages).min(heap_pages))
            .map(|run| (wanted.count_within(run.clone()), run))
            .filter(|(count, run)| {
                let pages = run.end - run.start;
                let is_apart = state.neighbours(run.start, pages) == 0;
                let bytes = self.bytes_of_run(run);
                *count > 0
                    && (may_stand_alone || !is_apart)
                    && is_in_view(bytes.end, &holes, bytes.start, bytes.end - bytes.start)
            })
            .collect();
        runs.sort_by_key(|(count, _)| Reverse(*count));
        runs.truncate(
            (BYTES_AT_ONCE / machine_page_bytes() / run_pages).clamp(1, RUNS_AT_ONCE) as usize
        );
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// Returns the bytes of a run: up to the heap's end, with which the last page may begin.
    fn bytes_of_run(&self, run: &Range<u64>) -> Range<u64> {
        let unit = machine_page_bytes();
        run.start * unit..(run.end * unit).min(self.heap_bytes())
    }

    /// Returns how many of the runs the file has taken over.
    fn spill_runs(
        &self,
        state: &mut State,
        runs: &[Range<u64>],
        by: &Spiller,
    ) -> (usize, io::Result<()>) {
        let file =
            match state.file.take().map_or_else(|| by.disk.spill_file(), |file| Ok(Some(file))) {
                Ok(Some(file)) => file,
                Ok(None) => return (0, Err(io::ErrorKind::Unsupported.into())),
                Err(error) => return (0, Err(error)),
            };
        let runs: Vec<_> = runs.iter().map(|run| self.bytes_of_run(run)).collect();
        // A run that is accessed at random would be read page by page.
        runs.iter().for_each(|run| self.map.will_need(run.start, run.end - run.start));
        let (placed, result) = file.take_over(&self.map, &runs, by.mutation);
        if placed > 0 || state.pages.len() > 0 {
            state.file = Some(file);
        }
        (placed, result)
    }
}

/// Returns whether spilling another image may succeed.
fn is_of_this_image(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::Unsupported)
}

/// Counts the mappings that all stores of the process have added. A forked child goes on from its
/// parent's count, which makes it spill less.
fn mappings_of_process() -> Arc<AtomicU64> {
    static MAPPINGS: OnceLock<Arc<AtomicU64>> = OnceLock::new();
    Arc::clone(MAPPINGS.get_or_init(Arc::default))
}

/// Returns how many mappings a process may have. Looked up once.
fn max_mappings() -> u64 {
    static MAX: OnceLock<u64> = OnceLock::new();
    *MAX.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(MAX_MAPPINGS)
    })
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::disk::{FileDisk, open_file};
    use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
    use crate::image::budget::{Budget, Use};
    use crate::image::view::{ImageTraits, LinkChecks};
    use crate::map::Excluded;
    use std::os::unix::fs::FileExt;
    use std::panic::Location;

    /// All of the machine's size.
    const PAGES: u64 = 2048;
    const RUN_PAGES: u64 = 16;
    /// Half of the budget.
    const PART_PAGES: u64 = 128;

    fn bytes_of(pages: u64) -> u64 {
        pages * machine_page_bytes()
    }

    struct Ground {
        _folder: tempfile::TempDir,
        disk: Arc<FileDisk>,
        account: Arc<Account>,
    }

    impl Ground {
        /// A file of which each page begins with its number. `None` where it would be in memory.
        fn new() -> Option<Self> {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("store");
            let file = std::fs::File::create(&path).expect("a file");
            file.set_len(HEAP_START_BYTES + bytes_of(PAGES)).expect("its length");
            for page in 0..PAGES {
                let written =
                    file.write_all_at(&page.to_ne_bytes(), HEAP_START_BYTES + bytes_of(page));
                written.expect("a write");
            }
            let disk = Arc::new(open_file(&path).expect("a file").expect("it is there"));
            let account = Account::new(Budget::new(2 * bytes_of(PART_PAGES)));
            let ground = Self { _folder: folder, disk, account };
            let has_place = ground.disk.spill_file().expect("an answer").is_some();
            if !has_place {
                println!("SKIP[spiller]: temporary files are in memory");
            }
            has_place.then_some(ground)
        }

        fn spiller(&self, limits: SpillLimits) -> Spiller {
            let (disk, account) = (Arc::clone(&self.disk), Arc::clone(&self.account));
            let spiller = Spiller::new(disk, account, limits, ActiveMutation::default());
            // Other tests have mappings, too.
            let space = Space { bytes: AtomicU64::new(0), mappings: Arc::default() };
            Spiller { space: Arc::new(space), ..spiller }
        }

        /// An image that a reader holds, of so many pages, with the log in `hole`. Of the last machine
        /// page of either, one page belongs to it.
        fn held(&self, pages: u64, hole: Range<u64>) -> Arc<Image> {
            let mut map = self.disk.map_heap(bytes_of(PAGES)).expect("a map");
            let end = |pages| bytes_of(pages).saturating_sub(machine_page_bytes() - PAGE_BYTES);
            let hole = Excluded { start: bytes_of(hole.start), end: end(hole.end) };
            map.set_view(end(pages), [hole, Excluded::default()]);
            let traits = ImageTraits {
                link_checks: LinkChecks::Bounds,
                hash_key: [0; 16],
                random_from_bytes: 0,
            };
            let mut image = Image::new(map, 0, traits);
            image.charge_to(&self.account, Use::Held);
            image.readers = crate::image::reader::ReaderLines::new();
            image.readers.enter(Location::caller()).expect("a line");
            Arc::new(image)
        }

        fn held_pages(&self) -> u64 {
            self.account.bytes(Use::Held) / machine_page_bytes()
        }

        /// Writes over all pages, as a checkpoint does, and looks at those that the image has kept.
        #[track_caller]
        fn expect_kept(&self, image: &Image, kept: impl Iterator<Item = u64>) {
            let zeros = [0; PAGE_BYTES as usize];
            for page in 0..PAGES {
                let written = self.disk.write_at(HEAP_START_BYTES + bytes_of(page), &zeros);
                written.expect("a write");
            }
            for page in kept {
                let found = image.map.items::<u64>(bytes_of(page), 1).expect("a page");
                assert_eq!(found, [page]);
            }
        }
    }

    fn limits() -> SpillLimits {
        SpillLimits { max_bytes: None, run_pages: Some(RUN_PAGES << machine_page_shift()) }
    }

    /// Returns the file's first pages of those machine pages.
    fn every(step: usize, pages: Range<u64>) -> PageSet {
        let mut set = PageSet::default();
        pages.step_by(step).for_each(|page| _ = set.insert(page << machine_page_shift()));
        set
    }

    fn keep(image: &Image, pages: &PageSet) {
        image.keep(pages, ActiveMutation::default()).expect("copies");
    }

    /// Through several checkpoints, each of which keeps other pages.
    #[test]
    fn what_is_held_in_memory_stays_within_its_part() {
        let Some(ground) = Ground::new() else { return };
        // The heap ends within a run, and one run has the log in it.
        let (image, spiller) = (ground.held(1001, 20..25), ground.spiller(limits()));
        let mut all = PageSet::default();
        for first in 0..5 {
            let pages = every(5, first..PAGES);
            all.insert_all(&pages);
            spiller.make_room(&[Arc::clone(&image)], 1, &pages, &|| true);
            keep(&image, &pages);
            assert!(ground.held_pages() <= PART_PAGES, "{}", ground.held_pages());
            assert_eq!(image.private_bytes(), bytes_of(ground.held_pages()));
        }
        assert!(!spiller.is_refused());
        // All but what may stay in memory.
        assert!(spiller.bytes() >= bytes_of(1001 - PART_PAGES - RUN_PAGES));
        assert_eq!(spiller.bytes(), image.spilled.bytes());
        ground.expect_kept(
            &image,
            all.machine_pages().iter().filter(|page| *page < 1001 && !(20..25).contains(page)),
        );
        drop(image);
        assert_eq!((spiller.bytes(), ground.held_pages()), (0, 0));
        assert_eq!(spiller.space.mappings.load(Relaxed), 0);
    }

    /// What is private already is given back, and the image with the most goes first.
    #[test]
    fn copies_in_memory_are_replaced() {
        let Some(ground) = Ground::new() else { return };
        let (large, small) = (ground.held(PAGES, 0..1), ground.held(PAGES, 0..1));
        keep(&small, &every(64, 1..PAGES));
        keep(&large, &every(8, 1..PAGES));
        let spiller = ground.spiller(limits());
        spiller.make_some_room(&[Arc::clone(&small), Arc::clone(&large)], &|| true);
        assert!(ground.held_pages() <= PART_PAGES / 2);
        assert_eq!(small.spilled.bytes(), 0);
        ground.expect_kept(&small, (1..PAGES).step_by(64));
        ground.expect_kept(&large, (1..PAGES).step_by(8));
    }

    #[test]
    fn what_may_not_be_spilled_stays_in_memory() {
        let Some(ground) = Ground::new() else { return };
        let image = ground.held(PAGES, 0..1);
        let pages = every(2, 1..PAGES);
        for max_bytes in [Some(0), Some(bytes_of(RUN_PAGES) - 1)] {
            let spiller = ground.spiller(SpillLimits { max_bytes, ..limits() });
            spiller.make_room(&[Arc::clone(&image)], 1, &pages, &|| true);
            assert!(spiller.is_refused());
            assert_eq!(spiller.bytes(), 0);
        }
        let spiller = ground.spiller(limits());
        spiller.make_room(&[Arc::clone(&image)], 1, &pages, &|| false);
        assert_eq!(spiller.bytes(), 0, "it was told to end");
        keep(&image, &pages);
        assert_eq!(ground.held_pages(), pages.len());
        ground.expect_kept(&image, pages.machine_pages().iter());
    }

    /// Runs that stand alone are spilled up to a bound, and then only beside others.
    #[test]
    fn mappings_are_bounded() {
        let Some(ground) = Ground::new() else { return };
        let runs = PAGES / RUN_PAGES;
        for (max_mappings, expected) in [(0, 0), (1, runs)] {
            let image = ground.held(PAGES, 0..0);
            let spiller = Spiller { max_mappings, ..ground.spiller(limits()) };
            // The runs with the most pages do not touch each other.
            spiller.make_room(&[Arc::clone(&image)], 1, &every(3, 0..PAGES), &|| true);
            assert!(spiller.bytes() <= bytes_of(expected * RUN_PAGES));
            assert_eq!(spiller.bytes() > 0, expected > 0);
            assert!(spiller.space.mappings.load(Relaxed) <= 2 * RUNS_AT_ONCE);
            assert!(expected == 0 || !ground.account.must_spill(0));
        }
    }

    #[test]
    fn runs_are_as_many_as_mappings_allow() {
        let Some(ground) = Ground::new() else { return };
        let spiller = ground.spiller(SpillLimits::default());
        let gib = |gib: u64| (gib << 30) / machine_page_bytes();
        let mib_of_run = |n| bytes_of(spiller.run_pages(gib(n))) >> 20;
        assert_eq!([1, 8, 9, 1000].map(mib_of_run), [2, 2, 4, 256]);
        for pages in [1, gib(1), gib(9), gib(5000)] {
            assert!(pages.div_ceil(spiller.run_pages(pages)) <= MAX_RUNS);
        }
    }
}
