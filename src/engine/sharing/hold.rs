//! This process's hold of the write lock, as its threads share it.
//!
//! **Owns** the count of the threads that hold the lock. One thread at a time acquires or releases
//! it for all of them; the others wait meanwhile. **Must not know** how that thread does it
//! (`write_lock`).

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::state::{HoldState, Sharing};
use crate::deadline::Deadline;
use crate::error::Result;

/// How long a thread waits for others of its process before it asks whether their hold can end.
const HOLD_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What a thread that wants the write lock has joined.
pub(super) enum Joined {
    /// What it wanted the lock for is done.
    NothingToDo,
    /// This process's hold.
    Hold,
    /// No hold: the deadline has passed, and it cannot join this process's, or another thread
    /// acquires or releases the lock.
    TooLate,
    /// No hold: this thread acquires the lock for all, and then calls `note_acquired`.
    Nothing {
        /// The number of this process's last hold.
        last: u64,
        /// When this process began to wait for others.
        since: Instant,
    },
}

impl Sharing {
    /// Joins this process's hold, or waits until it has ended if `may_join` refuses it.
    pub(super) fn join_hold(
        &self,
        deadline: Deadline,
        may_join: impl Fn(&HoldState) -> bool,
        is_done: impl Fn() -> Result<bool>,
    ) -> Result<Joined> {
        let mut hold = self.lock_hold();
        // When another thread of this process began to wait for other processes on behalf of
        // this one; the timeout counts from there.
        let mut since = None;
        loop {
            if is_done()? {
                return Ok(Joined::NothingToDo);
            }
            if hold.is_changing || hold.holds > 0 && !may_join(&hold) {
                if deadline.has_passed() {
                    return Ok(Joined::TooLate);
                }
                since = hold.is_changing.then(|| since.unwrap_or_else(Instant::now));
                hold = self.wait_for_hold(hold, deadline.left(HOLD_POLL_INTERVAL));
            } else if hold.holds > 0 {
                hold.holds += 1;
                return Ok(Joined::Hold);
            } else {
                break;
            }
        }
        hold.is_changing = true;
        Ok(Joined::Nothing { last: hold.last, since: since.unwrap_or_else(Instant::now) })
    }

    /// Ends the attempt to acquire the lock.
    pub(super) fn note_acquired(&self, has_lock: bool) {
        let mut hold = self.lock_hold();
        hold.is_changing = false;
        hold.holds = usize::from(has_lock);
        let now = Instant::now();
        hold.begun = Some(now);
        hold.turn_begun.get_or_insert(now);
        self.hold_changed.notify_all();
    }

    /// Has the next hold begin another turn of this process.
    pub(super) fn end_turn(&self) {
        self.lock_hold().turn_begun = None;
    }

    /// Returns whether this process's turn has lasted for `time`, or none has begun.
    pub(super) fn has_turn_lasted(&self, time: Duration) -> bool {
        self.lock_hold().turn_begun.is_none_or(|begun| begun.elapsed() >= time)
    }

    /// Leaves the hold. Returns whether this was the last thread: it releases the lock for all, and
    /// then calls `note_released`.
    pub(super) fn leave_hold(&self) -> bool {
        let mut hold = self.lock_hold();
        hold.holds -= 1;
        hold.is_changing = hold.holds == 0;
        hold.is_changing
    }

    /// Ends the release of hold `number`.
    pub(super) fn note_released(&self, number: u64) {
        let mut hold = self.lock_hold();
        hold.is_changing = false;
        hold.last = number;
        self.hold_changed.notify_all();
    }

    /// Counts the first hold, after opening as the first process.
    pub(super) fn count_first_hold(&self) {
        self.page().write_lock_seq.store(1, SeqCst);
        self.lock_hold().last = 1;
    }
}
