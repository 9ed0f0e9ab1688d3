//! Has the system read ahead of a scan.
//!
//! Where the mapping's access pattern is random, a fault loads one page and no more. A scan knows
//! better: it asks for what it will reach next.

use super::view::Image;

/// What a scan asks for at a time: enough to keep a disk busy, and little beside any memory.
const WINDOW_BYTES: u64 = 1 << 20;
/// A step of at most this many bytes forward counts as a scan of adjacent bytes. Some objects of
/// others may lie in between.
const MAX_STEP_BYTES: u64 = 64 * 1024;

/// A scan that may lead through adjacent bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadAhead {
    at: u64,
    /// Everything from `at` up to here was asked for.
    asked_to: u64,
}

impl ReadAhead {
    /// Notes that the scan reaches `offset`. Has the bytes behind it read ahead if it came there by
    /// a small step forward.
    #[inline]
    pub(crate) fn reach(&mut self, image: &Image, offset: u64) {
        if image.is_random() {
            self.step(image, offset);
        }
    }

    #[inline(never)]
    fn step(&mut self, image: &Image, offset: u64) {
        let step = offset.wrapping_sub(self.at);
        self.at = offset;
        if step > MAX_STEP_BYTES {
            self.asked_to = 0;
            return;
        }
        let from = self.asked_to.max(offset);
        if from - offset <= WINDOW_BYTES / 2 {
            self.asked_to = offset.saturating_add(WINDOW_BYTES);
            image.will_need(from, self.asked_to - from);
        }
    }
}
