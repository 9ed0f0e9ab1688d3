//! Power cuts in software: stores on a simulated disk.
//!
//! **Owns** the simulated disk and machine, the creation of stores on them, the states that a cut may
//! leave, and the check of the state that it left. **Must not know** what programs keep in stores
//! ([`Program`]).
//!
//! A test runs a program on a disk that [records](SimDisk::record) its events, and notes in a
//! [`History`] which states were committed when. Then [`Cuts`] cuts the power at any time of the
//! [`Recording`].

mod dirty_pages;
mod disk;
mod faults;
mod grow_log;
mod history;
mod machine;
mod media;
mod open;
mod power_cuts;
mod process;
mod random;

#[cfg(feature = "sim")]
pub use crate::disk::MemoryDisk;
pub use crate::mutation::Mutation;
pub use dirty_pages::{DirtyPages, dirty_pages};
pub use disk::SimDisk;
pub use faults::{Call, Done, Faults};
pub use grow_log::grow_log;
pub use history::History;
pub use machine::SimMachine;
pub use power_cuts::{Cuts, Looked, Program, Recording, Violation};
pub use process::SimProcess;
pub use random::Random;
