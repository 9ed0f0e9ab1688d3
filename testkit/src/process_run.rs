//! Runs several processes that share a fixture store on a simulated machine: transactions,
//! checkpoints, pinned readers, and processes that attach, detach and are killed at any of their
//! calls.

use std::sync::Arc;

use flagstone::sim::{
    Call, Done, Faults, History, Random, Recording, SimMachine, SimProcess, grow_log,
};
use flagstone::{Durability, ErrorKind, OwnedReadTx, Result, Store, WriteTx};

use super::fixture::{Digest, Model, contents, set_array};
use super::sim_run::{BAD_DISK, Fixture, model};

/// Maximum number of processes at a time.
const MOST: usize = 4;

struct Member {
    process: SimProcess,
    store: Arc<Store>,
    /// Pinned snapshots, and their expected contents.
    held: Vec<(OwnedReadTx, Digest)>,
}

/// A run in progress.
pub struct ProcessRun<'a> {
    fixture: &'a Fixture,
    pub machine: SimMachine,
    members: Vec<Member>,
    history: History<Digest>,
    /// The last committed model, and the one that a killed process may have committed.
    model: Model,
    perhaps: Option<Model>,
    random: Random,
    /// Whether processes move the log.
    moves_log: bool,
    pub kills: u64,
    /// How often a failure has poisoned the store, and how often for one process alone.
    pub poisoned: u64,
    pub failed_alone: u64,
}

impl<'a> ProcessRun<'a> {
    /// Creates a new store with one process.
    pub fn new(fixture: &'a Fixture, seed: u64) -> Result<Self> {
        let disk = fixture.new_disk(true)?;
        disk.record();
        disk.set_forgetful(seed % 4 == 2);
        let mut run = Self {
            fixture,
            machine: SimMachine::new(disk),
            members: Vec::new(),
            history: History::new(Model::default().digest()),
            model: Model::default(),
            perhaps: None,
            random: Random(seed),
            moves_log: false,
            kills: 0,
            poisoned: 0,
            failed_alone: 0,
        };
        run.join()?;
        Ok(run)
    }

    /// Has processes move the log at times.
    pub fn moving_the_log(self) -> Self {
        Self { moves_log: true, ..self }
    }

    /// Ends all processes, one after the other.
    pub fn end(mut self) -> Recording<Digest> {
        self.members.clear();
        Recording::of(self.machine.disk(), self.history)
    }

    /// Returns the store of one of the processes.
    pub fn any_store(&mut self) -> Arc<Store> {
        let who = self.any();
        Arc::clone(&self.members[who].store)
    }

    fn any(&mut self) -> usize {
        self.random.below(self.members.len() as u64) as usize
    }

    /// Makes a random step, after which all processes must see the same state.
    pub fn step(&mut self) -> Result<()> {
        let who = self.any();
        match self.random.below(20) {
            0 | 1 => self.checkpoint(who),
            2 => self.sync(who),
            3 | 4 if self.members.len() < MOST => self.join(),
            5 if self.members.len() > 1 => self.leave(who),
            6 | 7 => self.kill(who),
            8 | 9 => self.hold(who),
            10 => self.let_go(who),
            11 => self.fail(),
            12 | 13 if self.moves_log => self.move_log(who),
            _ => self.transact(who),
        }?;
        self.expect_same()
    }

    /// Checks that some process reads what was committed, and that pinned snapshots have not
    /// changed.
    fn expect_same(&mut self) -> Result<()> {
        let who = self.any();
        assert_eq!(model(&self.members[who].store)?.digest(), self.model.digest(), "who: {who}");
        for (tx, digest) in self.members.iter().filter_map(|member| member.held.first()) {
            assert_eq!(contents(tx)?.digest(), *digest, "a snapshot has changed");
        }
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        let process = self.machine.start();
        if self.random.one_in(4) {
            process.kill_after(self.random.below(12));
        }
        match self.machine.open(&process, &self.fixture.options) {
            Ok(store) => {
                process.kill_after(u64::MAX);
                self.members.push(Member { process, store: Arc::new(store), held: Vec::new() });
            }
            Err(error) => assert!(process.is_dead(), "a process could not come in: {error}"),
        }
        if self.members.is_empty() { self.join() } else { Ok(()) }
    }

