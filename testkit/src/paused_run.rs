//! Runs one process that stands still in the middle of a call while another one commits, makes
//! checkpoints and goes round the log. Each commit changes two objects in the same way, on pages of
//! their own, and each snapshot must show the one commit that its position says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flagstone::sim::{Mutation, Random, SimDisk, SimMachine, SimProcess, grow_log};
use flagstone::{Durability, ErrorKind, Link, OpenOptions, OwnedReadTx, Result, Store};

/// The objects, and the words in each: a page and more.
const NAMES: [&str; 2] = ["left", "right"];
const WORDS: usize = 600;
/// Words of an array that makes the heap, and the file, much longer.
const LARGE: u64 = 1 << 17;
/// Commits that go round the log once, and more.
const LAP: usize = 8;
/// The length of the log after a move.
const MOVED_LOG_BYTES: u64 = 256 * 1024;
/// Words of an array that takes the place of the log before it.
const OLD_LOG_WORDS: usize = 6000;
/// How long a process waits for one that stands still.
const PATIENCE: Duration = Duration::from_millis(40);
/// How long it waits for one that does not.
const LONG_PATIENCE: Duration = Duration::from_secs(20);

/// What the process has done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has opened the store.
    New,
    /// It has written and read, a while ago, and holds nothing. All pages of its image are the
    /// file's.
    Idle,
    /// The same, and then others committed.
    Behind,
    /// The same, and then others went round the log.
    LeftBehind,
    /// It holds a snapshot.
    Holding,
}

/// What it does when it stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Commit,
    Checkpoint,
    /// It moves the log.
    MoveLog,
    /// A process opens the store, and reads.
    Open,
}

/// What happened while a process stood still.
#[derive(Clone, Copy, Debug)]
pub struct Paused {
    /// Whether it made that many calls.
    pub was_paused: bool,
    /// Whether the others had to wait for it.
    pub was_held_up: bool,
    /// Whether they cut the file.
    pub was_cut: bool,
}

/// A store that a busy process shares with one that stands still.
pub struct PausedRun {
    machine: SimMachine,
    options: OpenOptions,
    busy: Arc<Busy>,
    process: SimProcess,
    store: Arc<Store>,
    held: Vec<OwnedReadTx>,
}

/// The process that goes on.
struct Busy {
    machine: SimMachine,
    store: Arc<Store>,
    /// What readers see from each position on.
    values: Mutex<BTreeMap<u64, u64>>,
    /// Whether it moves the log while the other one stands still.
    moves_log: AtomicBool,
    /// Whether the other process held this one up while it stood still.
    was_held_up: Mutex<bool>,
}

impl Busy {
    fn values(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.values.lock().expect("no panic")
    }

    /// Adds one to each word, and notes what readers see afterwards.
    fn commit(&self, store: &Arc<Store>) -> Result<()> {
        let mut tx = store.write()?;
        for name in NAMES {
            let object: Link<[u64]> = tx.root(name)?;
            tx.at_mut(object)?.iter_mut().for_each(|word| *word += 1);
        }
        let value = tx.root_object::<[u64]>(NAMES[0])?[0];
        tx.set_durability(Durability::Deferred);
        tx.commit()?;
        // Not a read of the other one: its first snapshot is to show the file's own pages.
        let position = self.store.read()?.position();
        self.values().insert(position, value);
        Ok(())
    }

    /// Frees the large array.
    fn shrink(&self) -> Result<()> {
        self.store.update(|tx| {
            let large: Link<[u64]> = tx.root("large")?;
            tx.set_root("large", Link::<[u64]>::null())?;
            if large.is_null() { Ok(()) } else { tx.free(large) }
        })
    }

    /// Goes round the log, with a checkpoint.
    fn go_round(&self) -> Result<()> {
        (0..LAP).try_for_each(|_| self.commit(&self.store))?;
        self.store.checkpoint()
    }

    /// Moves the log, and has other data take its place.
    fn move_log(&self) -> Result<()> {
        self.move_log_of(&self.store, || ())
    }

    /// Does so with a process's store. Ends with a checkpoint, before which `then` is called.
    fn move_log_of(&self, store: &Arc<Store>, then: impl FnOnce()) -> Result<()> {
        self.commit(store)?;
        grow_log(store, MOVED_LOG_BYTES)?;
        store.update(|tx| {
            let array = tx.alloc_slice_copy(&[0xABAD_CAFE_ABAD_CAFE_u64; OLD_LOG_WORDS])?;
            tx.set_root("in place of the log", array)
        })?;
        then();
        store.checkpoint()
    }

