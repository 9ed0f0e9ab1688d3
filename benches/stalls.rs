//! How long commits wait while checkpoints run, on disks whose syncs take long. Times are in syncs
//! of that disk, which is simulated and as fast as memory otherwise.
//!
//! `cargo bench --features sim --bench stalls [-- seconds]`: seconds of each load, 10 by default.

use std::time::{Duration, Instant};

use fastrand::Rng;
use flagstone::sim::{Call, Random, SimDisk};
use flagstone::{Durability, Link, OpenOptions, Store};

/// Lines of 64 bytes in the table that commits change: 8 MB, a line in any of 2048 pages.
const LINES: u64 = 128 * 1024;
const LOG_BYTES: u64 = 1 << 20;

type Line = [u64; 8];

fn open(sync: Duration) -> (Store, SimDisk, Link<[Line]>) {
    let options = OpenOptions::new().log_bytes(LOG_BYTES).max_log_bytes(LOG_BYTES);
    let (store, disk) = SimDisk::create(&options).expect("a store");
    let zeros = (0..LINES as u32).map(|_| [0; 8]);
    let table = store.update(|tx| tx.alloc_slice(zeros)).expect("a table");
    store.close().expect("a close");
    let disk = SimDisk::mapped(disk.crash(&mut Random(1))).expect("memory");
    disk.set_sync_time(sync);
    (disk.open_with_threads(&options).expect("the store"), disk, table)
}

fn commit(store: &Store, table: Link<[Line]>, durability: Durability, random: &mut Rng) {
    let mut tx = store.write().expect("a transaction");
    tx.set_durability(durability);
    let line = table.index(random.u64(..LINES)).expect("a line");
    tx.at_mut(line).expect("a line")[0] += 1;
    tx.commit().expect("a commit");
}

/// Commits without a pause, and prints the longest waits before and after a warm-up.
fn load(durability: Durability, sync: Duration, time: Duration) {
    let (store, disk, table) = open(sync);
    let mut random = Rng::with_seed(1);
    for (name, time) in [("warm-up", time / 3), ("after it", time)] {
        let (begun, first) = (Instant::now(), disk.next_call() as usize);
        let mut times = Vec::new();
        while begun.elapsed() < time {
            let begun = Instant::now();
            commit(&store, table, durability, &mut random);
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let in_syncs = |share: f64| {
            let time = times[((times.len() - 1) as f64 * share) as usize];
            time.as_secs_f64() / sync.as_secs_f64()
        };
        let syncs = disk.calls()[first..].iter().filter(|call| **call == Call::Sync).count();
        println!(
            "{durability:?}, {sync:?} a sync, {name}: longest commit {:.1} syncs, 99.9 % {:.2}, median {:.4}; \
             {:.0} commits and {:.1} syncs of the heap a second",
            in_syncs(1.0),
            in_syncs(0.999),
            in_syncs(0.5),
            times.len() as f64 / time.as_secs_f64(),
            syncs as f64 / time.as_secs_f64(),
        );
    }
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let time = Duration::from_secs(seconds);
    for millis in [1, 20, 200] {
        load(Durability::Deferred, Duration::from_millis(millis), time);
    }
    for millis in [1, 20] {
        load(Durability::Durable, Duration::from_millis(millis), time);
    }
}