    fn leave(&mut self, who: usize) -> Result<()> {
        let Member { store, held, .. } = self.members.swap_remove(who);
        drop(held);
        Arc::into_inner(store).expect("nobody else has it").close()
    }

    /// Kills a process in the middle of an operation; another one continues.
    fn kill(&mut self, who: usize) -> Result<()> {
        self.kills += 1;
        let calls = 1 + self.random.below(40);
        self.members[who].process.kill_after(calls);
        let mut done = Ok(());
        while done.is_ok() && !self.members[who].process.is_dead() {
            done = match self.random.below(4) {
                0 => self.checkpoint(who),
                1 => self.sync(who),
                2 if self.moves_log => self.move_log(who),
                _ => self.transact(who),
            };
        }
        let Member { process, store, held } = self.members.swap_remove(who);
        assert!(done.is_ok() || process.is_dead(), "it failed before it was killed: {done:?}");
        process.kill_after(0);
        drop(held);
        drop(store);
        self.go_on_after_death()
    }

    /// Makes a write, a flush or a sync fail in some process, unless another call comes first. A
    /// flush or sync poisons the store for all; a write only for its process, and another one takes
    /// over.
    fn fail(&mut self) -> Result<()> {
        let disk = self.machine.disk().clone();
        let first = disk.next_call() + self.random.below(60);
        let done = self.random.pick(&[Done::Nothing, Done::Part(self.kills), Done::All]);
        let (calls, errno) = (first..first + 1, BAD_DISK);
        disk.set_faults(Some(Faults { calls, errno, done, spares_reading: true }));
        let mut failed = None;
        for _ in 0..6 {
            let who = self.any();
            let moves_log = self.moves_log && self.random.one_in(2);
            let done = if moves_log { self.move_log(who) } else { self.transact(who) };
            if done.is_err() {
                failed = Some(who);
                break;
            }
        }
        disk.set_faults(None);
        let is_poisoned = |member: &Member| {
            let refused = member.store.write().map(drop);
            matches!(&refused, Err(error) if matches!(error.kind(), ErrorKind::Poisoned { .. }))
        };
        let Some(failed) = failed.filter(|who| is_poisoned(&self.members[*who])) else {
            self.members.clear();
            return self.go_on_after_death();
        };
        self.poisoned += 1;
        let call = disk.calls()[first as usize];
        if matches!(call, Call::Sync | Call::Flush) {
            let all = self.members.iter().all(is_poisoned);
            assert!(all, "a process writes a store after {call:?} failed");
            self.members.clear();
            return self.go_on_after_death();
        }
        self.failed_alone += 1;
        let member = self.members.swap_remove(failed);
        self.go_on_after_death()?;
        assert_eq!(model(&member.store)?.digest(), self.model.digest(), "it reads on");
        if let Some((tx, digest)) = member.held.first() {
            assert_eq!(contents(tx)?.digest(), *digest, "its snapshot has changed");
        }
        Ok(())
    }

    /// Determines whether the uncertain commit happened; it did, or it never will.
    fn go_on_after_death(&mut self) -> Result<()> {
        let begun = self.machine.disk().now();
        // The first process to open the store has the system forget what the disk does not have.
        let will_forget = self.members.is_empty() && self.machine.disk().will_forget();
        if self.members.is_empty() {
            self.join()?;
        }
        let who = self.any();
        // Takes the write lock, which detects the death.
        drop(self.members[who].store.write()?);
        let found = model(&self.members[who].store)?;
        let candidates = [Some(&self.model), self.perhaps.as_ref()];
        let is_known = candidates.into_iter().flatten().any(|x| x.digest() == found.digest());
        let now = self.machine.disk().now();
        let is_allowed = will_forget && self.history.allows(&found.digest(), now);
        assert!(is_known || is_allowed, "a process that is killed loses nothing");
        (self.model, self.perhaps) = (found, None);
        if self.random.one_in(2) {
            self.history.begin(self.model.digest(), begun);
            return Ok(());
        }
        self.members[who].store.sync()?;
        self.history.reopened(self.model.digest(), begun, self.machine.disk().now());
        Ok(())
    }

