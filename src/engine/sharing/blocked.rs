//! Checkpoints that a process blocks: it holds a snapshot and does not acknowledge.
//!
//! It may have references into its mapping, so it cannot be passed over. But it costs the others space
//! in the log and no time: a checkpoint is put off after a short wait, the process and the barrier
//! that it owes are noted on the page, and until it has acknowledged that one, nobody asks again.
//! Only who needs the space waits for longer.
//!
//! **Owns** the words of the page that tell of it.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use super::members::{now_ms, told_by};
use super::state::{Calm, POLL_INTERVAL, Sharing};
use crate::engine::core::Core;
use crate::error::{Error, ErrorKind, Result};

/// How often the store's thread looks whether a blocked checkpoint can go on.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// After this fraction of the time after which a process counts as stopped, without one that blocks
/// checkpoints, the log becomes shorter.
const CALM: u32 = 4;

/// How long a checkpoint waits for a process to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Patience {
    /// A hundredth of the time after which a process counts as stopped. The caller can do without the
    /// checkpoint.
    Short,
    /// What is left of that time, counted from when somebody asked first, and at least a tenth of it: the
    /// process may just have been continued.
    Full,
}

impl Core {
    /// Returns whether a process blocked checkpoints when somebody looked last.
    pub(in crate::engine) fn is_blocked(&self) -> bool {
        let sharing = self.sharing.as_ref();
        sharing.is_some_and(|sharing| sharing.page().blocked_by.load(Relaxed) != 0)
    }

    /// Returns whether it still does.
    pub(in crate::engine) fn is_still_blocked(&self) -> bool {
        let Some(sharing) = &self.sharing else { return false };
        self.blocking_slot(sharing).is_ok_and(|slot| slot.is_some())
    }

    /// Returns whether one has blocked them for so long that it is not just slow.
    pub(in crate::engine) fn is_blocked_for_long(&self) -> bool {
        let sharing = self.sharing.as_ref();
        sharing.is_some_and(|sharing| sharing.blocked_for() >= sharing.patience() / 10)
    }

    /// Returns whether no process has blocked them for a while, as far as this process has seen. What
    /// happened before it looked last, some time ago, does not count.
    pub(in crate::engine) fn is_calm(&self) -> bool {
        let Some(sharing) = &self.sharing else { return true };
        let (now, Calm { since_ms, looked_ms }) = (now_ms(), &sharing.calm);
        let looked = looked_ms.swap(now, Relaxed);
        let was_seen = now.saturating_sub(looked) < 4 * LOOK_AGAIN.as_millis() as u64;
        if !was_seen || self.is_blocked() || self.is_still_blocked() {
            since_ms.store(now, Relaxed);
            return false;
        }
        let calm = Duration::from_millis(now.saturating_sub(since_ms.load(Relaxed)));
        calm >= sharing.patience() / CALM
    }

    /// Returns for how long the process that blocks has held its snapshot, or been waited for.
    pub(in crate::engine) fn age_of_blocking_snapshot(&self) -> Duration {
        let Some(sharing) = &self.sharing else { return Duration::ZERO };
        let page = sharing.page();
        let slot = (page.blocked_by.load(SeqCst) as usize).checked_sub(1);
        let slot = slot.and_then(|slot| page.slots.get(slot));
        let snapshot = slot.and_then(|slot| told_by(slot).oldest_snapshot);
        snapshot.map_or_else(|| sharing.blocked_for(), |snapshot| snapshot.age)
    }

    /// Returns the log's length before it grew because checkpoints are blocked; 0 if it did not.
    pub(in crate::engine) fn usual_log_bytes(&self) -> u64 {
        let sharing = self.sharing.as_ref();
        sharing.map_or(0, |sharing| sharing.page().usual_log_bytes.load(SeqCst))
    }

    /// Notes the log's length before it grows, unless it has grown already.
    pub(in crate::engine) fn note_usual_log_bytes(&self, bytes: u64) {
        let Some(sharing) = &self.sharing else { return };
        let usual = &sharing.page().usual_log_bytes;
        let _ = usual.compare_exchange(0, bytes, SeqCst, SeqCst);
    }

