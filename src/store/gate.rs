//! Who has the write transaction.
//!
//! **Owns** the order of threads before the writer's lock. **Must not know** what the writer
//! does. A lock of the standard library would do, but for transactions that a program leaks
//! (`mem::forget`): nobody gives back the lock of one whose thread has ended, and whoever waits
//! for it is to be told. It cannot be taken back for them: what was borrowed from a leaked
//! transaction may live in any thread.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use crate::engine::Core;
use crate::error::{ErrorKind, Result};
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::sync::{Condvar, Mutex, thread_local};

/// How long a thread waits before it looks whether the one that it waits for still runs.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Looks before a thread goes to sleep: a short transaction ends meanwhile.
const LOOKS: usize = if cfg!(shuttle) { 1 } else { 100 };

/// The number of the thread that was numbered last. No number is given twice; an address of
/// the thread's own is, and a `ThreadId` cannot be had as a number.
static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
/// Threads that ended without giving back what they had: what is in here was leaked.
static ENDED: std::sync::Mutex<BTreeSet<u64>> = std::sync::Mutex::new(BTreeSet::new());

thread_local! {
    /// Without a destructor, so that it can be had until the very end.
    static THREAD: Thread = const {
        let (number, held) = (Cell::new(0), Cell::new(0));
        Thread { number, held, is_watched: Cell::new(false), has_ended: Cell::new(false) }
    };
    static LIFE: Life = const { Life };
}

/// What is to be known of a thread.
struct Thread {
    /// Its number; 0 before it is asked for.
    number: Cell<u64>,
    /// Write transactions that it has, of any store.
    held: Cell<u64>,
    /// Whether its end will be noticed.
    is_watched: Cell<bool>,
    has_ended: Cell<bool>,
}

/// Goes when its thread ends.
struct Life;

impl Drop for Life {
    fn drop(&mut self) {
        THREAD.with(|thread| {
            thread.has_ended.set(true);
            if thread.held.get() > 0 {
                ended().insert(thread.number());
            }
        });
    }
}

impl Thread {
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
            // In a thread that is about to end it may be gone already.
            let _ = LIFE.try_with(|_| ());
        }
    }

    #[inline]
    fn end(&self) {
        self.held.set(self.held.get() - 1);
        if self.has_ended.get() && self.held.get() == 0 {
            // A variable of the thread's own had the transaction for longer than the thread ran.
            ended().remove(&self.number());
        }
    }
}

fn ended() -> std::sync::MutexGuard<'static, BTreeSet<u64>> {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline]
fn this_thread() -> u64 {
    THREAD.with(Thread::number)
}

/// Which thread has the write transaction, and how many wait for it.
#[derive(Default)]
pub(super) struct Gate {
    /// The thread's number; 0 for none.
    holder: AtomicU64,
    waiting: AtomicU64,
    sleepers: Mutex<()>,
    opened: Condvar,
}

/// Having passed the gate; nobody else does before it is dropped.
pub(super) struct Passed<'store> {
    gate: &'store Gate,
    core: &'store Core,
}

impl Gate {
    /// Refuses a thread that need not wait, since nobody would wake it.
    pub(super) fn expect_end(&self) -> Result<()> {
        match self.holder.load(SeqCst) {
            0 => Ok(()),
            holder if holder == this_thread() => Err(ErrorKind::NestedWrite.into()),
            holder if ended().contains(&holder) => Err(ErrorKind::WriterLeaked.into()),
            _ => Ok(()),
        }
    }

    /// Waits until no other thread has the transaction.
    #[inline]
    pub(super) fn pass<'store>(&'store self, core: &'store Core) -> Result<Passed<'store>> {
        if !self.try_take() {
            self.wait()?;
        }
        THREAD.with(Thread::begin);
        Ok(Passed { gate: self, core })
    }

    #[inline]
    fn try_take(&self) -> bool {
        self.holder.compare_exchange(0, this_thread(), SeqCst, SeqCst).is_ok()
    }

    #[cold]
    fn wait(&self) -> Result<()> {
        for _ in 0..LOOKS {
            if self.holder.load(SeqCst) == 0 && self.try_take() {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        // Said before it looks once more: whoever opens the gate looks at this after that.
        self.waiting.fetch_add(1, SeqCst);
        let taken = self.sleep();
        self.waiting.fetch_sub(1, SeqCst);
        taken
    }

    fn sleep(&self) -> Result<()> {
        let mut sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.try_take() {
                return Ok(());
            }
            self.expect_end()?;
            let woken = self.opened.wait_timeout(sleepers, POLL_INTERVAL);
            sleepers = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Somebody goes on who cannot be at the point between a look and its sleep, since it has
    /// the lock there.
    #[cold]
    fn wake_one(&self) {
        drop(self.sleepers.lock().unwrap_or_else(PoisonError::into_inner));
        self.opened.notify_one();
    }
}

impl Drop for Passed<'_> {
    #[inline]
    fn drop(&mut self) {
        THREAD.with(Thread::end);
        self.gate.holder.store(0, SeqCst);
        // A forked child has none of those that wait, and their lock may be held for ever.
        if self.gate.waiting.load(SeqCst) > 0 && self.core.is_own_process() {
            self.gate.wake_one();
        }
    }
}
