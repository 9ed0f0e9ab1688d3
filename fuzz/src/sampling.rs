//! Decides which runs do slow work: by the input, but out of the fuzzer's control.
//!
//! A flag in the input would spread: the fuzzer keeps inputs that run through more code, so soon
//! most of them would have it. A hash of the whole input chooses a fixed part of the runs, and
//! always the same ones.

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use testkit::Random;
use xxhash_rust::xxh3::xxh3_64;

/// Decides what a run does.
pub struct Chance(Random);

/// Whether `FLAGSTONE_FUZZ_THOROUGH` asks for runs that do everything: a finding that was shrunk
/// has another hash.
static IS_THOROUGH: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("FLAGSTONE_FUZZ_THOROUGH").is_some());

impl Chance {
    /// Returns the decisions for an input.
    pub fn of(input: &[u8]) -> Self {
        Self(Random::new(xxh3_64(input)))
    }

    /// Returns true for one of this many runs.
    pub fn one_in(&mut self, runs: u64) -> bool {
        self.0.one_in(runs) || *IS_THOROUGH
    }
}

/// Returns what an input stands for.
pub fn read<'a, T: Arbitrary<'a>>(input: &'a [u8]) -> Option<(T, Chance)> {
    let read = T::arbitrary_take_rest(Unstructured::new(input)).ok()?;
    Some((read, Chance::of(input)))
}
