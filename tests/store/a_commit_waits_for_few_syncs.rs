//! Promise: a commit waits for the disk, and not for a checkpoint. The waits are counted in syncs of
//! a disk whose syncs take long, so the promise does not depend on the machine.

use std::thread::sleep;
use std::time::{Duration, Instant};

use flagstone::sim::{Call, Random, SimDisk};
use flagstone::{Durability, Link, OpenOptions, Store};

type Line = [u64; 8];

/// A table on a disk that is as fast as memory, but for its syncs.
struct Bench {
    store: Store,
    disk: SimDisk,
    table: Link<[Line]>,
    random: Random,
    sync: Duration,
}

impl Bench {
    /// Opens a new store with a table of `lines`, with a log of `log_bytes` that does not grow.
    fn new(lines: u64, log_bytes: u64, sync: Duration) -> Self {
        let options = OpenOptions::new().log_bytes(log_bytes).max_log_bytes(log_bytes);
        let options = options.durability(Durability::Deferred);
        let (store, disk) = SimDisk::create(&options).expect("a store");
        let zeros = (0..lines as u32).map(|_| [0; 8]);
        let table = store.update(|tx| tx.alloc_slice(zeros)).expect("a table");
        store.close().expect("a close");
        let bytes = disk.crash(&mut Random(1));
        let disk = SimDisk::mapped(bytes).expect("memory");
        disk.set_sync_time(sync);
        let store = disk.open_with_threads(&options).expect("the store");
        Self { store, disk, table, random: Random(7), sync }
    }

    /// Changes `count` adjacent lines.
    fn commit(&mut self, count: u64) {
        let first = self.random.below(self.table.len() - count + 1);
        let lines = (first..first + count).filter_map(|line| self.table.index(line));
        let change = |tx: &mut flagstone::WriteTx<'_>| {
            for line in lines {
                tx.at_mut(line)?[0] += 1;
            }
            Ok(())
        };
        self.store.update(change).expect("a commit");
    }

    /// Returns how many of the first calls were syncs, for each number of calls.
    fn syncs(&self) -> Vec<u64> {
        let mut counts = vec![0];
        for call in self.disk.calls() {
            let last = counts[counts.len() - 1];
            counts.push(last + u64::from(matches!(call, Call::Sync | Call::Flush)));
        }
        counts
    }

    /// Commits without a pause for `time`. Returns the most syncs that ended during one commit,
    /// and how many commits there were.
    fn load(&mut self, count: u64, time: Duration) -> (u64, usize) {
        let begun = Instant::now();
        let mut commits = Vec::new();
        while begun.elapsed() < time {
            let first = self.disk.next_call();
            self.commit(count);
            commits.push(first..self.disk.next_call());
        }
        let syncs = self.syncs();
        let during =
            |calls: &std::ops::Range<u64>| syncs[calls.end as usize] - syncs[calls.start as usize];
        (commits.iter().map(during).max().expect("commits"), commits.len())
    }

    /// Waits until no call has been made for a while.
    fn settle(&self) {
        loop {
            let before = self.disk.next_call();
            sleep(self.sync * 10);
            if self.disk.next_call() == before {
                return;
            }
        }
    }

    fn heap_syncs(&self) -> usize {
        self.disk.calls().iter().filter(|call| **call == Call::Sync).count()
    }
}

/// A machine that is busy may stop a thread for as long as several syncs take. It does not do so
/// three times.
fn at_most(most: u64, mut measure: impl FnMut() -> u64) {
    let found: Vec<u64> = (0..3).map(|_| measure()).take_while(|syncs| *syncs > most).collect();
    assert!(found.len() < 3, "{found:?} syncs in one commit, expected {most} at most");
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_deferred_commit_waits_for_at_most_three_syncs_under_steady_load() {
    let mut bench = Bench::new(64 * 1024, 1 << 20, 20 * MS);
    bench.load(1, 1000 * MS);
    let before = bench.heap_syncs();
    at_most(3, || bench.load(1, 1000 * MS).0);
    let checkpoints = bench.heap_syncs() - before;
    assert!(checkpoints >= 6, "{checkpoints} syncs: no checkpoint ran meanwhile");
}

#[test]
fn a_checkpoint_of_many_pages_makes_a_handful_of_syncs() {
    let bench = Bench::new(128 * 1024, 4 << 20, 5 * MS);
    for syncs in [12, 6] {
        let before = bench.heap_syncs();
        // A line in each page, with one record for many.
        for page in 0..2048 {
            let line = bench.table.index(page * 64).expect("a line");
            bench.store.update(|tx| tx.at_mut(line).map(|line| line[1] += 1)).expect("a commit");
        }
        bench.store.checkpoint().expect("a checkpoint");
        let made = bench.heap_syncs() - before;
        assert!(made <= syncs, "{made} syncs, expected {syncs} at most");
    }
}

#[test]
fn no_checkpoint_follows_another_that_made_it_needless() {
    let mut bench = Bench::new(1024, 1 << 20, 10 * MS);
    // Two superblocks at the first transaction.
    bench.commit(1);
    let before = bench.heap_syncs();
    assert_eq!(before, 2);
    // The thread begins at half of the log; commits go on while it does.
    while bench.store.stats().expect("figures").log_used_bytes < (1 << 20) * 5 / 8 {
        (0..50).for_each(|_| bench.commit(1));
    }
    bench.settle();
    // A slice or two of the table's few pages, two superblocks.
    let made = bench.heap_syncs() - before;
    assert!((3..=4).contains(&made), "{made} syncs are not one checkpoint");
}

#[test]
fn a_commit_that_finds_the_log_full_waits_for_one_checkpoint() {
    let mut bench = Bench::new(4096, 64 * 1024, 10 * MS);
    // Each record takes a third of the log.
    let lines = 64 * 1024 / 3 / 72;
    bench.load(lines, 300 * MS);
    // A flush, the slices of a few pages, two superblocks; and the delays that commits pay.
    at_most(6, || bench.load(lines, 1000 * MS).0);
}
