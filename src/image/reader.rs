//! Records when and where a snapshot was taken.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The first of the readers that hold an image without a gap.
///
/// The time is that of the coarse clock: a few nanoseconds to read, accurate to a few
/// milliseconds. Readers that join an existing reader are not recorded. If readers overlap on an
/// image that nobody changes, this is the first of the whole sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReaderPin {
    since: Timespec,
    pub(super) begun_at: &'static Location<'static>,
}

impl ReaderPin {
    #[inline]
    pub(super) fn begin(begun_at: &'static Location<'static>) -> Self {
        Self { since: clock_gettime(ClockId::MonotonicCoarse), begun_at }
    }

    pub(super) fn age(&self) -> Duration {
        let age = clock_gettime(ClockId::MonotonicCoarse) - self.since;
        age.try_into().unwrap_or_default()
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
    /// that share the snapshot.
    pub begun_at: &'static Location<'static>,
    /// The log position of the snapshot.
    pub position: u64,
    /// The most memory that the snapshot may hold for itself: pages that changed.
    pub private_bytes: u64,
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
