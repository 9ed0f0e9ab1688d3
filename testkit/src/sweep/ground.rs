//! The files to be damaged.

use flagstone::collections::{BTreeMap, HashMap};
use flagstone::sim::{MemoryDisk, Random, SimDisk};
use flagstone::{Durability, OpenOptions, Result, Store};

use crate::full_fixture;

/// Steps whose results are in the heap of the file.
const STEPS: u64 = 18;
/// Steps that are in the log alone, in a file that was not closed.
const LOGGED: u64 = 3;
/// Steps made after the damage.
const LATER: u64 = 1;

/// A file, and what reading it must yield.
#[derive(Clone)]
pub struct Ground {
    pub bytes: Vec<u8>,
    /// The same file some steps earlier, closed.
    pub older: Vec<u8>,
    /// The number of steps in the file.
    pub steps: u64,
    /// The digests of the store after each logged step; the last one is that of the file.
    pub digests: Vec<u64>,
    /// The digest after the later changes.
    pub later: u64,
}

pub fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024).create(false)
}

/// Opens the store in that file.
pub fn open(bytes: Vec<u8>) -> Result<Store> {
    MemoryDisk::of(bytes).open(&options())
}

/// Performs the steps that follow those of a file, with everything that a store does around them.
pub fn change(store: &Store, steps: u64) -> Result<()> {
    for number in steps..steps + LATER {
        store.update(|tx| full_fixture::step(tx, number))?;
        let mut tx = store.write()?;
        tx.set_durability(Durability::Deferred);
        full_fixture::step(&mut tx, number + LATER)?;
        tx.rollback();
        store.checkpoint()?;
    }
    Ok(())
}

/// Returns a small store with everything in it, closed cleanly.
pub fn closed() -> Result<Ground> {
    ground(0, 0)
}

/// Returns the same with its last steps in the log: the program was killed.
pub fn killed() -> Result<Ground> {
    ground(0, LOGGED)
}

/// Returns a store with `more` numbers in it, closed cleanly or killed.
pub fn larger(more: u64, is_closed: bool) -> Result<Ground> {
    ground(more, if is_closed { 0 } else { LOGGED })
}

fn ground(more: u64, logged: u64) -> Result<Ground> {
    // Starts from an empty, durable store, of which nothing can be lost. Its log has the minimum
    // length, since each case copies the file. If records are to stay in the log, it must be
    // longer, or a checkpoint would happen.
    let log_bytes = if logged == 0 { 32 } else { 64 } * 1024;
    let (_, disk) = SimDisk::create(&options().log_bytes(log_bytes))?;
    let disk = MemoryDisk::of(disk.crash(&mut Random(1)));
    let store = disk.open(&options())?;
    (0..STEPS / 2).try_for_each(|number| store.update(|tx| full_fixture::step(tx, number)))?;
    store.update(|tx| add_numbers(tx, more / 2))?;
    store.close()?;
    let older = disk.to_bytes();
    let store = disk.open(&options())?;
    (STEPS / 2..STEPS).try_for_each(|number| store.update(|tx| full_fixture::step(tx, number)))?;
    store.update(|tx| add_numbers(tx, more))?;
    store.close()?;
    let store = disk.open(&options())?;
    let mut digests = vec![read(&store)?];
    for number in STEPS..STEPS + logged {
        store.update(|tx| full_fixture::step(tx, number))?;
        // All states are read in the same way, so the digests can be compared.
        digests.push(read(&store)?);
    }
    let bytes = disk.to_bytes();
    drop(store);
    let steps = STEPS + logged;
    let copy = open(bytes.clone())?;
    change(&copy, steps)?;
    let later = read(&copy)?;
    Ok(Ground { bytes, older, steps, digests, later })
}

/// Fills maps and an array with numbers.
fn add_numbers(tx: &mut flagstone::WriteTx<'_>, more: u64) -> Result<()> {
    if more == 0 {
        return Ok(());
    }
    let hash = tx.root_or_insert_with("hash", HashMap::<u64, u64>::new)?;
    let tree = tx.root_or_insert_with("tree", BTreeMap::<u64, u64>::new)?;
    for number in 0..more {
        hash.insert(tx, &number, number * 3)?;
        tree.insert(tx, &(number * 7919 % more), number)?;
    }
    let old = tx.root::<[u64]>("array")?;
    let array = tx.alloc_slice((0..more as u32).map(u64::from))?;
    tx.set_root("array", array)?;
    if old.is_null() { Ok(()) } else { tx.free(old) }
}

/// Returns the digest of a store.
pub fn read(store: &Store) -> Result<u64> {
    let mut sum = full_fixture::read(store, STEPS)?;
    let tx = store.read()?;
    let mut add =
        |number: u64| sum = sum.rotate_left(5) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if let Some(hash) = tx.get(tx.root::<HashMap<u64, u64>>("hash")?)? {
        for number in 0..hash.len().min(1 << 20) {
            add(hash.get(&tx, &number)?.copied().unwrap_or(u64::MAX));
        }
    }
    if let Some(tree) = tx.get(tx.root::<BTreeMap<u64, u64>>("tree")?)? {
        for entry in tree.iter(&tx)? {
            let (key, value) = entry?;
            add(*key);
            add(*value);
        }
    }
    if let Some(array) = tx.get(tx.root::<[u64]>("array")?)? {
        array.iter().for_each(|number| add(*number));
    }
    Ok(sum)
}
