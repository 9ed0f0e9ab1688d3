//! The quick way to an object: two comparisons, on bounds held by value.
//!
//! Types whose bits have to be tested take the careful way.

use std::ops::Deref;
use std::sync::Arc;

use super::PrivateMap;
use crate::persist::{Persist, assert_object};

/// Where a map begins.
#[derive(Clone, Copy)]
pub(super) struct Base(pub(super) *mut u8);

// SAFETY: an address, which is tied to no thread; whoever turns it into references argues
// where that happens that nothing else may touch the bytes (M1, M3).
unsafe impl Send for Base {}

// SAFETY: as for `Send`; through `&PrivateMap` the bytes are only read, and `madvise` with
// MADV_POPULATE_WRITE changes none.
unsafe impl Sync for Base {}

/// Where objects may lie without further tests: `[start, start + bytes)` from
/// `base`, within the view and clear of holes. It never holds offset 0.
#[derive(Clone, Copy)]
pub(super) struct FastBounds {
    pub(super) base: Base,
    pub(super) start: u64,
    pub(super) bytes: u64,
}

impl FastBounds {
    /// Whether `count` values may begin at `offset`, as far as bounds and
    /// alignment go; false if this window cannot tell, also for offset 0.
    #[inline]
    pub(super) fn holds<T: Persist>(&self, offset: u64, count: u64) -> bool {
        const { assert_object::<T>() };
        let Some(bytes) = (size_of::<T>() as u64).checked_mul(count) else { return false };
        // One more than the last place where they fit; 0 if they fit nowhere.
        let places = (self.bytes + 1).saturating_sub(bytes);
        offset.wrapping_sub(self.start) < places
            && self.bytes != 0
            && offset.is_multiple_of(align_of::<T>() as u64)
    }

    /// `count` values at `offset`.
    ///
    /// # Safety
    ///
    /// Bounds, alignment and bits were tested, and the map that the window was
    /// taken from is neither changed nor dropped during `'a`.
    #[inline]
    pub(super) unsafe fn items<'a, T: Persist>(self, offset: u64, count: u64) -> &'a [T] {
        let address = self.base.0.wrapping_add(offset as usize).cast();
        // SAFETY: bounds (M1, M2, M5), alignment (`base` is aligned to a page,
        // no type asks for more: P4) and bits (P2, P3) are the caller's promise,
        // as is that nothing changes them during `'a` (M3, M4).
        unsafe { std::slice::from_raw_parts(address, count as usize) }
    }
}

/// What has a map that does not change while it is shared.
pub(crate) trait HasMap {
    /// The map; the same one at each call.
    fn map(&self) -> &PrivateMap;
}

/// A shared map, or what has one, with its window by value: a loop that follows
/// links keeps the bounds in registers, which behind the `Arc` it could not.
pub(crate) struct PinnedMap<T> {
    owner: Arc<T>,
    fast_path: FastBounds,
}

impl<T: HasMap> PinnedMap<T> {
    /// Holds `owner` with a window of its map.
    #[inline]
    pub(crate) fn new(owner: Arc<T>) -> Self {
        let fast_path = owner.map().fast();
        Self { owner, fast_path }
    }

    /// `count` values at `offset`, if the tests allow it: `allows` is asked as
    /// well where the window cannot tell.
    ///
    /// The careful way is a call that answers yes or no, and both ways go on to
    /// the same address: a loop that follows links stays short enough for its
    /// bounds to lie in registers.
    #[inline]
    pub(crate) fn items<P: Persist>(
        &self,
        offset: u64,
        count: u64,
        allows: impl FnOnce(&T) -> bool,
    ) -> Option<&[P]> {
        let is_quick = P::ANY_BITS && self.fast_path.holds::<P>(offset, count);
        if !is_quick && !self.is_allowed::<P>(offset, count, allows) {
            return None;
        }
        // SAFETY: the window or the map's own tests have passed. M6, for as long
        // as `self` is borrowed.
        Some(unsafe { self.fast_path.items(offset, count) })
    }

    #[cold]
    #[inline(never)]
    fn is_allowed<P: Persist>(
        &self,
        offset: u64,
        count: u64,
        allows: impl FnOnce(&T) -> bool,
    ) -> bool {
        offset != 0 && self.owner.map().items::<P>(offset, count).is_ok() && allows(&self.owner)
    }
}

impl<T> Deref for PinnedMap<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.owner
    }
}
