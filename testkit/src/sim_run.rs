//! Runs random steps over a fixture store on a simulated disk: transactions, checkpoints,
//! readers, process deaths, failing flushes. Power cuts are examined afterwards, from the disk's
//! recording.

use std::rc::Rc;

use flagstone::sim::{Done, Faults, History, Program, Random, Recording, SimDisk};
use flagstone::{Durability, ErrorKind, OpenOptions, Result, Savepoint, Store, WriteTx};

use super::fixture::{Digest, Model, Profile, change, contents};

/// EIO.
pub const BAD_DISK: i32 = 5;
/// ENOSPC.
pub const FULL_DISK: i32 = 28;

/// The parameters of fixture stores.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub options: OpenOptions,
    pub profile: Profile,
}

impl Fixture {
    /// Returns parameters for stores that are minimal and stay so.
    pub fn small() -> Self {
        let profile = Profile { collections: false, elements: 40, max_elements: 1200 };
        let options = OpenOptions::new().log_bytes(64 * 1024).max_log_bytes(64 * 1024);
        Self { options, profile }
    }

    /// Returns the same with collections.
    pub fn of_collections() -> Self {
        let profile = Profile { collections: true, ..Self::small().profile };
        Self { profile, ..Self::small() }
    }

    /// Returns parameters with transactions that exceed the log, and a heap that shrinks.
    pub fn spilling() -> Self {
        let profile = Profile { max_elements: 80_000, ..Self::small().profile };
        Self { profile, ..Self::small() }
    }

    /// Returns parameters with pages written in place, and a heap that is large enough for the
    /// log to move.
    pub fn large() -> Self {
        let profile = Profile { collections: true, elements: 3000, max_elements: 400_000 };
        let options = Self::small().options.max_log_bytes(512 * 1024);
        Self { options, profile }
    }

    /// Returns the same parameters for stores whose recovery keeps only so many changed pages in
    /// memory before it writes them.
    #[must_use]
    pub fn in_rounds(self, pages: u64) -> Self {
        Self { options: self.options.round_pages(pages), ..self }
    }

    /// Returns mostly small stores; of eight consecutive seeds, one each gets the other kinds.
    /// Of three consecutive seeds, one has so small a memory budget that each checkpoint gives back
    /// what it can, and what readers hold is spilled from half a megabyte on.
    pub fn of_seed(seed: u64) -> Self {
        let fixture = match seed % 8 {
            5 => Self::of_collections(),
            6 => Self::spilling(),
            7 => Self::large(),
            _ => Self::small(),
        };
        match seed % 3 {
            0 => {
                let options = fixture.options.memory_budget_bytes(64 << 10);
                Self { options: options.spill_run_pages(16), ..fixture }
            }
            _ => fixture,
        }
    }

    /// Returns a disk with a new, closed store; its images are mappings if `is_mapped`.
    pub fn new_disk(&self, is_mapped: bool) -> Result<SimDisk> {
        let (store, disk) = SimDisk::create(&self.options)?;
        drop(store);
        Ok(disk_of(disk.crash(&mut Random(0)), is_mapped))
    }

    /// Makes the changes of one transaction, with savepoints.
    pub fn changes(
        &self,
        tx: &mut WriteTx<'_>,
        model: &mut Model,
        random: &mut Random,
    ) -> Result<()> {
        let mut saved: Vec<(Savepoint, Model)> = Vec::new();
        for _ in 0..1 + random.below(4) {
            match random.below(12) {
                0 => saved.push((tx.savepoint()?, model.clone())),
                1 if !saved.is_empty() => {
                    saved.truncate(1 + random.below(saved.len() as u64) as usize);
                    let (savepoint, earlier) = &saved[saved.len() - 1];
                    tx.rollback_to(*savepoint)?;
                    model.clone_from(earlier);
                }
                _ => change(tx, model, self.profile, random)?,
            }
        }
        Ok(())
    }
}

/// Returns the contents of the store.
pub fn model(store: &Store) -> Result<Model> {
    contents(&store.read()?)
}

impl Program for Fixture {
    type State = Digest;

    fn options(&self) -> &OpenOptions {
        &self.options
    }

    fn read(&self, store: &Store) -> Result<Digest> {
        Ok(model(store)?.digest())
    }

    fn go_on(
        &self,
        store: &Store,
        disk: &SimDisk,
        history: &mut History<Digest>,
        random: &mut Random,
    ) -> Result<()> {
        let mut model = model(store)?;
        for _ in 0..1 + random.below(2) {
            let mut tx = store.write()?;
            self.changes(&mut tx, &mut model, random)?;
            let durability = durability(random);
            tx.set_durability(durability);
            history.begin(model.digest(), disk.now());
            tx.commit()?;
            if durability == Durability::Durable {
                history.durable(disk.now());
            }
        }
        Ok(())
    }
}

