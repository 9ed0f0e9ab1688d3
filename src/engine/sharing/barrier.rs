//! Before a checkpoint writes pages: every process keeps from its readers what changes.

use std::sync::atomic::Ordering::{Release, SeqCst};
use std::time::{Duration, Instant};

use super::{POLL_INTERVAL, Sharing, TIMEOUT};
use crate::disk::Lock;
use crate::engine::{Core, lock};
use crate::error::Result;
use crate::mutation::Mutation;

/// How long the thread that answers sleeps at most.
const CALL_INTERVAL: Duration = Duration::from_millis(100);

impl Core {
    /// Tells the others that pages are to be written which changed before `position`, and
    /// waits until all that live have answered.
    pub(in crate::engine) fn request_barrier(&self, position: u64) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let (page, own, begun) = (sharing.page(), sharing.own(), Instant::now());
        let mut pool = lock(&self.pool);
        // Its own answer stands also if others do not answer, and this checkpoint fails (P3).
        pool.forget_before(position);
        own.heap_bytes.store(pool.longest_heap_bytes(), SeqCst);
        own.floor.fetch_max(position, SeqCst);
        drop(pool);
        page.floor.store(position, SeqCst);
        // A question of its own, since nothing may have been logged after the last floor: who
        // does not move would seem to have answered.
        let barrier = page.barrier_seq.fetch_add(1, SeqCst) + 1;
        own.barrier_acked.fetch_max(barrier, SeqCst);
        page.barrier_event.notify();
        if self.mutation(Mutation::BarrierNotAwaited) {
            return Ok(());
        }
        for (slot, other) in sharing.others() {
            loop {
                let epoch = page.ack_event.epoch();
                if other.barrier_acked.load(SeqCst) >= barrier || !self.is_alive(sharing, slot)? {
                    break;
                }
                if begun.elapsed() > TIMEOUT {
                    return Err(self.in_the_way(sharing, slot + 1));
                }
                page.ack_event.wait_after(epoch, POLL_INTERVAL);
            }
        }
        // On a page of its own nobody else has a slot.
        self.expect_connected(sharing)
    }

    fn is_alive(&self, sharing: &Sharing, slot: usize) -> Result<bool> {
        let is_locked = sharing.coordination.is_locked_by_other(Lock::Slot(slot));
        is_locked.map_err(|error| self.io_error("see whether another process lives", error))
    }

    /// Answers the floors of others, until `stop_serving`; a thread of its own does so.
    pub(crate) fn serve_others(&self) {
        let Some(sharing) = &self.sharing else { return };
        let page = sharing.page();
        while !sharing.is_stopping.load(SeqCst) {
            if self.expect_connected(sharing).is_err() {
                return self.give_up(sharing);
            }
            let epoch = page.barrier_event.epoch();
            // The question first: its floor was there before it.
            let barrier = page.barrier_seq.load(SeqCst);
            if sharing.own().barrier_acked.load(SeqCst) >= barrier {
                page.barrier_event.wait_after(epoch, CALL_INTERVAL);
                continue;
            }
            match self.ack_barrier(sharing, page.floor.load(SeqCst)) {
                Ok(()) => {
                    sharing.own().barrier_acked.fetch_max(barrier, SeqCst);
                    page.ack_event.notify();
                }
                // Without memory, say: whoever asked goes on waiting, and then gives up.
                Err(_) => std::thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Ends `serve_others`.
    pub(crate) fn stop_serving(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.is_stopping.store(true, SeqCst);
            sharing.page().barrier_event.notify();
        }
    }

    /// Afterwards nothing of this process needs the log before `floor`, nor pages of the
    /// file that a record before it changes (P3).
    fn ack_barrier(&self, sharing: &Sharing, floor: u64) -> Result<()> {
        let page = sharing.page();
        let mut writer = lock(&self.writer);
        // It is this process's own turn by now: it has answered for itself.
        if sharing.own().floor.load(SeqCst) >= floor {
            return Ok(());
        }
        self.bring_workspace_to(sharing, &mut writer, floor)?;
        lock(&self.checkpointer).drop_image_before(floor);
        let source = self.log_source();
        let changed = self.pages_changed(page.start.load(SeqCst), floor)?;
        let mut pool = lock(&self.pool);
        let visible = page.visible.load(SeqCst);
        self.rebase_if_needed(&mut pool, visible)?;
        pool.prepare_checkpoint(&source, visible, floor, &changed)?
            .map_err(|error| self.io_error("keep pages for readers", error))?;
        // The program is told by its next commit: its own code has no place in this thread.
        self.readers_untold.store(true, Release);
        pool.forget_before(floor);
        sharing.own().heap_bytes.store(pool.longest_heap_bytes(), SeqCst);
        // Another floor may have been answered in a turn of this process.
        sharing.own().floor.fetch_max(floor, SeqCst);
        Ok(())
    }
}
