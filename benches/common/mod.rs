//! Code that the benchmarks share: medians, a shuffle, and a store in a folder.
//!
//! Machines differ and are noisy, so each benchmark measures its baseline in the same run,
//! alternately, and prints the ratio.

#![allow(dead_code, reason = "each benchmark uses its own part")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;
use flagstone::{OpenOptions, Store};

/// A folder on the disk that the crate is built on, removed at the end.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        let base = std::env::var_os("FLAGSTONE_BENCH_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        Self(tempfile::tempdir_in(base).expect("a folder for the benchmark"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn open(&self, name: &str, options: &OpenOptions) -> Store {
        // SAFETY: only this benchmark uses the file.
        unsafe { options.open(self.path(name)) }.expect("a store")
    }
}

/// Returns the median of some durations.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Returns how long `work` takes.
pub fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Returns the numbers below `count` in an order that depends on a fixed seed.
pub fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    Rng::with_seed(42).shuffle(&mut order);
    order
}
