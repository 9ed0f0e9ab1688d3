//! How long a deferred commit may stay in memory alone.
//!
//! **Owns** the age of the oldest deferred commit. **Must not know** who flushes because of it
//! (`flush`).

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::unpoisoned;

/// The oldest deferred commit that no flush has begun to make durable.
#[derive(Debug, Default)]
pub(super) struct OldestDeferred {
    oldest: Mutex<Option<Deferred>>,
}

#[derive(Clone, Copy, Debug)]
struct Deferred {
    /// The position after its record.
    position: u64,
    appended_at: Instant,
}

impl OldestDeferred {
    /// Notes a deferred commit. Returns whether it is the oldest one.
    pub(super) fn note(&self, position: u64, durable: u64) -> bool {
        let mut oldest = unpoisoned(self.oldest.lock());
        if oldest.is_some_and(|oldest| oldest.position > durable) {
            return false;
        }
        *oldest = Some(Deferred { position, appended_at: Instant::now() });
        true
    }

    /// Notes that a flush of everything appended so far begins. The log is locked.
    pub(super) fn flush_begins(&self) {
        *unpoisoned(self.oldest.lock()) = None;
    }

    /// Returns when the oldest one will be as old as `age`. Another process may have flushed it.
    pub(super) fn reaches(&self, age: Duration, durable: u64) -> Option<Instant> {
        let oldest = unpoisoned(self.oldest.lock()).filter(|oldest| oldest.position > durable)?;
        oldest.appended_at.checked_add(age)
    }
}
