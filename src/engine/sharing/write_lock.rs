//! The write lock: one process writes at a time, with all its threads.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::{POLL_INTERVAL, Sharing, TIMEOUT};
use crate::disk::Lock;
use crate::engine::{Core, ReplayHorizon, Writer, lock};
use crate::error::{ErrorKind, Result};
use crate::image::{Checkpointed, PageSet, open_image};
use crate::log::Tail;
use crate::mutation::Mutation;
use crate::sync::atomic::Ordering::Release;

/// After this long no further transaction joins the hold: other processes want to write too.
const MAX_WRITE_LOCK_HOLD: Duration = Duration::from_millis(2);
/// How long a thread waits for others of its process before it asks whether their hold can end.
const BETWEEN_TURNS: Duration = Duration::from_millis(100);
/// How long the last holder lets another process go first.
const YIELD_WINDOW: Duration = Duration::from_millis(1);

/// State of the write lock that the threads of this process share.
#[derive(Default)]
pub(super) struct TurnState {
    /// Number of threads that hold it.
    holds: usize,
    /// Whether a thread is acquiring or releasing it.
    is_changing: bool,
    begun: Option<Instant>,
    /// The number of this process's last hold; 0 before the first.
    last: u64,
}

/// A thread's share of this process's hold of the write lock; dropping the last one releases the
/// lock. In a store that is not shared it stands for no lock.
pub(crate) struct WriteLock<'core> {
    shared: Option<&'core Core>,
}

