//! The fast path to an object: two comparisons against bounds held by value.
//!
//! Types whose bits must be validated take the slow path.

use crate::persist::{Persist, assert_object};

/// The start address of a map.
#[derive(Clone, Copy)]
pub(super) struct Base(pub(super) *mut u8);

// SAFETY: an address is not tied to a thread. The code that turns it into references argues there
// that nothing else may touch the bytes (M1, M3).
unsafe impl Send for Base {}

// SAFETY: as for `Send`. Through a shared `PrivateMap` the bytes are only read. `madvise` with
// MADV_POPULATE_WRITE changes none, and neither does `replace`.
unsafe impl Sync for Base {}

/// The range where objects need no further bounds check: `[start, start + bytes)` from `base`,
/// within the view and clear of excluded ranges. It never contains offset 0.
#[derive(Clone, Copy)]
pub(super) struct FastBounds {
    pub(super) base: Base,
    pub(super) start: u64,
    pub(super) bytes: u64,
}

impl FastBounds {
    /// Returns whether `count` values may begin at `offset`, judged by bounds and alignment alone.
    /// Returns false if these bounds cannot tell, and always for offset 0.
    #[inline]
    pub(super) fn holds<T: Persist>(&self, offset: u64, count: u64) -> bool {
        const { assert_object::<T>() };
        let Some(bytes) = (size_of::<T>() as u64).checked_mul(count) else { return false };
        // The number of offsets at which they fit; 0 if they fit nowhere.
        let places = (self.bytes + 1).saturating_sub(bytes);
        offset.wrapping_sub(self.start) < places
            && self.bytes != 0
            && offset.is_multiple_of(align_of::<T>() as u64)
    }

    /// Returns the `count` values at `offset`.
    ///
    /// # Safety
    ///
    /// The caller has checked bounds, alignment and bits, and the map that these bounds were
    /// taken from is neither changed nor dropped during `'a`.
    #[inline]
    pub(super) unsafe fn items<'a, T: Persist>(self, offset: u64, count: u64) -> &'a [T] {
        let address = self.base.0.wrapping_add(offset as usize).cast();
        // SAFETY: the caller promises the bounds (M1, M2, M5), the alignment (`base` is aligned
        // to a page, no type asks for more: P4) and the bits (P2, P3), and that nothing changes
        // the bytes during `'a` (M3, M4).
        unsafe { std::slice::from_raw_parts(address, count as usize) }
    }
}
