//! What readers wait for: lookups with a read transaction each, on one thread and on two, and the
//! longest `read()` beside a held reader, steady commits and checkpoints.
//!
//! `cargo bench --bench readers [-- seconds [mebibytes]]`: seconds of the steady load, 20 by default, on
//! a table of 1024 MiB.
//!
//! Two threads may share a core, so the baseline of two that read one store is two that read a store
//! each. A read that the scheduler interrupted is counted apart: it waited for no lock. What else interrupts
//! a thread (the kernel, the host of a virtual machine) shows in the same reader's loop, which measures a
//! piece of arithmetic as long as a read by turns with the reads.

mod common;

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Folder, shuffled, time};
use fastrand::Rng;
use flagstone::collections::HashMap;
use flagstone::{Durability, Link, OpenOptions, Store};

type Map = HashMap<u64, [u64; 8]>;
type Line = [u64; 8];
/// Does something with a store, for each key.
type Work = fn(&Store, Link<Map>, &[u64]);

const ENTRIES: u64 = 100_000;
const LOOKUPS: usize = 400_000;
const ROUNDS: usize = 15;

fn map(folder: &Folder, name: &str) -> (Store, Link<Map>) {
    let store = folder.open(name, &OpenOptions::new());
    let map = store.update(|tx| {
        let map = tx.root_or_insert_with("map", Map::new)?;
        (0..ENTRIES).try_for_each(|key| map.insert(tx, &key, [key; 8]).map(drop))?;
        Ok(map)
    });
    store.checkpoint().expect("a checkpoint");
    (store, map.expect("a map"))
}

/// Looks all keys up, each in a transaction of its own.
fn look_up(store: &Store, map: Link<Map>, keys: &[u64]) {
    for key in keys {
        let tx = store.read().expect("a snapshot");
        let map = tx.at(map).expect("a map");
        black_box(map.get(&tx, key).expect("a sound map").expect("a key")[1]);
    }
}

/// Begins and ends as many transactions.
fn begin_and_end(store: &Store, _: Link<Map>, keys: &[u64]) {
    keys.iter().for_each(|_| drop(black_box(store.read().expect("a snapshot"))));
}

/// Runs `work` on one thread for each store, all at once; returns the slowest thread's time.
fn at_once(stores: &[&(Store, Link<Map>)], keys: &[u64], work: Work) -> Duration {
    let barrier = Barrier::new(stores.len());
    let one = |(store, map): &(Store, Link<Map>)| {
        barrier.wait();
        time(|| work(store, *map, keys))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = stores.iter().map(|store| scope.spawn(|| one(store))).collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        times.max().expect("a thread")
    })
}

fn threads(folder: &Folder) {
    let (first, second) = (map(folder, "first"), map(folder, "second"));
    let keys: Vec<u64> = shuffled(ENTRIES as usize).into_iter().map(|key| key as u64).collect();
    let keys: Vec<u64> = keys.iter().copied().cycle().take(LOOKUPS).collect();
    let kinds: [(&str, Work); 2] =
        [("lookups, a read transaction each", look_up), ("read transactions alone", begin_and_end)];
    for (what, work) in kinds {
        let mut ratios = [Vec::new(), Vec::new()];
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let alone = at_once(&[&first], &keys, work).as_secs_f64();
            let apart = at_once(&[&first, &second], &keys, work).as_secs_f64();
            let together = at_once(&[&first, &first], &keys, work).as_secs_f64();
            ratios[0].push(alone / together);
            ratios[1].push(apart / together);
            for (rates, time) in rates.iter_mut().zip([alone, apart, together]) {
                rates.push(LOOKUPS as f64 / time / 1e6);
            }
        }
        let middle = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let [alone, apart, together] = rates.each_mut().map(middle);
        let [of_alone, of_apart] = ratios.each_mut().map(middle);
        println!(
            "{what}: one thread {alone:.2} million/s; two threads of one store {together:.2} each, \
             {of_alone:.2} of one alone; two of a store each {apart:.2}, so {of_apart:.2} of that"
        );
    }
}

