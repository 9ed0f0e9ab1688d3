//! The latency of commits under other activity, namely a reader that stays open for the whole run
//! and checkpoints under a steady load, and the cost of a read transaction.
//!
//! `cargo bench --bench latency [-- seconds]`: seconds of the steady load, 60 by default.

mod common;

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use common::{Folder, median, time};
use fastrand::Rng;
use flagstone::{Durability, Link, OpenOptions, Store};

/// Lines of 64 bytes in the table that commits change: 64 MB.
const LINES: u64 = 1 << 20;

type Line = [u64; 8];

fn open(folder: &Folder, name: &str) -> (Store, Link<[Line]>) {
    let store = folder.open(name, &OpenOptions::new());
    let zeros = (0..LINES as u32).map(|_| [0; 8]);
    let table = store.update(|tx| tx.alloc_slice(zeros)).expect("a table");
    store.checkpoint().expect("a checkpoint");
    (store, table)
}

fn commit(store: &Store, table: Link<[Line]>, durability: Durability, random: &mut Rng) {
    let mut tx = store.write().expect("a transaction");
    tx.set_durability(durability);
    let line = table.index(random.u64(..LINES)).expect("a line");
    tx.at_mut(line).expect("a line")[0] += 1;
    tx.commit().expect("a commit");
}

/// Compares the median of commits with a reader that stays open, and without.
fn with_a_long_reader(folder: &Folder) {
    for (durability, count, rounds) in
        [(Durability::Durable, 300, 9), (Durability::Deferred, 60_000, 9)]
    {
        let (with, table) = open(folder, &format!("reader-{durability:?}"));
        let (without, other) = open(folder, &format!("none-{durability:?}"));
        let held = with.read().expect("a snapshot");
        let file_bytes = with.stats().expect("figures").file_bytes;
        let (mut random, mut ratios) = (Rng::with_seed(1), Vec::new());
        for _ in 0..rounds {
            let mut turn = |store: &Store, table| {
                let one = |_| time(|| commit(store, table, durability, &mut random));
                median(&mut (0..count).map(one).collect::<Vec<Duration>>())
            };
            let (a, b) = (turn(&with, table), turn(&without, other));
            ratios.push(a.as_secs_f64() / b.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        assert_eq!(held.at(table).expect("the table")[0][0], 0);
        let stats = with.stats().expect("figures");
        println!(
            "{durability:?} commits, a reader open for the whole run: median {:.3} of that without it ({:.3} to {:.3}); \
             the file grew by {} bytes, without it by {}; the reader holds {:.1} MB",
            ratios[rounds / 2],
            ratios[0],
            ratios[rounds - 1],
            stats.file_bytes - file_bytes,
            without.stats().expect("figures").file_bytes - file_bytes,
            stats.held_private_bytes as f64 / 1e6,
        );
    }
}

/// Returns the time that `share` of the sorted `times` do not exceed.
fn percentile(times: &[Duration], share: f64) -> Duration {
    times[((times.len() - 1) as f64 * share) as usize]
}

/// Makes durable commits without a pause, checkpoints included, alternating every second with 4
/// KiB writes and `fdatasync`.
fn steady(folder: &Folder, seconds: u64) {
    let (store, table) = open(folder, "steady");
    let file = File::create(folder.path("plain")).expect("a file");
    let block = [7u8; 4096];
    const BLOCKS: u64 = 4096;
    (0..BLOCKS).for_each(|at| file.write_all_at(&block, at * 4096).expect("a write"));
    file.sync_all().expect("a sync");
    let (mut random, mut at) = (Rng::with_seed(2), 0);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..seconds.div_ceil(2) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(1) {
            ours.push(time(|| commit(&store, table, Durability::Durable, &mut random)));
        }
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(1) {
            at = (at + 1) % BLOCKS;
            theirs.push(time(|| {
                file.write_all_at(&block, at * 4096).expect("a write");
                file.sync_data().expect("a sync");
            }));
        }
    }
    ours.sort_unstable();
    theirs.sort_unstable();
    for share in [0.5, 0.99, 0.999, 1.0] {
        let (a, b) = (percentile(&ours, share), percentile(&theirs, share));
        let ratio = a.as_secs_f64() / b.as_secs_f64();
        println!(
            "{:>6.1} % of commits within {a:?}, of writes {b:?}: ratio {ratio:.2}",
            share * 100.0
        );
    }
    println!("{} commits, {} writes", ours.len(), theirs.len());
}

/// Measures begin and end of a read transaction on one thread.
fn begin_and_end(folder: &Folder) {
    let (store, _) = open(folder, "reads");
    const READS: u32 = 100_000;
    let turn = |_| {
        let all =
            time(|| (0..READS).for_each(|_| drop(black_box(store.read().expect("a snapshot")))));
        all / READS
    };
    let mut times: Vec<Duration> = (0..101).map(turn).collect();
    println!("a read transaction begins and ends in {:?} (median)", median(&mut times));
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(60);
    let folder = Folder::new();
    begin_and_end(&folder);
    with_a_long_reader(&folder);
    steady(&folder, seconds);
}
