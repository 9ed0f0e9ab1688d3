//! Records who holds a snapshot: how many readers, since when, and where it was taken.
//!
//! Each image has lines for it, and each thread writes a line of its own. So threads that read at the
//! same time do not slow each other down, and whoever asks adds the lines up. An `Arc` or a debt keeps the
//! image, and the lines do not (docs/design/reading.md). But whoever finds none of them in use knows that
//! what the readers before have read, they read before that.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::map::StaticRef;

/// The lines of an image. Threads beyond that many, of those that read and are alive, share lines.
const LINES: usize = 64;

/// The line of each image that one thread writes. Two cache lines long, since processors fetch them
/// in pairs.
#[derive(Default)]
#[repr(align(128))]
struct ReaderLine {
    readers: AtomicU64,
    /// When the first of them began.
    since_nanos: AtomicU64,
    begun_at: StaticRef<Location<'static>>,
}

const _: () = assert!(size_of::<ReaderLine>() == 128);

/// The readers of an image; no lines for an image that no reader gets.
#[derive(Default)]
pub(super) struct ReaderLines(Box<[ReaderLine]>);

impl ReaderLines {
    pub(super) fn new() -> Self {
        Self((0..LINES).map(|_| ReaderLine::default()).collect())
    }

    /// Counts a reader of this thread; returns its line.
    #[inline]
    pub(super) fn enter(&self, begun_at: &'static Location<'static>) -> Option<usize> {
        let index = OWN_LINE.try_with(|own| own.index).unwrap_or(0);
        let line = self.0.get(index)?;
        // First the words, then the count: a report must not find those of an earlier reader.
        if line.readers.load(Relaxed) == 0 {
            line.since_nanos.store(coarse_nanos(), Relaxed);
            line.begun_at.store(begun_at);
        }
        line.readers.fetch_add(1, Release);
        Some(index)
    }

    /// Ends a reader, on this thread or another.
    #[inline]
    pub(super) fn leave(&self, line: usize) {
        if let Some(line) = self.0.get(line) {
            line.readers.fetch_sub(1, Release);
        }
    }

    /// Returns whether a reader has the image. One that is about to begin may be missed.
    pub(super) fn is_held(&self) -> bool {
        self.0.iter().any(|line| line.readers.load(Acquire) > 0)
    }

    /// Returns the first of the readers, without a gap, on the thread that began first.
    pub(super) fn oldest(&self) -> Option<ReaderPin> {
        let held = self.0.iter().filter(|line| line.readers.load(Acquire) > 0);
        let pins = held.filter_map(|line| {
            let since_nanos = line.since_nanos.load(Relaxed);
            Some(ReaderPin { since_nanos, begun_at: line.begun_at.load()? })
        });
        pins.min_by_key(|pin| pin.since_nanos)
    }
}

/// The lines that threads have to themselves, one a bit.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// The number of this thread's line in each image.
struct OwnLine {
    index: usize,
    is_taken: bool,
}

std::thread_local! {
    static OWN_LINE: OwnLine = OwnLine::claim();
}

impl OwnLine {
    fn claim() -> Self {
        static SHARED: AtomicUsize = AtomicUsize::new(0);
        let take = |taken: u64| taken.checked_add(1).map(|next| taken | next);
        match TAKEN.fetch_update(Relaxed, Relaxed, take) {
            Ok(before) => Self { index: before.trailing_ones() as usize, is_taken: true },
            Err(_) => Self { index: SHARED.fetch_add(1, Relaxed) % LINES, is_taken: false },
        }
    }
}

impl Drop for OwnLine {
    fn drop(&mut self) {
        if self.is_taken {
            TAKEN.fetch_and(!(1 << self.index), Relaxed);
        }
    }
}

/// Returns the bit of this thread's line.
pub(super) fn own_bit() -> u64 {
    OWN_LINE.try_with(|own| 1 << own.index).unwrap_or(1)
}

/// Returns a clock's time that costs a few nanoseconds, and is accurate to a few milliseconds.
pub(super) fn coarse_nanos() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The first of the readers that hold an image without a gap, on one thread.
///
/// Readers that join an existing reader of their thread are not recorded. If readers overlap on an
/// image that nobody changes, this is the first of the whole sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReaderPin {
    since_nanos: u64,
    pub(super) begun_at: &'static Location<'static>,
}

impl ReaderPin {
    /// Returns a reader that begins now.
    pub(super) fn begin(begun_at: &'static Location<'static>) -> Self {
        Self { since_nanos: coarse_nanos(), begun_at }
    }

    pub(super) fn age(&self) -> Duration {
        Duration::from_nanos(coarse_nanos().saturating_sub(self.since_nanos))
    }
}

/// A reader that holds an old snapshot: its cost, and where it began.
///
/// ```
/// # fn main() -> Result<(), flagstone::Error> {
/// # let store = flagstone::Store::in_memory()?;
/// let (tx, line) = (store.read()?, line!());
/// let reader: flagstone::LongReader = store.stats()?.oldest_reader.expect("a reader");
/// assert_eq!(reader.begun_at.line(), line);
/// assert_eq!(reader.position, tx.position());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LongReader {
    /// How long the snapshot has been held, accurate to a few milliseconds.
    pub age: Duration,
    /// The call of [`Store::read`](crate::Store::read) that began it, or the first of several
    /// that share the snapshot on one thread.
    pub begun_at: &'static Location<'static>,
    /// The log position of the snapshot.
    pub position: u64,
    /// The most memory that the snapshot may hold for itself: pages that changed.
    pub private_bytes: u64,
    /// Bytes of the temporary file beside the store that holds such pages, and those around them,
    /// instead of memory.
    pub spilled_bytes: u64,
}

/// The callback for readers older than `age`.
#[derive(Clone)]
pub(crate) struct ReaderReport {
    pub(crate) age: Duration,
    pub(crate) report: Arc<dyn Fn(&LongReader) + Send + Sync>,
}

impl fmt::Debug for ReaderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderReport").field("age", &self.age).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Barrier;

    #[test]
    fn readers_are_counted_whichever_thread_ends_them() {
        let lines = ReaderLines::new();
        assert!(!lines.is_held() && lines.oldest().is_none());
        let (first, line) = (Location::caller(), lines.enter(Location::caller()));
        let other = std::thread::scope(|scope| {
            scope.spawn(|| lines.enter(Location::caller())).join().expect("no panic")
        });
        lines.leave(line.expect("a line"));
        assert!(lines.is_held());
        assert_eq!(lines.oldest().map(|pin| pin.begun_at.file()), Some(first.file()));
        lines.leave(other.expect("a line"));
        assert!(!lines.is_held());
        assert!(ReaderLines::default().enter(first).is_none(), "nobody reads such an image");
    }

    /// No line is written by two threads as long as there are lines for all that are alive.
    #[test]
    fn threads_that_are_alive_have_lines_of_their_own() {
        const THREADS: usize = 16;
        for _ in 0..10 {
            let (lines, barrier) = (ReaderLines::new(), Barrier::new(THREADS));
            let one = || {
                let line = lines.enter(Location::caller());
                barrier.wait();
                line
            };
            let taken: HashSet<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            assert_eq!(taken.len(), THREADS);
        }
    }
}
