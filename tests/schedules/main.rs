//! The protocol of images, the visible position, group commit and checkpoints under a schedule
//! checker. It runs threads one at a time and chooses at each lock and atomic which one
//! continues, so it tries orders that a machine shows once in a million runs. It also detects
//! deadlocks.
//!
//! `.ci/schedules` runs it: with `--cfg shuttle` the protocol uses the checker's locks
//! (`src/sync.rs`). The promises S1 to S6 are those of docs/design/testing.md. The checker treats each
//! atomic as sequentially consistent, so it does not test memory orders.

#![cfg(shuttle)]

use std::sync::{Arc, Mutex};

use flagstone::sim::{Mutation, Random, SimDisk, SimMachine};
use flagstone::{Durability, Link, OpenOptions, Store, persist};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

/// Two objects on separate pages, which each commit changes in the same way.
#[persist]
struct Pair {
    left: Link<[u64]>,
    right: Link<[u64]>,
}

/// Words in each: a page and more.
const WORDS: usize = 600;

struct Run {
    store: Store,
    disk: SimDisk,
    pair: Link<Pair>,
    /// The highest value that a durable commit has acknowledged.
    acknowledged: Mutex<u64>,
}

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024).max_log_bytes(64 * 1024)
}

/// A way to open a store, with a thread of its own or without.
type Open = fn(&SimDisk, &OpenOptions) -> flagstone::Result<Store>;

fn begin(options: &OpenOptions, open: Open) -> Arc<Run> {
    let (store, disk) = SimDisk::create(options).expect("a store");
    drop(store);
    let store = open(&disk, options).expect("the store");
    let pair = store.update(make_pair).expect("a pair");
    Arc::new(Run { store, disk, pair, acknowledged: Mutex::new(0) })
}

fn make_pair(tx: &mut flagstone::WriteTx<'_>) -> flagstone::Result<Link<Pair>> {
    let left = tx.alloc_slice_copy(&[0; WORDS])?;
    // Between the two: a checkpoint writes them one after the other.
    let _apart = tx.alloc_slice_copy(&[0u64; WORDS])?;
    let right = tx.alloc_slice_copy(&[0; WORDS])?;
    let pair = tx.alloc(Pair { left, right })?;
    tx.set_root("pair", pair)?;
    Ok(pair)
}

/// Begins with a process that has not followed what another one committed. If `is_behind`, its
/// writer's image lies before the log's start, as after each checkpoint of its own.
fn begin_shared(is_behind: bool) -> Arc<Run> {
    let options = options();
    let (store, disk) = SimDisk::create(&options).expect("a store");
    drop(store);
    let machine = SimMachine::new(disk.clone());
    let open = || machine.open(&machine.start(), &options).expect("the store");
    let store = open();
    let pair = store.update(make_pair).expect("a pair");
    let run = Run { store, disk: disk.clone(), pair, acknowledged: Mutex::new(0) };
    run.commit(Durability::Durable);
    if is_behind {
        run.store.checkpoint().expect("a checkpoint");
    }
    let other = Run { store: open(), disk, pair, acknowledged: Mutex::new(1) };
    other.commit(Durability::Durable);
    *run.acknowledged.lock().expect("no panic") = 2;
    // The other one leaves, so nobody is asked for an acknowledgement.
    drop(other);
    Arc::new(run)
}

/// Returns what a reader of one snapshot sees (S1).
fn value(tx: &flagstone::Image, pair: Link<Pair>) -> u64 {
    let pair = tx.at(pair).expect("a pair");
    let (left, right) = (tx.at(pair.left).expect("left"), tx.at(pair.right).expect("right"));
    let first = left[0];
    assert!(left.iter().chain(right).all(|word| *word == first), "S1: half of a commit");
    first
}

impl Run {
    /// Changes both to the next value; returns it.
    fn change(&self, tx: &mut flagstone::WriteTx<'_>) -> u64 {
        let next = value(tx, self.pair) + 1;
        let pair = tx.at(self.pair).expect("a pair");
        let (left, right) = (pair.left, pair.right);
        tx.at_mut(left).expect("left").fill(next);
        tx.at_mut(right).expect("right").fill(next);
        next
    }

