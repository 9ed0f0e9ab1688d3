//! The write lock: one process writes at a time, with all its threads.
//!
//! **Owns** the way from one holder to the next: waiting, taking over or catching up, and the
//! release (P1, P2, P5). **Must not know** how the threads of this process share it (`hold`).

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::hold::Joined;
use super::state::{HoldState, POLL_INTERVAL, Sharing};
use crate::deadline::Deadline;
use crate::disk::Lock;
use crate::engine::core::Core;
use crate::engine::flush_leader::SyncFor;
use crate::error::{Error, ErrorKind, Result};
use crate::mutation::Mutation;
use crate::sync::lock;

/// After this long no further transaction joins the hold: other processes want to write too.
/// (A checker of schedules does not depend on the clock.)
const MAX_WRITE_LOCK_HOLD: Duration =
    Duration::from_millis(if cfg!(shuttle) { 3_600_000 } else { 2 });
/// How long a process may take the lock again and again while another one wants it. Waking the other
/// one takes a good part of a durable commit's time; this makes it a few percent.
const TURN: Duration = Duration::from_millis(if cfg!(shuttle) { 0 } else { 2 });
/// How long the last holder lets another process go first.
const YIELD_WINDOW: Duration = Duration::from_millis(1);

/// A thread's share of this process's hold of the write lock; dropping the last one releases the
/// lock. In a store that is not shared it stands for no lock.
pub(crate) struct WriteLock<'core> {
    shared: Option<&'core Core>,
}

impl Core {
    /// Acquires the write lock for a new transaction, and does not join a hold that has lasted
    /// long. `expect_end` is polled to find out whether that hold can end. Returns `None` if another
    /// thread or process has the lock at the deadline.
    pub(crate) fn lock_write(
        &self,
        deadline: Deadline,
        expect_end: impl Fn() -> Result<()>,
    ) -> Result<Option<WriteLock<'_>>> {
        let is_young = |hold: &HoldState| {
            hold.begun.is_some_and(|begun| begun.elapsed() < MAX_WRITE_LOCK_HOLD)
        };
        self.acquire_write_lock_by(deadline, is_young, || expect_end().map(|()| false))
    }

    /// Acquires the write lock as [`join_write_lock`](Self::join_write_lock) does; `None` if another
    /// process has it at the deadline, or another thread acquires or releases it.
    pub(in crate::engine) fn join_write_lock_by(
        &self,
        deadline: Deadline,
    ) -> Result<Option<WriteLock<'_>>> {
        self.acquire_write_lock_by(deadline, |_| true, || Ok(false))
    }

    /// Acquires the write lock for an operation that may run inside a transaction.
    pub(crate) fn join_write_lock(&self) -> Result<WriteLock<'_>> {
        self.acquire_write_lock(|_| true, || Ok(false))
    }

    /// Acquires the write lock unless another thread of this process makes `is_done` true first:
    /// then nothing is left to do. A commit that was flushed within its own hold must not wait
    /// for other processes.
    pub(crate) fn join_write_lock_unless(
        &self,
        is_done: impl Fn() -> bool,
    ) -> Result<WriteLock<'_>> {
        self.acquire_write_lock(|_| true, || Ok(is_done()))
    }

    fn acquire_write_lock(
        &self,
        may_join: impl Fn(&HoldState) -> bool,
        is_done: impl Fn() -> Result<bool>,
    ) -> Result<WriteLock<'_>> {
        loop {
            if let Some(acquired) =
                self.acquire_write_lock_by(Deadline::NEVER, &may_join, &is_done)?
            {
                return Ok(acquired);
            }
        }
    }

    fn acquire_write_lock_by(
        &self,
        deadline: Deadline,
        may_join: impl Fn(&HoldState) -> bool,
        is_done: impl Fn() -> Result<bool>,
    ) -> Result<Option<WriteLock<'_>>> {
        let Some(sharing) = &self.sharing else { return Ok(Some(WriteLock { shared: None })) };
        match sharing.join_hold(deadline, may_join, is_done)? {
            Joined::NothingToDo => Ok(Some(WriteLock { shared: None })),
            Joined::Hold => Ok(Some(WriteLock { shared: Some(self) })),
            Joined::TooLate => Ok(None),
            Joined::Nothing { last, since } => self.begin_hold(sharing, deadline, last, since),
        }
    }

    /// Acquires the lock for all threads of this process. If the deadline passes first, the other
    /// threads are woken, and one of those that still wait does it.
    fn begin_hold(
        &self,
        sharing: &Sharing,
        deadline: Deadline,
        last: u64,
        since: Instant,
    ) -> Result<Option<WriteLock<'_>>> {
        let mut acquiring = Acquiring { sharing, has_lock: None };
        let acquired = self.lock_out_others(sharing, deadline, last, since);
        acquiring.has_lock = Some(matches!(acquired, Ok(true)));
        // Made only if the lock was acquired: dropping a `WriteLock` leaves a hold.
        Ok(acquired?.then(|| WriteLock { shared: Some(self) }))
    }

    /// Acquires the lock from the other processes, and learns what they did. Returns whether it did
    /// so before the deadline.
    fn lock_out_others(
        &self,
        sharing: &Sharing,
        deadline: Deadline,
        last: u64,
        since: Instant,
    ) -> Result<bool> {
        self.refuse_poisoned()?;
        if !self.wait_for_lock(sharing, deadline, last, since)? {
            return Ok(false);
        }
        // On failure `lock_holder` stays set: the next process takes over as after a death (P5).
        self.learn_of_others(sharing, last).inspect_err(|_| unlock_write(sharing))?;
        Ok(true)
    }

    fn learn_of_others(&self, sharing: &Sharing, last: u64) -> Result<()> {
        let page = sharing.page();
        let own = sharing.slot as u32 + 1;
        let has_died =
            page.lock_holder.swap(own, SeqCst) != 0 && !self.mutation(Mutation::DeathNotNoticed);
        let is_last = page.write_lock_seq.load(SeqCst) == last;
        self.expect_connected(sharing)?;
        if !is_last {
            sharing.end_turn();
        }
        match has_died {
            true => self.take_over(sharing),
            false if !is_last => self.catch_up(sharing),
            false => Ok(()),
        }
    }

    fn wait_for_lock(
        &self,
        sharing: &Sharing,
        deadline: Deadline,
        last: u64,
        since: Instant,
    ) -> Result<bool> {
        let failed = |error| self.io_error("take the write lock of the file")(error);
        let page = sharing.page();
        let is_own_turn = page.write_lock_seq.load(SeqCst) == last;
        if is_own_turn && sharing.has_turn_lasted(TURN) {
            sharing.end_turn();
            sharing.yield_to_others().map_err(failed)?;
        }
        sharing.own().wants_write_lock.store(1, SeqCst);
        let taken = loop {
            let epoch = page.write_lock_event.epoch();
            if sharing.coordination.try_lock(Lock::Write).map_err(failed)? {
                break Ok(true);
            }
            if since.elapsed() > sharing.patience() {
                break Err(self.unresponsive(sharing, page.lock_holder.load(SeqCst) as usize));
            }
            if deadline.has_passed() {
                break Ok(false);
            }
            page.write_lock_event.wait_after(epoch, deadline.left(POLL_INTERVAL));
        };
        sharing.own().wants_write_lock.store(0, SeqCst);
        taken
    }

    /// Returns the error for a process, in slot `number - 1`, that does not move.
    #[cold]
    pub(super) fn unresponsive(&self, sharing: &Sharing, number: usize) -> Error {
        let slot = number.checked_sub(1).and_then(|slot| sharing.page().slots.get(slot));
        let process = slot.map_or(0, |slot| slot.process.load(SeqCst));
        let (path, waited) = (self.path.clone(), sharing.patience());
        ErrorKind::ProcessUnresponsive { path, process, waited }.into()
    }

    /// Releases the write lock. Everything appended becomes visible first, and the page gets the
    /// log's end (P2). So no record needs a flush after its process's hold, and a thread that waits
    /// for its commit does not keep the lock.
    ///
    /// After a failed write, `lock_holder` stays set: the next process takes over as after a death
    /// (P5).
    fn release_write_lock(&self, sharing: &Sharing) -> u64 {
        if lock(&self.log).tail.awaits_flush() {
            // A failure poisons the store in all processes.
            let _ = self.flush_all(&self.flush_leader.take(SyncFor::Commits));
        }
        if self.poison.is_set() {
            unlock_write(sharing);
            return 0;
        }
        if self.mutation(Mutation::WriteLockReleasedBeforeEnd) {
            sharing.page().lock_holder.store(0, SeqCst);
        }
        self.publish_end(sharing);
        let seq = sharing.page().write_lock_seq.fetch_add(1, SeqCst) + 1;
        sharing.page().lock_holder.store(0, SeqCst);
        unlock_write(sharing);
        seq
    }
}

