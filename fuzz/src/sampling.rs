//! Which runs do what takes long: told by the input, and yet not in the fuzzer's hand.
//!
//! A flag among the input's bytes would be inherited: what runs through more code is kept
//! as a find, and soon most inputs would have it. A hash of the whole input says it for a
//! fixed part of the runs, and says the same of the same input again.

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use testkit::Random;
use xxhash_rust::xxh3::xxh3_64;

/// Says what one run does.
pub struct Chance(Random);

/// Whether `FLAGSTONE_FUZZ_THOROUGH` asks that each run does everything: a finding that is
/// made smaller has another hash.
static IS_THOROUGH: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("FLAGSTONE_FUZZ_THOROUGH").is_some());

impl Chance {
    /// That of an input.
    pub fn of(input: &[u8]) -> Self {
        Self(Random::new(xxh3_64(input)))
    }

    /// Whether this is one of so many runs.
    pub fn one_in(&mut self, runs: u64) -> bool {
        self.0.one_in(runs) || *IS_THOROUGH
    }
}

/// What an input stands for.
pub fn read<'a, T: Arbitrary<'a>>(input: &'a [u8]) -> Option<(T, Chance)> {
    let read = T::arbitrary_take_rest(Unstructured::new(input)).ok()?;
    Some((read, Chance::of(input)))
}
