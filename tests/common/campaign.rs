//! A run of random steps over a cabinet on a simulated disk: transactions,
//! checkpoints, readers, deaths of the process, failing flushes. Where the power
//! may be cut is looked at afterwards, from what the disk has recorded.

use std::rc::Rc;

use flagstone::sim::{Done, Faults, History, Program, Random, Recording, SimDisk};
use flagstone::{Durability, ErrorKind, OpenOptions, Result, Savepoint, Store, WriteTx};

use super::cabinet::{Digest, Model, Taste, change, contents};

/// EIO.
pub const BAD_DISK: i32 = 5;
/// ENOSPC.
pub const FULL_DISK: i32 = 28;

/// How a cabinet is used.
#[derive(Clone, Debug)]
pub struct Cabinets {
    pub options: OpenOptions,
    pub taste: Taste,
}

impl Cabinets {
    /// Stores that are as small as they can be, and stay so.
    pub fn small() -> Self {
        let taste = Taste { collections: false, elements: 40, most_elements: 1200 };
        Self { options: OpenOptions::new().log_bytes(64 * 1024), taste }
    }

    /// The same with collections.
    pub fn of_collections() -> Self {
        let taste = Taste { collections: true, ..Self::small().taste };
        Self { taste, ..Self::small() }
    }

    /// With transactions that are larger than the log.
    pub fn spilling() -> Self {
        let taste = Taste { most_elements: 12_000, ..Self::small().taste };
        Self { taste, ..Self::small() }
    }

    /// With pages written in place, and a heap that is large enough for the log to
    /// move.
    pub fn large() -> Self {
        let taste = Taste { collections: true, elements: 3000, most_elements: 400_000 };
        let options = Self::small().options.most_log_bytes(512 * 1024);
        Self { options, taste }
    }

    /// One transaction's changes, with savepoints.
    fn changes(&self, tx: &mut WriteTx<'_>, model: &mut Model, random: &mut Random) -> Result<()> {
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
                _ => change(tx, model, self.taste, random)?,
            }
        }
        Ok(())
    }
}

/// What the store holds.
pub fn model(store: &Store) -> Result<Model> {
    contents(&store.read()?)
}

impl Program for Cabinets {
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
    if random.one_in(2) { Durability::Durable } else { Durability::Deferred }
}

/// A run on its way.
pub struct Run<'a> {
    cabinets: &'a Cabinets,
    pub store: Option<Rc<Store>>,
    pub disk: SimDisk,
    pub history: History<Digest>,
    /// What was committed last, and what may have been.
    pub model: Model,
    pub perhaps: Option<Model>,
    pub random: Random,
}

impl<'a> Run<'a> {
    /// A new store on a disk whose images are mappings if so wished.
    pub fn new(cabinets: &'a Cabinets, seed: u64, is_mapped: bool) -> Result<Self> {
        let (store, disk) = SimDisk::create(&cabinets.options)?;
        drop(store);
        let bytes = disk.crash(&mut Random(0));
        let disk = match is_mapped {
            true => SimDisk::mapped(bytes).expect("memory"),
            false => SimDisk::new(bytes),
        };
        disk.record();
        let store = Some(Rc::new(disk.open(&cabinets.options)?));
        let (model, random) = (Model::default(), Random(seed));
        let history = History::new(model.digest());
        Ok(Self { cabinets, store, disk, history, model, perhaps: None, random })
    }

    pub fn store(&self) -> &Rc<Store> {
        self.store.as_ref().expect("it is open between steps")
    }

    /// Ends the run, in order or not.
    pub fn end(mut self) -> Recording<Digest> {
        self.store = None;
        Recording::of(&self.disk, self.history)
    }

