//! Read transactions, and the wait for something new to read.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{self, RootInfo};
use crate::error::Result;
use crate::image::{Image, Reading};
use crate::persist::{Link, Persist, Pointee};

use super::handle::Store;

/// A snapshot: the store as it was when the transaction began, for as long as the snapshot lives.
/// It never waits for a writer, and no writer waits for it.
///
/// It derefs to [`Image`], which follows links. A long-lived transaction costs memory: copies of
/// the pages that change meanwhile. It can be sent to other threads and shared between them. There
/// are two kinds: [`ReadTx`] borrows the store, [`OwnedReadTx`] keeps it open.
///
/// A snapshot that a program leaks, as with [`std::mem::forget`], keeps its memory for as long as
/// the store is open, and counts towards
/// [`OpenOptions::max_snapshots`](super::OpenOptions::max_snapshots);
/// [`Stats::oldest_reader`](super::Stats::oldest_reader) says where it began.
#[must_use = "a read transaction ends when it is dropped: keep it to read"]
pub struct Snapshot<S: Deref<Target = Store>> {
    // Dropped before `store`, which is then told, and may close when it is dropped.
    image: Reading,
    store: LeaveOnDrop<S>,
}

/// The store of a snapshot. Dropping it tells the store that the reader has left.
struct LeaveOnDrop<S: Deref<Target = Store>> {
    store: S,
    /// How many images were withdrawn before this snapshot began.
    withdrawn: u64,
}

impl<S: Deref<Target = Store>> Drop for LeaveOnDrop<S> {
    #[inline]
    fn drop(&mut self) {
        if self.store.core.withdrawn_images() != self.withdrawn {
            self.store.core.reader_left();
        }
    }
}

/// A read transaction; see [`Snapshot`].
pub type ReadTx<'store> = Snapshot<&'store Store>;

/// A read transaction that keeps its store open, for threads and tasks that outlive the caller;
/// see [`Store::read_owned`].
pub type OwnedReadTx = Snapshot<Arc<Store>>;

impl Store {
    /// Begins a read transaction that sees every commit, durable or deferred, that has returned.
    ///
    /// Takes tens of nanoseconds if nothing has changed, and threads that read do not slow each other
    /// down. While threads read, commits of other threads bring the image up to date before they return.
    /// Otherwise the first reader after them does, at tens of nanoseconds per changed line and a page
    /// fault per page: what was logged since the last read or the last checkpoint. It waits for no
    /// checkpoint and for no writer. (Of a [shared](super::OpenOptions::open_shared) store, one thread
    /// of the process at a time begins a snapshot.)
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let visits = store.update(|tx| tx.alloc(1u64))?;
    /// let before = store.read()?;
    /// store.update(|tx| tx.put(visits, 2))?;
    /// assert_eq!(before.read(visits)?, 1);
    /// assert_eq!(store.read()?.read(visits)?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The log or the file is damaged, there is no memory for an image, or readers hold too many
    /// snapshots ([`OpenOptions::max_snapshots`](super::OpenOptions::max_snapshots)).
    #[inline]
    #[track_caller]
    pub fn read(&self) -> Result<ReadTx<'_>> {
        Snapshot::begin(self)
    }

    /// Begins a read transaction, as [`read`](Self::read) does, on a store behind an `Arc`. The
    /// transaction borrows nothing, and the store closes when its last owner is dropped.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = Arc::new(flagstone::Store::in_memory()?);
    /// let link = store.update(|tx| tx.alloc(7u64))?;
    /// let tx = store.read_owned()?;
    /// drop(store);
    /// let seven = std::thread::spawn(move || tx.read(link)).join().expect("no panic")?;
    /// assert_eq!(seven, 7);
    /// # Ok(()) }
    /// ```
    ///
    /// In an async task, run long scans and durable commits under `spawn_blocking` or the like,
    /// since they wait for memory and disk: `spawn_blocking(move || scan(&tx))` takes the
    /// transaction along.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    #[track_caller]
    pub fn read_owned(self: &Arc<Self>) -> Result<OwnedReadTx> {
        Snapshot::begin(Arc::clone(self))
    }

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

