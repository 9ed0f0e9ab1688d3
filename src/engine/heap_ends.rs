//! How long the heap was in all states that can still be replayed.

/// The largest heap lengths since the last three checkpoints were begun.
///
/// Three, because while the third is on its way the older superblock is the
/// one before the last two.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeapEnds {
    windows: [u64; 3],
    /// Whether the last checkpoint begun has not ended: it may have failed.
    pending: bool,
}

impl HeapEnds {
    pub(super) fn new(heap_bytes: u64) -> Self {
        Self { windows: [heap_bytes; 3], pending: false }
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
