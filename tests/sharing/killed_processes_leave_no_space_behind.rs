//! Promise: what killed processes had taken past the heap's end is used again, and the file is cut while
//! it is shared, when no other process uses a snapshot.

use std::path::Path;

use flagstone::{Durability, Link, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{TestResult, this_test};

use crate::peer::{LARGE_BYTES, Peer, add, alloc_large, fill, serve};

const LOG_BYTES: u64 = 64 * 1024;
/// Processes that are killed before a large commit.
const KILLS: u64 = 12;

/// The log keeps its length: one that grew would lie at the file's end.
fn open(path: &Path) -> flagstone::Result<Store> {
    let options = OpenOptions::new().log_bytes(LOG_BYTES).max_log_bytes(LOG_BYTES);
    open_shared(path, &options)
}

fn file_bytes(path: &Path) -> TestResult<u64> {
    Ok(std::fs::metadata(path)?.len())
}

/// Commits a large array, and frees the one before.
fn commit_large(store: &Store) -> flagstone::Result<()> {
    let mut tx = store.write()?;
    let old: Link<[u64]> = tx.root("large")?;
    if !old.is_null() {
        tx.free(old)?;
    }
    let large = alloc_large(&mut tx)?;
    tx.set_root("large", large)?;
    tx.commit()
}

/// Returns the length of a file that holds one large array.
fn needed_bytes() -> TestResult<u64> {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    commit_large(&store)?;
    file_bytes(&path)
}

#[test]
fn if_they_die_before_a_large_commit() -> TestResult {
    serve()?;
    let needed = needed_bytes()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    let (mut longest, mut shortest) = (0, u64::MAX);
    for _ in 0..KILLS {
        let mut peer = Peer::begin(&this_test!(), &path)?;
        assert_eq!(peer.order("alloc_large")?, "ok");
        longest = longest.max(file_bytes(&path)?);
        drop(peer);
        add(&store, Durability::Deferred)?;
        shortest = shortest.min(file_bytes(&path)?);
    }
    commit_large(&store)?;
    longest = longest.max(file_bytes(&path)?);
    println!("needed {needed}, at most {longest}, at least {shortest}");
    assert!(longest <= needed + needed / 2, "{longest}, needed {needed}");
    assert!(shortest < LARGE_BYTES / 4, "{shortest}: the file was not cut");
    assert!(store.check()?.is_clean());
    Ok(())
}

/// An idle process keeps nobody from it, and finds its way back.
#[test]
fn if_another_process_is_stopped() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    commit_large(&store)?;
    let mut idle = Peer::begin(&this_test!(), &path)?;
    assert_eq!(idle.order("read")?, "0");
    std::thread::sleep(std::time::Duration::from_millis(600));
    idle.process.pause()?;
    let long = file_bytes(&path)?;
    store.update(|tx| {
        let large: Link<[u64]> = tx.root("large")?;
        tx.set_root("large", Link::<[u64]>::null())?;
        tx.free(large)
    })?;
    for _ in 0..4 {
        add(&store, Durability::Durable)?;
        store.checkpoint()?;
    }
    let cut = file_bytes(&path)?;
    assert!(cut + LARGE_BYTES / 2 < long, "{long} to {cut}");
    idle.process.resume()?;
    assert_eq!(idle.order("read")?, "4");
    assert_eq!(idle.order("add")?, "ok");
    drop(idle);
    commit_large(&store)?;
    assert!(store.check()?.is_clean());
    Ok(())
}
