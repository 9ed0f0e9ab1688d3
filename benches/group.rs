//! Durable commits of many threads, which share flushes, against those of a single thread.
//!
//! `cargo bench --bench group`

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::Folder;
use flagstone::{Link, OpenOptions, Store};

/// Rounds, each of which runs both.
const ROUNDS: usize = 7;
const TURN: Duration = Duration::from_millis(700);
const MANY: usize = 16;

/// Returns the commits per second of `threads` threads, each of which increments its own counter.
fn commits_a_second(store: &Store, counters: &[Link<u64>], threads: usize) -> f64 {
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for counter in &counters[..threads] {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    store
                        .update(|tx| tx.at_mut(*counter).map(|count| *count += 1))
                        .expect("a commit");
                    commits.fetch_add(1, Relaxed);
                }
            });
        }
        std::thread::sleep(TURN);
        stop.store(true, Relaxed);
    });
    commits.load(Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

fn main() {
    let folder = Folder::new();
    let store = folder.open("group", &OpenOptions::new());
    let counters: Vec<Link<u64>> =
        store.update(|tx| (0..MANY).map(|_| tx.alloc(0)).collect()).expect("counters");
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let one = commits_a_second(&store, &counters, 1);
            let many = commits_a_second(&store, &counters, MANY);
            println!(
                "  one thread {one:.0} commits a second, {MANY} threads {many:.0}: {:.2}",
                many / one
            );
            many / one
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "durable commits of {MANY} threads against one: median ratio {:.2}",
        ratios[ROUNDS / 2]
    );
}
