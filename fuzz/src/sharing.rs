//! Runs a program of calls by processes that share a store, and on its models. Processes attach,
//! detach and are killed at any of their calls, and the power is cut.

use std::fmt::Debug;

use flagstone::sim::{Random, SimDisk, SimMachine, SimProcess};
use flagstone::{OpenOptions, Store};
use testkit::model::history::{History, Step};
use testkit::model::roots::{Roots, State};

use crate::program::{End, mutated, options, steps};
use crate::sampling::Chance;

/// Maximum number of steps in a run.
const STEPS: usize = 256;
/// Maximum number of processes at a time.
const MOST: usize = 3;
/// Maximum number of power cuts that a run examines.
const CUTS: u32 = 2;
/// One run of this many uses `check`.
const UNCHECKED: u64 = 8;

struct Member {
    process: SimProcess,
    store: Store,
}

/// The process was killed in the middle of an operation.
struct Killed;

/// One run of a program.
struct Run<'a, S> {
    fixture: &'a Roots,
    options: OpenOptions,
    steps: S,
    machine: SimMachine,
    members: Vec<Member>,
    /// Its last state may be that of a killed process, and may never have been committed.
    history: History,
    cuts_left: u32,
    is_checked: bool,
}

/// Runs a program on the store in the file `bytes`, which holds `state`.
pub fn run(
    fixture: &Roots,
    bits: u8,
    bytes: Vec<u8>,
    state: State,
    program: &[u8],
    mut chance: Chance,
) {
    let mut run = Run {
        fixture,
        // Without salvage: there is nothing to salvage.
        options: mutated(options(bits & !2)),
        steps: steps(program, STEPS),
        machine: SimMachine::new(SimDisk::new(bytes)),
        members: Vec::new(),
        history: History::new(state),
        cuts_left: CUTS,
        is_checked: chance.one_in(UNCHECKED),
    };
    (0..2).for_each(|_| run.join());
    while let Some(step) = run.steps.next() {
        let who = run.who(step);
        match run.transaction(who, step) {
            Ok(end) => run.after(who, end),
            Err(Killed) => run.bury(who),
        }
    }
    (0..run.members.len()).for_each(|who| run.compare(who));
}

