//! Moves of the log at a time that a test chooses.

use crate::error::Result;
use crate::store::Store;

/// Moves the log of a store to a region of `bytes`, unless it is as long already, before any other
/// process can write.
///
/// ```
/// # use flagstone::{OpenOptions, sim::{SimDisk, SimMachine, grow_log}};
/// # fn main() -> Result<(), flagstone::Error> {
/// let options = OpenOptions::new().log_bytes(64 * 1024);
/// let (store, disk) = SimDisk::create(&options)?;
/// drop(store);
/// let machine = SimMachine::new(disk);
/// let (store, other) =
///     (machine.open(&machine.start(), &options)?, machine.open(&machine.start(), &options)?);
/// grow_log(&store, 256 * 1024)?;
/// other.update(|tx| tx.alloc(1u64).map(drop))?;
/// assert_eq!(other.stats()?.log_bytes, 256 * 1024);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// No transaction can begin; or the disk fails, and the log stays where it is.
pub fn grow_log(store: &Store, bytes: u64) -> Result<()> {
    store.grow_log(bytes)
}
