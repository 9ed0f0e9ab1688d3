//! What a thread that waits for memory sees of the checkpoints.
//!
//! **Must not know** what a checkpoint does.

use std::time::Duration;

use crate::format::coordination::Event;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What checkpoints have done since the store was opened.
#[derive(Default)]
pub(super) struct CheckpointProgress {
    ended: AtomicU64,
    failed: AtomicU64,
    steps: AtomicU64,
    end: Event,
    /// Transactions that wait for memory.
    waiting: AtomicU64,
}

/// Counts a transaction that waits for memory.
pub(super) struct Waiting<'a>(&'a CheckpointProgress);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl CheckpointProgress {
    /// Notes that a checkpoint has done a part of its work.
    pub(super) fn note_step(&self) {
        self.steps.fetch_add(1, Relaxed);
    }

    /// Notes that a checkpoint has ended and has given memory back. Who waits looks when it is woken.
    pub(super) fn note_end(&self) {
        self.note_step();
        self.ended.fetch_add(1, Release);
    }

    pub(super) fn note_failure(&self) {
        self.failed.fetch_add(1, Release);
    }

    /// Wakes who waits, once the thread that ran a checkpoint is ready for the next.
    pub(super) fn wake(&self) {
        self.end.notify();
    }

    /// Counts the caller as waiting, which makes a checkpoint due, until the result is dropped.
    pub(super) fn begin_waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self)
    }

    /// Returns whether a transaction waits for a checkpoint.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Returns how many checkpoints have ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Acquire)
    }

    /// Returns how many checkpoints have failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Acquire)
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Relaxed)
    }

    /// Returns the value to pass to [`wait_after`](Self::wait_after), before looking at the rest.
    pub(super) fn epoch(&self) -> u32 {
        self.end.epoch()
    }

    /// Waits until it is woken after `epoch`, or for `at_most`.
    pub(super) fn wait_after(&self, epoch: u32, at_most: Duration) {
        self.end.wait_after(epoch, at_most);
    }
}
