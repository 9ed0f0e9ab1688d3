//! Locks and atomics of the protocol.
//!
//! **Owns** the choice between the standard library's and those of a checker that tries
//! schedules (`tests/every_schedule_keeps_the_promises.rs`), which `--cfg shuttle` makes.
//! Other locks, which are held for a few steps and never while another one is waited for,
//! are the standard library's either way.

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
