//! Elects the thread that syncs.
//!
//! One sync runs at a time (E3). A mutex alone would wake the waiting commits one after another,
//! and each would find itself flushed already. Here the end of a sync wakes all of them at once.
//!
//! Commits and the checkpoint take turns: while one side waits, the other does not lead twice in a
//! row. Otherwise the checkpoint's thread, which is awake when it ends a sync, would lead again
//! before a commit that waits has woken up, slice after slice.

use crate::sync::{Condvar, Mutex, lock, unpoisoned};

/// On whose behalf a thread syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncFor {
    Commits,
    Checkpoint,
}

/// A lock that one thread holds while it syncs.
#[derive(Default)]
pub(super) struct FlushLeader {
    state: Mutex<Leadership>,
    changed: Condvar,
}

#[derive(Default)]
struct Leadership {
    is_taken: bool,
    /// What the last leader synced for.
    last: Option<SyncFor>,
    waiting_commits: usize,
    waiting_checkpoints: usize,
}

/// The leadership; it ends when this is dropped.
pub(super) struct FlushGuard<'a> {
    leader: &'a FlushLeader,
}

impl Leadership {
    fn waiting(&mut self, sync_for: SyncFor) -> &mut usize {
        match sync_for {
            SyncFor::Commits => &mut self.waiting_commits,
            SyncFor::Checkpoint => &mut self.waiting_checkpoints,
        }
    }

    /// Returns whether a thread may lead now. Of two sides that wait, one always may.
    fn may_lead(&self, sync_for: SyncFor) -> bool {
        let others = match sync_for {
            SyncFor::Commits => self.waiting_checkpoints,
            SyncFor::Checkpoint => self.waiting_commits,
        };
        !self.is_taken && (others == 0 || self.last != Some(sync_for))
    }
}

impl FlushLeader {
    /// Waits until this thread is the leader.
    pub(super) fn take(&self, sync_for: SyncFor) -> FlushGuard<'_> {
        loop {
            if let Some(leader) = self.take_unless(sync_for, || false) {
                return leader;
            }
        }
    }

    /// Waits until this thread is the leader, or until another leader's flush makes `is_done` true.
    /// Returns `None` in the second case: there is nothing left to flush.
    pub(super) fn take_unless(
        &self,
        sync_for: SyncFor,
        is_done: impl Fn() -> bool,
    ) -> Option<FlushGuard<'_>> {
        let mut state = lock(&self.state);
        *state.waiting(sync_for) += 1;
        while !is_done() && !state.may_lead(sync_for) {
            state = unpoisoned(self.changed.wait(state));
        }
        *state.waiting(sync_for) -= 1;
        if is_done() {
            // The other side may have waited for this thread alone.
            self.changed.notify_all();
            return None;
        }
        state.is_taken = true;
        state.last = Some(sync_for);
        Some(FlushGuard { leader: self })
    }
}

impl Drop for FlushGuard<'_> {
    fn drop(&mut self) {
        lock(&self.leader.state).is_taken = false;
        self.leader.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread::{scope, yield_now};

    use super::*;

    fn wait_for_one(leader: &FlushLeader, sync_for: SyncFor) {
        while *lock(&leader.state).waiting(sync_for) == 0 {
            yield_now();
        }
    }

    /// Whoever leads asks for the lead again at once, before the waiting thread has woken up.
    #[test]
    fn nobody_leads_twice_while_the_other_side_waits() {
        use SyncFor::{Checkpoint, Commits};
        for (first, other) in [(Checkpoint, Commits), (Commits, Checkpoint)] {
            let (leader, led) = (FlushLeader::default(), Mutex::new(Vec::new()));
            scope(|scope| {
                let held = leader.take(first);
                scope.spawn(|| {
                    let _held = leader.take(other);
                    led.lock().expect("no panic").push(other);
                });
                wait_for_one(&leader, other);
                drop(held);
                let _held = leader.take(first);
                led.lock().expect("no panic").push(first);
            });
            assert_eq!(led.into_inner().expect("no panic"), [other, first]);
        }
    }

    #[test]
    fn a_side_that_waits_for_nobody_leads_as_often_as_it_likes() {
        let leader = FlushLeader::default();
        (0..3).for_each(|_| drop(leader.take(SyncFor::Checkpoint)));
        (0..3).for_each(|_| drop(leader.take(SyncFor::Commits)));
    }

    /// The checkpoint may not lead twice while a commit waits; the commit then finds itself done.
    #[test]
    fn a_thread_that_has_nothing_left_to_flush_lets_the_other_side_lead() {
        let (leader, is_done) = (FlushLeader::default(), AtomicBool::new(false));
        scope(|scope| {
            let held = leader.take(SyncFor::Checkpoint);
            scope.spawn(|| {
                let led = leader.take_unless(SyncFor::Commits, || is_done.load(SeqCst));
                assert!(led.is_none(), "it is done");
            });
            wait_for_one(&leader, SyncFor::Commits);
            scope.spawn(|| drop(leader.take(SyncFor::Checkpoint)));
            wait_for_one(&leader, SyncFor::Checkpoint);
            is_done.store(true, SeqCst);
            drop(held);
        });
    }
}
