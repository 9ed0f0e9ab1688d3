//! The threads of a store: one runs checkpoints in the background, one answers the other processes
//! that share the store.
//!
//! **Owns** the threads. **Must not know** what a checkpoint does, or when one is due: the engine
//! says so after a commit. A store that never has one due, such as a store that is only read,
//! never starts that thread. Nor the requests of other processes or the answers: those belong to
//! the engine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};

use crate::engine::Core;
use crate::sync::unpoisoned;

/// The thread's next task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Wait,
    Checkpoint,
    Stop,
}

struct Orders {
    order: Mutex<Order>,
    changed: Condvar,
}

/// Runs checkpoints in the background, one after the other.
#[derive(Default)]
pub(super) struct Background {
    thread: Mutex<Option<(JoinHandle<()>, Arc<Orders>)>>,
}

impl Orders {
    fn give(&self, order: Order) {
        *unpoisoned(self.order.lock()) = order;
        self.changed.notify_one();
    }

    /// Waits for an order.
    fn take(&self) -> Order {
        let mut order = unpoisoned(self.order.lock());
        while *order == Order::Wait {
            order = unpoisoned(self.changed.wait(order));
        }
        std::mem::replace(&mut *order, Order::Wait)
    }

    fn follow(&self, core: &Core) {
        while self.take() == Order::Checkpoint {
            // If it failed, the commit that finds the log full retries it and gets the error; or
            // the store is poisoned, and every call reports that. Only the program's own reader
            // report can panic.
            let _ = catch_unwind(AssertUnwindSafe(|| core.checkpoint_if_idle()));
        }
    }
}

impl Background {
    /// Requests a checkpoint. If no thread can be started, the calling thread runs it.
    pub(super) fn request_checkpoint(&self, core: &Arc<Core>) {
        match self.orders(core) {
            Some(orders) => orders.give(Order::Checkpoint),
            // Without the lock: the program's reader report may request the next checkpoint.
            None => drop(core.checkpoint_if_idle()),
        }
    }

    fn orders(&self, core: &Arc<Core>) -> Option<Arc<Orders>> {
        let mut thread = unpoisoned(self.thread.lock());
        if thread.is_none() {
            *thread = begin(core).ok();
        }
        thread.as_ref().map(|(_, orders)| Arc::clone(orders))
    }

    /// Waits for the running checkpoint, and ends the thread. A program can drop the store from
    /// its own reader report, which runs on this thread: a join would then wait for itself.
    pub(super) fn stop(&self) {
        let Some((thread, orders)) = unpoisoned(self.thread.lock()).take() else { return };
        orders.give(Order::Stop);
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

fn begin(core: &Arc<Core>) -> std::io::Result<(JoinHandle<()>, Arc<Orders>)> {
    let orders = Arc::new(Orders { order: Mutex::new(Order::Wait), changed: Condvar::new() });
    let (core, theirs) = (Arc::clone(core), Arc::clone(&orders));
    let thread = Builder::new()
        .name("flagstone-checkpoint".to_string())
        .spawn(move || theirs.follow(&core))?;
    Ok((thread, orders))
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
