//! A store that several processes write, one at a time.
//!
//! **Owns** this process's view of the others: its slot, its share of the write lock, and its
//! acknowledgements of barriers. docs/design/sharing.md argues the protocol
//! step by step.
//!
//! # Invariants
//!
//! `P1` Every change of the file happens under the write lock, which one process holds at a time;
//! the threads of that process share it. `P2` When the write lock is released, everything appended
//! is visible, and the page holds the log's end. `P3` A process that holds a slot has no image from
//! before the barrier that it acknowledged, except pinned ones, which have pages of their own. `P4`
//! The log is not overwritten from the page's `start` on; `start` is at most the older superblock's
//! position. `P5` `lock_holder` is 0 only if the last holder released the write lock in order. `P6`
//! A process acts on what it read from the page only after it has checked that the page is the
//! shared one (`cut_off`).

mod attach;
mod barrier;
mod close;
mod cut_off;
mod snapshot;
mod takeover;
mod write_lock;

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, fence};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::disk::Coordination;
use crate::format::coordination::{CoordinationPage, Slot};

use write_lock::TurnState;
pub(crate) use write_lock::WriteLock;

/// How long a process waits for another one that is alive but does not move.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it waits before it checks again whether the other one is alive.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The other processes, as this one sees them.
pub(super) struct Sharing {
    coordination: Box<dyn Coordination>,
    slot: usize,
    turn: Mutex<TurnState>,
    turn_changed: Condvar,
    is_stopping: AtomicBool,
}

impl Sharing {
    fn new(coordination: Box<dyn Coordination>, slot: usize) -> Self {
        Self {
            coordination,
            slot,
            turn: Mutex::default(),
            turn_changed: Condvar::new(),
            is_stopping: AtomicBool::new(false),
        }
    }

    pub(super) fn page(&self) -> &CoordinationPage {
        self.coordination.page()
    }

    /// Returns whether the log from `position` on had not been overwritten until now, and what was
    /// read from there is therefore correct. Fails if the page is no longer shared (P6).
    fn is_log_kept_from(&self, position: u64) -> std::io::Result<bool> {
        fence(Acquire);
        let start = self.page().start.load(SeqCst);
        self.coordination.expect_shared()?;
        Ok(start <= position)
    }

    /// Returns the slot in which this process publishes its state.
    fn own(&self) -> &Slot {
        &self.page().slots[self.slot]
    }

    /// Returns the other slots that were ever taken.
    fn others(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let slots = self.page().slots.iter().enumerate();
        slots.filter(|(slot, other)| *slot != self.slot && other.process.load(SeqCst) != 0)
    }

    /// Returns the longest heap of any image in another process.
    pub(super) fn longest_heap_bytes(&self) -> u64 {
        self.others().map(|(_, slot)| slot.heap_bytes.load(SeqCst)).max().unwrap_or(0)
    }

    /// Publishes that this process has an image of a heap of this length.
    fn note_heap(&self, heap_bytes: u64) {
        let own = &self.own().heap_bytes;
        if own.load(Relaxed) < heap_bytes {
            own.fetch_max(heap_bytes, SeqCst);
        }
    }
}
