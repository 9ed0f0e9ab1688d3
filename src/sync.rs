//! Locks and atomics of the protocol.
//!
//! **Owns** the choice between the standard library's types and those of a checker that explores
//! schedules (`tests/every_schedule_keeps_the_promises.rs`), which `--cfg shuttle` selects. Locks
//! that are held for a few steps, and never while waiting for another, always come from the
//! standard library.

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread::sleep,
    thread_local,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread::sleep,
    thread_local,
};
