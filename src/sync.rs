//! Locks and atomics of the protocol.
//!
//! **Owns** the choice between the usual types and those of a checker that explores schedules
//! (`tests/schedules`), which `--cfg shuttle` selects. Locks that are held for a few steps, and never
//! while waiting for another, always come from the standard library.

use std::sync::{Arc, LockResult, PoisonError, TryLockError};

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread::{self, sleep},
    thread_local,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread::{self, sleep},
    thread_local,
};

/// Locks `mutex` even if a holder panicked. Such a holder leaves nothing half-done: transactions
/// roll back when they are dropped, and the protocol's own state changes in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// Locks `mutex` as [`lock`] does, unless another thread holds it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Returns what a lock, or a wait on a condition, gives even if a holder panicked: for the mutexes
/// that [`lock`] does not take, those that always come from the standard library.
pub(crate) fn unpoisoned<T>(result: LockResult<T>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// What [`Published`] holds, for as long as this lives: as good as an `Arc` of it. It may be sent to
/// another thread.
#[cfg(not(shuttle))]
pub(crate) type Pinned<T> = arc_swap::Guard<Arc<T>>;

#[cfg(shuttle)]
pub(crate) type Pinned<T> = Arc<T>;

/// A place for an `Arc` that threads load without a lock, and without a write to memory that another
/// thread's load writes: up to eight at a time by each thread.
#[cfg(not(shuttle))]
pub(crate) struct Published<T>(arc_swap::ArcSwap<T>);

#[cfg(not(shuttle))]
impl<T> Published<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(value))
    }

    #[inline]
    pub(crate) fn load(&self) -> Pinned<T> {
        self.0.load()
    }

    /// Puts `value` there. What is returned counts each holder that has loaded it before.
    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        self.0.swap(value)
    }
}

/// The same for the checker, which does not know `ArcSwap`.
#[cfg(shuttle)]
pub(crate) struct Published<T>(Mutex<Arc<T>>);

#[cfg(shuttle)]
impl<T> Published<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn load(&self) -> Pinned<T> {
        Arc::clone(&lock(&self.0))
    }

    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        std::mem::replace(&mut lock(&self.0), value)
    }
}
