//! Memory for blocks that are as large as a heap.
//!
//! Address sanitizer maps such blocks from the kernel and returns them each time; the page faults
//! took as long as the case itself. Here they are reused. Freed blocks and the bytes behind a block
//! are poisoned, so a case that touches them is found.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Relaxed},
};

unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const u8, bytes: usize);
    fn __asan_unpoison_memory_region(start: *const u8, bytes: usize);
}

/// Minimum size of a block that is kept.
const LEAST_BYTES: usize = 64 * 1024;
/// Larger blocks are rare.
const MAX_BYTES: usize = 2 << 20;
/// The length of a block is a multiple of this; blocks are aligned to a page.
const STEP_BYTES: usize = 64 * 1024;
const CLASSES: usize = MAX_BYTES / STEP_BYTES + 1;
/// Maximum number of freed blocks that are kept of each class.
const KEPT: usize = 12;

/// Keeps a few freed blocks of each class.
pub struct Reuse {
    kept: [[AtomicPtr<u8>; KEPT]; CLASSES],
}

impl Reuse {
    /// Returns an allocator that keeps nothing yet.
    pub const fn new() -> Self {
        Self { kept: [const { [const { AtomicPtr::new(null_mut()) }; KEPT] }; CLASSES] }
    }

    /// Returns the class of a block, with space behind it that stays poisoned.
    fn class(layout: Layout) -> Option<usize> {
        let is_kept = (LEAST_BYTES..MAX_BYTES).contains(&layout.size()) && layout.align() <= 4096;
        is_kept.then(|| (layout.size() + 64).div_ceil(STEP_BYTES))
    }

    fn block(class: usize) -> Layout {
        Layout::from_size_align(class * STEP_BYTES, 4096).expect("a small block")
    }
}

impl Default for Reuse {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: blocks come from `System`, are as long as their class, and are handed out to one
// caller at a time: `swap` takes a block out of its place.
unsafe impl GlobalAlloc for Reuse {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Self::class(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        };
        let taken = self.kept.get(class).into_iter().flatten();
        let taken =
            taken.map(|place| place.swap(null_mut(), AcqRel)).find(|block| !block.is_null());
        // SAFETY: the layout has a size.
        let block = taken.unwrap_or_else(|| unsafe { System.alloc(Self::block(class)) });
        if !block.is_null() {
            let behind = block.wrapping_add(layout.size());
            // SAFETY: the block is as long as its class; nobody else has it.
            unsafe { __asan_unpoison_memory_region(block, layout.size()) };
            // SAFETY: as above.
            unsafe { __asan_poison_memory_region(behind, class * STEP_BYTES - layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = Self::class(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.dealloc(block, layout) };
        };
        // SAFETY: the block is as long as its class.
        unsafe { __asan_poison_memory_region(block, class * STEP_BYTES) };
        for place in self.kept.get(class).into_iter().flatten() {
            if place.compare_exchange(null_mut(), block, AcqRel, Relaxed).is_ok() {
                return;
            }
        }
        // SAFETY: as above; `System` wants it as it gave it.
        unsafe { __asan_unpoison_memory_region(block, class * STEP_BYTES) };
        // SAFETY: it was allocated with this layout.
        unsafe { System.dealloc(block, Self::block(class)) };
    }
}
