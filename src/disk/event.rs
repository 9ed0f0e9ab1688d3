//! Waits for another process or thread, by futex.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use rustix::thread::futex::{self, Flags};

use crate::format::coordination::Event;

impl Event {
    /// Returns the value to pass to [`wait_after`](Self::wait_after). Call this before checking
    /// the condition to wait for, or a notification in between is lost.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(SeqCst)
    }

    /// Wakes all waiters.
    pub(crate) fn notify(&self) {
        self.epoch.fetch_add(1, SeqCst);
        if self.waiting.load(SeqCst) != 0 {
            // Having no waiter is not an error, and no other error is possible.
            let _ = futex::wake(&self.epoch, Flags::empty(), i32::MAX as u32);
        }
    }

    /// Waits until `notify` is called after `epoch`, or for `at_most`. May wake spuriously.
    #[cfg(not(shuttle))]
    pub(crate) fn wait_after(&self, epoch: u32, at_most: Duration) {
        self.waiting.fetch_add(1, SeqCst);
        let timeout = futex::Timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        // The caller checks its condition again, whatever woke it.
        let _ = futex::wait(&self.epoch, Flags::empty(), epoch, Some(&timeout));
        self.waiting.fetch_sub(1, SeqCst);
    }

    /// Wakes spuriously: a checker of schedules runs all threads on one, which must not sleep.
    #[cfg(shuttle)]
    pub(crate) fn wait_after(&self, _epoch: u32, _at_most: Duration) {
        crate::sync::thread::yield_now();
    }
}
