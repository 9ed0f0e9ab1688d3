//! The checkpoint: brings the heap in the file up to a durable position.
//!
//! 1. L is the log's end. Flush up to L. Bring the checkpoint's image to L.
//! 2. From here on no new reader gets an image before L. Images before L that readers pin get their
//!    own copies of the pages to be written; what these exceed of readers' part of the budget goes to a
//!    file beforehand. No reader waits for that.
//! 3. Write the pages in slices, and sync each slice. How long a slice is, `pace` learns.
//! 4. Write L into the older superblock's slot, sync; then into the other slot, sync
//!    (`superblocks`).
//! 5. Free the log up to L, cut the file, release memory, prepare an image for the next readers.
//!
//! The second superblock costs one page and one sync, and frees the whole log. Without it, half of
//! the log would always be kept for the older superblock, and checkpoints, which write every page
//! that changed, would be twice as frequent.

use std::sync::Arc;
use std::sync::atomic::fence;
use std::time::{Duration, Instant};

use super::core::Core;
use super::flush_leader::SyncFor;
use super::pace::SliceTime;
use super::sharing::blocked::Patience;
use super::sharing::state::Sharing;
use super::state::Checkpointer;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::image::{Follow, Image, PageSet, Use, open_image};
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use crate::sync::{lock, sleep};

/// Pages per positioned write.
const PAGES_PER_WRITE: u64 = 64;
/// How long a checkpoint waits for readers, where it has to, and the interval between two tries.
const TIMEOUT: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(1);
/// How long `checkpoint` leaves the write lock to others while another process blocks it, and the
/// interval between two tries.
const BLOCKED_TRIES: Duration = Duration::from_secs(10);
const BETWEEN_BLOCKED_TRIES: Duration = Duration::from_millis(20);
/// How long a checkpoint of a shared store spills what readers hold.
const SPILL_TIME: Duration = Duration::from_secs(2);

/// The pages that were written since the last sync.
struct Slice {
    pages: u64,
    begun: Duration,
    /// The durable position at its begin.
    durable: u64,
}

