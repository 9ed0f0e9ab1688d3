//! Power cuts without a machine: stores on a simulated disk.
//!
//! **Owns** how a store is put on a simulated disk, which states a cut may leave,
//! and the looking at what it leaves. **Must not know** how the disk works
//! (`disk::sim`), nor what programs keep in stores ([`Program`]).
//!
//! A test runs a program on a disk that [records](SimDisk::record) what happens,
//! and notes in a [`History`] which states were committed when. Then [`Cuts`] cuts
//! the power at any time of the [`Recording`].

mod history;
mod power_cuts;

use std::path::Path;
use std::sync::Arc;

use crate::check::{Report, check_file};
use crate::error::Result;
use crate::store::{Checkpoints, OpenOptions, Store};

#[cfg(feature = "sim")]
pub use crate::disk::MemoryDisk;
pub use crate::disk::sim::{Call, Done, Faults, Random, SimDisk, SimMachine, SimProcess};
pub use crate::mutation::Mutation;
pub use history::History;
pub use power_cuts::{Cuts, Looked, Program, Recording, Violation};

#[cfg(feature = "sim")]
impl MemoryDisk {
    /// Looks through the store that the disk holds, without opening it.
    ///
    /// # Errors
    ///
    /// As [`Store::check_file`].
    pub fn check(&self) -> Result<Report> {
        check_file(Arc::new(self.clone()), Path::new("memory"))
    }

    /// Opens the store that the disk holds. For runs in which the power stays on:
    /// nothing is noted of what is written. Checkpoints are as with a simulated disk.
    ///
    /// # Errors
    ///
    /// As [`Store::open`](crate::Store::open).
    pub fn open(&self, options: &OpenOptions) -> Result<Store> {
        let options = options.clone().checkpoints(Checkpoints::ByCommits);
        options.start(Arc::new(self.clone()), Path::new("memory"))
    }
}

impl SimDisk {
    /// Makes a new, empty store, durably, and opens it. Its identity and its key for
    /// hashing are always the same, so that a seed repeats a run.
    ///
    /// # Errors
    ///
    /// An option that makes no sense.
    pub fn create(options: &OpenOptions) -> Result<(Store, Self)> {
        let disk = Self::new(Vec::new());
        options.create_on(&disk)?;
        Ok((disk.open(options)?, disk))
    }

    /// Looks through the store that the disk holds, without opening it.
    ///
    /// # Errors
    ///
    /// As [`Store::check_file`].
    pub fn check(&self) -> Result<Report> {
        check_file(Arc::new(self.clone()), Path::new("sim"))
    }

    /// Opens the store that the disk holds. Its checkpoints are made by commits
    /// ([`Checkpoints::ByCommits`]), so that a seed repeats a run.
    ///
    /// # Errors
    ///
    /// As [`Store::open`](crate::Store::open).
    pub fn open(&self, options: &OpenOptions) -> Result<Store> {
        self.open_with_threads(&options.clone().checkpoints(Checkpoints::ByCommits))
    }

    /// The same with checkpoints as the options have them, which may be in the
    /// background: then no seed repeats a run.
    ///
    /// # Errors
    ///
    /// As [`Store::open`](crate::Store::open).
    pub fn open_with_threads(&self, options: &OpenOptions) -> Result<Store> {
        options.start(Arc::new(self.clone()), Path::new("sim"))
    }
}

impl SimMachine {
    /// Opens the store on the machine's disk in a process, which shares it with the others;
    /// otherwise as [`SimDisk::open`].
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open_shared`]; or the process was killed on the way.
    pub fn open(&self, process: &SimProcess, options: &OpenOptions) -> Result<Store> {
        let options = options.clone().checkpoints(Checkpoints::ByCommits);
        let disk = Arc::new(self.disk_of(process));
        options.start_shared(disk, process.open_coordination(), Path::new("sim"))
    }
}
