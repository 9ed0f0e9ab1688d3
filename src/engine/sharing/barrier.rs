//! The barrier before a checkpoint writes pages: every process first copies, for its readers, the
//! pages that change.

use std::sync::atomic::Ordering::{Release, SeqCst};
use std::time::{Duration, Instant};

use super::state::{POLL_INTERVAL, Sharing, TIMEOUT};
use crate::disk::Lock;
use crate::engine::core::Core;
use crate::error::Result;
use crate::image::PageSet;
use crate::mutation::Mutation;
use crate::sync::lock;

/// Longest sleep of the thread that acknowledges barriers.
const CALL_INTERVAL: Duration = Duration::from_millis(100);

impl Core {
    /// Announces that pages which changed before `position` are about to be written, and waits
    /// until every live process has acknowledged.
    pub(in crate::engine) fn request_barrier(&self, position: u64) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        self.ack_own_barrier(sharing, position);
        let barrier = announce_barrier(sharing, position);
        self.unless(Mutation::BarrierNotAwaited, || self.wait_for_acks(sharing, barrier))
    }

    /// This process's own acknowledgement stands even if others fail to acknowledge and the
    /// checkpoint fails (P3).
    fn ack_own_barrier(&self, sharing: &Sharing, position: u64) {
        let mut pool = lock(&self.pool);
        pool.forget_before(position);
        let own = sharing.own();
        own.heap_bytes.store(pool.longest_heap_bytes(), SeqCst);
        own.acked_position.fetch_max(position, SeqCst);
    }

    fn wait_for_acks(&self, sharing: &Sharing, barrier: u64) -> Result<()> {
        let (page, begun) = (sharing.page(), Instant::now());
        for (slot, other) in sharing.others() {
            loop {
                let epoch = page.ack_event.epoch();
                if other.barrier_acked.load(SeqCst) >= barrier || !self.is_alive(sharing, slot)? {
                    break;
                }
                if begun.elapsed() > TIMEOUT {
                    return Err(self.unresponsive(sharing, slot + 1));
                }
                page.ack_event.wait_after(epoch, POLL_INTERVAL);
            }
        }
        // On a private page no other process has a slot, so the loop above would prove nothing.
        self.expect_connected(sharing)
    }

    fn is_alive(&self, sharing: &Sharing, slot: usize) -> Result<bool> {
        let is_locked = sharing.coordination.is_locked_by_other(Lock::Slot(slot));
        is_locked.map_err(self.io_error("see whether another process lives"))
    }

    /// Acknowledges the barriers of other processes until `stop_serving`. Runs on a dedicated
    /// thread.
    pub(crate) fn serve_others(&self) {
        let Some(sharing) = &self.sharing else { return };
        let page = sharing.page();
        while !sharing.is_stopping.load(SeqCst) {
            if self.expect_connected(sharing).is_err() {
                return self.release_slot_when_idle(sharing);
            }
            let epoch = page.barrier_event.epoch();
            // Read the number first: its position was stored before it.
            let barrier = page.barrier_seq.load(SeqCst);
            if sharing.own().barrier_acked.load(SeqCst) >= barrier {
                page.barrier_event.wait_after(epoch, CALL_INTERVAL);
                continue;
            }
            match self.ack_barrier(sharing, page.barrier_position.load(SeqCst)) {
                Ok(()) => {
                    sharing.own().barrier_acked.fetch_max(barrier, SeqCst);
                    page.ack_event.notify();
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

    /// Prepares this process for a barrier. Afterwards it needs neither the log before `barrier` nor
    /// the pages in the file that a record before `barrier` changes (P3).
    fn ack_barrier(&self, sharing: &Sharing, barrier: u64) -> Result<()> {
        let page = sharing.page();
        let mut writer = lock(&self.writer);
        // This process may hold the write lock by now, and has then acknowledged for itself.
        if sharing.own().acked_position.load(SeqCst) >= barrier {
            return Ok(());
        }
        self.bring_workspace_to(sharing, &mut writer, barrier)?;
        self.lock_checkpointer().drop_image_before(barrier);
        let source = self.log_source();
        let start = page.start.load(SeqCst);
        self.expect_connected(sharing)?;
        let changed = self.begin_others_window(start, barrier);
        self.release_writer_memory(&mut writer);
        let mut pool = lock(&self.pool);
        let unused = pool.take_unheld();
        let visible = page.visible.load(SeqCst);
        self.rebase_if_needed(&mut pool, visible)?;
        pool.prepare_checkpoint(&source, visible, barrier, &changed)?
            .map_err(self.io_error("keep pages for readers"))?;
        // The program's code must not run on this thread; its next commit reports the readers.
        self.readers_unreported.store(true, Release);
        pool.forget_before(barrier);
        sharing.own().heap_bytes.store(pool.longest_heap_bytes(), SeqCst);
        // This process may meanwhile have acknowledged another position while it held the write
        // lock.
        sharing.own().acked_position.fetch_max(barrier, SeqCst);
        drop(pool);
        drop(unused);
        Ok(())
    }

    /// Splits the noted pages where another process's checkpoint begins, and returns those that it
    /// may write: what changed since `start`, which both superblocks have passed (P4).
    fn begin_others_window(&self, start: u64, barrier: u64) -> PageSet {
        let mut log = lock(&self.log);
        log.dirty.superblock_moved(start);
        self.checkpointed.fetch_max(start, Release);
        log.dirty.begin_window(barrier);
        self.reserve_copies(&log);
        log.dirty.all()
    }
}

/// Publishes the barrier and returns its number. Each has a number of its own: the log may not have
/// grown since the last one, so by position alone a process that does not move would seem to have
/// acknowledged.
fn announce_barrier(sharing: &Sharing, position: u64) -> u64 {
    let page = sharing.page();
    page.barrier_position.store(position, SeqCst);
    let barrier = page.barrier_seq.fetch_add(1, SeqCst) + 1;
    sharing.own().barrier_acked.fetch_max(barrier, SeqCst);
    page.barrier_event.notify();
    barrier
}