impl Core {
    /// Brings the heap in the file up to everything committed so far. Commits continue meanwhile.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.expect_own_process()?;
        let made = self.make_checkpoint();
        self.acknowledge_visible();
        self.report_long_readers();
        made
    }

    /// Makes one under the write lock. While another process blocks it, the lock is free between two
    /// tries.
    fn make_checkpoint(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            // Others may write meanwhile. What comes of it is found out below.
            let _ = self.expect_unblocked(Patience::Short);
            let hold = self.join_write_lock()?;
            let patience = match begun.elapsed() < BLOCKED_TRIES {
                true => Patience::Short,
                false => Patience::Full,
            };
            let made = self.run_checkpoint(&mut self.lock_checkpointer(), patience);
            drop(hold);
            match made {
                Err(error) if patience == Patience::Short && self.is_put_off(&error) => {
                    sleep(BETWEEN_BLOCKED_TRIES);
                }
                made => return made,
            }
        }
    }

    /// Does the same as `checkpoint` if one is due now and no other thread is running one. The
    /// caller knew that one was due some time ago: another one may have begun since. Does nothing if
    /// another process writes at the deadline.
    pub(crate) fn checkpoint_if_due(&self, deadline: Deadline) -> Result<()> {
        let was_blocked = self.is_blocked();
        // It would be put off: not even the write lock is worth it.
        if was_blocked && let Err(error) = self.expect_unblocked_now() {
            return self.unless_put_off(Err(error));
        }
        let Some(hold) = self.join_write_lock_by(deadline)? else { return Ok(()) };
        let Some(mut checkpointer) = self.try_lock_checkpointer() else { return Ok(()) };
        // After those that were put off, one is due whatever was logged since.
        let is_overdue = was_blocked && self.is_blocked() || self.is_shortening_due();
        if !is_overdue && !self.is_checkpoint_due(&lock(&self.log)) {
            return Ok(());
        }
        let made = self.run_checkpoint(&mut checkpointer, Patience::Short);
        drop(checkpointer);
        drop(hold);
        self.report_long_readers();
        match made {
            Err(error) if self.is_put_off(&error) => Ok(()),
            made => made,
        }
    }

    /// Returns what became of a checkpoint, where one that is put off is no failure. A failure is told
    /// to who waits for memory.
    fn unless_put_off(&self, made: Result<()>) -> Result<()> {
        match made {
            Err(error) if self.is_put_off(&error) => Ok(()),
            made => made.inspect_err(|_| self.progress.note_failure()),
        }
    }

    /// Performs steps 1 to 5. A failure is told to who waits for memory.
    pub(super) fn run_checkpoint(
        &self,
        checkpointer: &mut Checkpointer,
        patience: Patience,
    ) -> Result<()> {
        let made = self.perform_steps(checkpointer, patience);
        made.inspect_err(|error| {
            if !self.is_put_off(error) {
                self.progress.note_failure();
            }
        })
    }

    fn perform_steps(&self, checkpointer: &mut Checkpointer, patience: Patience) -> Result<()> {
        self.refuse_poisoned()?;
        if !checkpointer.begun {
            return Ok(());
        }
        match patience {
            Patience::Short => self.expect_unblocked_now()?,
            Patience::Full => self.expect_unblocked(patience)?,
        }
        let (progress, begun) = (self.pace.begin(), self.disk.now());
        let end = self.flush_for_checkpoint()?;
        // Before the work whose result would be thrown away.
        self.request_barrier(end.position, patience)?;
        let (image, pages) = self.take_checkpoint_image(checkpointer, end.position)?;
        self.keep_pages_for_readers(end.position, &pages)?;
        progress.prepared(pages.len(), self.disk.now() - begun);
        self.in_order(
            Mutation::SuperblockBeforeHeap,
            || self.write_pages(&image, &pages),
            || self.advance_superblocks(checkpointer, end),
        )?;
        self.free_log(checkpointer, end.position)?;
        drop(progress);
        self.cut_file(image.heap_bytes())?;
        self.return_checkpoint_image(checkpointer, image);
        self.release_idle_writer_memory();
        if self.sharing.is_none() {
            drop(self.pool.renew(self));
        }
        self.progress.note_end();
        Ok(())
    }

    /// Brings the image that pages are written from to `position`, where the checkpoint's window
    /// begins. Returns it with the pages that changed since the last checkpoint.
    fn take_checkpoint_image(
        &self,
        checkpointer: &mut Checkpointer,
        position: u64,
    ) -> Result<(Image, Arc<PageSet>)> {
        // A new image starts at the last checkpoint. A later checkpoint that failed may have
        // written over that state; replaying the same records overwrites its pages again.
        let mut image = match checkpointer.image.take() {
            Some(image) => image,
            None => {
                let traits = self.settings.image_traits(&checkpointer.last);
                let mut image = open_image(&*self.disk, checkpointer.checkpointed(), traits)?;
                image.charge_to(&self.account, Use::Checkpoint);
                image
            }
        };
        let mut followed = PageSet::default();
        image.advance(&self.log_source(), position, &mut followed)?;
        let mut log = lock(&self.log);
        let pages = log.dirty.before(&followed);
        self.reserve_copies(&log);
        Ok((image, pages))
    }

    /// Keeps the image for the next checkpoint, and its pages if the memory budget allows it. All of
    /// them equal the file's.
    fn return_checkpoint_image(&self, checkpointer: &mut Checkpointer, mut image: Image) {
        if self.account.may_keep() || image.release_memory().is_ok() {
            checkpointer.image = Some(image);
        }
    }

    /// Performs step 2 for this process. Kernels before 5.14 cannot give a page to a pinned image;
    /// there the checkpoint waits for the readers.
    fn keep_pages_for_readers(&self, position: u64, pages: &PageSet) -> Result<()> {
        self.unless(Mutation::ReaderNotFrozen, || {
            if self.pool.lacks_room(pages.memory_bytes()) {
                self.make_room_for_readers(position, pages)?;
            }
            let begun = Instant::now();
            while let Err(error) = self.freeze_pinned_images(position, pages)? {
                let may_succeed_later = error.kind() == std::io::ErrorKind::InvalidInput;
                if !may_succeed_later || begun.elapsed() > TIMEOUT {
                    return Err(self.io_error(
                        "keep pages for a reader that holds an old snapshot (MADV_POPULATE_WRITE)",
                    )(error));
                }
                sleep(BETWEEN_TRIES);
            }
            Ok(())
        })?;
        self.readers_unreported.store(true, Release);
        Ok(())
    }

    fn freeze_pinned_images(&self, position: u64, pages: &PageSet) -> Result<std::io::Result<()>> {
        self.with_log_for_pool(|log| {
            self.prepare_images(log)?;
            Ok(self.pool.freeze_before(position, pages))
        })
    }

    /// Has pages that readers hold go to a file beside the store, as far as they would exceed their part
    /// of the budget. No lock of the images is held meanwhile. In a shared store others wait for the
    /// write lock, so it ends in time, and the next checkpoint goes on.
    fn make_room_for_readers(&self, position: u64, pages: &PageSet) -> Result<()> {
        self.with_log_for_pool(|log| {
            self.prepare_images(log)?;
            drop(self.pool.raise_floor(position));
            Ok(())
        })?;
        let begun = Instant::now();
        let go_on = || {
            self.progress.note_step();
            self.sharing.is_none() || begun.elapsed() < SPILL_TIME
        };
        self.pool.make_room(position, pages, &go_on);
        Ok(())
    }

    /// Does something with the pool and the log that its images follow.
    fn with_log_for_pool<T>(&self, act: impl FnOnce(&dyn Follow) -> Result<T>) -> Result<T> {
        let Some(sharing) = &self.sharing else { return act(self) };
        let _images = sharing.lock_images();
        act(&self.prepare_to_advance(sharing, self.visible.load(Acquire))?)
    }

    /// Sees to it that the next reader gets an image at what is visible now.
    fn prepare_images(&self, log: &dyn Follow) -> Result<()> {
        self.pool.refresh(log)?;
        // After that: it may need the nearest of them.
        drop(self.pool.release_idle());
        Ok(())
    }

    /// Performs steps 1 to 3, and returns L.
    #[cfg(test)]
    pub(crate) fn begin_checkpoint(&self) -> Result<u64> {
        let mut checkpointer = self.lock_checkpointer();
        let end = self.flush_for_checkpoint()?;
        let (image, pages) = self.take_checkpoint_image(&mut checkpointer, end.position)?;
        self.keep_pages_for_readers(end.position, &pages)?;
        self.write_pages(&image, &pages)?;
        Ok(end.position)
    }

    /// Performs step 3.
    pub(super) fn write_pages(&self, image: &Image, pages: &PageSet) -> Result<()> {
        let runs = runs_within(pages, image.heap_pages());
        let mut left: u64 = runs.iter().map(|(_, count)| count).sum();
        let mut slice = self.begin_slice();
        for (page, count) in runs {
            let bytes = image.pages(page, count)?;
            let written = self.disk.write_at(HEAP_START_BYTES + page * PAGE_BYTES, bytes);
            written.map_err(self.write_failed("write the heap"))?;
            self.progress.note_step();
            (slice.pages, left) = (slice.pages + count, left - count);
            if self.pace.is_slice(slice.pages, left) {
                self.sync_slice(&slice, left)?;
                slice = self.begin_slice();
            }
        }
        if slice.pages == 0 {
            return Ok(());
        }
        self.unless(Mutation::HeapNotSynced, || self.sync_slice(&slice, left))
    }

    fn begin_slice(&self) -> Slice {
        Slice { pages: 0, begun: self.disk.now(), durable: self.durable() }
    }

    /// Syncs a slice, after which `left` pages remain to be written.
    fn sync_slice(&self, slice: &Slice, left: u64) -> Result<()> {
        let sync = self.sync_heap(SyncFor::Checkpoint, "sync the heap")?;
        let (pages, whole) = (slice.pages, self.disk.now() - slice.begun);
        let were_flushes = self.durable() != slice.durable;
        self.pace.note_slice(SliceTime { pages, sync, whole, were_flushes }, left);
        // The thread that would flush may be this one.
        self.flush_if_due_within()
    }

    /// Frees the log before `start`. No reader needs it once idle images from before `start` are
    /// dropped, and no thread is bringing one forward.
    pub(super) fn free_log(&self, checkpointer: &Checkpointer, start: u64) -> Result<()> {
        let images = self.sharing.as_ref().map(Sharing::lock_images);
        let mut surplus = self.pool.checkpointed(checkpointer.checkpointed(), start);
        if let Some(sharing) = &self.sharing {
            surplus.extend(self.pool.release());
            // Publish `start` before anything overwrites what was freed (P4).
            sharing.page().start.store(start, SeqCst);
            fence(SeqCst);
            self.expect_connected(sharing)?;
        }
        drop(images);
        let mut log = lock(&self.log);
        log.tail.start = start;
        log.ends.end_checkpoint();
        log.dirty.superblock_moved(start);
        log.checkpoint_ended = Some(self.disk.now());
        self.reserve_copies(&log);
        self.log_freed.notify_all();
        drop(log);
        drop(surplus);
        if self.sharing.is_none() {
            self.release_readers_memory(start);
        }
        // Only now: who sees the new position finds the pages that may be released (Q2), and that
        // readers' are.
        self.checkpointed.store(start, Release);
        Ok(())
    }

    /// Gives memory of readers' images back, after a checkpoint at `start`: the file has what was changed
    /// before.
    fn release_readers_memory(&self, start: u64) {
        self.pool.release_after_checkpoint(self, start, &|| {
            self.progress.note_step();
            lock(&self.log).dirty.all()
        });
    }
}

/// Returns the runs of `pages` before the page `end`, one for each write.
fn runs_within(pages: &PageSet, end: u64) -> Vec<(u64, u64)> {
    let runs = pages.runs(PAGES_PER_WRITE).into_iter().filter(|(page, _)| *page < end);
    runs.map(|(page, count)| (page, count.min(end - page))).collect()
}
