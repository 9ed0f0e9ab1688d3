//! A store that several processes write by turns.
//!
//! **Owns** what this process knows of the others: its slot, its turn, and the answers to
//! floors. ARCHITECTURE.md, "Sharing between processes", argues it step by step.
//!
//! # Invariants
//!
//! `P1` Whatever changes the file is done in a turn, which one process has at a time; the
//! threads of that process share it. `P2` At the end of a turn everything appended is
//! visible, and the page tells the log's end. `P3` A process that holds a slot has no image
//! behind the floor that it answered, but for held ones, which have pages of their own.
//! `P4` The log from the page's `start` on, which no later than the older superblock's
//! position, is not written over. `P5` `lock_holder` is 0 only if the last turn ended in
//! order. `P6` Whatever a process does because of what the page said, it does after a look whether
//! that was the page of all (`cut_off`).

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

/// How long a process waits for another one that lives and does not move.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it waits before it looks whether the other one still lives.
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

    /// Whether the log from `position` on had not been written over until now, so that
    /// what was read of it was right. An error if the page cannot tell any more (P6).
    fn is_log_kept_from(&self, position: u64) -> std::io::Result<bool> {
        fence(Acquire);
        let start = self.page().start.load(SeqCst);
        self.coordination.expect_shared()?;
        Ok(start <= position)
    }

    /// What this process tells the others.
    fn own(&self) -> &Slot {
        &self.page().slots[self.slot]
    }

    /// Slots of others that were taken once.
    fn others(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let slots = self.page().slots.iter().enumerate();
        slots.filter(|(slot, other)| *slot != self.slot && other.process.load(SeqCst) != 0)
    }

    /// The longest heap of any image in another process.
    pub(super) fn longest_heap_bytes(&self) -> u64 {
        self.others().map(|(_, slot)| slot.heap_bytes.load(SeqCst)).max().unwrap_or(0)
    }

    /// Tells the others that this process has an image of a heap of this length.
    fn note_heap(&self, heap_bytes: u64) {
        let own = &self.own().heap_bytes;
        if own.load(Relaxed) < heap_bytes {
            own.fetch_max(heap_bytes, SeqCst);
        }
    }
}