fn lock_std<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Acquires the write lock for a new transaction, and does not join a hold that has lasted
    /// long. `expect_end` is polled to find out whether that hold can end.
    pub(crate) fn lock_write(&self, expect_end: impl Fn() -> Result<()>) -> Result<WriteLock<'_>> {
        let is_young = |turn: &TurnState| {
            turn.begun.is_some_and(|begun| begun.elapsed() < MAX_WRITE_LOCK_HOLD)
        };
        self.take_turn(is_young, || expect_end().map(|()| false))
    }

    /// Acquires the write lock for an operation that may run inside a transaction.
    pub(crate) fn join_write_lock(&self) -> Result<WriteLock<'_>> {
        self.take_turn(|_| true, || Ok(false))
    }

    /// Acquires the write lock unless another thread of this process makes `is_done` true first:
    /// then nothing is left to do. A commit that was flushed within its own hold must not wait
    /// for other processes.
    pub(crate) fn join_write_lock_unless(
        &self,
        is_done: impl Fn() -> bool,
    ) -> Result<WriteLock<'_>> {
        self.take_turn(|_| true, || Ok(is_done()))
    }

    fn take_turn(
        &self,
        may_join: impl Fn(&TurnState) -> bool,
        is_done: impl Fn() -> Result<bool>,
    ) -> Result<WriteLock<'_>> {
        let Some(sharing) = &self.sharing else { return Ok(WriteLock { shared: None }) };
        let mut turn = lock_std(&sharing.turn);
        // When another thread of this process began to wait for other processes on behalf of
        // this one; the timeout counts from there.
        let mut since = None;
        loop {
            if is_done()? {
                return Ok(WriteLock { shared: None });
            }
            if turn.is_changing || turn.holds > 0 && !may_join(&turn) {
                since = turn.is_changing.then(|| since.unwrap_or_else(Instant::now));
                let woken = sharing.turn_changed.wait_timeout(turn, BETWEEN_TURNS);
                turn = woken.unwrap_or_else(PoisonError::into_inner).0;
            } else if turn.holds > 0 {
                turn.holds += 1;
                return Ok(WriteLock { shared: Some(self) });
            } else {
                break;
            }
        }
        turn.is_changing = true;
        let last = turn.last;
        drop(turn);
        let mut entering = Entering { sharing, has_turn: None };
        let entered = self.enter_turn(sharing, last, since.unwrap_or_else(Instant::now));
        entering.has_turn = Some(entered.is_ok());
        entered.map(|()| WriteLock { shared: Some(self) })
    }

    /// Acquires the lock from the other processes, and learns what they did.
    fn enter_turn(&self, sharing: &Sharing, last: u64, since: Instant) -> Result<()> {
        self.expect_connected(sharing)?;
        self.wait_for_turn(sharing, last, since)?;
        // On failure `lock_holder` stays set: the next process takes over as after a death (P5).
        self.learn(sharing, last).inspect_err(|_| give_turn(sharing))
    }

    fn learn(&self, sharing: &Sharing, last: u64) -> Result<()> {
        let page = sharing.page();
        let own = sharing.slot as u32 + 1;
        let has_died =
            page.lock_holder.swap(own, SeqCst) != 0 && !self.mutation(Mutation::DeathNotNoticed);
        let is_last = page.turns.load(SeqCst) == last;
        self.expect_connected(sharing)?;
        match has_died {
            true => self.take_over(sharing),
            false if !is_last => self.catch_up(sharing),
            false => Ok(()),
        }
    }

    fn wait_for_turn(&self, sharing: &Sharing, last: u64, since: Instant) -> Result<()> {
        let failed = |error| self.io_error("lock the file for a turn to write", error);
        let page = sharing.page();
        if page.turns.load(SeqCst) == last {
            sharing.let_others_go_first().map_err(failed)?;
        }
        sharing.own().wants_write_lock.store(1, SeqCst);
        let taken = loop {
            let epoch = page.write_lock_event.epoch();
            if sharing.coordination.try_lock(Lock::Write).map_err(failed)? {
                break Ok(());
            }
            if since.elapsed() > TIMEOUT {
                break Err(self.in_the_way(sharing, page.lock_holder.load(SeqCst) as usize));
            }
            page.write_lock_event.wait_after(epoch, POLL_INTERVAL);
        };
        sharing.own().wants_write_lock.store(0, SeqCst);
        taken
    }

    /// Returns the error for a process, in slot `number - 1`, that does not move.
    #[cold]
    pub(super) fn in_the_way(&self, sharing: &Sharing, number: usize) -> crate::error::Error {
        let slot = number.checked_sub(1).and_then(|slot| sharing.page().slots.get(slot));
        let process = slot.map_or(0, |slot| slot.process.load(SeqCst));
        let (path, waited) = (self.path.clone(), TIMEOUT);
        ErrorKind::ProcessUnresponsive { path, process, waited }.into()
    }

    /// Learns what other processes did since this one's last hold. The last holder released in
    /// order.
    fn catch_up(&self, sharing: &Sharing) -> Result<()> {
        let words = &sharing.page().end;
        let generation = words.generation.load(SeqCst);
        let (end, prev_checksum) = (words.appended.load(SeqCst), words.prev_checksum.load(SeqCst));
        let (start, durable) = (sharing.page().start.load(SeqCst), words.durable.load(SeqCst));
        let heap_bytes = words.heap_bytes.load(SeqCst);
        let checkpoint = words.checkpoint.load(SeqCst);
        let windows = words.heap_ends.each_ref().map(|word| word.load(SeqCst));
        let is_pending = words.is_checkpoint_pending.load(SeqCst) != 0;
        let durable_room_bytes = words.durable_room_bytes.load(SeqCst);
        self.expect_connected(sharing)?;
        let mut checkpointer = lock(&self.checkpointer);
        if checkpointer.last.generation.get() != generation {
            (checkpointer.last, checkpointer.slot) = self.read_superblock()?;
        }
        checkpointer.drop_image_unless_at_last();
        let mut log = lock(&self.log);
        let ring = std::sync::Arc::clone(&log.tail.ring);
        log.tail = Tail::new(ring, checkpointer.last.epoch.get(), end, prev_checksum);
        (log.tail.start, log.tail.durable) = (start, durable);
        (log.heap_bytes, log.checkpoint) = (heap_bytes, checkpoint);
        log.ends = ReplayHorizon::of(windows, is_pending);
        self.visible.store(log.tail.visible(), Release);
        self.durable.store(log.tail.durable, Release);
        let failed = |error| self.io_error("look at the file's length", error);
        self.growth.refresh(durable_room_bytes).map_err(failed)
    }

    /// Advances the writer's image to the log's end, under the write lock.
    pub(in crate::engine) fn follow_others(&self, writer: &mut Writer) -> Result<()> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let end = self.end_of_log().position;
        self.bring_workspace_to(sharing, writer, end)
    }

    pub(super) fn bring_workspace_to(
        &self,
        sharing: &Sharing,
        writer: &mut Writer,
        position: u64,
    ) -> Result<()> {
        let image = writer.workspace.image_mut();
        let is_kept = |from| sharing.is_log_kept_from(from).map_err(|error| self.cut_off(&error));
        loop {
            let from = image.position();
            if from >= position {
                return Ok(());
            }
            let advanced = match is_kept(from)? {
                true => image.advance(&self.log_source(), position, &mut PageSet::default()),
                false => Ok(()),
            };
            // A checkpoint that did not see the slot of a new process may overtake it.
            if is_kept(from)? {
                return advanced;
            }
            let (block, _) = self.read_superblock()?;
            let (last, traits) = (Checkpointed::of(&block), self.settings.image_traits(&block));
            *image = open_image(&*self.disk, last, traits)?;
        }
    }

    /// Releases the write lock. Everything appended becomes visible first, and the page gets the
    /// log's end (P2). So no record needs a flush after its process's hold, and a thread that waits
    /// for its commit does not keep the lock.
    fn release_write_lock(&self, sharing: &Sharing) -> u64 {
        if lock(&self.log).tail.awaits_flush() {
            // A failure poisons the store in all processes.
            let _ = self.flush_all(&self.flush_leader.take());
        }
        if self.mutation(Mutation::WriteLockReleasedBeforeEnd) {
            sharing.page().lock_holder.store(0, SeqCst);
        }
        self.tell_end(sharing);
        let turns = sharing.page().turns.fetch_add(1, SeqCst) + 1;
        sharing.page().lock_holder.store(0, SeqCst);
        give_turn(sharing);
        turns
    }

    /// Publishes the log's end for the next holder.
    pub(super) fn tell_end(&self, sharing: &Sharing) {
        // Look up the page anew for each word: the process can be killed between two of them, and
        // the simulated process is.
        let end = || &sharing.page().end;
        let generation = lock(&self.checkpointer).last.generation.get();
        end().generation.store(generation, SeqCst);
        let log = lock(&self.log);
        let (windows, is_pending) = log.ends.words();
        end().appended.store(log.tail.appended, SeqCst);
        end().prev_checksum.store(log.tail.prev_checksum, SeqCst);
        end().durable.store(log.tail.durable, SeqCst);
        end().heap_bytes.store(log.heap_bytes, SeqCst);
        end().checkpoint.store(log.checkpoint, SeqCst);
        end().is_checkpoint_pending.store(u64::from(is_pending), SeqCst);
        end().durable_room_bytes.store(self.growth.durable_bytes(), SeqCst);
        for (index, value) in windows.into_iter().enumerate() {
            end().heap_ends[index].store(value, SeqCst);
        }
    }

    /// Counts the first hold, after opening as the first process.
    pub(super) fn count_first_turn(&self, sharing: &Sharing) {
        sharing.page().turns.store(1, SeqCst);
        lock_std(&sharing.turn).last = 1;
    }
}