/// Returns how often the scheduler has taken the processor from this thread.
fn interruptions() -> i64 {
    // SAFETY: all fields are numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills in the structure.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    usage.ru_nivcsw
}

/// The times of some reads.
#[derive(Default)]
struct Times {
    all: Vec<Duration>,
    /// Those of reads that the scheduler did not interrupt.
    whole: Vec<Duration>,
}

impl Times {
    fn print(mut self, what: &str) {
        self.all.sort_unstable();
        self.whole.sort_unstable();
        let at = |times: &[Duration], share: f64| {
            times
                .get((times.len().saturating_sub(1) as f64 * share) as usize)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{what}: {} times, longest {:?} ({:?} without those that the scheduler interrupted), \
             99.99 % {:?}, median {:?}",
            self.all.len(),
            at(&self.all, 1.0),
            at(&self.whole, 1.0),
            at(&self.all, 0.9999),
            at(&self.all, 0.5),
        );
    }
}

/// Steps of arithmetic that take as long as a `read()`: 40 ns.
const STEPS: u64 = 40;

impl Times {
    /// Takes the time of `act`, and notes it.
    fn of<T>(&mut self, act: impl FnOnce() -> T) -> T {
        let before = interruptions();
        let begun = Instant::now();
        let done = act();
        let took = begun.elapsed();
        self.all.push(took);
        if interruptions() == before {
            self.whole.push(took);
        }
        done
    }
}

/// Reads until `is_over`, and returns the times of the `read()`s alone, and of as much arithmetic.
fn read_on(store: &Store, table: Link<[Line]>, is_over: &AtomicBool) -> [Times; 2] {
    let (mut times, mut random) = (Times::default(), Rng::with_seed(7));
    let mut arithmetic = Times::default();
    while !is_over.load(Relaxed) {
        let tx = times.of(|| store.read().expect("a snapshot"));
        arithmetic.of(|| (0..STEPS).fold(0, |sum, step| black_box(sum ^ step)));
        let line = table.index(random.u64(..table.len())).expect("a line");
        black_box(tx.at(line).expect("a line")[0]);
        drop(tx);
        if random.u8(..) == 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    [times, arithmetic]
}

fn steady(folder: &Folder, time: Duration, mebibytes: u64) {
    let store = folder.open("steady", &OpenOptions::new());
    let table = store.update(|tx| tx.alloc_slice_zeroed::<Line>(mebibytes << 14)).expect("a table");
    store.checkpoint().expect("a checkpoint");
    let held = store.read().expect("a snapshot");
    let commits = AtomicU64::new(0);
    for (what, time) in [("warm-up", time / 4), ("beside a held reader and checkpoints", time)] {
        let is_over = AtomicBool::new(false);
        let times = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read_on(&store, table, &is_over));
            scope.spawn(|| {
                let mut random = Rng::with_seed(3);
                while !is_over.load(Relaxed) {
                    let mut tx = store.write().expect("a transaction");
                    tx.set_durability(Durability::Deferred);
                    for _ in 0..10 {
                        let line = table.index(random.u64(..table.len())).expect("a line");
                        tx.at_mut(line).expect("a line")[0] += 1;
                    }
                    tx.commit().expect("a commit");
                    commits.fetch_add(1, Relaxed);
                }
            });
            std::thread::sleep(time);
            is_over.store(true, Relaxed);
            reader.join().expect("no panic")
        });
        let [reads, arithmetic] = times;
        reads.print(what);
        arithmetic.print("  as much arithmetic in the same loop");
    }
    assert_eq!(held.at(table).expect("the table")[0], [0; 8]);
    let stats = store.stats().expect("figures");
    println!(
        "{} commits of 10 lines; the held reader has {} MB",
        commits.load(Relaxed),
        stats.held_private_bytes / 1_000_000
    );
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let seconds = numbers.next().unwrap_or(20);
    let mebibytes = numbers.next().unwrap_or(1024);
    let folder = Folder::new();
    threads(&folder);
    steady(&folder, Duration::from_secs(seconds), mebibytes);
}
