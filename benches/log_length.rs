//! The time of loads of deferred commits from an empty store at the default options, beside the same
//! with logs of a fixed length, in turns.
//!
//! `cargo bench --bench log_length [-- rounds]`: 5 rounds by default.

mod common;

use std::time::{Duration, Instant};

use common::{Folder, median};
use fastrand::Rng;
use flagstone::collections::BTreeMap;
use flagstone::{Durability, Link, OpenOptions, Store};

const MIB: u64 = 1 << 20;
/// Lengths of a log that stays as it is; `None` is the default, which follows the load.
const LOGS: [Option<u64>; 5] = [None, Some(MIB), Some(4 * MIB), Some(16 * MIB), Some(64 * MIB)];

/// What a load took: all of it, its longest commit, and the log at its end.
struct Taken {
    all: Duration,
    longest: Duration,
    log_bytes: u64,
}

type Load = fn(&Store, &mut dyn FnMut(Duration));

/// 100 thousand entries, a transaction each.
fn inserts(store: &Store, note: &mut dyn FnMut(Duration)) {
    let mut random = Rng::with_seed(1);
    let map: Link<BTreeMap<u64, u64>> =
        store.update(|tx| tx.alloc(BTreeMap::new())).expect("a map");
    for _ in 0..100_000 {
        let begun = Instant::now();
        store.update(|tx| map.insert(tx, &random.u64(..), 1).map(drop)).expect("a commit");
        note(begun.elapsed());
    }
}

/// 256 MiB in slices of 64 KiB, 16 a transaction.
fn bulk(store: &Store, note: &mut dyn FnMut(Duration)) {
    for number in 0..256u64 {
        let begun = Instant::now();
        let load = |tx: &mut flagstone::WriteTx<'_>| {
            (0..16).try_for_each(|_| tx.alloc_slice_copy(&[number + 1; 8192]).map(drop))
        };
        store.update(load).expect("a commit");
        note(begun.elapsed());
    }
}

/// 100 MB in objects of 64 bytes, 100 a transaction.
fn objects(store: &Store, note: &mut dyn FnMut(Duration)) {
    for number in 0..16_000u64 {
        let begun = Instant::now();
        let load = |tx: &mut flagstone::WriteTx<'_>| {
            (0..100).try_for_each(|_| tx.alloc([number + 1; 8]).map(drop))
        };
        store.update(load).expect("a commit");
        note(begun.elapsed());
    }
}

fn turn(folder: &Folder, log_bytes: Option<u64>, load: Load) -> Taken {
    let options = OpenOptions::new().durability(Durability::Deferred);
    let options = match log_bytes {
        Some(bytes) => options.log_bytes(bytes).max_log_bytes(bytes),
        None => options,
    };
    let store = folder.open("store", &options);
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    load(&store, &mut |took| longest = longest.max(took));
    let all = begun.elapsed();
    let log_bytes = store.stats().expect("figures").log_bytes;
    drop(store);
    std::fs::remove_file(folder.path("store")).expect("the store's file");
    Taken { all, longest, log_bytes }
}

fn compare(folder: &Folder, name: &str, rounds: usize, load: Load) {
    let mut taken: Vec<Vec<Taken>> = LOGS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (log, taken) in LOGS.iter().zip(&mut taken) {
            taken.push(turn(folder, *log, load));
        }
    }
    let middle = |taken: &[Taken]| median(&mut taken.iter().map(|one| one.all).collect::<Vec<_>>());
    let best = taken.iter().skip(1).map(|taken| middle(taken)).min().expect("some lengths");
    for (log, taken) in LOGS.iter().zip(&taken) {
        let log = log.map_or("default".to_string(), |log| format!("{} MiB", log / MIB));
        let all = middle(taken);
        let mut longest: Vec<_> = taken.iter().map(|one| one.longest).collect();
        let ends: Vec<_> = taken.iter().map(|one| one.log_bytes / MIB).collect();
        println!(
            "{name}: log {log:>8}: {all:>9.2?}, {:.2} of the best length's; longest commit {:.2?} \
             (median), {:.2?} (most); log at the end {ends:?} MiB",
            all.as_secs_f64() / best.as_secs_f64(),
            median(&mut longest),
            longest.last().expect("some rounds"),
        );
    }
}

fn main() {
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let folder = Folder::new();
    compare(&folder, "100,000 inserts, a commit each", rounds, inserts);
    compare(&folder, "100 MB of small objects", rounds, objects);
    compare(&folder, "256 MiB of slices", rounds, bulk);
}
