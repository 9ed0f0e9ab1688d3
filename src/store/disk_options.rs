//! Options about the disk: when commits are flushed.

use std::time::Duration;

use crate::error::{ErrorKind, Result};

use super::options::{Checkpoints, OpenOptions};

impl OpenOptions {
    /// Bounds how long a [`Deferred`](super::Durability::Deferred) commit stays in memory alone: a
    /// thread of the store flushes when the oldest one is that old. A power cut then takes away at
    /// most the commits of the last `interval`, and of the time that the flush takes. Default: no
    /// bound but the next durable commit, [`Store::sync`](super::Store::sync) or checkpoint.
    ///
    /// It needs [`Checkpoints::Background`], since a flush is due even if no commit follows.
    ///
    /// ```
    /// # use std::{thread::sleep, time::Duration};
    /// # use flagstone::{Durability, OpenOptions};
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let interval = Duration::from_millis(10);
    /// let options = OpenOptions::new().durability(Durability::Deferred).flush_every(interval);
    /// let store = options.open_in_memory()?;
    /// store.update(|tx| tx.alloc(1u64).map(drop))?;
    /// let position = store.read()?.position();
    /// while store.stats()?.durable_position < position {
    ///     sleep(interval);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn flush_every(mut self, interval: Duration) -> Self {
        self.flush_every = Some(interval);
        self
    }

    /// Refuses options that contradict each other.
    pub(super) fn expect_consistent(&self) -> Result<()> {
        if self.flush_every.is_none() || self.checkpoints == Checkpoints::Background {
            return Ok(());
        }
        let why = "it needs a thread of the store's own, `Checkpoints::Background`".to_string();
        Err(ErrorKind::BadOption { option: "flush_every", why }.into())
    }
}
