//! Who has the store open.

use crate::engine::ProcessInfo;
use crate::error::Result;

use super::handle::Store;

impl Store {
    /// Lists the processes that have the store open: since when, and with which oldest snapshot.
    ///
    /// Of a store that is not [shared](super::OpenOptions::open_shared), that is this one. Of other
    /// processes, snapshots are as they were up to a fifth of a second ago; of one that is stopped, as
    /// they were then, and their age goes on. A process that
    /// [`ProcessUnresponsive`](crate::ErrorKind::ProcessUnresponsive) names holds the snapshot that
    /// a checkpoint waits for, or the write lock.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let tx = store.read()?;
    /// let [process] = &store.processes()?[..] else { panic!("nobody else has it") };
    /// assert_eq!((process.id, process.is_this), (std::process::id(), true));
    /// assert_eq!(process.oldest_snapshot.expect("one").position, tx.position());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The locks of the other processes cannot be looked at.
    pub fn processes(&self) -> Result<Vec<ProcessInfo>> {
        self.core.processes()
    }
}
