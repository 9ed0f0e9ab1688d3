//! Records recent latencies.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Durations recorded since they were last taken.
#[derive(Default)]
pub struct Latencies {
    all: Mutex<Vec<Duration>>,
}

/// A summary of the durations of some period.
#[derive(Default)]
pub struct Summary {
    count: usize,
    median: Duration,
    most: Duration,
}

impl Latencies {
    /// Runs `work` and records its duration.
    pub fn of<T>(&self, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let done = work();
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(begin.elapsed());
        done
    }

    /// Takes the recorded durations.
    pub fn take(&self) -> Summary {
        let mut all = std::mem::take(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_unstable();
        let Some(most) = all.last().copied() else { return Summary::default() };
        Summary { count: all.len(), median: all[all.len() / 2], most }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, median, most } = self;
        write!(f, "{count:>6}, median {median:>9.1?}, slowest {most:>9.1?}")
    }
}