    fn commit(&self, durability: Durability) {
        let mut tx = self.store.write().expect("a transaction");
        let next = self.change(&mut tx);
        tx.set_durability(durability);
        tx.commit().expect("a commit");
        self.committed(next, durability);
    }

    fn commit_later(&self) {
        let mut tx = self.store.write().expect("a transaction");
        let next = self.change(&mut tx);
        let pending = tx.commit_later().expect("a commit");
        thread::yield_now();
        pending.wait().expect("a flush");
        self.committed(next, Durability::Durable);
    }

    /// After a commit has returned: readers see it (S2), and it survives a cut (S4).
    fn committed(&self, next: u64, durability: Durability) {
        if durability == Durability::Durable {
            let mut acknowledged = self.acknowledged.lock().expect("no panic");
            *acknowledged = next.max(*acknowledged);
        }
        let seen = value(&self.store.read().expect("a snapshot"), self.pair);
        assert!(seen >= next, "S2: a commit returned that readers do not see");
        self.cut();
    }

    /// Checks that whatever a power cut leaves now is a whole commit, no older than the last
    /// acknowledged one.
    fn cut(&self) {
        let least = *self.acknowledged.lock().expect("no panic");
        let found = self.after_cut(least.wrapping_mul(7919));
        assert!(found >= least, "S4: {found} after a cut, {least} was acknowledged");
    }

    fn after_cut(&self, seed: u64) -> u64 {
        let disk = SimDisk::new(self.disk.crash(&mut Random(seed)));
        let opened = disk.open(&options());
        let store = opened.unwrap_or_else(|error| panic!("S4: no store after the cut: {error}"));
        let tx = store.read().expect("a snapshot");
        let pair = tx.root::<Pair>("pair").expect("the root");
        assert!(!pair.is_null(), "S4: the first commit is gone");
        value(&tx, pair)
    }

    /// Reads twice, and pins the first snapshot meanwhile (S2, S5).
    fn look(&self, all_are_durable: bool) {
        let tx = self.store.read().expect("a snapshot");
        let first = value(&tx, self.pair);
        if all_are_durable {
            assert!(self.after_cut(first) >= first, "S3: a reader saw what a cut takes back");
        }
        thread::yield_now();
        let later = value(&self.store.read().expect("a snapshot"), self.pair);
        assert!(later >= first, "S2: a reader went back");
        assert_eq!(value(&tx, self.pair), first, "S5: a snapshot changed");
    }
}

/// Runs the parts as threads in many schedules: random ones, and ones that differ from a fixed
/// order in a few places, which find bugs that need just one slow thread.
fn check(parts: &'static [fn(&Run)]) {
    check_with(options(), SimDisk::open, parts);
}

fn check_with(options: OpenOptions, open: Open, parts: &'static [fn(&Run)]) {
    explore(move || begin(&options, open), parts);
}

