//! The coordination page, through which the processes that share a store communicate.
//!
//! It has a meaning only while one of them lives, and the first one that opens the store resets
//! it: none of its bytes has to survive anything. So it uses the machine's byte order, and may
//! change from one version of flagstone to the next.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use zerocopy::FromZeros;

use super::PAGE_BYTES;

/// The number of processes that can share a store at one time.
pub(crate) const SLOTS: usize = 64;

/// The page, at [`COORDINATION_BYTES`](super::COORDINATION_BYTES) of the file.
#[derive(FromZeros)]
#[repr(C)]
pub(crate) struct CoordinationPage {
    /// One more than the slot of the process that holds the write lock; 0 for none. If the
    /// kernel's lock of that process is gone, it died while holding the write lock.
    pub(crate) lock_holder: AtomicU32,
    /// Notified when the write lock is released.
    pub(crate) write_lock_event: Event,
    /// Notified when readers can see more.
    pub(crate) commit_event: Event,
    /// Notified when a barrier is requested.
    pub(crate) barrier_event: Event,
    /// Notified when a process has acknowledged a barrier.
    pub(crate) ack_event: Event,
    /// Not 0 if a write of any process failed.
    pub(crate) poisoned: AtomicU32,
    /// Counts the holders of the write lock: the last one knows the log's end.
    pub(crate) write_lock_seq: AtomicU64,
    /// Readers see everything before this log position.
    pub(crate) visible: AtomicU64,
    /// The log before this position may be overwritten.
    pub(crate) start: AtomicU64,
    /// A checkpoint writes, or has written, pages that changed before this position.
    pub(crate) barrier_position: AtomicU64,
    /// Counts the requested barriers.
    pub(crate) barrier_seq: AtomicU64,
    /// One more than the slot of a process that holds a snapshot and did not acknowledge in time; 0
    /// for none. Checkpoints are put off as long as it does not.
    pub(crate) blocked_by: AtomicU64,
    /// The barrier that it has to acknowledge.
    pub(crate) blocked_barrier: AtomicU64,
    /// Since when it is waited for, in milliseconds of the monotonic clock.
    pub(crate) blocked_since_ms: AtomicU64,
    /// Counts the moves of the log. Both superblocks name the new region before it changes, and the
    /// first record there is appended after that.
    pub(crate) ring_seq: AtomicU64,
    /// The log's length before it grew because a process blocks checkpoints; 0 if it did not.
    pub(crate) usual_log_bytes: AtomicU64,
    /// The end of the log, as the last holder of the write lock left it.
    pub(crate) end: LogEndWords,
    pub(crate) slots: [Slot; SLOTS],
}

/// An event to wait for, by futex.
#[derive(Default, FromZeros)]
#[repr(C)]
pub(crate) struct Event {
    /// Changes with each notification.
    pub(crate) epoch: AtomicU32,
    /// The number of possible waiters; too high after a waiter was killed.
    pub(crate) waiting: AtomicU32,
}

/// The end of the log, as the last holder of the write lock knew it.
#[derive(Default, FromZeros)]
#[repr(C)]
pub(crate) struct LogEndWords {
    pub(crate) appended: AtomicU64,
    pub(crate) prev_checksum: AtomicU64,
    pub(crate) durable: AtomicU64,
    pub(crate) heap_bytes: AtomicU64,
    /// The position at which the last checkpoint began.
    pub(crate) checkpoint: AtomicU64,
    /// The longest heaps since the last checkpoints, and whether one is in progress.
    pub(crate) heap_ends: [AtomicU64; 3],
    pub(crate) is_checkpoint_pending: AtomicU64,
    /// The number of the newest superblock.
    pub(crate) generation: AtomicU64,
    /// Bytes of heap for which the file's length is durable.
    pub(crate) durable_room_bytes: AtomicU64,
}

/// The state that one process publishes to the others. The slot is in use while its process holds
/// the lock with its number.
#[derive(FromZeros)]
#[repr(C)]
pub(crate) struct Slot {
    /// For messages.
    pub(crate) process: AtomicU32,
    /// Whether it waits for the write lock.
    pub(crate) wants_write_lock: AtomicU32,
    /// Not 0 if it may hold a snapshot. Only then is it asked before pages are written.
    pub(crate) holds: AtomicU32,
    /// Not 0 while it brings images up to date that it holds for nobody. The file is not cut then.
    pub(crate) follows: AtomicU32,
    /// The last barrier that it acknowledged.
    pub(crate) barrier_acked: AtomicU64,
    /// The longest heap of the snapshots that it holds.
    pub(crate) heap_bytes: AtomicU64,
    /// When it opened the store, in milliseconds of the calendar's clock. This and what follows is
    /// for people.
    pub(crate) opened_at_ms: AtomicU64,
    /// The oldest snapshot that it holds, and when it began, in milliseconds of the monotonic clock;
    /// 0 if it holds none.
    pub(crate) oldest_position: AtomicU64,
    pub(crate) oldest_since_ms: AtomicU64,
}

const _: () = {
    assert!(size_of::<CoordinationPage>() <= PAGE_BYTES as usize);
    assert!(align_of::<CoordinationPage>() == 8);
    assert!(size_of::<Slot>() == 56);
    assert!(size_of::<LogEndWords>() == 88);
    assert!(std::mem::offset_of!(CoordinationPage, write_lock_seq) == 40);
    assert!(std::mem::offset_of!(CoordinationPage, end) == 120);
    assert!(std::mem::offset_of!(CoordinationPage, slots) == 208);
};

impl CoordinationPage {
    /// Clears the page. Only the first process does so, before there is another one.
    pub(crate) fn reset(&self) {
        self.lock_holder.store(0, Relaxed);
        self.poisoned.store(0, Relaxed);
        for word in [
            &self.write_lock_seq,
            &self.visible,
            &self.start,
            &self.barrier_position,
            &self.barrier_seq,
            &self.blocked_by,
            &self.blocked_barrier,
            &self.blocked_since_ms,
            &self.ring_seq,
            &self.usual_log_bytes,
        ] {
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
    /// Clears the slot for a process, which holds nothing and has acknowledged nothing yet.
    pub(crate) fn reset(&self, process: u32) {
        self.wants_write_lock.store(0, Relaxed);
        self.holds.store(0, Relaxed);
        self.follows.store(0, Relaxed);
        self.opened_at_ms.store(0, Relaxed);
        self.oldest_position.store(0, Relaxed);
        self.oldest_since_ms.store(0, Relaxed);
        self.barrier_acked.store(0, Relaxed);
        self.heap_bytes.store(0, Relaxed);
        self.process.store(process, SeqCst);
    }
}
