//! Who shares the store, and what each of them holds.
//!
//! **Owns** what a process tells of itself for people to read: nothing acts on it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::state::Sharing;
use crate::engine::core::Core;
use crate::error::Result;
use crate::format::coordination::Slot;
use crate::image::LongReader;

/// A process that has a store open; see [`Store::processes`](crate::Store::processes).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The process's number, as it knows it itself: in a container it may be another one.
    pub id: u32,
    /// Whether it is this opening of the store.
    pub is_this: bool,
    /// When it opened the store.
    pub since: SystemTime,
    /// The oldest snapshot that it holds.
    pub oldest_snapshot: Option<SnapshotInfo>,
}

/// A snapshot that a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its log position.
    pub position: u64,
    /// How long it has been held.
    pub age: Duration,
}

impl From<&LongReader> for SnapshotInfo {
    fn from(reader: &LongReader) -> Self {
        Self { position: reader.position, age: reader.age }
    }
}

impl Core {
    /// Returns the processes that have the store open, in the order of their slots.
    pub(crate) fn processes(&self) -> Result<Vec<ProcessInfo>> {
        self.expect_own_process()?;
        let own = ProcessInfo {
            id: std::process::id(),
            is_this: true,
            since: self.opened_at,
            oldest_snapshot: self.pool_stats().oldest.as_ref().map(SnapshotInfo::from),
        };
        let Some(sharing) = &self.sharing else { return Ok(vec![own]) };
        let mut all = Vec::new();
        for (number, slot) in sharing.page().slots.iter().enumerate() {
            if number == sharing.slot {
                all.push(own.clone());
            } else if self.is_alive(sharing, number)? {
                all.push(told_by(slot));
            }
        }
        self.expect_connected(sharing)?;
        Ok(all)
    }
}

impl Sharing {
    /// Publishes the oldest snapshot that this process holds.
    pub(super) fn note_oldest_snapshot(&self, oldest: Option<LongReader>) {
        let (position, since_ms) = match oldest {
            Some(LongReader { position, age, .. }) => (position, now_ms().saturating_sub(ms(age))),
            None => (0, 0),
        };
        let own = self.own();
        let is_new = own.oldest_position.load(Relaxed) != position;
        // Not each time: the page may be write-protected by then, and its age is that of the begin.
        if is_new || (own.oldest_since_ms.load(Relaxed) == 0) != (since_ms == 0) {
            own.oldest_position.store(position, Relaxed);
            own.oldest_since_ms.store(since_ms, Relaxed);
        }
    }
}

pub(super) fn told_by(slot: &Slot) -> ProcessInfo {
    let position = slot.oldest_position.load(Relaxed);
    let age = match slot.oldest_since_ms.load(Relaxed) {
        0 => None,
        since_ms => Some(Duration::from_millis(now_ms().saturating_sub(since_ms))),
    };
    ProcessInfo {
        id: slot.process.load(Relaxed),
        is_this: false,
        since: UNIX_EPOCH + Duration::from_millis(slot.opened_at_ms.load(Relaxed)),
        oldest_snapshot: age.map(|age| SnapshotInfo { position, age }),
    }
}

/// Returns the time of a clock that all processes of a machine share; never 0.
pub(super) fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now: Duration = now.try_into().unwrap_or_default();
    ms(now).max(1)
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
