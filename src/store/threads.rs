//! The thread that brings the file up to date.
//!
//! **Owns** the thread. **Must not know** what a checkpoint does, or when one is
//! due: the engine says so after a commit. A store that never has one due, as one
//! that is only read, never has the thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::engine::Core;

/// What the thread is to do next.
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

/// Checkpoints in the background, one after the other.
#[derive(Default)]
pub(super) struct Background {
    thread: Mutex<Option<(JoinHandle<()>, Arc<Orders>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Orders {
    fn give(&self, order: Order) {
        *lock(&self.order) = order;
        self.changed.notify_one();
    }

    /// Waits for an order.
    fn take(&self) -> Order {
        let mut order = lock(&self.order);
        while *order == Order::Wait {
            order = self.changed.wait(order).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::replace(&mut *order, Order::Wait)
    }

    fn follow(&self, core: &Core) {
        while self.take() == Order::Checkpoint {
            // One that failed is tried again by the commit that finds the log full,
            // which is told why; or it has poisoned the store, which tells all.
            // A panic can only be that of the program's own report on readers.
            let _ = catch_unwind(AssertUnwindSafe(|| core.checkpoint_if_idle()));
        }
    }
}

impl Background {
    /// Asks for a checkpoint. Where no thread can be had, the calling one makes it.
    pub(super) fn checkpoint(&self, core: &Arc<Core>) {
        match self.orders(core) {
            Some(orders) => orders.give(Order::Checkpoint),
            // Without the lock, since a report of the program's may ask for the next one.
            None => drop(core.checkpoint_if_idle()),
        }
    }

    fn orders(&self, core: &Arc<Core>) -> Option<Arc<Orders>> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            *thread = begin(core).ok();
        }
        thread.as_ref().map(|(_, orders)| Arc::clone(orders))
    }

    /// Waits for what was begun, and ends the thread. A program can drop the store in its own
    /// report on readers, which is the thread's last deed then.
    pub(super) fn stop(&self) {
        let Some((thread, orders)) = lock(&self.thread).take() else { return };
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