    fn transact(&mut self, who: usize) -> Result<()> {
        let (mut random, fixture) = (Random(self.random.next()), self.fixture);
        if random.one_in(8) {
            let mut model = self.model.clone();
            let mut tx = self.members[who].store.write()?;
            return fixture.changes(&mut tx, &mut model, &mut random);
        }
        let durability = random.pick(&[Durability::Durable, Durability::Deferred]);
        self.commit(who, durability, |tx, model| fixture.changes(tx, model, &mut random))
    }

    fn commit(
        &mut self,
        who: usize,
        durability: Durability,
        changes: impl FnOnce(&mut WriteTx<'_>, &mut Model) -> Result<()>,
    ) -> Result<()> {
        let store = Arc::clone(&self.members[who].store);
        let mut changed = self.model.clone();
        let mut tx = store.write()?;
        changes(&mut tx, &mut changed)?;
        tx.set_durability(durability);
        self.history.begin(changed.digest(), self.machine.disk().now());
        self.perhaps = Some(changed);
        tx.commit()?;
        self.model = self.perhaps.take().expect("it was put there");
        if durability == Durability::Durable {
            self.history.durable(self.machine.disk().now());
        }
        Ok(())
    }

    /// Makes the log longer, as far as tests need it.
    fn move_log(&mut self, who: usize) -> Result<()> {
        let pages = self.random.pick(&[24, 32, 64, 96, 128]);
        grow_log(&self.members[who].store, pages * 4096)
    }

    /// Kills a process before one of the calls of a move of the log; another process continues with
    /// moves of its own.
    pub fn kill_in_a_move(&mut self, calls: u64) -> Result<bool> {
        self.join()?;
        let durability = Durability::Deferred;
        self.commit(0, durability, |tx, model| set_array(tx, model, 0, 500, 1))?;
        self.members[0].process.kill_after(calls);
        let moved = grow_log(&self.members[0].store, 256 << 10);
        let is_whole = moved.is_ok();
        let died = self.members.swap_remove(0);
        died.process.kill_after(0);
        drop(died);
        self.go_on_after_death()?;
        for index in 1..4 {
            self.commit(0, durability, |tx, model| set_array(tx, model, index, 600, 2))?;
            self.expect_same()?;
        }
        grow_log(&self.members[0].store, 512 << 10)?;
        self.join()?;
        self.expect_same()?;
        self.members[0].store.check()?.into_result()?;
        Ok(is_whole)
    }

    /// Kills a process before one of the calls of a transaction that exceeds the log; another
    /// process continues with a transaction of the same kind.
    pub fn kill_in_a_spill(&mut self, calls: u64) -> Result<()> {
        self.join()?;
        self.members[0].process.kill_after(calls);
        let _ = self.commit(0, Durability::Durable, |tx, model| set_array(tx, model, 0, 12_000, 1));
        let died = self.members.swap_remove(0);
        died.process.kill_after(0);
        drop(died);
        self.go_on_after_death()?;
        for index in 1..3 {
            let durability = Durability::Deferred;
            self.commit(0, durability, |tx, model| set_array(tx, model, index, 9_000, 2))?;
        }
        self.expect_same()
    }

    fn checkpoint(&mut self, who: usize) -> Result<()> {
        self.members[who].store.checkpoint()?;
        self.history.durable(self.machine.disk().now());
        Ok(())
    }

    fn sync(&mut self, who: usize) -> Result<()> {
        self.members[who].store.sync()?;
        self.history.durable(self.machine.disk().now());
        Ok(())
    }

    fn hold(&mut self, who: usize) -> Result<()> {
        let Member { store, held, .. } = &mut self.members[who];
        held.push((store.read_owned()?, self.model.digest()));
        Ok(())
    }

    fn let_go(&mut self, who: usize) -> Result<()> {
        let held = &mut self.members[who].held;
        held.drain(..held.len().min(1));
        Ok(())
    }
}
