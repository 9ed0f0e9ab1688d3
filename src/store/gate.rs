//! Admits one thread at a time to the write transaction.
//!
//! **Owns** the order of threads in front of the writer's mutex. **Must not know** what the writer
//! does.
//!
//! A standard mutex would do, except for leaked transactions (`mem::forget`): if the thread that
//! leaked one has ended, nothing ever unlocks the mutex, and the waiting threads must get an error
//! instead. The lock cannot be released for them either: references borrowed from the leaked
//! transaction may live in any thread.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::engine::Core;
use crate::error::{ErrorKind, Result};
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::sync::{Condvar, Mutex, lock, thread_local, unpoisoned};

/// How often a waiting thread checks whether the holder's thread still runs.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Spins before a thread goes to sleep, enough for a short transaction to end.
const MAX_SPINS: usize = if cfg!(shuttle) { 1 } else { 100 };

/// The last thread number handed out. Numbers are never reused, whereas the address of a
/// thread-local is, and a `ThreadId` has no stable numeric form.
static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
/// Threads that ended while they held a transaction, and so leaked it.
static ENDED: std::sync::Mutex<BTreeSet<u64>> = std::sync::Mutex::new(BTreeSet::new());

thread_local! {
    /// Has no destructor, so that it stays accessible until the thread's very end.
    static THREAD: Thread = const { Thread::new() };
    static LIFE: Life = const { Life };
}

/// Per-thread state.
struct Thread {
    /// The thread's number; 0 until it is first needed.
    number: Cell<u64>,
    /// Write transactions that the thread holds, on any store.
    held: Cell<u64>,
    /// Whether `Life` is registered, so that the thread's end is noticed.
    is_watched: Cell<bool>,
    has_ended: Cell<bool>,
}

/// Runs its destructor when the thread ends.
struct Life;

impl Drop for Life {
    fn drop(&mut self) {
        // The checker of schedules runs destructors of its own for it.
        let _ = THREAD.try_with(|thread| {
            thread.has_ended.set(true);
            if thread.held.get() > 0 {
                ended().insert(thread.number());
            }
        });
    }
}

impl Thread {
    const fn new() -> Self {
        let (number, held) = (Cell::new(0), Cell::new(0));
        Self { number, held, is_watched: Cell::new(false), has_ended: Cell::new(false) }
    }

    #[inline]
    fn number(&self) -> u64 {
        match self.number.get() {
            0 => self.take_number(),
            number => number,
        }
    }

    #[cold]
    fn take_number(&self) -> u64 {
        self.number.set(LAST.fetch_add(1, SeqCst) + 1);
        self.number.get()
    }

    #[inline]
    fn begin(&self) {
        self.held.set(self.held.get() + 1);
        if !self.is_watched.replace(true) {
            // While the thread ends, `LIFE` may be destroyed already.
            let _ = LIFE.try_with(|_| ());
        }
    }

    #[inline]
    fn end(&self) {
        self.held.set(self.held.get() - 1);
        if self.has_ended.get() && self.held.get() == 0 {
            // Another thread-local owned the transaction and was destroyed after `LIFE`.
            ended().remove(&self.number());
        }
    }
}

fn ended() -> std::sync::MutexGuard<'static, BTreeSet<u64>> {
    unpoisoned(ENDED.lock())
}

#[inline]
fn this_thread() -> u64 {
    THREAD.with(Thread::number)
}

/// Records which thread holds the write transaction, and how many wait for it.
#[derive(Default)]
pub(super) struct Gate {
    /// The holder's thread number; 0 if the gate is open.
    holder: AtomicU64,
    waiting: AtomicU64,
    sleepers: Mutex<()>,
    opened: Condvar,
}

/// Proof that this thread passed the gate; dropping it lets the next thread in.
pub(super) struct Passed<'store> {
    gate: &'store Gate,
    core: &'store Core,
}

impl Gate {
    /// Refuses a thread that would wait for itself or for a leaked transaction: no other thread
    /// would wake it.
    pub(super) fn expect_end(&self) -> Result<()> {
        match self.holder.load(SeqCst) {
            0 => Ok(()),
            holder if holder == this_thread() => Err(ErrorKind::NestedWrite.into()),
            holder if ended().contains(&holder) => Err(ErrorKind::WriterLeaked.into()),
            _ => Ok(()),
        }
    }

    /// Waits until no other thread holds the transaction; `None` if one does at the deadline.
    #[inline]
    pub(super) fn pass<'store>(
        &'store self,
        core: &'store Core,
        deadline: Deadline,
    ) -> Result<Option<Passed<'store>>> {
        if !self.try_take() && !self.wait(deadline)? {
            return Ok(None);
        }
        THREAD.with(Thread::begin);
        Ok(Some(Passed { gate: self, core }))
    }

    #[inline]
    fn try_take(&self) -> bool {
        self.holder.compare_exchange(0, this_thread(), SeqCst, SeqCst).is_ok()
    }

    /// Takes the gate once it is open; returns whether that was before the deadline.
    #[cold]
    fn wait(&self, deadline: Deadline) -> Result<bool> {
        for _ in 0..MAX_SPINS {
            if self.holder.load(SeqCst) == 0 && self.try_take() {
                return Ok(true);
            }
            std::hint::spin_loop();
        }
        // Count this thread before it checks `holder` again: a dropped `Passed` clears `holder`
        // first and reads `waiting` second. In the opposite order, both could miss each other and
        // the wake-up would be lost.
        self.waiting.fetch_add(1, SeqCst);
        let taken = self.sleep(deadline);
        self.waiting.fetch_sub(1, SeqCst);
        taken
    }

    fn sleep(&self, deadline: Deadline) -> Result<bool> {
        let mut sleepers = lock(&self.sleepers);
        loop {
            // Before the deadline is looked at: the thread that was woken last may have passed it,
            // and nobody else is woken for this opening of the gate.
            if self.try_take() {
                return Ok(true);
            }
            self.expect_end()?;
            if deadline.has_passed() {
                return Ok(false);
            }
            let at_most = deadline.left(POLL_INTERVAL);
            sleepers = unpoisoned(self.opened.wait_timeout(sleepers, at_most)).0;
        }
    }

    /// Wakes one waiting thread. Takes the lock first: a waiter holds it between its check and its
    /// sleep, so the notification cannot fall in between and get lost.
    #[cold]
    fn wake_one(&self) {
        drop(lock(&self.sleepers));
        self.opened.notify_one();
    }
}

impl Drop for Passed<'_> {
    #[inline]
    fn drop(&mut self) {
        THREAD.with(Thread::end);
        self.gate.holder.store(0, SeqCst);
        // In a forked child there are no waiting threads, and the lock may be held for ever.
        if self.gate.waiting.load(SeqCst) > 0 && self.core.is_own_process() {
            self.gate.wake_one();
        }
    }
}
