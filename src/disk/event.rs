//! Waiting for another process, or thread, by futex.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use rustix::thread::futex::{self, Flags, Timespec};

use crate::format::coordination::Event;

impl Event {
    /// What to give to [`wait_after`](Self::wait_after): read before looking whether there is
    /// something to wait for.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(SeqCst)
    }

    /// Wakes all that wait.
    pub(crate) fn notify(&self) {
        self.epoch.fetch_add(1, SeqCst);
        if self.waiting.load(SeqCst) != 0 {
            // Nobody there is no error, and there is no other one.
            let _ = futex::wake(&self.epoch, Flags::empty(), i32::MAX as u32);
        }
    }

    /// Waits until it was rung after `epoch`, or `at_most`; or wakes for no reason.
    pub(crate) fn wait_after(&self, epoch: u32, at_most: Duration) {
        let waiting: &AtomicU32 = &self.waiting;
        waiting.fetch_add(1, SeqCst);
        let timeout = Timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        // The caller looks again, whatever woke it.
        let _ = futex::wait(&self.epoch, Flags::empty(), epoch, Some(&timeout));
        waiting.fetch_sub(1, SeqCst);
    }
}