fn unlock_write(sharing: &Sharing) {
    // Unlocking a held lock cannot fail, and the kernel releases it with the process anyway.
    let _ = sharing.coordination.unlock(Lock::Write);
    sharing.page().write_lock_event.notify();
}

impl Sharing {
    /// Yields to other processes that want the write lock. The last holder is the fastest to
    /// acquire it again, because the others sleep. So it waits a while for one that wants the lock
    /// and is alive.
    fn yield_to_others(&self) -> std::io::Result<()> {
        let page = self.page();
        let seq = page.write_lock_seq.load(SeqCst);
        for (slot, other) in self.others() {
            let begun = Instant::now();
            while other.wants_write_lock.load(SeqCst) != 0
                && page.write_lock_seq.load(SeqCst) == seq
            {
                if page.lock_holder.load(SeqCst) != 0 {
                    return Ok(());
                }
                if begun.elapsed() > YIELD_WINDOW {
                    if !self.coordination.is_locked_by_other(Lock::Slot(slot))? {
                        other.wants_write_lock.store(0, SeqCst);
                    }
                    break;
                }
                crate::sync::sleep(YIELD_WINDOW / 50);
            }
        }
        Ok(())
    }
}

/// A thread that acquires the lock for all threads of its process.
struct Acquiring<'a> {
    sharing: &'a Sharing,
    /// `None` until the outcome is known; a panic leaves it so.
    has_lock: Option<bool>,
}

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        if self.has_lock.is_none() {
            unlock_write(self.sharing);
        }
        self.sharing.note_acquired(self.has_lock == Some(true));
    }
}

impl Drop for WriteLock<'_> {
    fn drop(&mut self) {
        let Some(core) = self.shared else { return };
        let Some(sharing) = &core.sharing else { return };
        // A forked child has a copy of the descriptor, and would release its parent's lock.
        if !core.is_own_process() {
            return;
        }
        if sharing.leave_hold() {
            let number = core.release_write_lock(sharing);
            sharing.note_released(number);
        }
    }
}
