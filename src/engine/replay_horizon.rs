//! The heap's lengths in all states that can still be replayed.

/// The largest heap lengths since each of the last three checkpoints began.
///
/// Three, because while the third is running, the older superblock is the one before the last two.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplayHorizon {
    windows: [u64; 3],
    /// Whether the last checkpoint has begun and not ended: it may have failed.
    pending: bool,
}

impl ReplayHorizon {
    pub(super) fn new(heap_bytes: u64) -> Self {
        Self { windows: [heap_bytes; 3], pending: false }
    }

    /// Restores the lengths that another process published.
    pub(super) fn of(windows: [u64; 3], pending: bool) -> Self {
        Self { windows, pending }
    }

    /// Returns the arguments for [`of`](Self::of).
    pub(super) fn words(&self) -> ([u64; 3], bool) {
        (self.windows, self.pending)
    }

    /// Records the heap's length after a record.
    pub(super) fn note(&mut self, heap_bytes: u64) {
        self.windows[0] = self.windows[0].max(heap_bytes);
    }

    /// Begins a checkpoint at a state of `heap_bytes`.
    pub(super) fn begin_checkpoint(&mut self, heap_bytes: u64) {
        let [newest, middle, oldest] = self.windows;
        self.windows = match self.pending {
            // No superblock has moved on: the oldest window is still needed.
            true => [heap_bytes, newest.max(middle), oldest],
            false => [heap_bytes, newest, middle],
        };
        self.pending = true;
    }

    /// Ends a checkpoint: both superblocks now name the state at which it began.
    pub(super) fn end_checkpoint(&mut self) {
        self.pending = false;
    }

    /// Returns the largest length.
    pub(super) fn longest(&self) -> u64 {
        self.windows.into_iter().fold(0, u64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_kept_for_three_checkpoints() {
        let mut ends = ReplayHorizon::new(1);
        ends.note(100);
        for longest in [100, 100, 1, 1] {
            ends.begin_checkpoint(1);
            assert_eq!(ends.longest(), longest);
            ends.end_checkpoint();
        }
    }

    /// A failed checkpoint leaves both superblocks as they were, however often it is tried.
    #[test]
    fn checkpoints_that_fail_move_no_length_out() {
        for kept in [0, 1] {
            let mut ends = ReplayHorizon::new(1);
            ends.note(100);
            for _ in 0..kept {
                ends.begin_checkpoint(1);
                ends.end_checkpoint();
            }
            for _ in 0..5 {
                ends.begin_checkpoint(1);
                ends.note(50);
                assert_eq!(ends.longest(), 100);
            }
            ends.end_checkpoint();
            for _ in kept..1 {
                ends.begin_checkpoint(1);
                assert_eq!(ends.longest(), 100, "the older superblock may need it");
                ends.end_checkpoint();
            }
            ends.begin_checkpoint(1);
            assert_eq!(ends.longest(), 50);
        }
    }
}
