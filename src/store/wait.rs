//! Waiting for the commits of others.

use std::time::Duration;

use crate::error::Result;

use super::Store;

impl Store {
    /// Waits until readers see more than at log position `seen_position`, up to `at_most`;
    /// returns whether they do. With a snapshot's [`position`](crate::Image::position), it
    /// waits for a commit that the snapshot does not show, by another thread or, in a
    /// [shared](super::OpenOptions::open_shared) store, by another process: so two programs
    /// can talk through a store.
    ///
    /// The log can move on without a commit, so whoever waits looks again, as here:
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