fn durability(random: &mut Random) -> Durability {
    random.pick(&[Durability::Durable, Durability::Deferred])
}

/// A run in progress.
pub struct Run<'a> {
    fixture: &'a Fixture,
    pub store: Option<Rc<Store>>,
    pub disk: SimDisk,
    pub history: History<Digest>,
    /// The last committed model, and the one that may have been committed.
    pub model: Model,
    pub perhaps: Option<Model>,
    /// Whether the kernel has dropped pages that it could not write: deferred commits may then be
    /// gone too, as after a power cut.
    has_forgotten: bool,
    pub random: Random,
}

impl<'a> Run<'a> {
    /// Creates a new store on a disk; its images are mappings if `is_mapped`.
    pub fn new(fixture: &'a Fixture, seed: u64, is_mapped: bool) -> Result<Self> {
        let disk = fixture.new_disk(is_mapped)?;
        let mut run = Self::on(fixture, seed, disk, Model::default());
        run.open_again()?;
        Ok(run)
    }

    /// Returns a run over an existing store, not yet opened, with the contents `model`.
    pub fn on(fixture: &'a Fixture, seed: u64, disk: SimDisk, model: Model) -> Self {
        disk.record();
        disk.set_forgetful(seed % 4 == 2);
        let history = History::new(model.digest());
        let (store, perhaps, random) = (None, None, Random(seed));
        Self { fixture, store, disk, history, model, perhaps, has_forgotten: false, random }
    }

    pub fn store(&self) -> &Rc<Store> {
        self.store.as_ref().expect("it is open between steps")
    }

    /// Makes everything so far durable, and starts the recording anew.
    pub fn begin_here(&mut self) -> Result<()> {
        self.sync()?;
        self.disk.record();
        self.history = History::new(self.model.digest());
        Ok(())
    }

    /// Closes the store cleanly and ends the run.
    pub fn end(mut self) -> Recording<Digest> {
        self.store = None;
        Recording::of(&self.disk, self.history)
    }

    /// Kills the process and ends the run.
    pub fn end_by_death(mut self) -> History<Digest> {
        self.disk.fail_after(0);
        self.store = None;
        self.history
    }

    /// Makes a random step.
    pub fn step(&mut self) -> Result<()> {
        match self.random.below(24) {
            0 | 1 => self.checkpoint(),
            2 => self.sync(),
            3 => self.reopen(),
            4 => self.die_in_the_middle(),
            5 => self.fail_by_chance(),
            6 | 7 => self.hold(),
            _ => self.transact(),
        }?;
        assert_eq!(
            model(self.store())?.digest(),
            self.model.digest(),
            "what was committed is seen"
        );
        Ok(())
    }

    /// Runs a transaction with a random end.
    pub fn transact(&mut self) -> Result<()> {
        let (mut random, fixture) = (Random(self.random.next()), self.fixture);
        if random.one_in(8) {
            let mut model = self.model.clone();
            let store = Rc::clone(self.store());
            let mut tx = store.write()?;
            return fixture.changes(&mut tx, &mut model, &mut random);
        }
        let durability = durability(&mut random);
        self.commit(durability, |tx, model| fixture.changes(tx, model, &mut random))
    }

