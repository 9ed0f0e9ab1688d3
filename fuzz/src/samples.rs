//! Stores to be damaged.

use std::cell::OnceCell;

use flagstone::sim::{Random, SimDisk};
use flagstone::{Durability, Result, Store};
use testkit::forge;
use testkit::model::roots::{Roots, State};

use crate::collections_fixture::{FIXTURES, fixture};
use crate::program::options;
use crate::sampling::Chance;

/// A store's file, and the states that it may hold.
pub struct Sample {
    pub bytes: Vec<u8>,
    /// All committed states.
    pub states: Vec<State>,
    /// The offsets of words outside of the log that are not zero.
    pub words: Vec<u32>,
    /// The log in the file.
    pub log: std::ops::Range<usize>,
}

/// The way in which a sample was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Closed cleanly.
    Closed,
    /// As a power cut leaves it, with records in the log.
    Logged,
    /// With a record whose entries are behind the heap.
    Spilled,
    /// In the middle of a checkpoint: some pages are older than others.
    HalfWritten,
}

/// The stores that targets begin with. Each is made when it is first needed.
#[derive(Default)]
pub struct Ground {
    fixtures: [OnceCell<Roots>; FIXTURES],
    empty: [OnceCell<(Vec<u8>, State)>; FIXTURES],
    samples: [[OnceCell<Sample>; KINDS]; FIXTURES],
}

/// The number of kinds of samples.
const KINDS: usize = 4;

impl Ground {
    /// Returns one of the fixtures.
    pub fn fixture(&self, number: usize) -> &Roots {
        self.fixtures[number % FIXTURES].get_or_init(|| fixture(number))
    }

    /// Returns a new store with the roots of a fixture.
    pub fn empty(&self, fixture: usize) -> &(Vec<u8>, State) {
        self.empty[fixture % FIXTURES].get_or_init(|| empty(self.fixture(fixture)))
    }

    /// Returns a closed store of a fixture.
    pub fn closed(&self, fixture: usize) -> &Sample {
        self.sample(fixture, 0)
    }

    /// Returns a store of a fixture with records in its log.
    pub fn logged(&self, fixture: usize) -> &Sample {
        self.sample(fixture, 1)
    }

    /// Returns a store of a fixture that was left in one of the ways.
    pub fn sample(&self, fixture: usize, kind: usize) -> &Sample {
        let left = [Left::Closed, Left::Logged, Left::Spilled, Left::HalfWritten][kind % KINDS];
        let place = &self.samples[fixture % FIXTURES][kind % KINDS];
        place.get_or_init(|| sample(self.fixture(fixture), left))
    }
}

thread_local! {
    static GROUND: Ground = Ground::default();
}

/// Calls `work` with this thread's stores.
pub fn with_ground(work: impl FnOnce(&Ground)) {
    GROUND.with(work);
}

/// A run on a fixture: options, the file of an empty store, its state, and a program.
type Run = fn(&Roots, u8, Vec<u8>, State, &[u8], Chance);

/// Runs an input: a byte that chooses a fixture, a byte of options, and a program.
pub fn with_program(input: &[u8], run: Run) {
    let [fixture, options, program @ ..] = input else { return };
    with_ground(|ground| {
        let (bytes, state) = ground.empty((*fixture).into());
        let fixture = ground.fixture((*fixture).into());
        run(fixture, *options, bytes.clone(), state.clone(), program, Chance::of(input));
    });
}

/// Returns the file and the state of a new store with all roots, closed.
fn empty(fixture: &Roots) -> (Vec<u8>, State) {
    let (store, disk) = SimDisk::create(&options(0)).expect("a store");
    store.update(|tx| fixture.create(tx)).expect("roots");
    store.close().expect("it is closed");
    (disk.crash(&mut Random(0)), fixture.empty())
}

/// Returns a small store that was left in this way.
fn sample(fixture: &Roots, left: Left) -> Sample {
    let changes = changes(fixture).expect("changes of new collections");
    match left {
        Left::Closed => attempt(fixture, &changes, left, u64::MAX),
        Left::Logged => attempt(fixture, &changes, left, 0),
        // Trial and error finds the call after which a spill's record is on the disk, or a
        // checkpoint is half done. A checkpoint of a few pages may have no half.
        Left::Spilled | Left::HalfWritten => (4..200)
            .find_map(|calls| attempt(fixture, &changes, left, calls))
            .or_else(|| attempt(fixture, &changes, Left::Logged, 0)),
    }
    .or_else(|| attempt(fixture, &changes, Left::Closed, u64::MAX))
    .expect("a store can be closed")
}

