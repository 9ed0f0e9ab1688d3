//! Waiting for another process, or thread, by futex.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use rustix::thread::futex::{self, Flags, Timespec};

use crate::format::coordination::Bell;

impl Bell {
    /// What to give to [`wait`](Self::wait): read before looking whether there is
    /// something to wait for.
    pub(crate) fn heard(&self) -> u32 {
        self.rings.load(SeqCst)
    }

    /// Wakes all that wait.
    pub(crate) fn ring(&self) {
        self.rings.fetch_add(1, SeqCst);
        if self.waiting.load(SeqCst) != 0 {
            // Nobody there is no error, and there is no other one.
            let _ = futex::wake(&self.rings, Flags::empty(), i32::MAX as u32);
        }
    }

    /// Waits until it was rung after `heard`, or `at_most`; or wakes for no reason.
    pub(crate) fn wait(&self, heard: u32, at_most: Duration) {
        let waiting: &AtomicU32 = &self.waiting;
        waiting.fetch_add(1, SeqCst);
        let timeout = Timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        // The caller looks again, whatever woke it.
        let _ = futex::wait(&self.rings, Flags::empty(), heard, Some(&timeout));
        waiting.fetch_sub(1, SeqCst);
    }
}
