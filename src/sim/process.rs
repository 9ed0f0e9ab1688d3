//! A process on a simulated disk, which can be killed before any of its calls, and the memory and
//! locks that it shares with the other processes of its machine.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use zerocopy::FromZeros;

use super::faults::Call;
use crate::disk::{Coordination, Lock};
use crate::format::coordination::CoordinationPage;
use crate::sync::unpoisoned;

/// The memory and locks that the processes of a machine share until the power is cut.
pub(super) struct Shared {
    page: Box<CoordinationPage>,
    /// The holder of each lock.
    locks: Mutex<HashMap<Lock, u64>>,
    patience: Mutex<Duration>,
}

/// A call of one thread, before which the process stands still.
struct Pause {
    thread: ThreadId,
    calls_left: u64,
    /// What others do meanwhile.
    meanwhile: Box<dyn FnOnce() + Send>,
}

/// A process of a [`SimMachine`](super::SimMachine).
#[derive(Clone)]
pub struct SimProcess {
    number: u64,
    shared: Arc<Shared>,
    /// The remaining calls that change something, acquire a lock or release one.
    calls_left: Arc<Mutex<u64>>,
    pause: Arc<Mutex<Option<Pause>>>,
    stop: Arc<Stop>,
}

/// Whether the threads of a process stand still.
#[derive(Default)]
struct Stop {
    /// The only thread that does not.
    except: Mutex<Option<ThreadId>>,
    changed: Condvar,
}

/// Ends a stop, also if a test panics meanwhile.
struct GoesOn<'a>(&'a Stop);

impl Drop for GoesOn<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

impl Stop {
    fn set(&self, except: Option<ThreadId>) {
        *unpoisoned(self.except.lock()) = except;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut except = unpoisoned(self.except.lock());
        while except.is_some_and(|thread| thread != thread::current().id()) {
            except = unpoisoned(self.changed.wait(except));
        }
    }
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            page: Box::new(CoordinationPage::new_zeroed()),
            locks: Mutex::default(),
            patience: Mutex::new(Duration::from_secs(10)),
        }
    }

    /// Returns the number of slots whose processes say that they may hold a snapshot.
    pub(super) fn holders(&self) -> usize {
        self.page.slots.iter().filter(|slot| slot.holds.load(SeqCst) != 0).count()
    }

    pub(super) fn set_patience(&self, patience: Duration) {
        *unpoisoned(self.patience.lock()) = patience;
    }
}

fn killed() -> io::Error {
    io::Error::other("the process was killed")
}

impl SimProcess {
    /// Starts the process with this number.
    pub(super) fn start(number: u64, shared: Arc<Shared>) -> Self {
        let calls_left = Arc::new(Mutex::new(u64::MAX));
        Self { number, shared, calls_left, pause: Arc::default(), stop: Arc::default() }
    }

    /// Kills the process after this many more calls that change the disk, acquire or release a
    /// lock, or read the coordination page. Nothing that it does afterwards has an effect.
    pub fn kill_after(&self, calls: u64) {
        *unpoisoned(self.calls_left.lock()) = calls;
        if calls == 0 {
            self.end();
        }
    }

    /// Lets the process stand still while the calling thread does something: all of its other threads
    /// do, before their next call of the disk, of locks or of the coordination page.
    pub fn stop_while<R>(&self, meanwhile: impl FnOnce() -> R) -> R {
        self.stop.set(Some(thread::current().id()));
        let _goes_on = GoesOn(&self.stop);
        meanwhile()
    }

    /// Lets the calling thread make this many more such calls. Before the next one it runs
    /// `meanwhile`, as if the process were stopped there until others have done that.
    pub fn pause_after(&self, calls: u64, meanwhile: impl FnOnce() + Send + 'static) {
        let (thread, meanwhile) = (thread::current().id(), Box::new(meanwhile));
        let pause = Pause { thread, calls_left: calls, meanwhile };
        *unpoisoned(self.pause.lock()) = Some(pause);
    }

    /// Cancels a pause that has not come. Returns whether there was one.
    pub fn cancel_pause(&self) -> bool {
        unpoisoned(self.pause.lock()).take().is_some()
    }

    fn pause_if_due(&self) {
        self.stop.wait();
        let mut pause = unpoisoned(self.pause.lock());
        match pause.as_mut().filter(|pause| pause.thread == thread::current().id()) {
            None => return,
            Some(pause) if pause.calls_left > 0 => return pause.calls_left -= 1,
            Some(_) => {}
        }
        let due = pause.take();
        drop(pause);
        due.into_iter().for_each(|pause| self.stop_while(pause.meanwhile));
    }

    /// Returns whether the process was killed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        *unpoisoned(self.calls_left.lock()) == 0
    }

    /// Drops the process's locks, as the kernel does.
    fn end(&self) {
        unpoisoned(self.shared.locks.lock()).retain(|_, holder| *holder != self.number);
    }

    /// Counts a call.
    fn step(&self) -> io::Result<()> {
        self.pause_if_due();
        let mut calls_left = unpoisoned(self.calls_left.lock());
        if *calls_left == 0 {
            return Err(killed());
        }
        *calls_left -= 1;
        if *calls_left == 0 {
            drop(calls_left);
            self.end();
            return Err(killed());
        }
        Ok(())
    }

    /// Checks before a call to the disk that the process is alive.
    pub(super) fn expect_alive(&self, call: Call) -> io::Result<()> {
        if !call.is_reading() {
            return self.step();
        }
        self.pause_if_due();
        if self.is_dead() { Err(killed()) } else { Ok(()) }
    }

    /// Opens the coordination page and the locks for this process.
    pub(crate) fn open_coordination(&self) -> Box<dyn Coordination> {
        let page_after_death = Box::new(CoordinationPage::new_zeroed());
        Box::new(SimCoordination { process: self.clone(), page_after_death })
    }
}

struct SimCoordination {
    process: SimProcess,
    /// The page of a dead process: private, so its stores reach no other process.
    page_after_death: Box<CoordinationPage>,
}

impl Coordination for SimCoordination {
    fn page(&self) -> &CoordinationPage {
        match self.process.step() {
            Ok(()) => &self.process.shared.page,
            Err(_) => &self.page_after_death,
        }
    }

    fn expect_shared(&self) -> io::Result<()> {
        Ok(())
    }

    fn patience(&self) -> Duration {
        *unpoisoned(self.process.shared.patience.lock())
    }

    fn look_interval(&self) -> Duration {
        Duration::from_millis(2)
    }

    fn try_lock(&self, what: Lock) -> io::Result<bool> {
        self.process.step()?;
        let mut locks = unpoisoned(self.process.shared.locks.lock());
        Ok(*locks.entry(what).or_insert(self.process.number) == self.process.number)
    }

    fn unlock(&self, what: Lock) -> io::Result<()> {
        self.process.step()?;
        let mut locks = unpoisoned(self.process.shared.locks.lock());
        locks.retain(|lock, holder| *lock != what || *holder != self.process.number);
        Ok(())
    }

    fn is_locked_by_other(&self, what: Lock) -> io::Result<bool> {
        if self.process.is_dead() {
            return Err(killed());
        }
        let locks = unpoisoned(self.process.shared.locks.lock());
        Ok(locks.get(&what).is_some_and(|holder| *holder != self.process.number))
    }
}

impl Drop for SimCoordination {
    fn drop(&mut self) {
        self.process.end();
    }
}
