//! This process's view of the others.
//!
//! **Owns** the process's slot on the coordination page, and what its threads know of the write lock
//! that they share. **Must not know** the store that is shared.

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};
use std::time::{Duration, Instant};

use crate::disk::{Coordination, Lock};
use crate::format::coordination::{CoordinationPage, Slot};
use crate::log::Ring;
use crate::sync::{Condvar, Mutex, MutexGuard, unpoisoned};

/// How long it waits before it checks again whether the other one is alive.
pub(in crate::engine) const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The other processes, as this one sees them.
pub(in crate::engine) struct Sharing {
    pub(super) coordination: Box<dyn Coordination>,
    pub(super) slot: usize,
    hold: Mutex<HoldState>,
    pub(super) hold_changed: Condvar,
    pub(super) is_stopping: AtomicBool,
    /// Held by whoever begins a snapshot, or answers for this process's images (P3).
    images: Mutex<()>,
    pub(super) announcement: Announcement,
    pub(super) calm: Calm,
}

/// The lock under which a process of several begins its snapshots, and answers for its images.
pub(in crate::engine) type ImagesLock<'a> = MutexGuard<'a, ()>;

/// What this process has announced of its snapshots (`holds`). Changed under the lock of the images.
#[derive(Default)]
pub(super) struct Announcement {
    /// Whether `holds` in the slot is set.
    pub(super) is_made: AtomicBool,
    /// Whether a snapshot was taken since the service thread looked last.
    pub(super) is_used: AtomicBool,
}

/// Since when this process has found no other one that blocks checkpoints, and when it looked last, in
/// milliseconds of the monotonic clock.
#[derive(Default)]
pub(super) struct Calm {
    pub(super) since_ms: AtomicU64,
    pub(super) looked_ms: AtomicU64,
}

/// The write lock as the threads of this process share it.
#[derive(Default)]
pub(super) struct HoldState {
    /// Number of threads that hold it.
    pub(super) holds: usize,
    /// Whether a thread is acquiring or releasing it.
    pub(super) is_changing: bool,
    pub(super) begun: Option<Instant>,
    /// When this process's turn began: since then no other process has held the lock. `None` if the
    /// next hold begins one.
    pub(super) turn_begun: Option<Instant>,
    /// The number of this process's last hold; 0 before the first.
    pub(super) last: u64,
}

impl Sharing {
    pub(super) fn new(coordination: Box<dyn Coordination>, slot: usize) -> Self {
        Self {
            coordination,
            slot,
            hold: Mutex::default(),
            hold_changed: Condvar::new(),
            is_stopping: AtomicBool::new(false),
            images: Mutex::default(),
            announcement: Announcement::default(),
            calm: Calm::default(),
        }
    }

    pub(in crate::engine) fn page(&self) -> &CoordinationPage {
        self.coordination.page()
    }

    /// Keeps other threads from beginning snapshots, and from answering for them (P3).
    pub(in crate::engine) fn lock_images(&self) -> ImagesLock<'_> {
        unpoisoned(self.images.lock())
    }

    pub(super) fn lock_hold(&self) -> MutexGuard<'_, HoldState> {
        unpoisoned(self.hold.lock())
    }

    /// Waits until the hold changes, or for `at_most`.
    pub(super) fn wait_for_hold<'a>(
        &self,
        hold: MutexGuard<'a, HoldState>,
        at_most: Duration,
    ) -> MutexGuard<'a, HoldState> {
        let woken = self.hold_changed.wait_timeout(hold, at_most);
        unpoisoned(woken).0
    }

    /// Returns whether the log from `position` on had not been overwritten until now, nor the log moved
    /// away from `ring`, and what was read from there is therefore correct. Fails if the page is no
    /// longer shared (P6).
    pub(super) fn is_log_kept_from(&self, position: u64, ring: &Ring) -> std::io::Result<bool> {
        fence(Acquire);
        let start = self.page().start.load(SeqCst);
        let seq = self.page().ring_seq.load(SeqCst);
        self.coordination.expect_shared()?;
        Ok(start <= position && ring.is_current(seq))
    }

    /// Returns the slot in which this process publishes its state.
    pub(super) fn own(&self) -> &Slot {
        &self.page().slots[self.slot]
    }

    /// Returns how long this process waits for another one that is alive but does not move.
    pub(super) fn patience(&self) -> Duration {
        self.coordination.patience()
    }

    /// Returns all slots but this process's own.
    pub(super) fn all_others(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.page().slots.iter().enumerate().filter(|(slot, _)| *slot != self.slot)
    }

    /// Returns whether another process may hold a snapshot.
    pub(in crate::engine) fn may_others_hold(&self) -> bool {
        self.all_others().any(|(_, other)| other.holds.load(SeqCst) != 0)
    }

    /// Returns the other slots that were ever taken.
    pub(super) fn others(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.all_others().filter(|(_, other)| other.process.load(SeqCst) != 0)
    }

    /// Returns the longest heap of any snapshot that another process holds, or `least` if that is
    /// longer.
    pub(in crate::engine) fn longest_heap_bytes(&self, least: u64) -> u64 {
        // What a dead process has left in its slot counts for nothing.
        let is_alive = |slot| {
            let is_locked = self.coordination.is_locked_by_other(Lock::Slot(slot));
            is_locked.unwrap_or(true)
        };
        let held = self.all_others().map(|(slot, other)| (slot, other.heap_bytes.load(SeqCst)));
        let held = held.filter(|(slot, bytes)| *bytes > least && is_alive(*slot));
        held.map(|(_, bytes)| bytes).max().unwrap_or(least)
    }

    /// Publishes that this process holds a snapshot of a heap of this length. The images are locked.
    pub(super) fn note_heap(&self, heap_bytes: u64) {
        let own = &self.own().heap_bytes;
        if own.load(Relaxed) < heap_bytes {
            own.fetch_max(heap_bytes, SeqCst);
        }
    }
}
