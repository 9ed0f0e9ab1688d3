//! Following links in random order, against raw pointers to nodes of the same size in plain
//! memory.
//!
//! `cargo bench --bench links`

mod common;

use std::hint::black_box;
use std::time::Duration;

use common::{Folder, median, shuffled, time};
use flagstone::{Durability, Link, OpenOptions, Store, persist};

/// A node in the store: 32 bytes.
#[persist]
#[derive(Clone, Copy)]
struct Node {
    value: u64,
    next: Link<Node>,
    more: [u64; 2],
}

/// The same with a pointer.
struct RawNode {
    value: u64,
    next: *const RawNode,
    _more: [u64; 2],
}

/// Rounds, each of which times both.
const ROUNDS: usize = 15;

fn build_store(folder: &Folder, order: &[usize]) -> (Store, Link<Node>) {
    let options = OpenOptions::new().durability(Durability::Deferred);
    let store = folder.open(&format!("links-{}", order.len()), &options);
    let mut tx = store.write().expect("a transaction");
    let empty = Node { value: 0, next: Link::null(), more: [0; 2] };
    let nodes: Vec<_> = order.iter().map(|_| tx.alloc(empty).expect("a node")).collect();
    for (i, at) in order.iter().enumerate() {
        let next = order.get(i + 1).map_or(Link::null(), |next| nodes[*next]);
        tx.put(nodes[*at], Node { value: i as u64, next, more: [0; 2] }).expect("a node");
    }
    tx.set_root("head", nodes[order[0]]).expect("a root");
    tx.commit().expect("a commit");
    store.checkpoint().expect("a checkpoint");
    (store, nodes[order[0]])
}

fn build_raw(order: &[usize]) -> Vec<RawNode> {
    let mut nodes: Vec<RawNode> = Vec::with_capacity(order.len());
    nodes.extend(order.iter().map(|_| RawNode { value: 0, next: std::ptr::null(), _more: [0; 2] }));
    let base = nodes.as_ptr();
    for (i, at) in order.iter().enumerate() {
        let next = order.get(i + 1).map_or(std::ptr::null(), |next| base.wrapping_add(*next));
        nodes[*at] = RawNode { value: i as u64, next, _more: [0; 2] };
    }
    nodes
}

#[inline(never)]
fn walk_store(store: &Store, head: Link<Node>, laps: usize) -> u64 {
    let tx = store.read().expect("a snapshot");
    let mut sum = 0u64;
    for _ in 0..laps {
        let mut at = black_box(head);
        while let Some(node) = tx.get(at).expect("a good link") {
            sum = sum.wrapping_add(node.value);
            at = node.next;
        }
    }
    sum
}

#[inline(never)]
fn walk_raw(head: *const RawNode, laps: usize) -> u64 {
    let mut sum = 0u64;
    for _ in 0..laps {
        let mut at = black_box(head);
        // SAFETY: the pointers come from the vector itself, which is alive.
        while let Some(node) = unsafe { at.as_ref() } {
            sum = sum.wrapping_add(node.value);
            at = node.next;
        }
    }
    sum
}

fn compare(folder: &Folder, count: usize) {
    let order = shuffled(count);
    let (store, head) = build_store(folder, &order);
    let raw = build_raw(&order);
    let raw_head = &raw[order[0]] as *const RawNode;
    let laps = (4_000_000 / count).max(1);
    assert_eq!(walk_store(&store, head, laps), walk_raw(raw_head, laps));
    let mut ratios = Vec::new();
    let (mut links, mut pointers): (Vec<Duration>, Vec<Duration>) = Default::default();
    for _ in 0..ROUNDS {
        let a = time(|| {
            black_box(walk_store(&store, head, laps));
        });
        let b = time(|| {
            black_box(walk_raw(raw_head, laps));
        });
        ratios.push(a.as_secs_f64() / b.as_secs_f64());
        links.push(a);
        pointers.push(b);
    }
    ratios.sort_by(f64::total_cmp);
    let steps = (laps * count) as f64;
    println!(
        "{count:>9} nodes: link {:6.2} ns, pointer {:6.2} ns, ratio {:.3} (median of {ROUNDS}, {:.3} to {:.3})",
        median(&mut links).as_nanos() as f64 / steps,
        median(&mut pointers).as_nanos() as f64 / steps,
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1],
    );
}

fn main() {
    let folder = Folder::new();
    for count in [400, 10_000, 1_000_000, 10_000_000] {
        compare(&folder, count);
    }
}