fn explore(
    begin: impl Fn() -> Arc<Run> + Clone + Send + Sync + 'static,
    parts: &'static [fn(&Run)],
) {
    let run = move || {
        let run = begin();
        let threads: Vec<_> = parts
            .iter()
            .map(|part| {
                let run = Arc::clone(&run);
                thread::spawn(move || part(&run))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        run.cut();
        let report = run.store.check().expect("a look");
        assert!(report.is_clean(), "{:?}", report.findings);
    };
    let schedules = if std::env::var_os("FLAGSTONE_LONG").is_some() { 100_000 } else { 300 };
    // The default, 32 KiB, is too little to open a store.
    let config = || {
        let mut config = Config::new();
        config.stack_size = 256 * 1024;
        config
    };
    Runner::new(RandomScheduler::new(schedules), config()).run(run.clone());
    Runner::new(PctScheduler::new(3, schedules), config()).run(run);
}

#[test]
fn with_durable_commits() {
    check(&[
        |run| (0..2).for_each(|_| run.commit(Durability::Durable)),
        |run| run.commit(Durability::Durable),
        |run| run.look(true),
        |run| run.look(true),
    ]);
}

#[test]
fn with_checkpoints_in_between() {
    check(&[
        |run| (0..2).for_each(|_| run.commit(Durability::Durable)),
        |run| (0..2).for_each(|_| run.store.checkpoint().expect("a checkpoint")),
        |run| run.look(true),
        |run| run.look(true),
    ]);
}

#[test]
fn with_commits_of_all_kinds() {
    check(&[
        |run| run.commit(Durability::Deferred),
        |run| run.commit_later(),
        |run| run.commit(Durability::Durable),
        |run| run.store.checkpoint().expect("a checkpoint"),
        |run| run.look(false),
    ]);
}

#[test]
fn with_a_log_that_is_full_now_and_then() {
    check(&[
        |run| (0..4).for_each(|_| run.commit(Durability::Deferred)),
        |run| (0..3).for_each(|_| run.commit(Durability::Deferred)),
        |run| run.look(false),
        |run| run.store.sync().expect("a sync"),
    ]);
}

/// The store's own thread is woken by commits, runs their checkpoints, and ends with the store.
#[test]
fn with_checkpoints_in_the_background() {
    check_with(
        options(),
        SimDisk::open_with_threads,
        &[
            |run| (0..5).for_each(|_| run.commit(Durability::Deferred)),
            |run| (0..3).for_each(|_| run.commit(Durability::Durable)),
            |run| run.store.checkpoint().expect("a checkpoint"),
            |run| run.look(false),
        ],
    );
}

/// A reader that has no image yet makes one from the file while a checkpoint writes there.
#[test]
fn with_a_first_reader_beside_a_checkpoint() {
    explore(
        || {
            let run = begin(&options(), SimDisk::open);
            run.store.checkpoint().expect("a checkpoint");
            run
        },
        &[
            |run| {
                let mut tx = run.store.write().expect("a transaction");
                run.change(&mut tx);
                tx.set_durability(Durability::Deferred);
                tx.commit().expect("a commit");
                run.store.checkpoint().expect("a checkpoint");
            },
            |run| run.look(false),
            |run| run.look(false),
        ],
    );
}

/// Readers and commits bring images forward, several at a time, beside checkpoints that wait for them
/// before they free the log.
#[test]
fn with_images_that_are_out() {
    check(&[
        |run| (0..3).for_each(|_| run.commit(Durability::Deferred)),
        |run| (0..2).for_each(|_| run.store.checkpoint().expect("a checkpoint")),
        |run| (0..2).for_each(|_| run.look(false)),
        |run| (0..2).for_each(|_| run.look(false)),
        |run| run.look(false),
    ]);
}

/// A checkpoint and a transaction of one process, which both follow what another one committed. The
/// transaction changes nothing: writing the same words again would hide a page that the checkpoint
/// left out.
const FOLLOW_WHILE_CHECKPOINTING: &[fn(&Run)] = &[
    |run| run.store.checkpoint().expect("a checkpoint"),
    |run| drop(run.store.write().expect("a transaction")),
    |run| run.look(true),
];

#[test]
fn with_a_transaction_that_follows_another_process_during_a_checkpoint() {
    explore(|| begin_shared(false), FOLLOW_WHILE_CHECKPOINTING);
}

#[test]
fn with_a_transaction_that_opens_its_image_again_during_a_checkpoint() {
    explore(|| begin_shared(true), FOLLOW_WHILE_CHECKPOINTING);
}

/// Proves that the checker would notice.
#[test]
#[should_panic(expected = "S")]
fn a_commit_that_is_acknowledged_too_early_is_found() {
    check_with(
        options().mutation(Mutation::AcknowledgeBeforeFlush),
        SimDisk::open,
        &[|run| run.commit(Durability::Durable), |run| run.look(true)],
    );
}
