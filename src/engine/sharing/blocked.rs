//! Checkpoints that a process blocks: it holds a snapshot and does not acknowledge.
//!
//! It may have references into its mapping, so it cannot be passed over. But it costs the others space
//! in the log and no time: a checkpoint is put off after a short wait, the process and the barrier
//! that it owes are noted on the page, and until it has acknowledged that one, nobody asks again.
//! Only who needs the space waits for longer.
//!
//! **Owns** the words of the page that tell of it.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::members::now_ms;
use super::state::{POLL_INTERVAL, Sharing};
use crate::engine::core::Core;
use crate::error::{Error, ErrorKind, Result};

/// How often the store's thread looks whether a blocked checkpoint can go on.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

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
    /// Waits until the process that blocks checkpoints does so no longer. Announces nothing.
    pub(in crate::engine) fn expect_unblocked(&self, patience: Patience) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let (begun, at_most) = (Instant::now(), sharing.left_of(patience));
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

    /// Returns when the store's thread should look whether a blocked checkpoint can go on.
    pub(in crate::engine) fn look_at_blocked(&self) -> Option<Instant> {
        let sharing = self.sharing.as_ref()?;
        let is_blocked = sharing.page().blocked_by.load(SeqCst) != 0;
        is_blocked.then(|| Instant::now() + LOOK_AGAIN)
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
