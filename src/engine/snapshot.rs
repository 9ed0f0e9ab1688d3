//! What readers need: a snapshot, its end, and the wait for a newer one.
//!
//! **Owns** the use of the pool (`image`) on behalf of readers. **Must not know** what a reader does
//! with its image.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::core::Core;
use crate::error::Result;
use crate::format::coordination::Event;
use crate::image::{Image, PoolStats, ReaderReport};
use crate::sync::atomic::Ordering::{Acquire, Release};
use crate::sync::lock;

impl Core {
    /// Takes a snapshot at the visible position and records the caller's caller as its holder.
    #[inline]
    #[track_caller]
    pub(crate) fn snapshot(&self) -> Result<Arc<Image>> {
        let caller = Location::caller();
        self.expect_own_process()?;
        if let Some(sharing) = &self.sharing {
            return self.shared_snapshot(sharing, caller);
        }
        // Read `visible` under the pool's lock: a position read earlier could lie before the pages
        // that a checkpoint is writing.
        let mut pool = lock(&self.pool);
        let visible = self.visible.load(Acquire);
        let max_held = self.settings.max_held_images;
        let taken = pool.take(&|| self.log_source(), visible, max_held, caller);
        taken.map_err(|error| self.unreadable(error))
    }

    /// Updates the pool after a reader has released an image that is not the current one. Surplus
    /// images are unmapped here, after the lock is released.
    pub(crate) fn reader_left(&self) {
        if self.is_own_process() {
            let surplus = lock(&self.pool).reader_left();
            drop(surplus);
        }
    }

    pub(crate) fn pool_stats(&self) -> PoolStats {
        lock(&self.pool).stats()
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
        let long = lock(&self.pool).take_long_readers(*age);
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

    fn visible_to_all(&self) -> u64 {
        match &self.sharing {
            Some(sharing) => sharing.page().visible.load(SeqCst),
            None => self.visible.load(Acquire),
        }
    }
}
