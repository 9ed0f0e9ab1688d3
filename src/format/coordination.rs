//! The coordination page: what processes that share a store tell each other.
//!
//! It means something only while one of them lives, and is made anew by the first one
//! that opens the store: no byte of it has to survive anything. So it is in the
//! machine's byte order, and changes from one version of flagstone to the next.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use zerocopy::FromZeros;

use super::PAGE_BYTES;

/// Processes that can share a store at one time.
pub(crate) const SLOTS: usize = 64;

/// The page, at [`COORDINATION_BYTES`](super::COORDINATION_BYTES) of the file.
#[derive(FromZeros)]
#[repr(C)]
pub(crate) struct CoordinationPage {
    /// One more than the slot of the process that is in its turn to write; 0 for none.
    /// If its holder's lock is gone, that process died in its turn.
    pub(crate) lock_holder: AtomicU32,
    /// Rung at the end of a turn.
    pub(crate) write_lock_event: Event,
    /// Rung when there is more to see.
    pub(crate) commit_event: Event,
    /// Rung when a floor is announced.
    pub(crate) barrier_event: Event,
    /// Rung when a process has answered a floor.
    pub(crate) ack_event: Event,
    /// Not 0 if a write of any process failed.
    pub(crate) poisoned: AtomicU32,
    /// How many turns there were: whoever had the last one knows the log's end.
    pub(crate) turns: AtomicU64,
    /// Readers see what lies before this log position.
    pub(crate) visible: AtomicU64,
    /// The log before this position may be written over.
    pub(crate) start: AtomicU64,
    /// A checkpoint is about to write pages that changed before this position.
    pub(crate) floor: AtomicU64,
    /// How often a floor was announced.
    pub(crate) barrier_seq: AtomicU64,
    /// What the last turn left behind.
    pub(crate) end: LogEndWords,
    pub(crate) slots: [Slot; SLOTS],
}

/// Something to wait for, by futex.
#[derive(Default, FromZeros)]
#[repr(C)]
pub(crate) struct Event {
    /// Changes when it is rung.
    pub(crate) epoch: AtomicU32,
    /// How many may wait; more than do, once one was killed that did.
    pub(crate) waiting: AtomicU32,
}

/// The end of the log, as the process knew it that had the last turn.
#[derive(Default, FromZeros)]
#[repr(C)]
pub(crate) struct LogEndWords {
    pub(crate) appended: AtomicU64,
    pub(crate) prev_checksum: AtomicU64,
    pub(crate) durable: AtomicU64,
    pub(crate) heap_bytes: AtomicU64,
    /// Where the last checkpoint was begun.
    pub(crate) checkpoint: AtomicU64,
    /// The longest heaps since the last checkpoints, and whether one is on its way.
    pub(crate) heap_ends: [AtomicU64; 3],
    pub(crate) is_checkpoint_pending: AtomicU64,
    /// Number of the newest superblock.
    pub(crate) generation: AtomicU64,
    /// Bytes of heap for which the file's length is durable.
    pub(crate) durable_room_bytes: AtomicU64,
}

/// What one process tells the others. It is in use while its process holds the lock of
/// its number.
#[derive(FromZeros)]
#[repr(C)]
pub(crate) struct Slot {
    /// For messages.
    pub(crate) process: AtomicU32,
    /// Whether it waits for its turn to write.
    pub(crate) wants_write_lock: AtomicU32,
    /// The last floor that it answered: nothing of it needs the log before.
    pub(crate) floor: AtomicU64,
    /// The last question that it answered.
    pub(crate) barrier_acked: AtomicU64,
    /// The longest heap of its images.
    pub(crate) heap_bytes: AtomicU64,
}

const _: () = {
    assert!(size_of::<CoordinationPage>() <= PAGE_BYTES as usize);
    assert!(align_of::<CoordinationPage>() == 8);
    assert!(size_of::<Slot>() == 32);
    assert!(size_of::<LogEndWords>() == 88);
    assert!(std::mem::offset_of!(CoordinationPage, turns) == 40);
    assert!(std::mem::offset_of!(CoordinationPage, end) == 80);
    assert!(std::mem::offset_of!(CoordinationPage, slots) == 168);
};

impl CoordinationPage {
    /// Forgets all; only the first process does so, before there is another one.
    pub(crate) fn reset(&self) {
        self.lock_holder.store(0, Relaxed);
        self.poisoned.store(0, Relaxed);
        for word in [&self.turns, &self.visible, &self.start, &self.floor, &self.barrier_seq] {
            word.store(0, Relaxed);
        }
        for event in
            [&self.write_lock_event, &self.commit_event, &self.barrier_event, &self.ack_event]
        {
            event.epoch.store(0, Relaxed);
            event.waiting.store(0, Relaxed);
        }
        self.slots.iter().for_each(|slot| slot.reset(0));
    }
}

impl Slot {
    /// Begins with nothing answered.
    pub(crate) fn reset(&self, process: u32) {
        self.wants_write_lock.store(0, Relaxed);
        self.floor.store(0, Relaxed);
        self.barrier_acked.store(0, Relaxed);
        self.heap_bytes.store(0, Relaxed);
        self.process.store(process, SeqCst);
    }
}
