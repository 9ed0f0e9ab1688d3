//! Which allocations a transaction has tested already.
//!
//! The test of an area loads its page's descriptor, a line that is in no cache
//! when a transaction changes collections all over the heap: a sixth of the time
//! of a million inserts. The answer stays true until the allocation is freed, or
//! the transaction goes back to a savepoint.
//!
//! **Invariant** `T1`: an area that is remembered is one whole live allocation,
//! made for the request that it is remembered with.

use crate::alloc::Request;

/// Tests that are not remembered: a small transaction needs no table.
const WARMUP_CHECKS: u32 = 512;
/// Places for areas; those of a map of a million small entries.
const PLACES: usize = 4096;

/// One area; all zero if none, since no allocation lies at 0.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct CacheKey {
    offset: u64,
    count: u32,
    type_number: u32,
}

impl CacheKey {
    /// `None` for what is not remembered: objects, and arrays that are too long.
    fn of(offset: u64, request: &Request) -> Option<Self> {
        let count = u32::try_from(request.count?).ok()?;
        (offset != 0).then_some(Self { offset, count, type_number: request.type_number })
    }
}

/// The areas that were tested last.
#[derive(Default)]
pub(super) struct ValidatedCache {
    tests: u32,
    /// Empty before the first few tests.
    places: Vec<CacheKey>,
}

/// Where an allocation at `offset` is remembered. Allocations begin at multiples
/// of 8, large ones at pages: the multiplication spreads both.
fn place(offset: u64) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    (offset.wrapping_mul(GOLDEN) >> (64 - PLACES.trailing_zeros())) as usize
}

impl ValidatedCache {
    /// Whether the area was tested, and is what it was.
    #[inline]
    pub(super) fn has(&self, offset: u64, request: &Request) -> bool {
        let Some(known) = self.places.get(place(offset)) else { return false };
        CacheKey::of(offset, request).is_some_and(|area| area == *known)
    }

    /// Remembers that the test of an area was passed.
    #[inline]
    pub(super) fn passed(&mut self, offset: u64, request: &Request) {
        if self.places.is_empty() {
            self.tests += 1;
            if self.tests <= WARMUP_CHECKS {
                return;
            }
            self.places = vec![CacheKey::default(); PLACES];
        }
        if let (Some(known), Some(area)) =
            (self.places.get_mut(place(offset)), CacheKey::of(offset, request))
        {
            *known = area;
        }
    }

    /// The allocation at `offset` is about to go.
    pub(super) fn forget(&mut self, offset: u64) {
        if let Some(known) = self.places.get_mut(place(offset)) {
            *known = CacheKey::default();
        }
    }

    /// Any allocation may have gone.
    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(type_number: u32, count: u64) -> Request {
        Request { type_number, size_bytes: 8, align_bytes: 8, count: Some(count) }
    }

    fn full() -> ValidatedCache {
        let mut cache = ValidatedCache::default();
        (0..=WARMUP_CHECKS).for_each(|_| cache.passed(64, &request(1, 2)));
        cache
    }

    #[test]
    fn a_few_tests_make_no_table() {
        let mut cache = ValidatedCache::default();
        (0..WARMUP_CHECKS).for_each(|_| cache.passed(64, &request(1, 2)));
        assert!(!cache.has(64, &request(1, 2)) && cache.places.is_empty());
        assert!(full().has(64, &request(1, 2)));
    }

    #[test]
    fn only_the_same_request_at_the_same_offset_is_known() {
        let cache = full();
        assert!(!cache.has(64, &request(2, 2)) && !cache.has(64, &request(1, 3)));
        assert!(!cache.has(64, &request(1, 2 + (1 << 32))));
        assert!(!cache.has(128, &request(1, 2)) && !cache.has(0, &request(0, 0)));
        assert!(!cache.has(64, &Request { count: None, ..request(1, 2) }));
    }

    #[test]
    fn what_goes_is_forgotten() {
        let mut cache = full();
        cache.forget(64);
        assert!(!cache.has(64, &request(1, 2)));
        let mut cache = full();
        cache.forget_all();
        assert!(!cache.has(64, &request(1, 2)));
    }
}
