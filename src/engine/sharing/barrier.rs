//! The barrier before a checkpoint writes pages: every process that holds snapshots first copies, for
//! its readers, the pages that change. A process that holds none is not asked.

use std::sync::atomic::Ordering::{Release, SeqCst};
use std::time::{Duration, Instant};

use super::blocked::Patience;
use super::state::{POLL_INTERVAL, Sharing};
use crate::disk::Lock;
use crate::engine::core::Core;
use crate::error::{ErrorKind, Result};
use crate::format::coordination::Slot;
use crate::image::PageSet;
use crate::mutation::Mutation;
use crate::sync::lock;

/// How long the fault `AckBeforeFreeze` waits between the two.
const UNTIL_FROZEN: Duration = Duration::from_millis(30);

impl Core {
    /// Announces that pages which changed before `position` are about to be written, and waits until
    /// every live process that may hold a snapshot has acknowledged. All before `position` is
    /// visible.
    pub(in crate::engine) fn request_barrier(
        &self,
        position: u64,
        patience: Patience,
    ) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let barrier = announce_barrier(sharing, position);
        self.unless(Mutation::BarrierNotAwaited, || {
            self.wait_for_holders(sharing, barrier, sharing.left_of(patience))
        })
    }

    fn wait_for_holders(&self, sharing: &Sharing, barrier: u64, at_most: Duration) -> Result<()> {
        let (page, begun) = (sharing.page(), Instant::now());
        for (slot, other) in sharing.all_others() {
            loop {
                let epoch = page.ack_event.epoch();
                if !self.is_awaited(sharing, slot, other, barrier)? {
                    break;
                }
                if begun.elapsed() > at_most {
                    return Err(self.note_blocked(sharing, slot, barrier));
                }
                page.ack_event.wait_after(epoch, POLL_INTERVAL);
            }
        }
        // On a private page no other process has a slot, so the loop above would prove nothing.
        self.expect_connected(sharing)?;
        sharing.note_unblocked();
        Ok(())
    }

    /// Returns whether the process in a slot may hold a snapshot and has not acknowledged. What it
    /// holds is looked at first: of a process that comes or goes meanwhile, that alone counts.
    pub(super) fn is_awaited(
        &self,
        sharing: &Sharing,
        slot: usize,
        other: &Slot,
        barrier: u64,
    ) -> Result<bool> {
        if other.holds.load(SeqCst) == 0 || other.barrier_acked.load(SeqCst) >= barrier {
            return Ok(false);
        }
        self.is_alive(sharing, slot)
    }

    /// Returns whether another process has the slot.
    pub(super) fn is_alive(&self, sharing: &Sharing, slot: usize) -> Result<bool> {
        let is_locked = sharing.coordination.is_locked_by_other(Lock::Slot(slot));
        is_locked.map_err(self.io_error("see whether another process lives"))
    }

    /// Returns whether no other process works with an image, so that the file may be cut. One that
    /// begins to after this finds `start` where it is now, and does not look past any state from
    /// there on.
    pub(in crate::engine) fn are_others_at_rest(&self) -> Result<bool> {
        let Some(sharing) = &self.sharing else { return Ok(true) };
        for (slot, other) in sharing.all_others() {
            let is_at_work = other.holds.load(SeqCst) != 0 || other.follows.load(SeqCst) != 0;
            if is_at_work && self.is_alive(sharing, slot)? {
                return Ok(false);
            }
        }
        self.expect_connected(sharing)?;
        Ok(true)
    }

    /// Answers the barriers of other processes until `stop_serving`. Runs on a dedicated thread.
    pub(crate) fn serve_others(&self) {
        let Some(sharing) = &self.sharing else { return };
        let page = sharing.page();
        let mut looked = Instant::now();
        while !sharing.is_stopping.load(SeqCst) {
            if self.expect_connected(sharing).is_err() {
                return self.release_slot_when_idle(sharing);
            }
            if looked.elapsed() >= sharing.look_interval() {
                looked = Instant::now();
                self.withdraw_if_unused(sharing);
            }
            let epoch = page.barrier_event.epoch();
            // Read the number first: its position was stored before it.
            let barrier = page.barrier_seq.load(SeqCst);
            if sharing.own().barrier_acked.load(SeqCst) >= barrier {
                page.barrier_event.wait_after(epoch, sharing.look_interval());
                continue;
            }
            match self.answer(sharing, barrier, page.barrier_position.load(SeqCst)) {
                // Nobody waits for the rest, nor for its success.
                Ok(position) => {
                    sharing.announce_following(|| drop(self.follow_barrier(sharing, position)));
                    self.make_room_for_next_barrier(sharing, barrier);
                }
                // Out of memory, for example. The requester keeps waiting, and then times out.
                Err(_) => crate::sync::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Stops `serve_others`.
    pub(crate) fn stop_serving(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.is_stopping.store(true, SeqCst);
            sharing.page().barrier_event.notify();
        }
    }

    /// Gives the snapshots behind `position` their own copies of the pages that are about to be
    /// written, and acknowledges the barrier (P3). Maps nothing. Returns `position`.
    fn answer(&self, sharing: &Sharing, barrier: u64, position: u64) -> Result<u64> {
        if self.mutation(Mutation::AckBeforeFreeze) {
            sharing.acknowledge(barrier);
            std::thread::sleep(UNTIL_FROZEN);
        }
        // A snapshot that is taken from now on is not behind it: it was visible before it was told.
        if self.is_held_before(sharing, position) {
            let changed = self.pages_to_freeze(sharing, position)?;
            let _images = sharing.lock_images();
            let frozen = self.pool.freeze_before(position, &changed);
            frozen.map_err(self.io_error("keep pages for readers"))?;
            // The program's code must not run on this thread; its next commit reports the readers.
            self.readers_unreported.store(true, Release);
        }
        self.note_held_heaps(sharing);
        self.expect_connected(sharing)?;
        sharing.acknowledge(barrier);
        Ok(position)
    }

    /// Returns whether readers of this process hold a snapshot behind `position`. Who had looked before
    /// what is visible has its snapshot once the images can be locked.
    fn is_held_before(&self, sharing: &Sharing, position: u64) -> bool {
        let _images = sharing.lock_images();
        self.pool.is_held_before(position)
    }

    /// Publishes the longest heap of the snapshots that this process holds.
    fn note_held_heaps(&self, sharing: &Sharing) {
        let _images = sharing.lock_images();
        sharing.own().heap_bytes.store(self.pool.longest_held_heap_bytes(), SeqCst);
    }

    /// Returns the pages that a checkpoint which begins at `position` may write. Reads the records that
    /// are not noted yet, and applies none.
    fn pages_to_freeze(&self, sharing: &Sharing, position: u64) -> Result<PageSet> {
        let noted_to = self.forget_checkpointed(sharing)?;
        let source = match self.mutation(Mutation::RingNotFollowed) {
            false => self.follow_ring(sharing)?,
            true => self.log_source(),
        };
        let changed = match noted_to < position {
            true => self.scan_changed_pages(&source, noted_to, position),
            false => Ok(PageSet::default()),
        };
        let is_kept = sharing.is_log_kept_from(noted_to.min(position), &source.ring);
        if !is_kept.map_err(|error| self.cut_off(&error))? {
            // The requester did not wait, and its checkpoint has ended; or the log has moved.
            return Err(ErrorKind::corrupt("log", noted_to, "records from here on", "later ones"));
        }
        let mut log = lock(&self.log);
        log.dirty.note_followed(position, &changed?);
        log.dirty.begin_window(position);
        Ok(log.dirty.all())
    }

    /// Has some of what readers hold go to a file beside the store, so that the next answer need not wait
    /// for a disk. Ends when the next barrier comes.
    fn make_room_for_next_barrier(&self, sharing: &Sharing, barrier: u64) {
        let page = sharing.page();
        let go_on = || {
            !sharing.is_stopping.load(SeqCst)
                && page.barrier_seq.load(SeqCst) == barrier
                && self.expect_connected(sharing).is_ok()
        };
        self.pool.make_some_room(&go_on);
    }

    /// Forgets the noted pages that both superblocks have passed (P4). Returns the position up to
    /// which records are noted.
    fn forget_checkpointed(&self, sharing: &Sharing) -> Result<u64> {
        let start = sharing.page().start.load(SeqCst);
        self.expect_connected(sharing)?;
        let mut log = lock(&self.log);
        log.dirty.superblock_moved(start);
        self.checkpointed.fetch_max(start, Release);
        Ok(log.dirty.noted_to())
    }

    /// Brings the images that nobody uses up to `position`, so that the next transaction finds them near
    /// the log's end. They are not waited for: if the log is overwritten first, they are dropped.
    fn follow_barrier(&self, sharing: &Sharing, position: u64) -> Result<()> {
        let mut writer = lock(&self.writer);
        self.bring_workspace_to(sharing, &mut writer, position)?;
        self.lock_checkpointer().drop_image_before(position);
        self.forget_checkpointed(sharing)?;
        let mut log = lock(&self.log);
        log.dirty.begin_window(position);
        self.reserve_copies(&log);
        drop(log);
        self.release_writer_memory(&mut writer);
        drop(writer);
        self.follow_in_pool(sharing)
    }

    fn follow_in_pool(&self, sharing: &Sharing) -> Result<()> {
        let _images = sharing.lock_images();
        drop(self.pool.release());
        if !self.pool.has_images() {
            return Ok(());
        }
        let visible = sharing.page().visible.load(SeqCst);
        self.expect_connected(sharing)?;
        let log = self.prepare_to_advance(sharing, visible)?;
        let followed = self.pool.refresh(&log);
        if !self.was_advanced_soundly(sharing, &log)? {
            drop(self.pool.forget_published());
        }
        followed
    }
}

impl Sharing {
    fn acknowledge(&self, barrier: u64) {
        self.own().barrier_acked.fetch_max(barrier, SeqCst);
        self.page().ack_event.notify();
    }
}

/// Publishes the barrier and returns its number. Each has a number of its own: the log may not
/// have grown since the last one, so by position alone a process that does not move would seem to
/// have acknowledged.
fn announce_barrier(sharing: &Sharing, position: u64) -> u64 {
    let page = sharing.page();
    page.barrier_position.fetch_max(position, SeqCst);
    let barrier = page.barrier_seq.fetch_add(1, SeqCst) + 1;
    sharing.own().barrier_acked.fetch_max(barrier, SeqCst);
    page.barrier_event.notify();
    barrier
}
