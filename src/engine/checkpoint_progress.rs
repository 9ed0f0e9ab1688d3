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
    /// The count of ended checkpoints that a transaction waited for which gave up; 0 if none did. It
    /// may try again and again without waiting, and would otherwise begin to count anew each time.
    given_up_for: AtomicU64,
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

    /// Returns whether a transaction waits for a checkpoint, or gave up before one had ended.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Relaxed) > 0 || self.ended() < self.given_up_for.load(Relaxed)
    }

    /// Returns the count of ended checkpoints after which the memory still used is needed: the first
    /// one to end may have begun before this call.
    pub(super) fn enough(&self) -> u64 {
        match self.given_up_for.load(Relaxed) {
            0 => self.ended() + 2,
            enough => enough,
        }
    }

    /// Notes that a transaction gave up waiting for this count.
    pub(super) fn give_up(&self, enough: u64) {
        self.given_up_for.store(enough, Relaxed);
    }

    /// Notes that a transaction waits no longer, because it may begin.
    pub(super) fn note_begun(&self) {
        self.given_up_for.store(0, Relaxed);
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