impl<S: Deref<Target = Store>> Snapshot<S> {
    #[inline]
    #[track_caller]
    fn begin(store: S) -> Result<Self> {
        let image = store.core.snapshot()?;
        let withdrawn = image.withdrawn();
        Ok(Self { image, store: LeaveOnDrop { store, withdrawn } })
    }

    /// Follows a link as [`Image::get`] does, with the bounds cached in this snapshot.
    ///
    /// # Errors
    ///
    /// As for [`Image::get`].
    #[inline]
    pub fn get<P: Pointee + ?Sized>(&self, link: Link<P>) -> Result<Option<&P>> {
        match self.follow(link) {
            Some(target) => Ok(Some(target)),
            None if link.is_null() => Ok(None),
            None => Err(self.image.refusal(link)),
        }
    }

    /// Follows a link as [`Image::at`] does, with the bounds cached in this snapshot.
    ///
    /// # Errors
    ///
    /// As for [`Image::at`].
    #[inline]
    pub fn at<P: Pointee + ?Sized>(&self, link: Link<P>) -> Result<&P> {
        self.follow(link).ok_or_else(|| self.image.refusal(link))
    }

    /// Copies a value as [`Image::read`] does, with the bounds cached in this snapshot.
    ///
    /// # Errors
    ///
    /// As for [`Image::at`].
    #[inline]
    pub fn read<T: Persist + Copy>(&self, link: Link<T>) -> Result<T> {
        self.at(link).copied()
    }

    #[inline]
    fn follow<P: Pointee + ?Sized>(&self, link: Link<P>) -> Option<&P> {
        let (offset, count) = (link.offset(), link.count());
        let allows = |image: &Image| !image.is_refused(link);
        self.image.items::<P::Item>(offset, count, allows).map(P::from_items)
    }

    /// Returns the link stored as root `name`; null if it was never set. See
    /// [`root_object`](Self::root_object) for the object that it leads to.
    ///
    /// # Errors
    ///
    /// The root has another type; a type reachable from it has another layout in this program than
    /// in the store, or shares its name with another type of this program; or the name is empty.
    pub fn root<P: Pointee + ?Sized>(&self, name: &str) -> Result<Link<P>> {
        let link = catalog::root::<P>(&self.image, name)?;
        catalog::expect_known_layouts::<P::Item>(&self.image, &self.store.store.types, true)?;
        Ok(link)
    }

    /// Returns the object, or the slice, that the root `name` leads to.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// store.update(|tx| {
    ///     let visits = tx.alloc(3u64)?;
    ///     tx.set_root("visits", visits)
    /// })?;
    /// let tx = store.read()?;
    /// assert_eq!(*tx.root_object::<u64>("visits")?, 3);
    /// let error = tx.root_object::<u64>("vists").unwrap_err();
    /// assert!(error.to_string().contains("the nearest are [\"visits\"]"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`root`](Self::root) and [`at`](Self::at); and the root does not exist
    /// ([`NoSuchRoot`](crate::error::ErrorKind::NoSuchRoot), with the nearest names), or it is
    /// null ([`RootNull`](crate::error::ErrorKind::RootNull)).
    pub fn root_object<P: Pointee + ?Sized>(&self, name: &str) -> Result<&P> {
        let link = self.root::<P>(name)?;
        if link.is_null() {
            return Err(catalog::no_root_object(&self.image, name));
        }
        self.at(link)
    }

    /// Lists all roots, sorted by name.
    ///
    /// # Errors
    ///
    /// The directory of roots is damaged.
    pub fn roots(&self) -> Result<Vec<RootInfo>> {
        catalog::list_roots(&self.image)
    }
}

