//! The pace of a checkpoint: how many pages a slice has, and how long the rest will take.
//!
//! **Owns** what was learned about the disk: the time of a sync, and of a page in a checkpoint.
//! **Must not know** what is synced, or who waits meanwhile (`checkpoint`, `throttle`).
//!
//! A flush waits for at most one slice. A sync costs about the same for one page as for a few, so
//! a slice that takes as long as two syncs of one page wastes half of its time, and one that takes
//! as long as ten makes a commit wait. How many pages that is depends on the disk: it is learned.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::sync::unpoisoned;

/// Pages of a slice. The least is what a disk takes that syncs faster than anything measured.
const SLICE_PAGES: RangeInclusive<u64> = 12..=8192;
/// The time of a slice, in times of a sync of little.
const SYNCS_PER_SLICE: u32 = 2;
/// The shortest time of a slice while no commit waits for flushes.
const MIN_SLICE_TIME: Duration = Duration::from_millis(2);
/// Syncs that a checkpoint makes after its pages are written, and one that it may have to wait for.
const LAST_SYNCS: u32 = 3;

/// What was learned about the disk, and where the running checkpoint is.
#[derive(Debug, Default)]
pub(super) struct Pace {
    learned: Mutex<Learned>,
    /// The estimated time until the running checkpoint frees the log, in nanoseconds; 0 if none
    /// runs. Commits read it without the lock.
    left_nanos: AtomicU64,
}

/// What a slice took.
#[derive(Clone, Copy, Debug)]
pub(super) struct SliceTime {
    pub(super) pages: u64,
    /// The sync alone: a flush waits for that.
    pub(super) sync: Duration,
    /// Everything from the end of the slice before: writes, waits and the sync.
    pub(super) whole: Duration,
    /// Whether commits were flushed meanwhile.
    pub(super) were_flushes: bool,
}

/// A running checkpoint. Dropping it ends the checkpoint, however it ended.
pub(super) struct Progress<'a> {
    pace: &'a Pace,
}

#[derive(Debug)]
struct Learned {
    /// The time of a sync that writes little, averaged over the last few.
    sync: Option<Duration>,
    slice_pages: u64,
    /// The pages of the last checkpoint, and the time of each, in nanoseconds: before the first
    /// one is written, and to write it.
    pages: u64,
    prepare_nanos: u64,
    write_nanos: u64,
    /// The same of the running checkpoint.
    written: u64,
    writing: Duration,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            sync: None,
            slice_pages: *SLICE_PAGES.start(),
            pages: 0,
            prepare_nanos: 0,
            write_nanos: 0,
            written: 0,
            writing: Duration::ZERO,
        }
    }
}

impl Pace {
    fn learned(&self) -> std::sync::MutexGuard<'_, Learned> {
        unpoisoned(self.learned.lock())
    }

    /// Begins a checkpoint.
    pub(super) fn begin(&self) -> Progress<'_> {
        let mut learned = self.learned();
        (learned.written, learned.writing) = (0, Duration::ZERO);
        self.set_left(learned.time_of_all());
        Progress { pace: self }
    }

    fn set_left(&self, left: Duration) {
        self.left_nanos.store((left.as_nanos() as u64).max(1), Relaxed);
    }

    /// Returns the estimated time until the running checkpoint frees the log, or `None` if none
    /// runs. If one `is_due`, it is about to begin.
    pub(super) fn left(&self, is_due: bool) -> Option<Duration> {
        match self.left_nanos.load(Relaxed) {
            0 if is_due => Some(self.learned().time_of_all()),
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Returns the time of a sync that writes little.
    pub(super) fn sync_time(&self) -> Duration {
        self.learned().sync.unwrap_or_default()
    }

    /// Notes the time of a sync that wrote little.
    pub(super) fn note_sync(&self, took: Duration) {
        let mut learned = self.learned();
        learned.sync = Some(match learned.sync {
            None => took,
            Some(sync) => (sync * 3 + took) / 4,
        });
    }

    /// Returns how many pages a slice has.
    pub(super) fn slice_pages(&self) -> u64 {
        self.learned().slice_pages
    }

    /// Returns whether a slice of `pages` is to be synced now, with `left` more to write. A short
    /// rest belongs to the slice before it.
    pub(super) fn is_slice(&self, pages: u64, left: u64) -> bool {
        let slice_pages = self.learned().slice_pages;
        pages >= slice_pages && left > slice_pages / 2
    }

    /// Notes what a slice took; `left` pages remain to be written.
    pub(super) fn note_slice(&self, slice: SliceTime, left: u64) {
        let mut learned = self.learned();
        learned.adapt(slice);
        learned.written += slice.pages;
        learned.writing += slice.whole;
        learned.write_nanos = per_page(learned.writing, learned.written);
        if self.left_nanos.load(Relaxed) != 0 {
            self.set_left(learned.time_to_write(left));
        }
    }
}

impl Progress<'_> {
    /// Notes that `pages` are ready to be written, which took `took` since the begin.
    pub(super) fn prepared(&self, pages: u64, took: Duration) {
        let mut learned = self.pace.learned();
        learned.pages = pages;
        learned.prepare_nanos = per_page(took, pages);
        self.pace.set_left(learned.time_to_write(pages));
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.pace.left_nanos.store(0, Relaxed);
    }
}

