//! Runs a program of calls on a sound store and on its models, with power cuts and failing disks.

use flagstone::sim::{Random, SimDisk};
use flagstone::{Durability, OpenOptions, Store};
use testkit::model::history::{History, Step};
use testkit::model::roots::{Roots, State};

use crate::program::{End, mutated, options, steps};
use crate::sampling::Chance;

/// Maximum number of steps in a run.
const STEPS: usize = 256;
/// Maximum number of cuts that a run examines: they take longer than all the rest. Few runs
/// examine many.
const CUTS: u32 = 1;
const MANY_CUTS: u32 = 8;
/// One run of this many uses `check`.
const UNCHECKED: u64 = 8;

/// One run of a program.
struct Run<'a, S> {
    fixture: &'a Roots,
    options: OpenOptions,
    steps: S,
    history: History,
    disk: SimDisk,
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
    // Without salvage: there is nothing to salvage.
    let options = mutated(options(bits & !2));
    let disk = SimDisk::new(bytes);
    let mut store = disk.open(&options).expect("a sound store opens");
    let history = History::new(state);
    let steps = steps(program, STEPS);
    let cuts_left = if chance.one_in(16) { MANY_CUTS } else { CUTS };
    let is_checked = chance.one_in(UNCHECKED);
    let mut run = Run { fixture, options, steps, history, disk, cuts_left, is_checked };
    while let Some(end) = run.transaction(&store) {
        store = run.after(store, end);
    }
    run.compare(&store);
}

impl<S: Iterator<Item = Step<End>>> Run<'_, S> {
    /// Runs one transaction. Returns `None` after the last step.
    fn transaction(&mut self, store: &Store) -> Option<End> {
        let first = self.steps.next()?;
        let done = self.history.transact(self.fixture, store, first, &mut self.steps);
        Some(done.expect("a transaction does what its model does, on a sound disk"))
    }

    fn after(&mut self, store: Store, end: End) -> Store {
        match end {
            End::Commit(_) | End::Rollback => {}
            End::Checkpoint => {
                store.checkpoint().expect("a checkpoint");
                self.history.all_is_durable();
            }
            End::Sync => {
                store.sync().expect("a sync");
                self.history.all_is_durable();
            }
            End::Reopen => {
                store.close().expect("it can be closed");
                self.history.all_is_durable();
                let store = self.disk.open(&self.options).expect("what was closed opens");
                self.compare(&store);
                return store;
            }
            End::LookAtCut { seed } => self.look_at_cut(seed),
            End::Cut { seed } => return self.cut(store, seed),
            End::Fail { calls } => return self.fail(store, calls),
            End::Hold => self.hold(&store),
            End::Check => {
                self.compare(&store);
                self.check(&store);
            }
        }
        store
    }

    fn compare(&self, store: &Store) {
        let found = self.fixture.contents(store).expect("it can be read");
        assert!(
            self.fixture.are_same(&found, self.history.last()),
            "it holds what was committed last"
        );
    }

    fn check(&self, store: &Store) {
        if self.is_checked {
            let report = store.check().expect("it can be looked at");
            assert!(report.is_clean(), "{:?}", report.findings);
        }
    }

    fn look_at_cut(&mut self, seed: u64) {
        if self.cuts_left == 0 {
            return;
        }
        self.cuts_left -= 1;
        let mut random = Random(seed);
        let depth = random.below(4);
        let disk = self.after_cuts(self.disk.crash(&mut random), &mut random, depth);
        drop(self.expect_committed(&disk));
    }

    /// Opens what a cut left, and cuts again during that opening.
    fn after_cuts(&self, mut bytes: Vec<u8>, random: &mut Random, depth: u64) -> SimDisk {
        for _ in 0..depth {
            let disk = SimDisk::new(bytes);
            disk.fail_after(random.below(12));
            if let Ok(store) = disk.open(&self.options) {
                let _ = store.write().map(|tx| tx.commit());
            }
            bytes = disk.crash(random);
        }
        SimDisk::new(bytes)
    }

    /// Opens a disk. Returns which of the states it holds: none older than the durable one.
    fn expect_committed(&self, disk: &SimDisk) -> (Store, usize) {
        let store = disk.open(&self.options).expect("what a cut leaves opens");
        let found = self.fixture.contents(&store).expect("it can be read");
        let index = self.history.find(self.fixture, &found, usize::MAX);
        self.check(&store);
        (store, index.expect("a state that was committed since the last durable one"))
    }

    fn cut(&mut self, store: Store, seed: u64) -> Store {
        if self.cuts_left == 0 {
            return store;
        }
        self.cuts_left -= 1;
        let mut random = Random(seed);
        let bytes = self.disk.crash(&mut random);
        drop(store);
        self.go_on_with(SimDisk::new(bytes))
    }

    fn go_on_with(&mut self, disk: SimDisk) -> Store {
        let (store, index) = self.expect_committed(&disk);
        self.disk = disk;
        // The opening has made it durable.
        self.history.go_back_to(index);
        self.history.all_is_durable();
        store
    }

    /// Continues until the disk fails, and then with what the disk holds.
    fn fail(&mut self, store: Store, calls: u64) -> Store {
        self.disk.fail_after(calls);
        let failed = self.until_failure(&store);
        let mut random = Random(calls);
        // Reads continue from memory, and may show an unacknowledged commit.
        self.fixture.contents(&store).expect("it can still be read");
        let bytes = self.disk.crash(&mut random);
        drop(store);
        let _ = failed;
        self.go_on_with(SimDisk::new(bytes))
    }

    fn until_failure(&mut self, store: &Store) -> flagstone::Result<()> {
        let mut state = self.history.last().clone();
        let mut tx = store.write()?;
        for step in self.steps.by_ref() {
            match step {
                Step::Change { place, number } => {
                    let outcome = self.fixture.change(&mut state, place, number, &mut tx);
                    // The error may be the disk's. Other runs find a mismatch.
                    let Ok(()) = outcome else { return Ok(()) };
                }
                Step::Clear { place } => self.fixture.clear(&mut state, place, &mut tx)?,
                Step::End(End::Fail { .. }) => return Ok(()),
                Step::End(end) => {
                    let is_durable = matches!(end, End::Commit(Durability::Durable));
                    if is_durable {
                        tx.set_durability(Durability::Durable);
                    }
                    self.history.begin(state.clone());
                    tx.commit()?;
                    if is_durable {
                        self.history.all_is_durable();
                    }
                    if matches!(end, End::Checkpoint) {
                        store.checkpoint()?;
                        self.history.all_is_durable();
                    }
                    tx = store.write()?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that a snapshot does not change while a transaction and a checkpoint run.
    fn hold(&mut self, store: &Store) {
        let held = store.read().expect("a snapshot");
        let before = self.history.last().clone();
        let _ = self.transaction(store);
        store.checkpoint().expect("a checkpoint");
        self.history.all_is_durable();
        let found = self.fixture.readable(&held);
        assert!(self.fixture.are_same(&found, &before), "a snapshot that was held has changed");
    }
}