impl<S: Iterator<Item = Step<End>>> Run<'_, S> {
    /// Returns the process that does what begins with this step.
    fn who(&self, step: Step<End>) -> usize {
        let number = match step {
            Step::Change { place, number } => place / 16 + number as usize,
            Step::Clear { place } | Step::Discard { place } | Step::RollBackTo(place) => place / 16,
            Step::End(End::LookAtCut { seed } | End::Cut { seed }) => seed as usize,
            Step::End(End::Fail { calls }) => calls as usize,
            Step::Savepoint | Step::End(_) => self.history.count(),
        };
        number % self.members.len()
    }

    fn join(&mut self) {
        let process = self.machine.start();
        let store = self.machine.open(&process, &self.options).expect("a process comes in");
        self.members.push(Member { process, store });
    }

    /// Returns the answer of a call, which succeeds in a living process. A process that was killed
    /// at the call's last step has an answer too, but nobody received it, and what it reads is
    /// not what the others have.
    fn answer<T, E: Debug>(process: &SimProcess, answer: Result<T, E>) -> Result<T, Killed> {
        match answer {
            _ if process.is_dead() => Err(Killed),
            Ok(answer) => Ok(answer),
            Err(error) => panic!("a process that is alive was refused: {error:?}"),
        }
    }

    /// Runs one transaction.
    fn transaction(&mut self, who: usize, first: Step<End>) -> Result<End, Killed> {
        let Member { process, store } = &self.members[who];
        let done = self.history.transact(self.fixture, store, first, &mut self.steps);
        Self::answer(process, done)
    }

    fn after(&mut self, who: usize, end: End) {
        let Member { process, store } = &self.members[who];
        match end {
            End::Commit(_) | End::Rollback => {}
            End::Checkpoint | End::Sync => {
                let done = match end {
                    End::Checkpoint => store.checkpoint(),
                    _ => store.sync(),
                };
                if self.durable_by(who, done).is_err() {
                    self.bury(who);
                }
            }
            End::Reopen => self.change_places(who),
            End::LookAtCut { seed } => self.look_at_cut(seed),
            End::Cut { seed } => self.cut(seed),
            End::Fail { calls } => process.kill_after(1 + calls),
            End::Hold => self.hold(who),
            End::Check => {
                self.compare(who);
                self.check(who);
            }
        }
    }

    /// Detaches a process cleanly, and attaches others up to the maximum.
    fn change_places(&mut self, who: usize) {
        let Member { process, store } = self.members.swap_remove(who);
        if Self::answer(&process, store.close()).is_err() {
            return self.go_on_after_death();
        }
        if self.members.is_empty() {
            self.history.all_is_durable();
        }
        while self.members.len() < MOST {
            self.join();
        }
    }

    /// Removes a killed process; another one continues.
    fn bury(&mut self, who: usize) {
        drop(self.members.swap_remove(who));
        self.go_on_after_death();
    }

    fn go_on_after_death(&mut self) {
        // Others that were to be killed may be dead by now.
        self.members.retain(|member| !member.process.is_dead());
        if self.members.is_empty() {
            self.join();
        }
        let Member { process, store } = &self.members[0];
        // Begins a transaction, which detects the death.
        if Self::answer(process, store.write().map(drop)).is_err() {
            return self.bury(0);
        }
        let Ok(found) = Self::answer(process, self.fixture.contents(store)) else {
            return self.bury(0);
        };
        // The process that died may have been about to commit the last state.
        let index = self.history.find(self.fixture, &found, 2);
        self.history.go_back_to(index.expect("a process that is killed loses nothing"));
    }

    fn compare(&self, who: usize) {
        let Member { process, store } = &self.members[who];
        let Ok(found) = Self::answer(process, self.fixture.contents(store)) else { return };
        let is_same = self.fixture.are_same(&found, self.history.last());
        assert!(is_same, "each process sees what was committed last");
    }

    fn check(&self, who: usize) {
        let Member { process, store } = &self.members[who];
        if !self.is_checked {
            return;
        }
        if let Ok(report) = Self::answer(process, store.check()) {
            assert!(report.is_clean(), "{:?}", report.findings);
        }
    }

    /// Returns which committed state a cut has left: none older than the durable one.
    fn expect_committed(&self, store: &Store) -> usize {
        let found = self.fixture.contents(store).expect("it can be read");
        let index = self.history.find(self.fixture, &found, usize::MAX);
        index.expect("a state that was committed since the last durable one")
    }

    fn look_at_cut(&mut self, seed: u64) {
        if self.cuts_left == 0 {
            return;
        }
        self.cuts_left -= 1;
        let disk = SimDisk::new(self.machine.disk().crash(&mut Random(seed)));
        let store = disk.open(&self.options).expect("what a cut leaves opens");
        self.expect_committed(&store);
        disk.fail_after(0);
    }

    /// Cuts the power, and continues with what is left.
    fn cut(&mut self, seed: u64) {
        if self.cuts_left == 0 {
            return;
        }
        self.cuts_left -= 1;
        let disk = SimDisk::new(self.machine.disk().crash(&mut Random(seed)));
        self.members.clear();
        self.machine = SimMachine::new(disk);
        self.join();
        let index = self.expect_committed(&self.members[0].store);
        // The opening has made it durable.
        self.history.go_back_to(index);
        self.history.all_is_durable();
        self.join();
    }

    /// Checks that a snapshot does not change while another process changes the store.
    fn hold(&mut self, who: usize) {
        let holder = self.members.swap_remove(who);
        if self.members.is_empty() {
            self.join();
        }
        if let Ok(held) = Self::answer(&holder.process, holder.store.read()) {
            let before = self.history.last().clone();
            if self.change_and_checkpoint(0).is_err() {
                self.bury(0);
            }
            let found = self.fixture.readable(&held);
            let is_same = holder.process.is_dead() || self.fixture.are_same(&found, &before);
            assert!(is_same, "a snapshot that was held has changed");
        }
        if holder.process.is_dead() {
            drop(holder);
            return self.go_on_after_death();
        }
        self.members.push(holder);
    }

    fn change_and_checkpoint(&mut self, who: usize) -> Result<(), Killed> {
        if let Some(step) = self.steps.next() {
            self.transaction(who, step)?;
        }
        let done = self.members[who].store.checkpoint();
        self.durable_by(who, done)
    }

    /// Notes what this process has made durable, even if it was killed right after.
    fn durable_by(&mut self, who: usize, done: flagstone::Result<()>) -> Result<(), Killed> {
        if done.is_ok() {
            self.history.all_is_durable();
        }
        Self::answer(&self.members[who].process, done)
    }
}