impl Learned {
    /// Chooses the length of the next slice by the last one.
    fn adapt(&mut self, slice: SliceTime) {
        // A short rest says little about a whole slice.
        if slice.pages < self.slice_pages {
            return;
        }
        let syncs = self.sync.unwrap_or_default() * SYNCS_PER_SLICE;
        let target = if slice.were_flushes { syncs } else { syncs.max(MIN_SLICE_TIME) };
        let took = slice.sync.as_nanos().max(1);
        let wanted = u128::from(slice.pages) * target.as_nanos() / took;
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let (half, double) = (self.slice_pages / 2, self.slice_pages * 2);
        let bounded = wanted.clamp(half, double);
        self.slice_pages = bounded.clamp(*SLICE_PAGES.start(), *SLICE_PAGES.end());
    }

    fn time_to_write(&self, pages: u64) -> Duration {
        let syncs = self.sync.unwrap_or_default() * LAST_SYNCS;
        Duration::from_nanos(pages.saturating_mul(self.write_nanos)) + syncs
    }

    fn time_of_all(&self) -> Duration {
        let prepare = Duration::from_nanos(self.pages.saturating_mul(self.prepare_nanos));
        prepare + self.time_to_write(self.pages)
    }
}

fn per_page(time: Duration, pages: u64) -> u64 {
    let nanos = time.as_nanos() / u128::from(pages.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk as a model: a sync takes some time, and each page that it writes some more.
    struct ModelDisk {
        sync: Duration,
        page: Duration,
        /// Whether commits are flushed in between.
        are_flushes: bool,
    }

    impl ModelDisk {
        /// Runs a checkpoint; returns the pages of each slice.
        fn checkpoint(&self, pace: &Pace, pages: u64) -> Vec<u64> {
            let progress = pace.begin();
            progress.prepared(pages, self.page * pages as u32 / 10);
            let mut slices = vec![0];
            for left in (0..pages).rev() {
                let pages = slices.last_mut().expect("one");
                *pages += 1;
                if left != 0 && !pace.is_slice(*pages, left) {
                    continue;
                }
                let sync = self.sync + self.page * *pages as u32;
                let slice =
                    SliceTime { pages: *pages, sync, whole: sync, were_flushes: self.are_flushes };
                pace.note_slice(slice, left);
                slices.push(0);
            }
            slices.pop();
            pace.note_sync(self.sync);
            pace.note_sync(self.sync);
            slices
        }

        /// Returns the slices of the first checkpoint of a store, and of the twentieth.
        fn checkpoints(&self, pages: u64) -> (Vec<u64>, Vec<u64>) {
            let pace = Pace::default();
            pace.note_sync(self.sync);
            let first = self.checkpoint(&pace, pages);
            let later = (0..19).map(|_| self.checkpoint(&pace, pages)).last();
            (first, later.expect("nineteen"))
        }
    }

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);

    #[test]
    fn a_checkpoint_on_a_slow_disk_makes_a_handful_of_syncs() {
        for are_flushes in [false, true] {
            for sync in [20 * MS, 200 * MS] {
                let disk = ModelDisk { sync, page: 12 * US, are_flushes };
                let (first, later) = disk.checkpoints(1536);
                assert!(first.len() <= 8, "{sync:?}: {first:?}");
                assert!(later.len() <= 2, "{sync:?}: {later:?}");
            }
        }
    }

    #[test]
    fn a_flush_waits_for_at_most_two_syncs() {
        for (sync, page) in [(100 * US, 12 * US), (MS, 12 * US), (20 * MS, 100 * US)] {
            let disk = ModelDisk { sync, page, are_flushes: true };
            let (_, later) = disk.checkpoints(8192);
            // The last one takes a short rest along.
            let most = later[..later.len() - 1].iter().max().expect("some slices");
            let took = sync + page * *most as u32;
            assert!(took <= sync * 5 / 2 || *most <= 24, "{sync:?} {page:?}: {took:?}");
        }
    }

    #[test]
    fn a_fast_disk_is_not_synced_without_end_while_nobody_waits() {
        let disk = ModelDisk { sync: 10 * US, page: US, are_flushes: false };
        let (_, later) = disk.checkpoints(8192);
        let took = disk.sync + disk.page * later[0] as u32;
        assert!((MS..3 * MS).contains(&took), "{took:?}");
    }

    #[test]
    fn the_estimate_falls_to_the_last_syncs_and_ends_with_the_checkpoint() {
        let pace = Pace::default();
        let disk = ModelDisk { sync: 20 * MS, page: 100 * US, are_flushes: false };
        pace.note_sync(disk.sync);
        disk.checkpoint(&pace, 1000);
        assert_eq!(pace.left(false), None);
        // The next one is expected to be like the last one.
        let expected = pace.left(true).expect("one is due");
        assert!((100 * MS..400 * MS).contains(&expected), "{expected:?}");
        let progress = pace.begin();
        assert_eq!(pace.left(false), Some(expected));
        progress.prepared(10, MS);
        let short = pace.left(false).expect("one runs");
        assert!(short < expected, "{short:?}");
        drop(progress);
        assert_eq!(pace.left(false), None);
    }
}
