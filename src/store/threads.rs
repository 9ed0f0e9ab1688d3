//! The threads of a store: one runs checkpoints and flushes in the background, and makes images that
//! readers will need; one answers the other processes that share the store.
//!
//! **Owns** the threads, and what wakes them. **Must not know** what a checkpoint does, or when one
//! is due: the engine says so. A store that never has one due, such as a store that is only read,
//! never starts that thread. Nor the requests of other processes or the answers: those belong to
//! the engine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::log_move::shorten_if_due;
use crate::deadline::Deadline;
use crate::engine::Core;
use crate::error::Result;
use crate::sync::thread::{self, Builder, JoinHandle};
use crate::sync::{Condvar, Mutex, lock, unpoisoned};

/// Runs checkpoints in the background, one after the other.
#[derive(Default)]
pub(super) struct Background {
    thread: Mutex<Option<(JoinHandle<()>, Arc<WakeUp>)>>,
}

/// Wakes the thread. A wake-up says that there may be work, and not what: the thread asks what is
/// due. If it were told to run a checkpoint, a commit could say so while the thread begins one, and
/// a second checkpoint that nobody needs would follow at once.
#[derive(Default)]
struct WakeUp {
    state: Mutex<WakeState>,
    changed: Condvar,
}

#[derive(Default)]
struct WakeState {
    is_woken: bool,
    must_end: bool,
}

impl WakeUp {
    fn wake(&self) {
        lock(&self.state).is_woken = true;
        self.changed.notify_one();
    }

    fn end(&self) {
        lock(&self.state).must_end = true;
        self.changed.notify_one();
    }

    /// Waits to be woken, or for `deadline`. Returns whether the thread is to go on.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = lock(&self.state);
        while !state.is_woken && !state.must_end {
            let Some(deadline) = deadline else {
                state = unpoisoned(self.changed.wait(state));
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = unpoisoned(self.changed.wait_timeout(state, left)).0;
        }
        state.is_woken = false;
        !state.must_end
    }

    fn work(&self, core: &Core) {
        // A commit that schedules a flush does so before it wakes the thread, which then asks again.
        while self.wait(core.next_look()) {
            // If it failed, the commit that finds the log full retries it and gets the error; or
            // the store is poisoned, and every call reports that. Only the program's own reader
            // report can panic.
            let done = catch_unwind(AssertUnwindSafe(|| {
                let _ = core.flush_if_due();
                let is_more_due = core.do_due_work();
                let _ = shorten_if_due(core);
                core.make_standby();
                is_more_due
            }));
            // One piece at a time: a checkpoint may be due by then, or the thread is to end.
            if let Ok(Ok(true)) = done {
                self.wake();
            }
        }
    }
}

impl Background {
    /// Wakes the thread to look what is due. If no thread can be started, the calling thread does
    /// the work.
    pub(super) fn wake(&self, core: &Arc<Core>) {
        match self.thread(core) {
            Some(thread) => thread.wake(),
            // Without the lock: the program's reader report may find the next checkpoint due.
            None => drop(do_all_due_work(core)),
        }
    }

    /// Requests a checkpoint that this thread will wait for. If this is the thread that runs them, in
    /// the program's reader report, it would wait for itself: then it runs the checkpoint, unless
    /// another process writes at the deadline.
    pub(super) fn request_checkpoint_to_wait_for(
        &self,
        core: &Arc<Core>,
        deadline: Deadline,
    ) -> Result<()> {
        match self.thread(core) {
            Some(thread) if !self.is_this_thread() => thread.wake(),
            _ => core.checkpoint_if_due(deadline)?,
        }
        Ok(())
    }

    fn is_this_thread(&self) -> bool {
        let thread = lock(&self.thread);
        thread.as_ref().is_some_and(|(thread, _)| thread.thread().id() == thread::current().id())
    }

    fn thread(&self, core: &Arc<Core>) -> Option<Arc<WakeUp>> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            *thread = begin(core).ok();
        }
        thread.as_ref().map(|(_, wake_up)| Arc::clone(wake_up))
    }

    /// Waits for the running checkpoint, and ends the thread. A program can drop the store from
    /// its own reader report, which runs on this thread: a join would then wait for itself.
    pub(super) fn stop(&self) {
        let Some((thread, wake_up)) = lock(&self.thread).take() else { return };
        wake_up.end();
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Does what is due, on the calling thread.
pub(super) fn do_all_due_work(core: &Core) -> Result<()> {
    while core.do_due_work()? {}
    shorten_if_due(core)
}

fn begin(core: &Arc<Core>) -> std::io::Result<(JoinHandle<()>, Arc<WakeUp>)> {
    let wake_up = Arc::new(WakeUp::default());
    let (core, its_own) = (Arc::clone(core), Arc::clone(&wake_up));
    let thread = Builder::new()
        .name("flagstone-checkpoint".to_string())
        .spawn(move || its_own.work(&core))?;
    Ok((thread, wake_up))
}

/// Answers other processes as long as it lives; a store that is not shared has no thread.
#[derive(Default)]
pub(super) struct Service {
    thread: Option<JoinHandle<()>>,
}

impl Service {
    pub(super) fn begin(core: &Arc<Core>) -> std::io::Result<Self> {
        let core = Arc::clone(core);
        let name = "flagstone-service".to_string();
        let thread = Builder::new().name(name).spawn(move || core.serve_others())?;
        Ok(Self { thread: Some(thread) })
    }

    pub(super) fn stop(&mut self, core: &Core) {
        core.stop_serving();
        if let Some(thread) = self.thread.take() {
            // The thread cannot have panicked; even if it had, this process must still close the
            // store.
            let _ = thread.join();
        }
    }
}
