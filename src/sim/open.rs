//! Creates, opens and checks stores on simulated disks, and on plain memory.

use std::path::Path;
use std::sync::Arc;

use crate::check::{Report, check_file};
#[cfg(feature = "sim")]
use crate::disk::MemoryDisk;
use crate::error::Result;
use crate::store::{Checkpoints, OpenOptions, Store};

use super::disk::SimDisk;
use super::machine::SimMachine;
use super::process::SimProcess;

#[cfg(feature = "sim")]
impl MemoryDisk {
    /// Checks the store on the disk without opening it.
    ///
    /// # Errors
    ///
    /// The same as [`Store::check_file`].
    pub fn check(&self) -> Result<Report> {
        check_file(Arc::new(self.clone()), Path::new("memory"))
    }

    /// Opens the store on the disk, for runs in which the power stays on: writes are not recorded.
    /// Checkpoints work as on a simulated disk.
    ///
    /// # Errors
    ///
    /// The same as [`Store::open`](crate::Store::open).
    pub fn open(&self, options: &OpenOptions) -> Result<Store> {
        let options = options.clone().checkpoints(Checkpoints::ByCommits);
        options.start(Arc::new(self.clone()), Path::new("memory"))
    }
}

impl SimDisk {
    /// Creates a new, empty store durably, and opens it. Its identity and its hash key are always
    /// the same, so a seed reproduces a run.
    ///
    /// # Errors
    ///
    /// An option is invalid.
    pub fn create(options: &OpenOptions) -> Result<(Store, Self)> {
        let disk = Self::new(Vec::new());
        options.create_on(&disk)?;
        Ok((disk.open(options)?, disk))
    }

    /// Checks the store on the disk without opening it.
    ///
    /// # Errors
    ///
    /// The same as [`Store::check_file`].
    pub fn check(&self) -> Result<Report> {
        check_file(Arc::new(self.clone()), Path::new("sim"))
    }

    /// Opens the store on the disk. Commits run its checkpoints ([`Checkpoints::ByCommits`]), so a
    /// seed reproduces a run.
    ///
    /// # Errors
    ///
    /// The same as [`Store::open`](crate::Store::open).
    pub fn open(&self, options: &OpenOptions) -> Result<Store> {
        self.open_with_threads(&options.clone().checkpoints(Checkpoints::ByCommits))
    }

    /// Opens the store with checkpoints as the options say. If they run in the background, a seed
    /// does not reproduce the run.
    ///
    /// # Errors
    ///
    /// The same as [`Store::open`](crate::Store::open).
    pub fn open_with_threads(&self, options: &OpenOptions) -> Result<Store> {
        options.start(Arc::new(self.clone()), Path::new("sim"))
    }
}

impl SimMachine {
    /// Opens the store on the machine's disk in a process, which shares it with the others;
    /// otherwise the same as [`SimDisk::open`].
    ///
    /// # Errors
    ///
    /// The same as [`OpenOptions::open_shared`]; or the process was killed during the call.
    pub fn open(&self, process: &SimProcess, options: &OpenOptions) -> Result<Store> {
        let options = options.clone().checkpoints(Checkpoints::ByCommits);
        let disk = Arc::new(self.disk().seen_by(process));
        options.start_shared(disk, process.open_coordination(), Path::new("sim"))
    }
}