fn give_turn(sharing: &Sharing) {
    // Unlocking a held lock cannot fail, and the kernel releases it with the process anyway.
    let _ = sharing.coordination.unlock(Lock::Write);
    sharing.page().write_lock_event.notify();
}

impl Sharing {
    /// Yields to other processes that want the write lock. The last holder is the fastest to
    /// acquire it again, because the others sleep. So it waits a while for one that wants the lock
    /// and is alive.
    fn let_others_go_first(&self) -> std::io::Result<()> {
        let page = self.page();
        let turns = page.turns.load(SeqCst);
        for (slot, other) in self.others() {
            let begun = Instant::now();
            while other.wants_write_lock.load(SeqCst) != 0 && page.turns.load(SeqCst) == turns {
                if page.lock_holder.load(SeqCst) != 0 {
                    return Ok(());
                }
                if begun.elapsed() > YIELD_WINDOW {
                    if !self.coordination.is_locked_by_other(Lock::Slot(slot))? {
                        other.wants_write_lock.store(0, SeqCst);
                    }
                    break;
                }
                std::thread::sleep(YIELD_WINDOW / 50);
            }
        }
        Ok(())
    }
}

/// A thread that acquires the lock for all threads of its process.
struct Entering<'a> {
    sharing: &'a Sharing,
    /// `None` until the outcome is known; a panic leaves it so.
    has_turn: Option<bool>,
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if self.has_turn.is_none() {
            give_turn(self.sharing);
        }
        let mut turn = lock_std(&self.sharing.turn);
        turn.is_changing = false;
        turn.holds = usize::from(self.has_turn == Some(true));
        turn.begun = Some(Instant::now());
        self.sharing.turn_changed.notify_all();
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
        let mut turn = lock_std(&sharing.turn);
        turn.holds -= 1;
        if turn.holds > 0 {
            return;
        }
        turn.is_changing = true;
        drop(turn);
        let number = core.release_write_lock(sharing);
        let mut turn = lock_std(&sharing.turn);
        turn.is_changing = false;
        turn.last = number;
        sharing.turn_changed.notify_all();
    }
}
