//! Promise: several processes write one store by turns, and each sees what the others
//! committed. Each store here has locks and mappings of its own, as a process has.

mod common;

use common::TestResult;
use flagstone::{Durability, Link, OpenOptions, Store};
use std::path::Path;

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024)
}

fn open(path: &Path) -> flagstone::Result<Store> {
    // SAFETY: a file of this test's own.
    unsafe { options().open_shared(path) }
}

fn add(store: &Store, durability: Durability) -> flagstone::Result<u64> {
    let mut tx = store.write()?;
    tx.set_durability(durability);
    let count = tx.root_or_insert_with("count", || 0u64)?;
    *tx.at_mut(count)? += 1;
    let value = tx.read(count)?;
    tx.commit()?;
    Ok(value)
}

fn count(store: &Store) -> flagstone::Result<u64> {
    let tx = store.read()?;
    let count: Link<u64> = tx.root("count")?;
    tx.read(count)
}

#[test]
fn each_sees_what_the_others_commit() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let stores = [open(&path)?, open(&path)?, open(&path)?];
    for number in 1..=3000 {
        let durability = if number % 10 == 0 { Durability::Durable } else { Durability::Deferred };
        assert_eq!(add(&stores[number as usize % 3], durability)?, number);
        assert_eq!(count(&stores[(number / 3) as usize % 3])?, number);
    }
    let report = stores[1].check()?;
    assert!(report.is_clean(), "{report:?}");
    for store in stores {
        store.close()?;
    }
    // SAFETY: a file of this test's own.
    let store = unsafe { Store::open(&path)? };
    assert_eq!(count(&store)?, 3000);
    Ok(())
}
