//! Opening a store and reading its first object, at three sizes.
//!
//! `cargo bench --bench opening`

mod common;

use std::time::Duration;

use common::{Folder, median, time};
use flagstone::{Durability, Link, OpenOptions, persist};

#[persist]
struct Node {
    value: u64,
    next: Link<Node>,
    more: [u64; 2],
}

/// Openings of each size, alternating.
const ROUNDS: usize = 101;

fn build(folder: &Folder, count: u64) {
    let options = OpenOptions::new().durability(Durability::Deferred);
    let store = folder.open(&count.to_string(), &options);
    let mut tx = store.write().expect("a transaction");
    let mut head = Link::null();
    for value in 0..count {
        head = tx.alloc(Node { value, next: head, more: [0; 2] }).expect("a node");
    }
    tx.set_root("head", head).expect("a root");
    tx.commit().expect("a commit");
    store.close().expect("a close");
}

fn open_and_read(folder: &Folder, count: u64) {
    let store = folder.open(&count.to_string(), &OpenOptions::new());
    let tx = store.read().expect("a snapshot");
    let head = tx.root::<Node>("head").expect("a root");
    assert_eq!(tx.at(head).expect("a node").value, count - 1);
}

fn main() {
    let folder = Folder::new();
    let sizes = [10_000, 1_000_000, 10_000_000];
    sizes.iter().for_each(|count| build(&folder, *count));
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (times, count) in times.iter_mut().zip(sizes) {
            times.push(time(|| open_and_read(&folder, count)));
        }
    }
    let medians = times.map(|mut times| median(&mut times));
    for (count, spent) in sizes.iter().zip(medians) {
        println!("{count:>9} objects: open, first read and close in {spent:?}");
    }
    let ratio = medians[2].as_secs_f64() / medians[0].as_secs_f64();
    println!("largest against smallest: {ratio:.2}");
}
