//! Commits of one changed struct of 64 bytes: durable ones against pwrite and fdatasync on a
//! separate file, deferred ones at random over 64 MB.
//!
//! `cargo bench --bench commits`

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use common::{Folder, median, time};
use fastrand::Rng;
use flagstone::{Durability, Link, OpenOptions, Store, persist};

/// 64 bytes; a change touches every word.
#[persist]
#[derive(Clone, Copy)]
struct Item {
    words: [u64; 8],
}

const ITEMS: u64 = 1 << 20;

fn build(folder: &Folder, name: &str, options: &OpenOptions, items: u64) -> (Store, Link<[Item]>) {
    let store = folder.open(name, options);
    let mut tx = store.write().expect("a transaction");
    let table = tx
        .alloc_slice((0..items as usize).map(|i| Item { words: [i as u64; 8] }))
        .expect("a table");
    tx.set_root("table", table).expect("a root");
    tx.commit().expect("a commit");
    store.sync().expect("a sync");
    (store, table)
}

fn change(store: &Store, table: Link<[Item]>, index: u64, value: u64, durability: Durability) {
    let mut tx = store.write().expect("a transaction");
    tx.set_durability(durability);
    let link = table.index(index).expect("an item");
    tx.at_mut(link).expect("an item").words = [value; 8];
    tx.commit().expect("a commit");
}

/// Returns a file of 64 MB whose pages have all been written.
fn plain_file(folder: &Folder) -> File {
    let path = folder.path("plain");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let file = file.expect("a file");
    let page = [1u8; 4096];
    (0..256).for_each(|i| file.write_all_at(&page, i * 4096).expect("a write"));
    file.sync_all().expect("a sync");
    file
}

fn durable(folder: &Folder) {
    let (store, table) = build(folder, "durable", &OpenOptions::new(), 1024);
    let file = plain_file(folder);
    let (mut commits, mut writes): (Vec<Duration>, Vec<Duration>) = Default::default();
    for round in 0..3000u64 {
        commits.push(time(|| change(&store, table, round % 1024, round, Durability::Durable)));
        let page = [round as u8; 4096];
        writes.push(time(|| {
            file.write_all_at(&page, round % 256 * 4096).expect("a write");
            file.sync_data().expect("a sync");
        }));
    }
    let (commit, write) = (median(&mut commits), median(&mut writes));
    println!(
        "durable commit: median {commit:?}, pwrite + fdatasync {write:?}, ratio {:.3}; p99 {:?} and {:?}",
        commit.as_secs_f64() / write.as_secs_f64(),
        commits[commits.len() * 99 / 100],
        writes[writes.len() * 99 / 100],
    );
}

fn deferred(folder: &Folder) {
    let options = OpenOptions::new().log_bytes(64 << 20);
    let (store, table) = build(folder, "deferred", &options, ITEMS);
    let mut random = Rng::with_seed(7);
    let mut run = |commits: u64| {
        let indices: Vec<u64> = (0..commits).map(|_| random.u64(..ITEMS)).collect();
        let spent = time(|| {
            for (value, index) in indices.iter().enumerate() {
                change(&store, table, *index, value as u64, Durability::Deferred);
            }
        });
        spent.as_nanos() as f64 / commits as f64
    };
    // Touches each page, so each image has its own copy of it.
    run(600_000);
    let mut rounds: Vec<f64> = (0..7).map(|_| run(1_000_000)).collect();
    rounds.sort_by(f64::total_cmp);
    println!(
        "deferred commit, random over 64 MB, checkpoints included: median {:.0} ns ({:.0} to {:.0})",
        rounds[3], rounds[0], rounds[6]
    );
    let mut between: Vec<f64> = (0..7)
        .map(|_| {
            store.checkpoint().expect("a checkpoint");
            run(300_000)
        })
        .collect();
    between.sort_by(f64::total_cmp);
    println!("the same between checkpoints: median {:.0} ns", between[3]);
    store.checkpoint().expect("a checkpoint");
    let spent = time(|| {
        for value in 0..200_000 {
            change(&store, table, value % 64, value, Durability::Deferred);
        }
    });
    println!("the same with 64 items, in cache: {:.0} ns", spent.as_nanos() as f64 / 200_000.0);
    println!("one cold line of such a table, in plain memory: {:.0} ns", cold_line());
}

/// Returns the nanoseconds to change a random item in 64 MB of plain memory, when each change
/// waits for the previous one, as commits do.
fn cold_line() -> f64 {
    let mut table = vec![Item { words: [1; 8] }; ITEMS as usize];
    let mut random = Rng::with_seed(11);
    let mut at = 0;
    let spent = time(|| {
        for _ in 0..1_000_000 {
            let item = &mut table[at];
            item.words = item.words.map(|word| word + 1);
            at = (random.u64(..ITEMS) ^ (item.words[0] & 1)) as usize;
        }
    });
    std::hint::black_box(&table);
    spent.as_nanos() as f64 / 1e6
}

fn main() {
    let folder = Folder::new();
    durable(&folder);
    deferred(&folder);
}
