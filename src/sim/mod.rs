//! Power cuts without a machine: stores on a simulated disk.
//!
//! **Owns** how a store is put on a simulated disk, which states a cut may leave,
//! and the looking at what it leaves. **Must not know** how the disk works
//! (`disk::sim`), nor what programs keep in stores ([`Program`]).
//!
//! A test runs a program on a disk that [records](SimDisk::record) what happens,
//! and notes in a [`History`] which states were committed when. Then [`Cuts`] cuts
//! the power at any time of the [`Recording`].

mod cuts;
mod history;

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::store::{OpenOptions, Store};

pub use crate::disk::sim::{Call, Done, Faults, Random, SimDisk};
pub use crate::plant::Plant;
pub use cuts::{Cuts, Looked, Program, Recording, Violation};
pub use history::History;

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

    /// Opens the store that the disk holds.
    ///
    /// # Errors
    ///
    /// As [`Store::open`](crate::Store::open).
    pub fn open(&self, options: &OpenOptions) -> Result<Store> {
        options.start(Arc::new(self.clone()), Path::new("sim"))
    }
}