    /// One random step.
    pub fn step(&mut self) -> Result<()> {
        match self.random.below(24) {
            0 | 1 => self.checkpoint(),
            2 => self.sync(),
            3 => self.reopen(),
            4 => self.die_in_the_middle(),
            5 => self.fail_a_flush(),
            6 | 7 => self.hold(),
            _ => self.transact(),
        }?;
        assert_eq!(model(self.store())?.digest(), self.model.digest(), "what was committed is seen");
        Ok(())
    }

    /// A transaction with a random end.
    pub fn transact(&mut self) -> Result<()> {
        let (mut random, cabinets) = (Random(self.random.next()), self.cabinets);
        if random.one_in(8) {
            let mut model = self.model.clone();
            let store = Rc::clone(self.store());
            let mut tx = store.write()?;
            return cabinets.changes(&mut tx, &mut model, &mut random);
        }
        let durability = durability(&mut random);
        self.commit(durability, |tx, model| cabinets.changes(tx, model, &mut random))
    }

    /// A transaction with these changes.
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

    /// Closes the store in order, and opens it again.
    pub fn reopen(&mut self) -> Result<()> {
        let store = self.store.take().and_then(Rc::into_inner);
        store.expect("it is open between steps").close()?;
        self.history.durable(self.disk.now());
        self.open_again()
    }

    /// The process dies at any call of a transaction, a checkpoint or an orderly end.
    fn die_in_the_middle(&mut self) -> Result<()> {
        let calls = self.random.below(12);
        self.disk.fail_after(calls);
        let _ = match self.random.below(4) {
            0 => self.checkpoint(),
            _ => self.transact(),
        };
        self.die()
    }

    /// The process dies; what it wrote is in the page cache.
    pub fn die(&mut self) -> Result<()> {
        self.disk.fail_after(0);
        self.store = None;
        self.disk.fail_after(u64::MAX);
        self.open_again()
    }

    /// A flush or a write fails; the program ends, and is started again.
    fn fail_a_flush(&mut self) -> Result<()> {
        let first = self.disk.next_call() + self.random.below(40);
        let done = [Done::Nothing, Done::Part, Done::Part, Done::All][self.random.below(4) as usize];
        let faults = Faults { calls: first..first + 1, errno: BAD_DISK, done, spares_reading: true };
        self.disk.set_faults(Some(faults));
        for _ in 0..3 {
            let step = match self.random.one_in(4) {
                true => self.checkpoint(),
                false => self.transact(),
            };
            if step.is_err() {
                break;
            }
        }
        // Reads go on, and show nothing that a power cut could take back.
        assert_eq!(model(self.store())?.digest(), self.model.digest(), "reads go on");
        self.store = None;
        self.disk.set_faults(None);
        self.open_again()
    }

    /// What was perhaps committed is so, or it never was.
    fn open_again(&mut self) -> Result<()> {
        let begun = self.disk.now();
        let store = self.disk.open(&self.cabinets.options)?;
        let found = model(&store)?;
        let (digest, now) = (found.digest(), self.disk.now());
        let candidates = [Some(self.model.digest()), self.perhaps.take().map(|model| model.digest())];
        assert!(candidates.contains(&Some(digest)), "a process that ends loses nothing");
        self.history.reopened(digest, begun, now);
        (self.model, self.store) = (found, Some(Rc::new(store)));
        Ok(())
    }

    /// A snapshot stays as it is, whatever happens meanwhile.
    pub fn hold(&mut self) -> Result<()> {
        let store = Rc::clone(self.store());
        let held = store.read()?;
        let before = self.model.digest();
        for _ in 0..1 + self.random.below(3) {
            self.transact()?;
            if self.random.one_in(2) {
                self.checkpoint()?;
            }
        }
        assert_eq!(contents(&held)?.digest(), before, "a snapshot has changed");
        Ok(())
    }
}

/// Whether the store refuses to write from now on.
pub fn is_poisoned(store: &Store) -> bool {
    matches!(store.write(), Err(error) if matches!(error.kind(), ErrorKind::Poisoned { .. }))
}
