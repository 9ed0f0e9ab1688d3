//! Ordered maps against `std::collections::BTreeMap`: a scan of all entries, a range of 100 from
//! a random start, insertion in random order with a durable commit, lookups, and the bytes per
//! entry in the file.
//!
//! `cargo bench --bench btree`

mod common;

use std::collections::BTreeMap as StdMap;
use std::hint::black_box;
use std::time::Duration;

use common::{Folder, median, shuffled, time};
use fastrand::Rng;
use flagstone::collections::BTreeMap;
use flagstone::{Durability, Link, OpenOptions, Store, persist};

const COUNT: u64 = 1_000_000;
const PAYLOAD_BYTES: u64 = 72;
const RANGES: usize = 20_000;
const LOOKUPS: usize = 1_000_000;

#[persist]
#[derive(Clone, Copy)]
struct Record {
    fields: [u64; 8],
}

fn record(key: u64) -> Record {
    Record { fields: std::array::from_fn(|i| key.wrapping_mul(i as u64 + 1)) }
}

type Map = BTreeMap<u64, Record>;

/// Spreads keys over the whole range of numbers, like hashed or random keys.
fn key(index: u64) -> u64 {
    index * (u64::MAX / COUNT)
}

/// Times both alternately; prints the medians for each of `steps`, and the ratio.
fn compare(
    what: &str,
    rounds: usize,
    steps: u64,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) {
    let (mut a, mut b, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        a.push(ours());
        b.push(theirs());
        ratios.push(a[a.len() - 1].as_secs_f64() / b[b.len() - 1].as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "{what:<44} {:8.1} ns, std {:8.1} ns, ratio {:.2} (median of {rounds}, {:.2} to {:.2})",
        median(&mut a).as_nanos() as f64 / steps as f64,
        median(&mut b).as_nanos() as f64 / steps as f64,
        ratios[rounds / 2],
        ratios[0],
        ratios[rounds - 1],
    );
}

fn file_bytes(folder: &Folder, name: &str) -> u64 {
    std::fs::metadata(folder.path(name)).expect("the store's file").len()
}

fn bulk_build(folder: &Folder) -> (Store, Link<Map>) {
    let store = folder.open("bulk", &OpenOptions::new().durability(Durability::Deferred));
    let mut tx = store.write().expect("a transaction");
    let entries = (0..COUNT).map(|i| (key(i), record(i)));
    let map = Map::from_sorted(&mut tx, entries).expect("a map");
    let map = tx.alloc(map).expect("a map");
    tx.set_root("map", map).expect("a root");
    tx.commit().expect("a commit");
    store.checkpoint().expect("a checkpoint");
    let stats = store.stats().expect("figures");
    let payload = (COUNT * PAYLOAD_BYTES) as f64;
    println!(
        "bytes for {COUNT} entries, built from sorted input: {:.3} of the payload in objects, \
         {:.3} in pages, {:.3} in the file",
        stats.live_bytes as f64 / payload,
        stats.heap_bytes as f64 / payload,
        file_bytes(folder, "bulk") as f64 / payload,
    );
    (store, map)
}

/// Returns the time to insert all keys in random order, including the commit.
fn insert(folder: &Folder, name: &str, keys: &[u64]) -> Duration {
    let path = folder.path(name);
    let _ = std::fs::remove_file(&path);
    let store = folder.open(name, &OpenOptions::new());
    let mut tx = store.write().expect("a transaction");
    let map = tx.alloc(Map::new()).expect("a map");
    tx.set_root("map", map).expect("a root");
    tx.commit().expect("a commit");
    time(|| {
        let mut tx = store.write().expect("a transaction");
        let filled = time(|| {
            for key in keys {
                map.insert(&mut tx, key, record(*key)).expect("an entry");
            }
        });
        let committed = time(|| tx.commit().expect("a commit"));
        println!("  {name}: inserted in {filled:.0?}, committed in {committed:.0?}");
    })
}

fn insert_std(keys: &[u64]) -> Duration {
    time(|| {
        let mut map = StdMap::new();
        for key in keys {
            map.insert(*key, record(*key));
        }
        black_box(&map);
        std::mem::forget(map);
    })
}

fn scans(what: &str, store: &Store, map: Link<Map>, std: &StdMap<u64, Record>) {
    let tx = store.read().expect("a transaction");
    let map = tx.at(map).expect("the map");
    let scan = || {
        time(|| {
            let mut sum = 0u64;
            for entry in map.iter(&tx).expect("entries") {
                let (key, record) = entry.expect("an entry");
                sum = sum.wrapping_add(*key ^ record.fields[0]);
            }
            black_box(sum);
        })
    };
    let scan_std = || {
        time(|| {
            let mut sum = 0u64;
            for (key, record) in std {
                sum = sum.wrapping_add(*key ^ record.fields[0]);
            }
            black_box(sum);
        })
    };
    compare(&format!("{what}: scan, for each entry"), 11, COUNT, scan, scan_std);

    let mut random = Rng::with_seed(3);
    let starts: Vec<u64> = (0..RANGES).map(|_| key(random.u64(..COUNT - 200))).collect();
    let ranges = || {
        time(|| {
            let mut sum = 0u64;
            for start in &starts {
                let range = map.range(&tx, start..).expect("entries");
                for entry in range.take(100) {
                    let (key, record) = entry.expect("an entry");
                    sum = sum.wrapping_add(*key ^ record.fields[0]);
                }
            }
            black_box(sum);
        })
    };
    let ranges_std = || {
        time(|| {
            let mut sum = 0u64;
            for start in &starts {
                for (key, record) in std.range(start..).take(100) {
                    sum = sum.wrapping_add(*key ^ record.fields[0]);
                }
            }
            black_box(sum);
        })
    };
    let text = format!("{what}: range of 100, open end");
    compare(&text, 11, RANGES as u64, ranges, ranges_std);

    let step = u64::MAX / COUNT;
    let ranges = || {
        time(|| {
            let mut sum = 0u64;
            for start in &starts {
                let end = start + 100 * step;
                for entry in map.range(&tx, start..&end).expect("entries") {
                    let (key, record) = entry.expect("an entry");
                    sum = sum.wrapping_add(*key ^ record.fields[0]);
                }
            }
            black_box(sum);
        })
    };
    let ranges_std = || {
        time(|| {
            let mut sum = 0u64;
            for start in &starts {
                let end = start + 100 * step;
                for (key, record) in std.range(start..&end) {
                    sum = sum.wrapping_add(*key ^ record.fields[0]);
                }
            }
            black_box(sum);
        })
    };
    let text = format!("{what}: range of 100, both ends");
    compare(&text, 11, RANGES as u64, ranges, ranges_std);

    let keys: Vec<u64> = (0..LOOKUPS).map(|_| key(random.u64(..COUNT))).collect();
    let lookups = || {
        time(|| {
            let mut sum = 0u64;
            for key in &keys {
                let record = map.get(&tx, key).expect("a value").expect("a value");
                sum = sum.wrapping_add(record.fields[0]);
            }
            black_box(sum);
        })
    };
    let lookups_std = || {
        time(|| {
            let mut sum = 0u64;
            for key in &keys {
                sum = sum.wrapping_add(std[key].fields[0]);
            }
            black_box(sum);
        })
    };
    compare(&format!("{what}: get"), 5, LOOKUPS as u64, lookups, lookups_std);
}

/// Measures the log bytes of a transaction that inserts one entry or changes one value.
fn log_bytes(store: &Store) {
    const COMMITS: u64 = 2000;
    let root = |tx: &flagstone::WriteTx<'_>| tx.root::<Map>("map").expect("the map");
    let mut random = Rng::with_seed(4);
    let mut each = |what: &str, change: &dyn Fn(&mut flagstone::WriteTx<'_>, Link<Map>, u64)| {
        let position = || store.read().expect("a transaction").position();
        let before = position();
        for _ in 0..COMMITS {
            let mut tx = store.write().expect("a transaction");
            let map = root(&tx);
            change(&mut tx, map, key(random.u64(..COUNT)));
            tx.commit().expect("a commit");
        }
        println!("{what}: {} bytes of log for a commit", (position() - before) / COMMITS);
    };
    each("inserting one entry of 72 bytes", &|tx, map, key| {
        map.insert(tx, &(key + 1), record(key + 1)).expect("an entry");
    });
    each("changing one word of a value", &|tx, map, key| {
        map.get_mut(tx, &key).expect("a value").expect("a value").fields[3] ^= 1;
    });
}

fn main() {
    let folder = Folder::new();
    let keys: Vec<u64> = shuffled(COUNT as usize).into_iter().map(|i| key(i as u64)).collect();

    let (store, map) = bulk_build(&folder);
    let std: StdMap<u64, Record> = (0..COUNT).map(|i| (key(i), record(i))).collect();
    scans("built from sorted input", &store, map, &std);
    drop((store, std));
    let _ = std::fs::remove_file(folder.path("bulk"));

    let rounds = 3;
    let ours = || insert(&folder, "random", &keys);
    compare("insert in random order, durable commit", rounds, COUNT, ours, || insert_std(&keys));

    let store = folder.open("random", &OpenOptions::new().durability(Durability::Deferred));
    log_bytes(&store);
    let map = store.read().expect("a transaction").root::<Map>("map").expect("the map");
    let mut std = StdMap::new();
    for key in &keys {
        std.insert(*key, record(*key));
    }
    scans("inserted in random order", &store, map, &std);
}
