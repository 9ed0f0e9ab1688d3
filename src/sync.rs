//! Locks and atomics of the protocol.
//!
//! **Owns** the choice between the standard library's types and those of a checker that explores
//! schedules (`tests/schedules`), which `--cfg shuttle` selects. Locks
//! that are held for a few steps, and never while waiting for another, always come from the
//! standard library.

use std::sync::{LockResult, PoisonError, TryLockError};

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
