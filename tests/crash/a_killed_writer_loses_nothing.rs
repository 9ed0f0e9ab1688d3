//! Promise: a writer that is killed at any instant leaves exactly a committed state, no older
//! than the last durable commit that it acknowledged, and a consistent allocator.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use flagstone::{Durability, Link, Store, WriteTx, persist};
use testkit::{Random, child, is_long, open, seed, test_of};

const SLOTS: usize = 64;

/// The state after commit `count`, which every slot reflects.
#[persist]
struct Table {
    count: u64,
    slots: [Link<[u64]>; SLOTS],
}

/// Commits the replacement of some arrays, whose contents follow from the commit's number.
fn commit(store: &Store, count: u64) -> flagstone::Result<()> {
    let mut tx = store.write()?;
    let durable = count.is_multiple_of(3);
    tx.set_durability(if durable { Durability::Durable } else { Durability::Deferred });
    let empty = || Table { count: 0, slots: [Link::null(); SLOTS] };
    let table = tx.root_or_insert_with("table", empty)?;
    let mut random = Random::new(count);
    for _ in 0..1 + random.below(4) {
        let slot = random.below(SLOTS as u64) as usize;
        replace(&mut tx, table, slot, count, random.below(2000))?;
    }
    tx.at_mut(table)?.count = count;
    tx.commit()
}

fn replace(
    tx: &mut WriteTx<'_>,
    table: Link<Table>,
    slot: usize,
    count: u64,
    len: u64,
) -> flagstone::Result<()> {
    let old = tx.at(table)?.slots[slot];
    if !old.is_null() {
        tx.free(old)?;
    }
    let new = tx.alloc_slice((0..len as usize).map(|_| count))?;
    tx.at_mut(table)?.slots[slot] = new;
    Ok(())
}

/// Returns the expected content of the slots after commit `count`: the commit that last wrote
/// each slot, and the length.
fn expected(count: u64) -> Vec<Option<(u64, u64)>> {
    let mut slots = vec![None; SLOTS];
    for count in 1..=count {
        let mut random = Random::new(count);
        for _ in 0..1 + random.below(4) {
            let slot = random.below(SLOTS as u64) as usize;
            slots[slot] = Some((count, random.below(2000)));
        }
    }
    slots
}

/// Verifies the whole store; returns the number of its state.
fn verify(store: &Store) -> flagstone::Result<u64> {
    store.check()?.into_result()?;
    let tx = store.read()?;
    let Some(table) = tx.get(tx.root::<Table>("table")?)? else { return Ok(0) };
    for (slot, expected) in table.slots.iter().zip(expected(table.count)) {
        let found = tx.get(*slot)?;
        let fits = match (found, expected) {
            (None, None) => true,
            (Some(values), Some((count, len))) => {
                values.len() as u64 == len && values.iter().all(|value| *value == count)
            }
            _ => false,
        };
        assert!(fits, "state {}: a slot of another state", table.count);
    }
    Ok(table.count)
}

/// The child: commits until it is killed, and reports the commits that returned.
fn write_until_killed(path: &Path) -> flagstone::Result<()> {
    let store = open(path)?;
    let first = verify(&store)? + 1;
    let mut out = std::io::stdout().lock();
    for count in first.. {
        commit(&store, count)?;
        if count.is_multiple_of(3) {
            // A single write: a line is reported whole or not at all.
            let _ = out.write_all(format!("durable {count}\n").as_bytes());
            let _ = out.flush();
        }
    }
    Ok(())
}

/// Kills one child after `delay`; returns the last durable commit that it reported.
fn kill_one(path: &Path, delay: Duration) -> u64 {
    let mut child = child(
        &test_of(std::any::type_name_of_val(&a_writer_is_killed_200_times)),
        "FLAGSTONE_CHILD",
        path,
    )
    .stdout(Stdio::piped())
    .spawn()
    .expect("a child");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let (tell, told) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if let Some(count) = line.rsplit_once("durable ").and_then(|(_, x)| x.parse().ok()) {
                let _ = tell.send(count);
            }
        }
    });
    // Counts from the child's first report, so the kill does not always hit the opening.
    let first: u64 = told.recv_timeout(Duration::from_secs(60)).unwrap_or(0);
    std::thread::sleep(delay);
    child.kill().expect("a kill");
    child.wait().expect("its end");
    reader.join().expect("its last words");
    told.iter().last().unwrap_or(first)
}

#[test]
fn a_writer_is_killed_200_times() {
    if let Some(path) = std::env::var_os("FLAGSTONE_CHILD") {
        write_until_killed(Path::new(&path)).expect("the child's commits");
        return;
    }
    let seed = seed(1);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let kills = if is_long() { 5000 } else { 200 };
    let mut path = folder.path().join("0");
    for kill in 0..kills {
        if kill % 20 == 0 {
            path = folder.path().join(kill.to_string());
        }
        let acknowledged = kill_one(&path, Duration::from_micros(random.below(20_000)));
        let store = open(&path).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        let found = verify(&store).unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        assert!(found >= acknowledged, "kill {kill}: {found} after {acknowledged}");
        // Half of the children continue with a store that was not closed.
        if random.below(2) == 0 {
            let copy = folder.path().join(format!("copy-{kill}"));
            std::fs::copy(&path, &copy).expect("a copy");
            path = copy;
        }
    }
}
