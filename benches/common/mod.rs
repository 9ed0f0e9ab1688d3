//! Code that the benchmarks share: medians, a shuffle, and a store in a folder.
//!
//! Machines differ and are noisy, so each benchmark measures its baseline in the same run,
//! alternately, and prints the ratio.

#![allow(dead_code, reason = "each benchmark uses its own part")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

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
    let mut random = Random(42);
    for i in (1..count).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    order
}

/// A small random number generator (SplitMix64, Steele and others, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
