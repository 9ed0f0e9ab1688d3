//! A commit whose caller waits later: the next transaction builds on it, readers see it once it
//! is durable, one flush serves many, and a commit that nobody waited for is not lost when the
//! store is closed or the process dies.

use flagstone::{Durability, Link, Store};
use testkit::TestResult;

fn open(folder: &tempfile::TempDir) -> flagstone::Result<(Store, Link<u64>)> {
    let store = testkit::open(&folder.path().join("store"))?;
    let link = store.update(|tx| tx.root_or_insert_with("number", || 0u64))?;
    Ok((store, link))
}

#[test]
fn readers_see_it_when_it_is_durable() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (store, link) = open(&folder)?;
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
fn a_deferred_commit_behind_it_does_not_overtake_it() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (store, link) = open(&folder)?;
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
fn what_nobody_waited_for_is_there_after_closing() -> TestResult {
    let folder = tempfile::tempdir()?;
    let (store, link) = open(&folder)?;
    for number in 1..=500u64 {
        let mut tx = store.write()?;
        *tx.at_mut(link)? = number;
        drop(tx.commit_later()?);
    }
    store.close()?;
    let (store, link) = open(&folder)?;
    assert_eq!(store.read()?.read(link)?, 500);
    Ok(())
}

#[test]
fn a_log_full_of_them_is_flushed_and_goes_on() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
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
