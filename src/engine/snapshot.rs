//! What readers need: a snapshot, its end, and the wait for a newer one.
//!
//! **Owns** the use of the pool (`image`) on behalf of readers. **Must not know** what a reader does
//! with its image.

use std::panic::Location;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::core::Core;
use crate::error::Result;
use crate::format::coordination::Event;
use crate::image::{Follow, PoolStats, ReaderReport, Reading};
use crate::log::LogSource;
use crate::sync::atomic::Ordering::{Acquire, Release};

/// The log of a store that this process has for itself.
impl Follow for Core {
    fn visible(&self) -> u64 {
        self.visible.load(Acquire)
    }

    fn source(&self) -> LogSource {
        self.log_source()
    }
}

impl Core {
    /// Takes a snapshot at the visible position and records the caller's caller as its holder.
    #[inline]
    #[track_caller]
    pub(crate) fn snapshot(&self) -> Result<Reading> {
        let caller = Location::caller();
        self.expect_own_process()?;
        if let Some(sharing) = &self.sharing {
            return self.shared_snapshot(sharing, caller);
        }
        match self.pool.pin(caller) {
            Some(reading) => Ok(reading),
            None => self.pool.take(self, caller).map_err(|error| self.unreadable(error)),
        }
    }

    /// Updates the pool after a reader has released a retired image.
    pub(crate) fn reader_left(&self) {
        if self.is_own_process() {
            drop(self.pool.reader_left());
        }
    }

    /// Returns what [`Pool::withdrawn`](crate::image::Pool::withdrawn) does.
    #[inline]
    pub(crate) fn withdrawn_images(&self) -> u64 {
        self.pool.withdrawn()
    }

    pub(crate) fn pool_stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Has readers that begin from now on see everything before `position`. Called before a call returns
    /// that made it visible, without any lock. In a shared store, readers see all that is visible.
    #[inline]
    pub(crate) fn acknowledge(&self, position: u64) {
        self.pool.drop_surplus();
        if self.sharing.is_none() {
            self.pool.acknowledge(self, position);
        }
    }

    /// Does so for all that is visible.
    pub(crate) fn acknowledge_visible(&self) {
        self.acknowledge(self.visible.load(Acquire));
    }

    /// Does the same as `acknowledge` for a commit of this thread.
    #[inline]
    pub(crate) fn acknowledge_commit(&self, position: u64) {
        self.pool.note_committer();
        self.acknowledge(position);
    }

    /// Has readers that begin from now on see what a write transaction saw that ends without a commit.
    pub(crate) fn must_see_visible(&self) {
        self.pool.must_see(self.visible.load(Acquire));
    }

    /// Reports readers that hold a snapshot for long, if a checkpoint since the last report has
    /// made them cost memory. Call it without any lock: the report is the program's code, which may
    /// panic or write. If a checkpoint ran under the writer's lock, the first call after it
    /// reports, in the commit that ran it.
    #[inline]
    pub(crate) fn report_long_readers(&self) {
        if self.readers_unreported.load(Acquire) {
            self.report_readers_now();
        }
    }

    #[cold]
    fn report_readers_now(&self) {
        self.readers_unreported.store(false, Release);
        let Some(ReaderReport { age, report }) = &self.settings.reader_report else { return };
        let long = self.pool.take_long_readers(*age);
        long.iter().for_each(|reader| report(reader));
    }

    /// Waits until readers see more than at `seen`; returns whether they do.
    pub(crate) fn wait_for_commit(&self, seen: u64, at_most: Duration) -> Result<bool> {
        /// Sleep between two checks whether a commit can still come.
        const POLL_INTERVAL: Duration = Duration::from_millis(100);
        self.expect_own_process()?;
        let begun = Instant::now();
        loop {
            let epoch = self.commit_event().epoch();
            if self.visible_to_all() > seen {
                self.acknowledge_visible();
                return Ok(true);
            }
            self.refuse_poisoned()?;
            let Some(left) = at_most.checked_sub(begun.elapsed()) else { return Ok(false) };
            self.commit_event().wait_after(epoch, left.min(POLL_INTERVAL));
        }
    }

    /// Returns the event that `publish` notifies when more becomes visible.
    pub(super) fn commit_event(&self) -> &Event {
        self.sharing.as_ref().map_or(&self.event, |sharing| &sharing.page().commit_event)
    }

    /// Returns whether a standby should be made, on a thread that has time.
    #[inline]
    pub(crate) fn lacks_standby(&self) -> bool {
        self.sharing.is_none() && self.pool.lacks_standby(self.visible())
    }

    pub(crate) fn make_standby(&self) {
        if self.lacks_standby() {
            self.pool.make_standby(self);
        }
    }

    /// Takes a snapshot, and runs `act` after its position was decided, while its image is out.
    #[cfg(test)]
    pub(crate) fn snapshot_interrupted(&self, act: impl FnOnce()) -> Result<Reading> {
        struct Interrupted<'core, F>(&'core Core, std::cell::Cell<Option<F>>);

        impl<F: FnOnce()> Follow for Interrupted<'_, F> {
            fn visible(&self) -> u64 {
                self.0.visible()
            }

            fn source(&self) -> LogSource {
                if let Some(act) = self.1.take() {
                    act();
                }
                self.0.log_source()
            }
        }

        self.pool.take(&Interrupted(self, Some(act).into()), Location::caller())
    }

    /// Runs `act` while this thread has each lock under which somebody may work, or wait.
    #[cfg(test)]
    pub(crate) fn with_working_locks(&self, act: impl FnOnce()) {
        let _writer = self.lock_writer();
        let _checkpointer = self.lock_checkpointer();
        let _leader = self.flush_leader.take(super::flush_leader::SyncFor::Commits);
        act();
    }

    /// Runs `act` while this thread has all locks of a store that is not shared.
    #[cfg(test)]
    pub(crate) fn with_all_locks(&self, act: impl FnOnce()) {
        self.with_working_locks(|| {
            self.pool.with_lists_locked(|| {
                let _log = crate::sync::lock(&self.log);
                act();
            });
        });
    }

    fn visible_to_all(&self) -> u64 {
        match &self.sharing {
            Some(sharing) => sharing.page().visible.load(SeqCst),
            None => self.visible.load(Acquire),
        }
    }
}
