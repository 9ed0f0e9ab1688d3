//! A machine with several processes on one simulated disk.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sync::unpoisoned;

use super::disk::SimDisk;
use super::process::{Shared, SimProcess};

/// A machine, while it is powered on.
#[derive(Clone)]
pub struct SimMachine {
    disk: SimDisk,
    shared: Arc<Shared>,
    /// The number of processes started so far.
    processes: Arc<Mutex<u64>>,
}

impl SimMachine {
    /// Creates a machine with this disk, just switched on.
    #[must_use]
    pub fn new(disk: SimDisk) -> Self {
        Self { disk, shared: Arc::new(Shared::new()), processes: Arc::default() }
    }

    /// Returns the machine's disk, as seen from outside all processes.
    #[must_use]
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Returns how many processes say that they may hold a snapshot; one that has had none for some
    /// milliseconds does not.
    #[must_use]
    pub fn holders(&self) -> usize {
        self.shared.holders()
    }

    /// Sets how long a process waits for another one that does not move.
    pub fn set_patience(&self, patience: Duration) {
        self.shared.set_patience(patience);
    }

    /// Starts another process.
    #[must_use]
    pub fn start(&self) -> SimProcess {
        let mut processes = unpoisoned(self.processes.lock());
        *processes += 1;
        SimProcess::start(*processes, Arc::clone(&self.shared))
    }
}
