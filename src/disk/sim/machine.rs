//! A machine with several processes on one simulated disk. Each process can be killed before any of
//! its calls.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zerocopy::FromZeros;

use super::{Call, SimDisk};
use crate::disk::{Coordination, Lock};
use crate::format::coordination::CoordinationPage;

/// The memory and locks that the processes of a machine share until the power is cut.
struct Meeting {
    page: Box<CoordinationPage>,
    /// The holder of each lock.
    locks: Mutex<HashMap<Lock, u64>>,
}

/// A machine, while it is powered on.
#[derive(Clone)]
pub struct SimMachine {
    disk: SimDisk,
    meeting: Arc<Meeting>,
    /// The number of processes started so far.
    processes: Arc<Mutex<u64>>,
}

/// A process of a [`SimMachine`].
#[derive(Clone)]
pub struct SimProcess {
    number: u64,
    meeting: Arc<Meeting>,
    /// The remaining calls that change something, acquire a lock or release one.
    calls_left: Arc<Mutex<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn killed() -> io::Error {
    io::Error::other("the process was killed")
}

impl SimMachine {
    /// Creates a machine with this disk, just switched on.
    #[must_use]
    pub fn new(disk: SimDisk) -> Self {
        let page = Box::new(CoordinationPage::new_zeroed());
        let meeting = Meeting { page, locks: Mutex::default() };
        Self { disk, meeting: Arc::new(meeting), processes: Arc::default() }
    }

    /// Returns the machine's disk, as seen from outside all processes.
    #[must_use]
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Starts another process.
    #[must_use]
    pub fn start(&self) -> SimProcess {
        let mut processes = lock(&self.processes);
        *processes += 1;
        let (number, meeting) = (*processes, Arc::clone(&self.meeting));
        SimProcess { number, meeting, calls_left: Arc::new(Mutex::new(u64::MAX)) }
    }

    /// Returns the disk as this process sees it.
    pub(crate) fn disk_of(&self, process: &SimProcess) -> SimDisk {
        SimDisk { process: Some(process.clone()), ..self.disk.clone() }
    }
}

impl SimProcess {
    /// Kills the process after this many more calls that change the disk, acquire or release a
    /// lock, or read the coordination page. Nothing that it does afterwards has an effect.
    pub fn kill_after(&self, calls: u64) {
        *lock(&self.calls_left) = calls;
        if calls == 0 {
            self.end();
        }
    }

    /// Returns whether the process was killed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        *lock(&self.calls_left) == 0
    }

    /// Drops the process's locks, as the kernel does.
    fn end(&self) {
        lock(&self.meeting.locks).retain(|_, holder| *holder != self.number);
    }

    /// Counts a call.
    fn step(&self) -> io::Result<()> {
        let mut calls_left = lock(&self.calls_left);
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
        let afterlife = Box::new(CoordinationPage::new_zeroed());
        Box::new(SimCoordination { process: self.clone(), afterlife })
    }
}

struct SimCoordination {
    process: SimProcess,
    /// The page of a dead process: private, so its stores reach no other process.
    afterlife: Box<CoordinationPage>,
}

impl Coordination for SimCoordination {
    fn page(&self) -> &CoordinationPage {
        match self.process.step() {
            Ok(()) => &self.process.meeting.page,
            Err(_) => &self.afterlife,
        }
    }

    fn expect_shared(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, what: Lock) -> io::Result<bool> {
        self.process.step()?;
        let mut locks = lock(&self.process.meeting.locks);
        Ok(*locks.entry(what).or_insert(self.process.number) == self.process.number)
    }

    fn unlock(&self, what: Lock) -> io::Result<()> {
        self.process.step()?;
        let mut locks = lock(&self.process.meeting.locks);
        locks.retain(|lock, holder| *lock != what || *holder != self.process.number);
        Ok(())
    }

    fn is_locked_by_other(&self, what: Lock) -> io::Result<bool> {
        if self.process.is_dead() {
            return Err(killed());
        }
        let locks = lock(&self.process.meeting.locks);
        Ok(locks.get(&what).is_some_and(|holder| *holder != self.process.number))
    }
}

impl Drop for SimCoordination {
    fn drop(&mut self) {
        self.process.end();
    }
}
