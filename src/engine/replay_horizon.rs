//! How long the heap was in all states that can still be replayed.

/// The largest heap lengths since the last three checkpoints were begun.
///
/// Three, because while the third is on its way the older superblock is the
/// one before the last two.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplayHorizon {
    windows: [u64; 3],
    /// Whether the last checkpoint begun has not ended: it may have failed.
    pending: bool,
}

impl ReplayHorizon {
    pub(super) fn new(heap_bytes: u64) -> Self {
        Self { windows: [heap_bytes; 3], pending: false }
    }

    /// As another process left them.
    pub(super) fn of(windows: [u64; 3], pending: bool) -> Self {
        Self { windows, pending }
    }

    /// What [`of`](Self::of) takes.
    pub(super) fn words(&self) -> ([u64; 3], bool) {
        (self.windows, self.pending)
    }

    /// Notes the length after a record.
    pub(super) fn note(&mut self, heap_bytes: u64) {
        self.windows[0] = self.windows[0].max(heap_bytes);
    }

    /// A checkpoint begins at a state of `heap_bytes`.
    pub(super) fn begin_checkpoint(&mut self, heap_bytes: u64) {
        let [newest, middle, oldest] = self.windows;
        self.windows = match self.pending {
            // No superblock has moved on: the oldest window is needed still.
            true => [heap_bytes, newest.max(middle), oldest],
            false => [heap_bytes, newest, middle],
        };
        self.pending = true;
    }

    /// The superblocks name the state at which the checkpoint began.
    pub(super) fn end_checkpoint(&mut self) {
        self.pending = false;
    }

    /// The largest of them.
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

    /// The superblocks name what they named before, however often it is tried.
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