/// Returns a store whose disk fails `calls` calls after the store was filled, or `None` if that
/// does not leave it in the requested way.
fn attempt(fixture: &Roots, changes: &[Changes], left: Left, calls: u64) -> Option<Sample> {
    let (store, disk) = SimDisk::create(&options(0)).expect("a store");
    let mut states = vec![fixture.empty()];
    store.update(|tx| fixture.create(tx)).expect("roots");
    for (round, changes) in changes.iter().enumerate() {
        if round == ROUNDS / 2 {
            store.checkpoint().expect("a checkpoint");
        }
        states.push(fill(fixture, &store, &states[states.len() - 1], changes).expect("a commit"));
    }
    disk.fail_after(calls);
    match left {
        Left::Closed => store.close().expect("it is closed"),
        Left::Logged => {}
        Left::Spilled => drop(store.update(|tx| tx.alloc_slice_copy(&[7u8; 20_000]))),
        Left::HalfWritten => drop(store.checkpoint()),
    }
    let bytes = match left {
        Left::HalfWritten => mixed_crash(&disk)?,
        _ => disk.crash(&mut Random(0)),
    };
    let records = forge::records(&bytes);
    let is_as_wanted = match left {
        Left::Closed => true,
        Left::Logged | Left::HalfWritten => !records.is_empty(),
        Left::Spilled => records.iter().any(|record| bytes[record.start + 3] == 3),
    };
    is_as_wanted.then(|| Sample::of(bytes, states))
}

/// Returns what a cut leaves after some sectors were written and others not. Unlike an image with
/// all of them or none, it occurs only once.
fn mixed_crash(disk: &SimDisk) -> Option<Vec<u8>> {
    let images: Vec<_> = (0..12).map(|seed| disk.crash(&mut Random(seed))).collect();
    let comes_once = |image: &&Vec<u8>| images.iter().filter(|other| other == image).count() == 1;
    images.iter().find(comes_once).cloned()
}

/// The changes of a transaction: for each the collection, and the number of the change.
type Changes = Vec<(usize, u64)>;

/// The number of transactions that fill a sample. A small one follows, so no log is left empty by a
/// checkpoint.
const ROUNDS: usize = 4;

/// Returns for each transaction a few changes that add something to each collection, but not much:
/// each input copies a sample.
fn changes(fixture: &Roots) -> Result<Vec<Changes>> {
    let mut changes = vec![Changes::new(); ROUNDS + 1];
    for place in 0..fixture.count() {
        for (i, number) in small_changes(fixture, place, 2 * ROUNDS)?.into_iter().enumerate() {
            changes[i / 2].push((place, number));
        }
    }
    changes[ROUNDS] = changes.iter().flatten().take(1).copied().collect();
    Ok(changes)
}

fn small_changes(fixture: &Roots, place: usize, count: usize) -> Result<Vec<u64>> {
    let (store, _) = SimDisk::create(&options(0))?;
    store.update(|tx| fixture.create(tx))?;
    let mut state = fixture.empty();
    let mut live = store.stats()?.live_bytes;
    let mut small = Vec::new();
    for number in 0..2000 {
        let mut tx = store.write()?;
        fixture.change(&mut state, place, number, &mut tx).expect("a change");
        tx.commit()?;
        let before = std::mem::replace(&mut live, store.stats()?.live_bytes);
        if (before + 1..before + 1500).contains(&live) {
            small.push(number);
        }
        if small.len() == count {
            break;
        }
    }
    if small.is_empty() {
        // It has no small changes.
        small.extend(0..count as u64);
    }
    Ok(small)
}

fn fill(fixture: &Roots, store: &Store, before: &State, changes: &Changes) -> Result<State> {
    let mut state = before.clone();
    let mut tx = store.write()?;
    for (place, number) in changes {
        fixture.change(&mut state, *place, *number, &mut tx).expect("a change");
    }
    tx.set_durability(Durability::Durable);
    tx.commit()?;
    Ok(state)
}

impl Sample {
    /// Returns the sample of a file that may hold one of `states`.
    pub fn of(bytes: Vec<u8>, states: Vec<State>) -> Self {
        let newest = forge::newest(&bytes);
        let [start, len] = [80, 88].map(|field| forge::number(&bytes, newest + field) as usize);
        let log = start..start + len;
        let is_live = |at: &u32| {
            let at = *at as usize;
            !log.contains(&at) && forge::number(&bytes, at) != 0
        };
        let words = (0..bytes.len() as u32 / 8).map(|word| word * 8).filter(is_live).collect();
        Self { bytes, states, words, log }
    }
}