    /// Runs a transaction with these changes.
    pub fn commit(
        &mut self,
        durability: Durability,
        changes: impl FnOnce(&mut WriteTx<'_>, &mut Model) -> Result<()>,
    ) -> Result<()> {
        let store = Rc::clone(self.store());
        let mut model = self.model.clone();
        let mut tx = store.write()?;
        changes(&mut tx, &mut model)?;
        tx.set_durability(durability);
        self.history.begin(model.digest(), self.disk.now());
        self.perhaps = Some(model);
        tx.commit()?;
        self.model = self.perhaps.take().expect("it was put there");
        if durability == Durability::Durable {
            self.history.durable(self.disk.now());
        }
        Ok(())
    }

    pub fn checkpoint(&mut self) -> Result<()> {
        self.store().checkpoint()?;
        self.history.durable(self.disk.now());
        Ok(())
    }

    pub fn sync(&mut self) -> Result<()> {
        self.store().sync()?;
        self.history.durable(self.disk.now());
        Ok(())
    }

    /// Closes the store cleanly, and opens it again.
    pub fn reopen(&mut self) -> Result<()> {
        let store = self.store.take().and_then(Rc::into_inner);
        store.expect("it is open between steps").close()?;
        self.history.durable(self.disk.now());
        self.open_again()
    }

    /// Kills the process at any call of a transaction, a checkpoint or a clean close.
    fn die_in_the_middle(&mut self) -> Result<()> {
        let calls = self.random.below(12);
        self.disk.fail_after(calls);
        let _ = match self.random.below(4) {
            0 => self.checkpoint(),
            _ => self.transact(),
        };
        self.die()
    }

    /// Kills the process; the page cache keeps what it wrote.
    pub fn die(&mut self) -> Result<()> {
        self.disk.fail_after(0);
        self.store = None;
        self.disk.fail_after(u64::MAX);
        self.open_again()
    }

    /// Makes a write or flush fail at any call of the next transactions.
    fn fail_by_chance(&mut self) -> Result<()> {
        let first = self.disk.next_call() + self.random.below(40);
        let part = Done::Part(self.random.next());
        let done = self.random.pick(&[Done::Nothing, part, part, Done::All]);
        let calls = first..first + 1;
        self.disk.set_faults(Some(Faults { calls, errno: BAD_DISK, done, spares_reading: true }));
        self.go_on_failing(4)?;
        if self.random.one_in(3) {
            self.expect_reads_without_memory()?;
        }
        self.start_again()
    }

    /// Reads after the kernel has dropped pages that it could not write: each read shows
    /// committed data, or fails with a reason. Returns whether reads succeed.
    pub fn expect_reads_without_memory(&mut self) -> Result<bool> {
        self.disk.drop_clean_pages();
        self.has_forgotten = true;
        match model(self.store()) {
            Err(error) if matches!(error.kind(), ErrorKind::Poisoned { .. }) => Ok(false),
            _ => self.expect_reads().map(|()| true),
        }
    }

    /// Continues as far as the store allows.
    pub fn go_on_failing(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            let _ = match self.random.one_in(4) {
                true => self.checkpoint(),
                false => self.transact(),
            };
        }
        self.expect_reads()
    }

    /// Reads after a failure, which must show what was committed. An uncertain commit may be
    /// visible if no power cut could undo it.
    pub fn expect_reads(&mut self) -> Result<()> {
        let found = model(self.store())?.digest();
        if found == self.model.digest() {
            return Ok(());
        }
        let unknown = self.perhaps.as_ref().map(Model::digest);
        assert_eq!(Some(found), unknown, "readers see what nobody has committed");
        for _ in 0..8 {
            let disk = SimDisk::new(self.disk.crash(&mut self.random));
            let store = disk.open(&self.fixture.options)?;
            assert_eq!(model(&store)?.digest(), found, "readers have seen what a cut takes back");
        }
        Ok(())
    }

    /// Ends the program, and starts it again on a repaired disk.
    pub fn start_again(&mut self) -> Result<()> {
        self.store = None;
        self.disk.set_faults(None);
        self.open_again()
    }

    /// Opens the store again, and determines whether the uncertain commit happened; it did, or it
    /// never will.
    pub fn open_again(&mut self) -> Result<()> {
        let begun = self.disk.now();
        self.has_forgotten |= self.disk.will_forget();
        let store = self.disk.open(&self.fixture.options)?;
        let found = model(&store)?;
        let (digest, now) = (found.digest(), self.disk.now());
        let candidates =
            [Some(self.model.digest()), self.perhaps.take().map(|model| model.digest())];
        let is_allowed =
            std::mem::take(&mut self.has_forgotten) && self.history.allows(&digest, now);
        let is_expected = is_allowed || candidates.contains(&Some(digest));
        assert!(is_expected, "a process that ends loses nothing");
        self.history.reopened(digest, begun, now);
        (self.model, self.store) = (found, Some(Rc::new(store)));
        Ok(())
    }

    /// Checks that a snapshot does not change, whatever happens meanwhile.
    pub fn hold(&mut self) -> Result<()> {
        let store = Rc::clone(self.store());
        let held = store.read()?;
        let before = self.model.digest();
        let mut outcome = Ok(());
        for _ in 0..2 {
            outcome = outcome.and(self.transact()).and_then(|()| self.checkpoint());
        }
        assert_eq!(contents(&held)?.digest(), before, "a snapshot has changed");
        outcome
    }
}

/// Returns a disk with these bytes.
pub fn disk_of(bytes: Vec<u8>, is_mapped: bool) -> SimDisk {
    match is_mapped {
        true => SimDisk::mapped(bytes).expect("memory"),
        false => SimDisk::new(bytes),
    }
}
