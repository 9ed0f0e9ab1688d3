//! Begins write transactions, and runs closures in them.
//!
//! **Owns** the order in which a writer's locks are taken, and how long a caller waits for others.
//! **Must not know** what the transaction does.

use std::time::Duration;

use crate::deadline::Deadline;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::persist::Owned;
use crate::sync::lock;

use super::handle::Store;
use super::log_move;
use super::validated::ValidatedCache;
use super::write::{WriteTx, WriterGuard};

impl Store {
    /// Begins the write transaction; waits while another thread has it. See
    /// [`try_write`](Self::try_write) and [`write_timeout`](Self::write_timeout) to wait for less.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let visits = tx.alloc(1u64)?;
    /// *tx.at_mut(visits)? += 1;
    /// tx.commit()?;
    ///
    /// let mut tx = store.write()?;
    /// tx.put(visits, 100)?;
    /// drop(tx); // without a commit: rolls back
    /// assert_eq!(store.read()?.read(visits)?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// This thread has one already; the memory budget is used up and no checkpoint gives memory back
    /// ([`ErrorKind::MemoryBudget`]); the program leaked one (`std::mem::forget`) on a thread that
    /// has ended, so that no thread can write any more ([`ErrorKind::WriterLeaked`]); the store is
    /// open to be read; another process that shares it has stopped while it writes
    /// ([`ErrorKind::ProcessUnresponsive`]); or an earlier write failed and the store is poisoned.
    pub fn write(&self) -> Result<WriteTx<'_>> {
        loop {
            if let Some(writer) = self.lock_out_writers(Deadline::NEVER)? {
                return self.begin(writer);
            }
        }
    }

    /// Begins the write transaction as [`write`](Self::write) does, unless somebody else writes:
    /// then it returns `None` at once.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let tx = store.write()?;
    /// std::thread::scope(|threads| {
    ///     let other = threads.spawn(|| store.try_write().map(|tx| tx.is_some()));
    ///     assert!(!other.join().expect("no panic")?);
    ///     tx.commit()?;
    ///     let other = threads.spawn(|| store.try_write().map(|tx| tx.is_some()));
    ///     assert!(other.join().expect("no panic")?);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// Somebody else is another thread that has the transaction. If processes
    /// [share](super::OpenOptions::open_shared) the store, it is also another process that writes or
    /// makes a checkpoint, and a checkpoint of this process that goes on for long; another process
    /// that wants to write is let in first, which takes about a millisecond. `None` also means that
    /// the memory budget is used up; then a checkpoint is asked for, and with
    /// [`Checkpoints::ByCommits`](super::Checkpoints::ByCommits) run before it returns. So it can be
    /// called again and again. But only who waits is let in by a process that writes all the time: give
    /// [`write_timeout`](Self::write_timeout) some milliseconds there.
    ///
    /// Waiting is all that it leaves out: the first transaction after opening writes to the disk, and
    /// one of a shared store reads what other processes committed, and recovers what a killed one
    /// left.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write), whoever writes: a thread that has the transaction gets
    /// [`ErrorKind::NestedWrite`] and not `None`, and a store that is poisoned or only read says so.
    pub fn try_write(&self) -> Result<Option<WriteTx<'_>>> {
        self.write_timeout(Duration::ZERO)
    }

    /// Begins the write transaction as [`write`](Self::write) does, but waits for at most `at_most`;
    /// returns `None` if somebody else still writes then. With a time of zero it is
    /// [`try_write`](Self::try_write), which says who that is; with
    /// [`Duration::MAX`] it waits for as long as `write`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let visits = store.update(|tx| tx.alloc(0u64))?;
    /// match store.write_timeout(Duration::from_millis(100))? {
    ///     Some(mut tx) => {
    ///         *tx.at_mut(visits)? += 1;
    ///         tx.commit()?;
    ///     }
    ///     None => println!("busy; try again later"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// The time bounds the waiting for others, not the work. Of a process that shares the store and
    /// is *stopped* while it writes, `write` says after ten seconds that it does not respond
    /// ([`ErrorKind::ProcessUnresponsive`]); a shorter time ends in `None`.
    ///
    /// # Errors
    ///
    /// Those of [`try_write`](Self::try_write).
    pub fn write_timeout(&self, at_most: Duration) -> Result<Option<WriteTx<'_>>> {
        let writer = self.lock_out_writers(Deadline::after(at_most))?;
        writer.map(|writer| self.begin(writer)).transpose()
    }

    /// Takes the writer's locks, in their order; `None` if one of them is another's at the deadline.
    #[inline]
    fn lock_out_writers(&self, deadline: Deadline) -> Result<Option<WriterGuard<'_>>> {
        self.core.expect_own_process()?;
        self.gate.expect_end()?;
        self.core.expect_writable()?;
        if self.core.must_wait_for_memory() && !self.wait_for_memory(deadline)? {
            return Ok(None);
        }
        let write_lock = self.core.lock_write(deadline, || self.gate.expect_end())?;
        let Some(write_lock) = write_lock else { return Ok(None) };
        let Some(passed) = self.gate.pass(&self.core, deadline)? else { return Ok(None) };
        let writer = self.core.lock_writer();
        let numbers = lock(&self.numbers);
        Ok(Some(WriterGuard { writer, numbers, _passed: passed, _write_lock: write_lock }))
    }

    #[inline]
    fn begin<'store>(&'store self, mut writer: WriterGuard<'store>) -> Result<WriteTx<'store>> {
        if self.core.begin_write(&mut writer.writer)?
            && log_move::free_stale_regions(&self.core, &mut writer.writer)?
        {
            self.start_flush_timer();
        }
        if let Some(step) = self.core.log_step_at_begin()
            && log_move::take_step(&self.core, &mut writer.writer, step)
        {
            self.start_flush_timer();
        }
        Ok(WriteTx {
            store: self,
            writer,
            durability: self.durability,
            serial: None,
            validated: ValidatedCache::default(),
            owned: Owned::default(),
            is_over: false,
        })
    }

    /// Runs `change` in a write transaction and commits it; rolls back if `change` returns an
    /// error or panics. Where `change` has errors of its own, use
    /// [`try_update`](Self::try_update).
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let visits = store.update(|tx| {
    ///     let visits = tx.alloc(0u64)?;
    ///     tx.set_root("visits", visits)?;
    ///     Ok(visits)
    /// })?;
    /// store.update(|tx| {
    ///     *tx.at_mut(visits)? += 1;
    ///     Ok(())
    /// })?;
    /// assert_eq!(store.read()?.read(visits)?, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write), of `change`, and of [`commit`](WriteTx::commit).
    pub fn update<R>(&self, change: impl FnOnce(&mut WriteTx<'_>) -> Result<R>) -> Result<R> {
        self.try_update(change)
    }

    /// Runs `change` in a write transaction as [`update`](Self::update) does, with an error type
    /// of the program's own.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = flagstone::Store::in_memory()?;
    /// let from = store.update(|tx| tx.alloc(100u64))?;
    /// let to = store.update(|tx| tx.alloc(0u64))?;
    /// let transfer = |amount: u64| -> Result<(), Box<dyn std::error::Error>> {
    ///     store.try_update(|tx| {
    ///         *tx.at_mut(to)? += amount;
    ///         let left = tx.read(from)?.checked_sub(amount).ok_or("not enough money")?;
    ///         Ok(tx.put(from, left)?)
    ///     })
    /// };
    /// transfer(30)?;
    /// assert!(transfer(200).is_err());
    /// assert_eq!(store.read()?.read(to)?, 30);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`update`](Self::update).
    pub fn try_update<R, E: From<crate::error::Error>>(
        &self,
        change: impl FnOnce(&mut WriteTx<'_>) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        let mut tx = self.write()?;
        let value = change(&mut tx)?;
        tx.commit()?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_poisoned_store_says_so_at_once_whoever_writes() -> Result<()> {
        let store = Store::in_memory()?;
        let tx = store.write()?;
        store.core.poison_writer(&ErrorKind::SavepointGone.into());
        std::thread::scope(|scope| {
            let refusals = scope.spawn(|| {
                [Duration::ZERO, Duration::MAX].map(|at_most| store.write_timeout(at_most).err())
            });
            for refusal in refusals.join().expect("no panic") {
                let refusal = refusal.expect("an error");
                assert!(matches!(refusal.kind(), ErrorKind::Poisoned { .. }), "{refusal}");
            }
        });
        drop(tx);
        Ok(())
    }
}