    pub(in crate::engine) fn forget_usual_log_bytes(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.page().usual_log_bytes.store(0, SeqCst);
        }
    }

    /// Waits until the process that blocks checkpoints does so no longer, if the caller needs one.
    /// Announces nothing.
    pub(in crate::engine) fn expect_unblocked(&self, patience: Patience) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        self.expect_unblocked_within(sharing, sharing.left_of(patience))
    }

    /// Does the same, and waits for nothing.
    pub(in crate::engine) fn expect_unblocked_now(&self) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        self.expect_unblocked_within(sharing, Duration::ZERO)
    }

    fn expect_unblocked_within(&self, sharing: &Sharing, at_most: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let epoch = sharing.page().ack_event.epoch();
            let blocked_by = self.blocking_slot(sharing)?;
            self.expect_connected(sharing)?;
            let Some(slot) = blocked_by else { return Ok(()) };
            if begun.elapsed() >= at_most {
                return Err(self.unresponsive(sharing, slot + 1));
            }
            sharing.page().ack_event.wait_after(epoch, POLL_INTERVAL);
        }
    }

    /// Returns the slot of the process that still owes an acknowledgement.
    fn blocking_slot(&self, sharing: &Sharing) -> Result<Option<usize>> {
        let page = sharing.page();
        let Some(slot) = (page.blocked_by.load(SeqCst) as usize).checked_sub(1) else {
            return Ok(None);
        };
        let Some(other) = page.slots.get(slot) else { return Ok(None) };
        let owes = self.is_awaited(sharing, slot, other, page.blocked_barrier.load(SeqCst))?;
        Ok(owes.then_some(slot))
    }

    /// Notes that the process in `slot` has not acknowledged in time. Returns the error that names it.
    pub(super) fn note_blocked(&self, sharing: &Sharing, slot: usize, barrier: u64) -> Error {
        let page = sharing.page();
        let is_same = matches!(self.blocking_slot(sharing), Ok(Some(before)) if before == slot);
        if !is_same {
            page.blocked_since_ms.store(now_ms(), SeqCst);
        }
        page.blocked_barrier.store(barrier, SeqCst);
        page.blocked_by.store(slot as u64 + 1, SeqCst);
        self.unresponsive(sharing, slot + 1)
    }

    /// Returns whether a checkpoint that failed with this error is only put off: the process may have
    /// been slow.
    pub(in crate::engine) fn is_put_off(&self, error: &Error) -> bool {
        let is_unresponsive = matches!(error.kind(), ErrorKind::ProcessUnresponsive { .. });
        let sharing = self.sharing.as_ref().filter(|_| is_unresponsive);
        sharing.is_some_and(|sharing| sharing.blocked_for() < sharing.patience())
    }

    /// Returns when the store's thread should look whether a blocked checkpoint can go on, or the log
    /// become shorter.
    pub(in crate::engine) fn look_at_blocked(&self) -> Option<Instant> {
        let sharing = self.sharing.as_ref()?;
        let page = sharing.page();
        let is_due = page.blocked_by.load(SeqCst) != 0 || page.usual_log_bytes.load(SeqCst) != 0;
        is_due.then(|| Instant::now() + LOOK_AGAIN)
    }
}

impl Sharing {
    /// Notes that all have acknowledged.
    pub(super) fn note_unblocked(&self) {
        if self.page().blocked_by.load(SeqCst) != 0 {
            self.page().blocked_by.store(0, SeqCst);
        }
    }

    pub(super) fn left_of(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Short => self.patience() / 100,
            Patience::Full => {
                let left = self.patience().saturating_sub(self.blocked_for());
                left.max(self.patience() / 10)
            }
        }
    }

    /// Returns for how long checkpoints have been blocked.
    fn blocked_for(&self) -> Duration {
        match self.page().blocked_by.load(SeqCst) {
            0 => Duration::ZERO,
            _ => {
                let since_ms = self.page().blocked_since_ms.load(SeqCst);
                Duration::from_millis(now_ms().saturating_sub(since_ms))
            }
        }
    }
}