impl<S: Deref<Target = Store>> Deref for Snapshot<S> {
    type Target = Image;

    #[inline]
    fn deref(&self) -> &Image {
        &self.image
    }
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<ReadTx<'static>>();
    is_send_and_sync::<OwnedReadTx>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutation::Mutation;
    use crate::store::{Durability, OpenOptions};
    use std::sync::mpsc;

    /// Reads on another thread, twice, and waits for it.
    fn read_elsewhere(store: &Arc<Store>, link: Link<u64>) -> u64 {
        let (told, found) = mpsc::channel();
        let store = Arc::clone(store);
        // It is not joined: if it waited for a lock, it would wait for this thread.
        std::thread::spawn(move || {
            let read = || store.read()?.read(link);
            told.send(read().and(read()))
        });
        let value = found.recv_timeout(Duration::from_secs(20));
        value.expect("a read waits for a lock").expect("a read")
    }

    fn store() -> Result<(Arc<Store>, Link<u64>)> {
        store_with(OpenOptions::new())
    }

    fn store_with(options: OpenOptions) -> Result<(Arc<Store>, Link<u64>)> {
        let store = options.durability(Durability::Deferred).open_in_memory()?;
        let link = store.update(|tx| tx.alloc(1u64))?;
        Ok((Arc::new(store), link))
    }

    #[test]
    fn a_read_takes_no_lock_if_nothing_was_committed() -> Result<()> {
        let (store, link) = store()?;
        let _held = store.read()?;
        store.core.with_all_locks(|| assert_eq!(read_elsewhere(&store, link), 1));
        Ok(())
    }

    /// Begins a snapshot at the position of a checkpoint, while the next one begins and writes its pages.
    /// Returns how far the snapshot is behind that one.
    fn bytes_behind_a_checkpoint(options: OpenOptions) -> Result<u64> {
        let (store, link) = store_with(options)?;
        store.checkpoint()?;
        let mut position = 0;
        let reading = store.core.snapshot_interrupted(|| {
            store.update(|tx| tx.put(link, 2)).expect("a commit");
            position = store.core.begin_checkpoint().expect("a checkpoint");
        })?;
        assert_eq!(reading.read(link)?, 2, "the file shows nothing else by now");
        Ok(position.saturating_sub(reading.position()))
    }

    #[test]
    fn no_image_is_published_behind_a_checkpoint_that_has_begun() -> Result<()> {
        assert_eq!(bytes_behind_a_checkpoint(OpenOptions::new())?, 0);
        let fault = OpenOptions::new().mutation(Mutation::PublishedBehindFloor);
        assert_ne!(bytes_behind_a_checkpoint(fault)?, 0, "F4 is not tested");
        Ok(())
    }

    #[test]
    #[cfg_attr(miri, ignore = "it waits")]
    fn a_checkpoint_frees_no_log_that_a_reader_is_applying() -> Result<()> {
        let (store, link) = store()?;
        let (told, checkpoints) = mpsc::channel();
        let reading = store.core.snapshot_interrupted(|| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                store.update(|tx| tx.put(link, 2))?;
                let made = store.checkpoint();
                let _ = told.send(());
                made
            });
            let ended = checkpoints.recv_timeout(Duration::from_millis(100));
            assert!(ended.is_err(), "the log is gone, and the reader has not read it");
        })?;
        checkpoints.recv_timeout(Duration::from_secs(20)).expect("the checkpoint ends");
        assert!((1..=2).contains(&reading.read(link)?));
        assert_eq!(store.read()?.read(link)?, 2);
        Ok(())
    }

    #[test]
    fn a_read_after_a_commit_takes_no_lock_that_anybody_works_under() -> Result<()> {
        let (store, link) = store()?;
        for value in 2..5 {
            let _held = store.read()?;
            store.update(|tx| tx.put(link, value))?;
            store.core.with_working_locks(|| assert_eq!(read_elsewhere(&store, link), value));
        }
        Ok(())
    }
}
