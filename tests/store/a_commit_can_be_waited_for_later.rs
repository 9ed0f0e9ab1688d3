//! A commit whose caller waits later: the next transaction builds on it, readers see it once it
//! is durable, one flush serves many, and a commit that nobody waited for is not lost when the
//! store is closed or the process dies.

use std::path::Path;

use flagstone::{Durability, Link, Store};
use testkit::TestResult;
use testkit::scratch::ScratchFile;

fn open(path: &Path) -> flagstone::Result<(Store, Link<u64>)> {
    let store = testkit::open(path)?;
    let link = store.update(|tx| tx.root_or_insert_with("number", || 0u64))?;
    Ok((store, link))
}

#[test]
fn readers_see_a_commit_once_it_is_durable() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, link) = open(&path)?;
    let mut tx = store.write()?;
    *tx.at_mut(link)? = 1;
    let first = tx.commit_later()?;
    assert!(!first.is_durable());
    assert_eq!(store.read()?.read(link)?, 0);
    let mut tx = store.write()?;
    assert_eq!(tx.read(link)?, 1, "the next transaction builds on it");
    *tx.at_mut(link)? = 2;
    let second = tx.commit_later()?;
    second.wait()?;
    assert!(first.is_durable(), "one flush for both");
    first.wait()?;
    assert_eq!(store.read()?.read(link)?, 2);
    Ok(())
}

#[test]
fn a_later_deferred_commit_does_not_overtake_it() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, link) = open(&path)?;
    let mut tx = store.write()?;
    *tx.at_mut(link)? = 1;
    let pending = tx.commit_later()?;
    let mut tx = store.write()?;
    tx.set_durability(Durability::Deferred);
    *tx.at_mut(link)? += 1;
    // Every commit returns once readers see it, so this one flushes for both.
    tx.commit()?;
    assert!(pending.is_durable());
    assert_eq!(store.read()?.read(link)?, 2);
    Ok(())
}

#[test]
fn a_commit_that_nobody_waited_for_survives_closing() -> TestResult {
    let path = ScratchFile::new()?;
    let (store, link) = open(&path)?;
    for number in 1..=500u64 {
        let mut tx = store.write()?;
        *tx.at_mut(link)? = number;
        drop(tx.commit_later()?);
    }
    store.close()?;
    let (store, link) = open(&path)?;
    assert_eq!(store.read()?.read(link)?, 500);
    Ok(())
}

#[test]
fn a_log_full_of_pending_commits_is_flushed() -> TestResult {
    let path = ScratchFile::new()?;
    let options = flagstone::OpenOptions::new().log_bytes(64 * 1024).max_log_bytes(64 * 1024);
    let store = testkit::open_with(&path, &options)?;
    let array = store.update(|tx| tx.alloc_slice_copy(&[0u64; 100]))?;
    let mut last = None;
    for number in 1..=2000u64 {
        let mut tx = store.write()?;
        tx.at_mut(array)?.fill(number);
        last = Some(tx.commit_later()?);
    }
    last.expect("commits").wait()?;
    assert_eq!(store.read()?.at(array)?[99], 2000);
    Ok(())
}
