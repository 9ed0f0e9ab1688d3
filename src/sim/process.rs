//! A process on a simulated disk, which can be killed before any of its calls, and the memory and
//! locks that it shares with the other processes of its machine.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use zerocopy::FromZeros;

use super::faults::Call;
use crate::disk::{Coordination, Lock};
use crate::format::coordination::CoordinationPage;
use crate::sync::unpoisoned;

/// The memory and locks that the processes of a machine share until the power is cut.
pub(super) struct Shared {
    page: Box<CoordinationPage>,
    /// The holder of each lock.
    locks: Mutex<HashMap<Lock, u64>>,
}

/// A process of a [`SimMachine`](super::SimMachine).
#[derive(Clone)]
pub struct SimProcess {
    number: u64,
    shared: Arc<Shared>,
    /// The remaining calls that change something, acquire a lock or release one.
    calls_left: Arc<Mutex<u64>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { page: Box::new(CoordinationPage::new_zeroed()), locks: Mutex::default() }
    }
}

fn killed() -> io::Error {
    io::Error::other("the process was killed")
}

impl SimProcess {
    /// Starts the process with this number.
    pub(super) fn start(number: u64, shared: Arc<Shared>) -> Self {
        Self { number, shared, calls_left: Arc::new(Mutex::new(u64::MAX)) }
    }

    /// Kills the process after this many more calls that change the disk, acquire or release a
    /// lock, or read the coordination page. Nothing that it does afterwards has an effect.
    pub fn kill_after(&self, calls: u64) {
        *unpoisoned(self.calls_left.lock()) = calls;
        if calls == 0 {
            self.end();
        }
    }

    /// Returns whether the process was killed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        *unpoisoned(self.calls_left.lock()) == 0
    }

    /// Drops the process's locks, as the kernel does.
    fn end(&self) {
        unpoisoned(self.shared.locks.lock()).retain(|_, holder| *holder != self.number);
    }

    /// Counts a call.
    fn step(&self) -> io::Result<()> {
        let mut calls_left = unpoisoned(self.calls_left.lock());
        if *calls_left == 0 {
            return Err(killed());
        }
        *calls_left -= 1;
        if *calls_left == 0 {
            drop(calls_left);
            self.end();
            return Err(killed());
        }
        Ok(())
    }

    /// Checks before a call to the disk that the process is alive.
    pub(super) fn expect_alive(&self, call: Call) -> io::Result<()> {
        match call.is_reading() {
            true if self.is_dead() => Err(killed()),
            true => Ok(()),
            false => self.step(),
        }
    }

    /// Opens the coordination page and the locks for this process.
    pub(crate) fn open_coordination(&self) -> Box<dyn Coordination> {
        let page_after_death = Box::new(CoordinationPage::new_zeroed());
        Box::new(SimCoordination { process: self.clone(), page_after_death })
    }
}

struct SimCoordination {
    process: SimProcess,
    /// The page of a dead process: private, so its stores reach no other process.
    page_after_death: Box<CoordinationPage>,
}

impl Coordination for SimCoordination {
    fn page(&self) -> &CoordinationPage {
        match self.process.step() {
            Ok(()) => &self.process.shared.page,
            Err(_) => &self.page_after_death,
        }
    }

    fn expect_shared(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, what: Lock) -> io::Result<bool> {
        self.process.step()?;
        let mut locks = unpoisoned(self.process.shared.locks.lock());
        Ok(*locks.entry(what).or_insert(self.process.number) == self.process.number)
    }

    fn unlock(&self, what: Lock) -> io::Result<()> {
        self.process.step()?;
        let mut locks = unpoisoned(self.process.shared.locks.lock());
        locks.retain(|lock, holder| *lock != what || *holder != self.process.number);
        Ok(())
    }

    fn is_locked_by_other(&self, what: Lock) -> io::Result<bool> {
        if self.process.is_dead() {
            return Err(killed());
        }
        let locks = unpoisoned(self.process.shared.locks.lock());
        Ok(locks.get(&what).is_some_and(|holder| *holder != self.process.number))
    }
}

impl Drop for SimCoordination {
    fn drop(&mut self) {
        self.process.end();
    }
}
