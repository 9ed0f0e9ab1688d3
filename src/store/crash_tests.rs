//! Power cuts on the simulated disk: whatever a cut leaves opens as exactly one
//! committed state, and none older than the last durable one.

use super::{Durability, OpenOptions, Savepoint, Store, WriteTx};
use crate::sim::{Random, SimDisk};
use crate::{ErrorKind, Link, Result};

/// Slots of the table that the tests change.
const SLOTS: usize = 24;

/// A slot: an object, an array, or nothing.
#[crate::persist(crate = crate)]
#[derive(Clone, Copy)]
struct Slot {
    object: Link<u64>,
    array: Link<[u32]>,
}

/// What a slot holds, as the model knows it.
type Model = Vec<(Option<u64>, Option<Vec<u32>>)>;

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024).most_log_bytes(512 * 1024)
}

fn open(bytes: Vec<u8>) -> Result<(Store, SimDisk)> {
    let disk = SimDisk::new(bytes);
    Ok((disk.open(&options())?, disk))
}

fn new_store() -> (Store, SimDisk) {
    SimDisk::create(&options()).unwrap()
}

fn table(tx: &mut WriteTx<'_>) -> Result<Link<[Slot; SLOTS]>> {
    let empty = Slot { object: Link::null(), array: Link::null() };
    tx.root_or_insert_with("table", || [empty; SLOTS])
}

/// What the store holds now.
fn contents(store: &Store) -> Result<Model> {
    let tx = store.read()?;
    let table = tx.root::<[Slot; SLOTS]>("table")?;
    let Some(slots) = tx.get(table)? else {
        return Ok(vec![(None, None); SLOTS]);
    };
    let slot =
        |slot: &Slot| Ok((tx.get(slot.object)?.copied(), tx.get(slot.array)?.map(<[u32]>::to_vec)));
    slots.iter().map(slot).collect()
}

/// A random change of a slot, in store and model.
fn change(tx: &mut WriteTx<'_>, model: &mut Model, random: &mut Random) -> Result<()> {
    let table = table(tx)?;
    let index = random.below(SLOTS as u64) as usize;
    let mut slot = tx.at(table)?[index];
    match random.below(5) {
        0 => {
            if !slot.object.is_null() {
                tx.free(slot.object)?;
            }
            let value = random.next();
            slot.object = tx.alloc(value)?;
            model[index].0 = Some(value);
        }
        1 => {
            if let Some(value) = tx.get_mut(slot.object)? {
                *value += 1;
                model[index].0 = Some(*value);
            }
        }
        2 => {
            if !slot.array.is_null() {
                tx.free(slot.array)?;
            }
            let longest = if random.below(40) == 0 { 400_000 } else { 3000 };
            let len = random.below(longest) as u32;
            let salt = random.next() as u32;
            slot.array = tx.alloc_slice((0..len).map(|x| x ^ salt))?;
            model[index].1 = Some((0..len).map(|x| x ^ salt).collect());
        }
        3 => {
            if let Some([first, ..]) = tx.get_mut(slot.array)? {
                *first = !*first;
                model[index].1.as_mut().unwrap()[0] = *first;
            }
        }
        _ => {
            if !slot.array.is_null() {
                tx.free(std::mem::take(&mut slot.array))?;
                model[index].1 = None;
            }
        }
    }
    tx.at_mut(table)?[index] = slot;
    Ok(())
}

/// States that were committed, and how many of them were surely durable.
struct History {
    states: Vec<Model>,
    /// The index of the last state that was reported durable.
    durable: usize,
}

/// One transaction with random changes, savepoints, and a random end.
fn transact(store: &Store, history: &mut History, random: &mut Random) -> Result<()> {
    let mut model = history.states.last().unwrap().clone();
    let mut tx = store.write()?;
    let mut saved: Vec<(Savepoint, Model)> = Vec::new();
    for _ in 0..1 + random.below(6) {
        match random.below(8) {
            0 => saved.push((tx.savepoint()?, model.clone())),
            1 if !saved.is_empty() => {
                saved.truncate(1 + random.below(saved.len() as u64) as usize);
                let (savepoint, earlier) = saved.last().unwrap();
                tx.rollback_to(*savepoint)?;
                model.clone_from(earlier);
            }
            _ => change(&mut tx, &mut model, random)?,
        }
    }
    if random.below(8) == 0 {
        return Ok(());
    }
    let durable = random.below(2) == 0;
    tx.set_durability(if durable { Durability::Durable } else { Durability::Deferred });
    // What was asked for may be there whether or not it is acknowledged.
    history.states.push(model);
    tx.commit()?;
    if durable {
        history.durable = history.states.len() - 1;
    }
    Ok(())
}

