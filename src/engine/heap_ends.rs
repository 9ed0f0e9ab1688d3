//! How long the heap was in all states that can still be replayed.

/// The largest heap lengths since the last three checkpoints were begun.
///
/// Three, because while the third is on its way the older superblock is the
/// one before the last two.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeapEnds {
    windows: [u64; 3],
}

impl HeapEnds {
    pub(super) fn new(heap_bytes: u64) -> Self {
        Self { windows: [heap_bytes; 3] }
    }

    /// Notes the length after a record.
    pub(super) fn note(&mut self, heap_bytes: u64) {
        self.windows[0] = self.windows[0].max(heap_bytes);
    }

    /// A checkpoint begins at a state of `heap_bytes`.
    pub(super) fn begin_checkpoint(&mut self, heap_bytes: u64) {
        self.windows = [heap_bytes, self.windows[0], self.windows[1]];
    }

    /// The largest of them.
    pub(super) fn longest(&self) -> u64 {
        self.windows.into_iter().fold(0, u64::max)
    }
}
