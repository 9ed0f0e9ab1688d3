//! Promise: a store is open once, and has one writer; who comes second is told,
//! or waits where waiting can end.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{child, open};
use flagstone::ErrorKind;

#[test]
fn a_store_is_open_once() {
    if let Some(path) = std::env::var_os("FLAGSTONE_CHILD") {
        let error = open(Path::new(&path)).expect_err("the parent has it open");
        assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let store = open(&path).expect("a store");
    let error = open(&path).expect_err("it is open");
    assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error}");
    let mut child = child("a_store_is_open_once", "FLAGSTONE_CHILD", &path);
    assert!(child.status().expect("a child").success());
    drop(store);
    open(&path).expect("it is closed");
}

#[test]
fn a_thread_does_not_wait_for_itself() -> flagstone::Result<()> {
    let store = flagstone::Store::in_memory()?;
    let tx = store.write()?;
    let error = store.write().err().expect("this thread has it");
    assert!(matches!(error.kind(), ErrorKind::WriterOnThisThread), "{error}");
    drop(tx);
    store.write()?.commit()
}

#[test]
fn another_thread_waits_and_gets_it() -> flagstone::Result<()> {
    let store = flagstone::Store::in_memory()?;
    let mut tx = store.write()?;
    let link = tx.alloc(1u64)?;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| store.update(|tx| tx.put(link, tx.read(link)? + 1)));
        std::thread::sleep(Duration::from_millis(50));
        tx.commit()?;
        other.join().expect("the other thread")
    })?;
    assert_eq!(store.read()?.read(link)?, 2);
    Ok(())
}

#[test]
fn a_savepoint_serves_its_own_transaction_alone() -> flagstone::Result<()> {
    let store = flagstone::Store::in_memory()?;
    let mut tx = store.write()?;
    let first = tx.savepoint()?;
    let second = tx.savepoint()?;
    tx.rollback_to(first)?;
    let error = tx.rollback_to(second).expect_err("it was rolled back past");
    assert!(matches!(error.kind(), ErrorKind::SavepointGone), "{error}");
    tx.rollback_to(first)?;
    drop(tx);
    let mut tx = store.write()?;
    tx.savepoint()?;
    let error = tx.rollback_to(first).expect_err("it is another transaction's");
    assert!(matches!(error.kind(), ErrorKind::SavepointGone), "{error}");
    Ok(())
}
