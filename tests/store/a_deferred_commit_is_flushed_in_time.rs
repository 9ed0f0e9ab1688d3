//! Promise: with `flush_every`, a power cut takes away no deferred commit that is older than that,
//! and the time of a flush.

use std::thread::sleep;
use std::time::{Duration, Instant};

use flagstone::sim::{Random, SimDisk};
use flagstone::{Checkpoints, Durability, ErrorKind, Link, OpenOptions, Store};

const INTERVAL: Duration = Duration::from_millis(20);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(400);

fn options() -> OpenOptions {
    OpenOptions::new().durability(Durability::Deferred).log_bytes(8 << 20)
}

/// Opens a new store as `change` says.
fn open(
    options: &OpenOptions,
    change: impl Fn(OpenOptions) -> OpenOptions,
) -> (Store, SimDisk, Link<u64>) {
    let (store, disk) = SimDisk::create(options).expect("a store");
    drop(store);
    let store = disk.open_with_threads(&change(options.clone())).expect("the store");
    let count = |tx: &mut flagstone::WriteTx<'_>| {
        tx.set_durability(Durability::Durable);
        tx.root_or_insert_with("count", || 0u64)
    };
    let count = store.update(count).expect("a count");
    (store, disk, count)
}

fn after_cut(disk: &SimDisk, count: Link<u64>, seed: u64) -> u64 {
    let disk = SimDisk::new(disk.crash(&mut Random(seed)));
    let store = disk.open(&options()).expect("a store after the cut");
    store.read().expect("a snapshot").read(count).expect("the count")
}

#[test]
fn also_if_no_other_commit_follows() {
    let (store, disk, count) = open(&options(), |options| options.flush_every(INTERVAL));
    for number in 1..=3 {
        store.update(|tx| tx.put(count, number)).expect("a commit");
        let begun = Instant::now();
        let position = store.read().expect("a snapshot").position();
        while store.stats().expect("figures").durable_position < position {
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody flushes");
            sleep(INTERVAL / 10);
        }
        assert_eq!(after_cut(&disk, count, number), number);
        // The thread has nothing to wait for now.
        sleep(2 * INTERVAL);
    }
}

#[test]
fn while_commits_and_checkpoints_go_on() {
    let (store, disk, count) =
        open(&options().log_bytes(256 * 1024), |options| options.flush_every(INTERVAL));
    disk.set_sync_time(Duration::from_millis(5));
    let begun = Instant::now();
    let mut commits = Vec::new();
    let mut cuts = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        for _ in 0..20 {
            let number = commits.len() as u64 + 1;
            store.update(|tx| tx.put(count, number)).expect("a commit");
            commits.push(Instant::now());
        }
        sleep(INTERVAL / 4);
        let now = Instant::now();
        let old = commits.partition_point(|made| *made + INTERVAL + SLACK < now) as u64;
        let found = after_cut(&disk, count, cuts);
        assert!(found >= old, "{found} after the cut, {old} commits were old enough");
        cuts += 1;
    }
    assert!(cuts > 10, "{cuts} cuts");
}

#[test]
fn without_the_option_it_may_stay_in_memory() {
    let (store, _disk, count) = open(&options(), |options| options);
    store.update(|tx| tx.put(count, 1)).expect("a commit");
    sleep(5 * INTERVAL);
    let position = store.read().expect("a snapshot").position();
    assert!(store.stats().expect("figures").durable_position < position);
}

#[test]
fn a_store_without_a_thread_of_its_own_refuses_the_option() {
    let options = options().flush_every(INTERVAL).checkpoints(Checkpoints::ByCommits);
    let error = options.open_in_memory().expect_err("a thread is needed");
    assert!(matches!(error.kind(), ErrorKind::BadOption { option: "flush_every", .. }), "{error}");
}