    /// Does so while the other one stands still.
    fn go_round_meanwhile(&self) {
        self.machine.set_patience(PATIENCE);
        // It needs nothing of the other one, whose commit may be visible and not noted yet.
        self.expect_one_commit(&self.store.read_owned().expect("a snapshot")).expect("objects");
        let moved = if self.moves_log.swap(false, SeqCst) { self.move_log() } else { Ok(()) };
        let gone = moved.and_then(|()| self.shrink());
        let gone = gone.and_then(|()| (0..3).try_for_each(|_| self.go_round()));
        self.machine.set_patience(LONG_PATIENCE);
        let Err(error) = gone else { return };
        let is_timeout = matches!(error.kind(), ErrorKind::ProcessUnresponsive { .. });
        assert!(is_timeout, "another process stands still, and this one fails: {error}");
        *self.was_held_up.lock().expect("no panic") = true;
    }

    /// Checks that a snapshot shows one commit, whichever it is.
    fn expect_one_commit(&self, tx: &OwnedReadTx) -> Result<()> {
        let first = tx.root_object::<[u64]>(NAMES[0])?[0];
        for name in NAMES {
            let is_whole = tx.root_object::<[u64]>(name)?.iter().all(|word| *word == first);
            assert!(is_whole, "{name} at {}: a part of a commit", tx.position());
        }
        Ok(())
    }

    /// Checks that a snapshot shows the commit that its position says, and nothing else.
    fn expect_whole(&self, tx: &OwnedReadTx) -> Result<()> {
        let position = tx.position();
        let expected = self.values().range(..=position).next_back().map(|(_, value)| *value);
        for name in NAMES {
            let found = tx.root_object::<[u64]>(name)?;
            let is_whole = found.len() == WORDS && found.iter().all(|x| Some(*x) == expected);
            assert!(is_whole, "{name} at {position}: {:?}, expected {expected:?}", &found[..4]);
        }
        Ok(())
    }
}

impl PausedRun {
    /// Begins a run with both processes.
    pub fn new(mutation: Option<Mutation>, state: State) -> Result<Self> {
        Self::with(OpenOptions::new(), mutation, state)
    }

    /// Begins one in which the log never grows, so that nobody is asked before a checkpoint asks.
    pub fn without_growth(mutation: Option<Mutation>, state: State) -> Result<Self> {
        Self::with(OpenOptions::new().max_blocked_log_bytes(0), mutation, state)
    }

    fn with(options: OpenOptions, mutation: Option<Mutation>, state: State) -> Result<Self> {
        let mut options = options.log_bytes(64 * 1024).max_log_bytes(64 * 1024);
        if let Some(mutation) = mutation {
            options = options.mutation(mutation);
        }
        let (store, disk) = SimDisk::create(&options)?;
        drop(store);
        let disk = SimDisk::mapped(disk.crash(&mut Random(0))).expect("memory");
        let machine = SimMachine::new(disk);
        machine.set_patience(LONG_PATIENCE);
        let store = Arc::new(machine.open(&machine.start(), &options)?);
        for name in NAMES {
            store.update(|tx| {
                let object = tx.alloc_slice_zeroed::<u64>(WORDS as u64)?;
                tx.set_root(name, object)
            })?;
        }
        store.update(|tx| {
            let large = tx.alloc_slice_zeroed::<u64>(LARGE)?;
            tx.at_mut(large)?.fill(7);
            tx.set_root("large", large)
        })?;
        let values = Mutex::new(BTreeMap::from([(store.read()?.position(), 0)]));
        let was_held_up = Mutex::new(false);
        let moves_log = AtomicBool::new(false);
        let machine_of_it = machine.clone();
        let busy = Arc::new(Busy { machine: machine_of_it, store, values, moves_log, was_held_up });
        busy.commit(&busy.store)?;
        busy.store.checkpoint()?;
        let process = machine.start();
        let store = Arc::new(machine.open(&process, &options)?);
        let mut run = Self { machine, options, busy, process, store, held: Vec::new() };
        run.bring_into(state)?;
        Ok(run)
    }

    fn bring_into(&mut self, state: State) -> Result<()> {
        match state {
            State::New => return Ok(()),
            State::Holding => return self.hold(),
            State::Idle | State::Behind | State::LeftBehind => {
                self.busy.commit(&self.store)?;
                self.busy.store.checkpoint()?;
                drop(self.store.read()?);
                self.expect_withdrawn();
            }
        }
        match state {
            State::Behind => self.busy.commit(&self.busy.store),
            State::LeftBehind => self.busy.go_round(),
            _ => Ok(()),
        }
    }

