//! Promise: the log of a store that several processes share becomes as long as their load asks for, and as
//! a transaction needs that finds no room because a process is stopped. The last one to close gives it its
//! length without load again, whatever became of the others.

use std::path::Path;
use std::time::{Duration, Instant};

use flagstone::{Durability, ErrorKind, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{TestResult, assert_refused, this_test};

use super::peer::{self, Peer};

const LOG_BYTES: u64 = 64 * 1024;
const BOUND: u64 = 4 << 20;

/// The log grows for a stopped process alone.
fn options() -> OpenOptions {
    let options = OpenOptions::new().log_bytes(LOG_BYTES).max_log_bytes(LOG_BYTES);
    options.max_blocked_log_bytes(BOUND)
}

/// Opens a store twice, as two processes do, and makes the array.
fn open_two(path: &Path, options: &OpenOptions) -> TestResult<[Store; 2]> {
    let stores = [open_shared(path, options)?, open_shared(path, options)?];
    peer::fill(&stores[0])?;
    peer::add(&stores[0], Durability::Durable)?;
    Ok(stores)
}

fn log_bytes(store: &Store) -> flagstone::Result<u64> {
    Ok(store.stats()?.log_bytes)
}

/// Expects that the next opening finds a log of the usual length, and no damage.
fn expect_usual(path: &Path) -> TestResult {
    let store = open_shared(path, &options())?;
    assert_eq!(log_bytes(&store)?, LOG_BYTES);
    assert!(store.check()?.is_clean());
    Ok(())
}

#[test]
fn a_load_makes_it_longer_for_all() -> TestResult {
    let path = ScratchFile::new()?;
    let stores = open_two(&path, &options().max_log_bytes(BOUND))?;
    let (begun, mut done) = (Instant::now(), 1);
    while log_bytes(&stores[0])? == LOG_BYTES {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{done} commits, and the log is as short"
        );
        peer::add(&stores[0], Durability::Deferred)?;
        done += 1;
    }
    // The other one learns of it when it writes next.
    peer::add(&stores[1], Durability::Durable)?;
    assert_eq!(log_bytes(&stores[1])?, log_bytes(&stores[0])?);
    for store in &stores {
        assert_eq!(peer::value(&store.read()?)?, done + 1);
    }
    assert!(stores[0].check()?.is_clean());
    drop(stores);
    expect_usual(&path)
}

/// The record needs a checkpoint, which the process blocks. It is refused once, for nobody knew that the
/// process is stopped; by the next try, the log is long enough for it.
#[test]
fn a_record_that_finds_no_room_gets_a_longer_log() -> TestResult {
    peer::serve()?;
    let path = ScratchFile::new()?;
    let stores = open_two(&path, &options())?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    peer.order("hold")?;
    stores[0].checkpoint()?;
    peer.process.pause()?;
    let write_more_than_the_log = |store: &Store| {
        store.update(|tx| {
            let words = tx.alloc_slice_copy(&[7u64; 12_000])?;
            // Changed after it was allocated, it is no new page that is written in place.
            tx.set_root("long", words)
        })?;
        store.update(|tx| {
            let words = tx.root::<[u64]>("long")?;
            tx.at_mut(words)?.iter_mut().for_each(|word| *word += 1);
            Ok::<(), flagstone::Error>(())
        })
    };
    assert_refused!(write_more_than_the_log(&stores[0]), ProcessUnresponsive { .. });
    // Another one commits in between, which is not to make the first forget it.
    peer::add(&stores[1], Durability::Deferred)?;
    write_more_than_the_log(&stores[0])?;
    assert!(log_bytes(&stores[0])? > LOG_BYTES);
    peer.process.resume()?;
    assert_eq!(peer.order("held")?, "1");
    assert_eq!(peer.order("read")?, "2");
    assert!(stores[1].check()?.is_clean());
    Ok(())
}

/// Nobody is left who would shorten it a while after the stopped process is gone.
#[test]
fn the_last_to_close_shortens_it() -> TestResult {
    peer::serve()?;
    let path = ScratchFile::new()?;
    let stores = open_two(&path, &options())?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    peer.order("hold")?;
    peer.process.pause()?;
    while log_bytes(&stores[0])? == LOG_BYTES {
        peer::add(&stores[0], Durability::Deferred)?;
    }
    peer.process.0.kill()?;
    peer.process.0.wait()?;
    drop(stores);
    expect_usual(&path)
}

/// At the bound of the memory rather than of the log, the error names the process as well.
#[test]
fn at_the_memory_budget_the_error_names_the_process() -> TestResult {
    peer::serve()?;
    let path = ScratchFile::new()?;
    let options = options().max_blocked_log_bytes(64 << 20).memory_budget_bytes(1 << 20);
    let store = open_shared(&path, &options)?;
    store.update(|tx| {
        let large = peer::alloc_large(tx)?;
        tx.set_root("array", large)
    })?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    peer.order("hold")?;
    peer.process.pause()?;
    let refused = loop {
        let change_some_pages = store.update(|tx| {
            let array = tx.root::<[u64]>("array")?;
            tx.at_mut(array)?.iter_mut().step_by(8192).for_each(|word| *word += 1);
            Ok::<(), flagstone::Error>(())
        });
        if let Err(error) = change_some_pages {
            break error;
        }
    };
    let ErrorKind::ProcessUnresponsive { process, .. } = refused.kind() else {
        return Err(refused.into());
    };
    assert_eq!(*process, peer.id());
    peer.process.resume()?;
    peer.order("let_go")?;
    store.checkpoint()?;
    Ok(())
}
