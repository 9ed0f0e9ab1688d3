//! Runs several threads over one fixture store on a simulated disk: commits that are flushed
//! together, background checkpoints, readers that pin snapshots, a disk that fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use flagstone::sim::{Call, Done, Faults, History, Random, Recording, SimDisk};
use flagstone::{Checkpoints, Durability, ErrorKind, Result, Store};

use super::fixture::{Digest, Model, contents};
use super::sim_run::{BAD_DISK, Fixture};

/// The number of threads that write.
const WRITERS: u64 = 3;
/// The number of transactions of each.
const TRANSACTIONS: u64 = 40;
/// Maximum number of commits left pending and waited for together.
const MAX_PENDING: usize = 4;
/// Longer than any run takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The state that all threads share.
struct Known {
    model: Model,
    history: History<Digest>,
}

/// A run.
pub struct ThreadRun<'a> {
    fixture: &'a Fixture,
    disk: SimDisk,
    store: Store,
    known: Mutex<Known>,
    is_over: AtomicBool,
    seeds: AtomicU64,
    /// The number of snapshots that were read twice.
    pub held: AtomicU64,
}

impl<'a> ThreadRun<'a> {
    /// Creates a new store.
    pub fn new(fixture: &'a Fixture, seed: u64) -> Result<Self> {
        let disk = fixture.new_disk(true)?;
        let options = fixture.options.clone().checkpoints(Checkpoints::Background);
        let store = disk.open_with_threads(&options)?;
        disk.record();
        let model = Model::default();
        let history = History::new(model.digest());
        let known = Mutex::new(Known { model, history });
        let (is_over, held) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { fixture, disk, store, known, is_over, seeds: AtomicU64::new(seed << 8), held })
    }

    /// Lets the threads run to their end or, with `fails`, until a call of the disk fails.
    /// Returns whether one did.
    pub fn run(&self, fails: bool) -> bool {
        if fails {
            let mut random = self.random();
            let first = self.disk.next_call() + random.below(150);
            let done = random.pick(&[Done::Nothing, Done::Part(random.0), Done::All]);
            // Several calls, since calls that only read are spared.
            let (calls, errno) = (first..first + 8, BAD_DISK);
            self.disk.set_faults(Some(Faults { calls, errno, done, spares_reading: true }));
        }
        let failed = std::thread::scope(|scope| {
            let readers = [0, 1].map(|_| scope.spawn(|| self.read()));
            let writers = [(); WRITERS as usize].map(|()| scope.spawn(|| self.write()));
            let ended = writers.map(|writer| writer.join());
            self.is_over.store(true, Relaxed);
            for reader in readers {
                reader.join().expect("a reader").expect("reads go on");
            }
            ended.into_iter().filter_map(|end| end.expect("a writer")).collect::<Vec<_>>()
        });
        for error in &failed {
            let is_known = matches!(
                error.kind(),
                ErrorKind::CommitUnknown { .. }
                    | ErrorKind::Poisoned { .. }
                    | ErrorKind::NoSpace { .. }
                    | ErrorKind::Io { .. }
            );
            assert!(fails && is_known, "a write failed: {error}");
        }
        !failed.is_empty()
    }

    /// Returns how often the heap was synced, which only checkpoints do.
    pub fn checkpoints(&self) -> u64 {
        self.disk.calls().iter().filter(|call| **call == Call::Sync).count() as u64
    }

    /// Ends the run, with a clean close if the disk did not fail.
    pub fn end(self) -> Recording<Digest> {
        drop(self.store);
        Recording::of(&self.disk, self.known.into_inner().expect("no thread has panicked").history)
    }

    fn random(&self) -> Random {
        Random(self.seeds.fetch_add(1, Relaxed))
    }

    /// Runs one thread's transactions; returns the error that ended them.
    fn write(&self) -> Option<flagstone::Error> {
        let mut random = self.random();
        let mut pending = Vec::new();
        let begun = Instant::now();
        for _ in 0..TRANSACTIONS {
            assert!(begun.elapsed() < TIMEOUT, "the threads hold each other up");
            if let Err(error) = self.transact(&mut random, &mut pending) {
                return Some(error);
            }
            if pending.len() > random.below(MAX_PENDING as u64) as usize
                && let Err(error) = self.wait(&mut pending)
            {
                return Some(error);
            }
        }
        self.wait(&mut pending).err()
    }

    fn transact<'s>(
        &'s self,
        random: &mut Random,
        pending: &mut Vec<(flagstone::PendingCommit<'s>, usize)>,
    ) -> Result<()> {
        let mut tx = self.store.write()?;
        let mut model = self.known.lock().expect("no thread has panicked").model.clone();
        self.fixture.changes(&mut tx, &mut model, random)?;
        if random.one_in(8) {
            return Ok(());
        }
        let durability = random.pick(&[Durability::Durable, Durability::Deferred]);
        tx.set_durability(durability);
        let number = {
            // No other thread writes until the transaction is committed.
            let mut known = self.known.lock().expect("no thread has panicked");
            let digest = model.digest();
            known.model = model;
            known.history.begin(digest, self.disk.now())
        };
        if durability == Durability::Durable && random.one_in(2) {
            pending.push((tx.commit_later()?, number));
            return Ok(());
        }
        tx.commit()?;
        if durability == Durability::Durable {
            self.is_durable(number);
        }
        Ok(())
    }

    fn wait(&self, pending: &mut Vec<(flagstone::PendingCommit<'_>, usize)>) -> Result<()> {
        while let Some((commit, number)) = pending.pop() {
            commit.wait()?;
            self.is_durable(number);
        }
        Ok(())
    }

    fn is_durable(&self, number: usize) {
        let mut known = self.known.lock().expect("no thread has panicked");
        known.history.durable_to(number, self.disk.now());
    }

    /// Takes snapshots until the run is over: each must be a committed state, and must not
    /// change.
    fn read(&self) -> Result<()> {
        let mut random = self.random();
        while !self.is_over.load(Relaxed) {
            let tx = self.store.read()?;
            let first = contents(&tx)?.digest();
            let is_known = self.known.lock().expect("no thread has panicked").history.knows(&first);
            assert!(is_known, "a reader sees what nobody has committed");
            for _ in 0..random.below(20) {
                std::thread::yield_now();
            }
            assert_eq!(contents(&tx)?.digest(), first, "a snapshot has changed");
            self.held.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}
