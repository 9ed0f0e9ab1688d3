//! What the engine's locks guard: the writer, the checkpointer, the end of the log.
//!
//! **Owns** these types, and the lookups that need nothing but one of them. **Must not know** the
//! steps of the protocol, which lock and change them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::dirty_pages::DirtyPages;
use super::log_region::LogMove;
use super::replay_horizon::ReplayHorizon;
use super::throttle::Throttle;
use crate::format::superblock::Superblock;
use crate::image::{Checkpointed, Image};
use crate::log::{Ring, Tail};
use crate::workspace::{RecordBody, Workspace};

/// State that the writer's lock guards.
pub(crate) struct Writer {
    pub(crate) workspace: Workspace,
    /// The record's buffers, reused from one commit to the next.
    pub(super) body: RecordBody,
    /// Whether a write transaction has begun since the store was opened.
    pub(super) has_begun: bool,
}

/// State that the checkpointer's lock guards.
pub(super) struct Checkpointer {
    /// The image that heap pages are written from; never past `durable`.
    pub(super) image: Option<Image>,
    /// The newest superblock.
    pub(super) last: Superblock,
    /// Its slot; after opening, the slot to write first.
    pub(super) slot: usize,
    /// Whether both superblocks name this opening's epoch, the condition for appending records.
    pub(super) begun: bool,
}

impl Checkpointer {
    /// Returns the state up to which the heap in the file is complete.
    pub(super) fn checkpointed(&self) -> Checkpointed {
        Checkpointed::of(&self.last)
    }

    /// Drops an image that does not start at the last checkpoint: it would miss pages to be
    /// written.
    pub(super) fn drop_image_unless_at_last(&mut self) {
        let last = self.last.position.get();
        self.image.take_if(|image| image.position() != last);
    }

    pub(super) fn drop_image_before(&mut self, position: u64) {
        self.image.take_if(|image| image.position() < position);
    }
}

/// The log's end, and what its records changed: pages, and the recent lengths of the heap.
pub(super) struct LogState {
    pub(super) tail: Tail,
    pub(super) ends: ReplayHorizon,
    pub(super) dirty: DirtyPages,
    /// Length of the heap after the last record.
    pub(super) heap_bytes: u64,
    /// Position at which the last checkpoint began.
    pub(super) checkpoint: u64,
    /// When the last checkpoint of this opening ended.
    pub(super) checkpoint_ended: Option<Duration>,
    pub(super) throttle: Throttle,
    pub(super) log_move: LogMove,
    /// The ring before the last move, as long as somebody reads it.
    pub(super) old_ring: Weak<Ring>,
    /// The superblocks do not stay before this position: behind it lies the record that allocates the
    /// region that they name.
    pub(super) least_start: u64,
    /// No move of the log is tried before this position, because the last one failed.
    pub(super) no_move_before: u64,
    /// The log's start when the processes that hold snapshots were last asked before a transaction.
    pub(super) holders_asked: u64,
}

impl LogState {
    /// Returns the state of a log whose records in `[start, end)` may still be needed.
    pub(super) fn new(
        ring: Arc<Ring>,
        epoch: u64,
        start: u64,
        end: EndOfLog,
        ends: ReplayHorizon,
        dirty: DirtyPages,
    ) -> Self {
        let mut tail = Tail::new(ring, epoch, end.position, end.prev_checksum);
        tail.start = start;
        let (heap_bytes, checkpoint) = (end.heap_bytes, end.position);
        let throttle = Throttle::new(end.position);
        Self {
            tail,
            ends,
            dirty,
            heap_bytes,
            checkpoint,
            checkpoint_ended: None,
            throttle,
            log_move: LogMove::None,
            old_ring: Weak::new(),
            least_start: 0,
            no_move_before: 0,
            holders_asked: u64::MAX,
        }
    }

    /// Goes on from the end that other processes left. `superblock` is the position of the newest.
    pub(super) fn adopt(
        &mut self,
        epoch: u64,
        start: u64,
        end: EndOfLog,
        ends: ReplayHorizon,
        superblock: u64,
    ) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.superblock_moved(superblock);
        dirty.miss_until(end.position);
        // Another process may have made a checkpoint since, so the load counts for less than it is.
        let Self { no_move_before, holders_asked, checkpoint_ended, .. } = *self;
        let log_move = match self.log_move {
            // What a record has found too short may still be.
            kept @ (LogMove::Stale | LogMove::Wanted { .. }) => kept,
            LogMove::None | LogMove::Allocated { .. } => LogMove::None,
        };
        let ring = Arc::clone(&self.tail.ring);
        let new = Self::new(ring, epoch, start, end, ends, dirty);
        *self = Self { no_move_before, holders_asked, checkpoint_ended, log_move, ..new };
    }

    /// Returns the end of the last appended record.
    pub(super) fn end(&self) -> EndOfLog {
        let Tail { appended, prev_checksum, .. } = self.tail;
        EndOfLog { position: appended, prev_checksum, heap_bytes: self.heap_bytes }
    }
}

/// The end of a record: position, checksum and the heap's length there.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndOfLog {
    pub(super) position: u64,
    pub(super) prev_checksum: u64,
    pub(super) heap_bytes: u64,
}
