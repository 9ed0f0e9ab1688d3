//! Bytes that reach the device per durable update of one struct, in a store of 64 MB that was
//! just bulk-loaded, checkpoints included.
//!
//! `cargo bench --bench device_bytes`
//!
//! The numbers come from the block device that holds the target folder (`/sys/dev/block/…/stat`,
//! sectors written), so they include everything that the machine writes there meanwhile. The
//! process's own `write_bytes` from `/proc/self/io` is printed next to them.

mod common;

use std::os::linux::fs::MetadataExt;
use std::time::Duration;

use common::Folder;
use fastrand::Rng;
use flagstone::{Link, OpenOptions, Store, persist};

#[persist]
#[derive(Clone, Copy)]
struct Item {
    words: [u64; 8],
}

const ITEMS: u64 = 1 << 20;
const COMMITS: u64 = 4000;

fn build(folder: &Folder) -> (Store, Link<[Item]>) {
    let store = folder.open("bytes", &OpenOptions::new());
    let mut tx = store.write().expect("a transaction");
    let table = tx
        .alloc_slice((0..ITEMS as usize).map(|i| Item { words: [i as u64; 8] }))
        .expect("a table");
    tx.set_root("table", table).expect("a root");
    tx.commit().expect("a commit");
    (store, table)
}

/// Returns the bytes written to the block device under `folder`, if it has a counter.
fn device_bytes(folder: &Folder) -> Option<u64> {
    let device = std::fs::metadata(folder.path(".")).ok()?.st_dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

/// Returns the bytes that this process has caused to be written.
fn process_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?;
    line.parse().ok()
}

/// Waits until all earlier writes have reached the device.
fn settle() {
    rustix::fs::sync();
    std::thread::sleep(Duration::from_millis(200));
}

fn main() {
    let folder = Folder::new();
    let (store, table) = build(&folder);
    settle();
    let before = (device_bytes(&folder), process_bytes());
    let mut random = Rng::with_seed(3);
    for value in 0..COMMITS {
        let mut tx = store.write().expect("a transaction");
        let link = table.index(random.u64(..ITEMS)).expect("an item");
        tx.at_mut(link).expect("an item").words = [value; 8];
        tx.commit().expect("a commit");
    }
    settle();
    let after = (device_bytes(&folder), process_bytes());
    let stats = store.stats().expect("figures");
    let each = |before: Option<u64>, after: Option<u64>| match (before, after) {
        (Some(before), Some(after)) => format!("{:.0}", (after - before) as f64 / COMMITS as f64),
        _ => "not counted here".to_string(),
    };
    println!(
        "bytes to the device a durable commit: {} (this process: {}); log {} KiB",
        each(before.0, after.0),
        each(before.1, after.1),
        stats.log_bytes / 1024,
    );
}
