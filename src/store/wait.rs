//! Waits for the commits of other threads and processes.

use std::time::Duration;

use crate::error::Result;

use super::Store;

impl Store {
    /// Waits, for at most `at_most`, until readers can see past log position `seen_position`;
    /// returns whether they can. Given a snapshot's [`position`](crate::Image::position), it waits
    /// for a commit that the snapshot does not show, by another thread or, in a
    /// [shared](super::OpenOptions::open_shared) store, by another process. Two programs can thus
    /// talk through a store.
    ///
    /// The log can advance without a commit, so check the condition again after each wait:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let link = store.update(|tx| tx.alloc(0u64))?;
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| store.update(|tx| tx.put(link, 7)));
    ///     loop {
    ///         let tx = store.read()?;
    ///         if tx.read(link)? == 7 {
    ///             break Ok(());
    ///         }
    ///         store.wait_for_commit(tx.position(), Duration::from_secs(1))?;
    ///     }
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A write failed, here or in another process: no commit will come.
    pub fn wait_for_commit(&self, seen_position: u64, at_most: Duration) -> Result<bool> {
        self.core.wait_for_commit(seen_position, at_most)
    }
}