/// Opens what a cut left, holds it against the history, and cuts again while
/// that opening is on its way.
fn verify(bytes: Vec<u8>, history: &History, random: &mut Random, depth: u32, seed: u64) {
    let disk = SimDisk::new(bytes);
    if depth > 0 {
        disk.fail_after(random.below(12));
        let attempt = disk.open(&options());
        if let Ok(store) = attempt {
            let _ = store.write().map(|tx| tx.commit());
        }
        return verify(disk.crash(random), history, random, depth - 1, seed);
    }
    let store = disk.open(&options()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let found = contents(&store).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let candidates = &history.states[history.durable..];
    assert!(candidates.contains(&found), "seed {seed}: no committed state since the durable one");
    let report = store.check().unwrap();
    assert!(
        report.is_clean(),
        "seed {seed}: {:?}",
        &report.findings[..report.findings.len().min(5)]
    );
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let (mut store, mut disk) = new_store();
    let mut history = History { states: vec![vec![(None, None); SLOTS]], durable: 0 };
    for _ in 0..60 {
        let step = match random.below(12) {
            0 => store.checkpoint(),
            1 => store.sync().map(|()| history.durable = history.states.len() - 1),
            2 => {
                drop(store);
                history.durable = history.states.len() - 1;
                (store, disk) = open(disk.crash(&mut random)).unwrap();
                Ok(())
            }
            3 => {
                let held = store.read().unwrap();
                let before = contents(&store).unwrap();
                transact(&store, &mut history, &mut random).unwrap();
                store.checkpoint().unwrap();
                let table = held.root::<[Slot; SLOTS]>("table").unwrap();
                let slots = held.get(table).unwrap();
                for (slot, model) in slots.into_iter().flatten().zip(&before) {
                    assert_eq!(held.get(slot.object).unwrap().copied(), model.0, "seed {seed}");
                    assert_eq!(held.get(slot.array).unwrap(), model.1.as_deref(), "seed {seed}");
                }
                Ok(())
            }
            _ => transact(&store, &mut history, &mut random),
        };
        step.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(contents(&store).unwrap(), *history.states.last().unwrap(), "seed {seed}");
        for _ in 0..2 {
            let depth = random.below(4) as u32;
            verify(disk.crash(&mut random), &history, &mut random, depth, seed);
        }
    }
    let report = store.check().unwrap();
    assert!(report.is_clean(), "seed {seed}: {:?}", report.findings);
}

#[test]
fn every_cut_leaves_exactly_one_committed_state() {
    let rounds = std::env::var("FLAGSTONE_LONG").map_or(8, |_| 4000);
    let first = std::env::var("FLAGSTONE_SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + rounds {
        run(seed);
    }
}

#[test]
fn a_failing_call_anywhere_loses_nothing() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let (store, disk) = new_store();
        let mut history = History { states: vec![vec![(None, None); SLOTS]], durable: 0 };
        for _ in 0..5 {
            transact(&store, &mut history, &mut random).unwrap();
        }
        disk.fail_after(random.below(60));
        let mut poisoned = None;
        for _ in 0..60 {
            let before = history.states.len();
            if let Err(error) = transact(&store, &mut history, &mut random) {
                history.states.truncate(before + 1);
                poisoned = Some(error);
                break;
            }
        }
        let error = poisoned.expect("the disk fails from some call on");
        // Reads go on from memory, and writing is refused or fails again.
        contents(&store).unwrap();
        let refused = store.update(|tx| tx.alloc(1u64)).expect_err("nothing more is written");
        let is_told = match error.kind() {
            // Growth that fails is no reason to give up; the next call is.
            ErrorKind::NoSpace { .. } => true,
            _ => matches!(refused.kind(), ErrorKind::Poisoned { .. }),
        };
        assert!(is_told, "seed {seed}: {refused} after {error}");
        let bytes = disk.crash(&mut random);
        drop(store);
        verify(bytes, &history, &mut random, 0, seed);
    }
}

#[test]
fn a_log_that_cannot_grow_is_not_tried_at_each_commit() {
    let (store, disk) = new_store();
    let array = store.update(|tx| tx.alloc_slice_copy(&[0u64; 1 << 18])).unwrap();
    let commit = |value: u64| {
        let mut tx = store.write()?;
        tx.set_durability(Durability::Deferred);
        tx.at_mut(array.prefix(50).unwrap())?.fill(value);
        tx.commit()
    };
    let log_bytes = || store.stats().unwrap().log_bytes;
    disk.set_full(true);
    (0..4000).for_each(|value| commit(value).unwrap());
    let refused = disk.growths();
    assert_eq!(log_bytes(), 64 * 1024);
    disk.set_full(false);
    let mut more = 0;
    while log_bytes() == 64 * 1024 {
        more += 1;
        assert!(more <= 5000, "it is put off for ever");
        commit(more).unwrap();
    }
    // Each try asks for some space more, and then for what it needs.
    assert!((2..=20).contains(&refused), "{refused} tries");
}