    /// Has the busy process move the log when the second one stands still next.
    pub fn move_log_meanwhile(&self) {
        self.busy.moves_log.store(true, SeqCst);
    }

    /// Takes a snapshot of the second process, and keeps it.
    pub fn hold(&mut self) -> Result<()> {
        self.held.push(self.store.read_owned()?);
        self.expect_held_whole()
    }

    fn expect_held_whole(&self) -> Result<()> {
        self.held.iter().try_for_each(|tx| self.busy.expect_whole(tx))
    }

    fn expect_withdrawn_unless_held(&self) {
        if self.held.is_empty() {
            self.expect_withdrawn();
        }
    }

    /// Waits until no process says that it may hold a snapshot.
    pub fn expect_withdrawn(&self) {
        let begun = Instant::now();
        while self.machine.holders() > 0 {
            assert!(
                begun.elapsed() < LONG_PATIENCE,
                "a process holds nothing, and does not say so"
            );
            sleep(Duration::from_millis(1));
        }
    }

    /// Lets the second process do nothing for a while.
    pub fn rest(&self) {
        sleep(Duration::from_millis(100));
    }

    /// Lets the second process stand still while the busy one goes round the log, as far as it may.
    pub fn stop_and_go_round(&self) -> Result<()> {
        self.process.stop_while(|| self.busy.go_round_meanwhile());
        self.expect_held_whole()
    }

    /// Lets the second process stand still before its `calls`th call of a read. Meanwhile a third one moves
    /// the log, has other data take its place, and is killed before its `killed_after`th call of a
    /// checkpoint.
    pub fn pause_in_read_while_a_mover_dies(
        &mut self,
        calls: u64,
        killed_after: u64,
    ) -> Result<()> {
        self.expect_withdrawn_unless_held();
        let process = self.machine.start();
        let mover = self.machine.open(&process, &self.options)?;
        let busy = Arc::clone(&self.busy);
        self.process.pause_after(calls, move || {
            busy.machine.set_patience(PATIENCE);
            let moved = busy.move_log_of(&Arc::new(mover), || process.kill_after(killed_after));
            busy.machine.set_patience(LONG_PATIENCE);
            assert!(moved.is_ok() || process.is_dead(), "{moved:?}");
            process.kill_after(0);
        });
        self.hold()?;
        self.process.cancel_pause();
        self.expect_all_well()
    }

    /// Lets processes wait for each other for two seconds at most.
    pub fn be_impatient(&self) {
        self.machine.set_patience(Duration::from_secs(2));
    }

    /// Lets the busy process go round the log.
    pub fn go_round(&self) -> Result<()> {
        self.busy.go_round()?;
        self.expect_held_whole()
    }

    /// Lets the second process stand still before its `calls`th call of an action, until the busy one
    /// has gone round the log three times, and has cut the file.
    pub fn pause_in(&mut self, action: Action, calls: u64) -> Result<Paused> {
        let file_bytes = self.busy.store.stats()?.file_bytes;
        self.expect_withdrawn_unless_held();
        let busy = Arc::clone(&self.busy);
        let process = match action {
            Action::Open => self.machine.start(),
            _ => self.process.clone(),
        };
        process.pause_after(calls, move || busy.go_round_meanwhile());
        match action {
            Action::Read => self.hold()?,
            Action::Commit => self.busy.commit(&self.store)?,
            Action::Checkpoint => self.store.checkpoint()?,
            Action::MoveLog => grow_log(&self.store, MOVED_LOG_BYTES)?,
            Action::Open => {
                self.store = Arc::new(self.machine.open(&process, &self.options)?);
                self.hold()?;
            }
        }
        let was_paused = !process.cancel_pause();
        let was_held_up = *self.busy.was_held_up.lock().expect("no panic");
        let was_cut = self.busy.store.stats()?.file_bytes < file_bytes;
        self.expect_all_well()?;
        Ok(Paused { was_paused, was_held_up, was_cut })
    }

    /// Checks that both see whole commits, go on, and would lose nothing in a power cut.
    fn expect_all_well(&mut self) -> Result<()> {
        self.expect_held_whole()?;
        self.busy.go_round()?;
        self.busy.commit(&self.store)?;
        self.busy.commit(&self.busy.store)?;
        self.hold()?;
        self.expect_held_whole()?;
        self.busy.store.sync()?;
        self.busy.store.check()?.into_result()?;
        let disk = SimDisk::new(self.machine.disk().crash(&mut Random(7)));
        let tx = Arc::new(disk.open(&self.options)?).read_owned()?;
        self.busy.expect_whole(&tx)
    }
}
