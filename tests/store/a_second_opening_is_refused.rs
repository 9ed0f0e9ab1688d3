//! Promise: a store is open once, and has one writer. A second opening gets an error, or waits
//! where the wait can end.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use flagstone::{Durability, Link, OpenOptions, Store, WriteTx};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{TestResult, assert_refused, child, open, this_test};

const CHILD: &str = "FLAGSTONE_SECOND";

#[test]
fn a_store_is_open_once_in_a_process() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    assert_refused!(open(&path), Locked { .. });
    let link = store.update(|tx| tx.alloc(7u64))?;
    std::os::unix::fs::symlink(&path, path.beside("link"))?;
    assert_refused!(open(&path.beside("link")), Locked { .. });
    std::fs::hard_link(&path, path.beside("name"))?;
    assert_refused!(open(&path.beside("name")), Locked { .. });
    assert_eq!(store.read()?.read(link)?, 7, "the first opening is not disturbed");
    store.close()?;
    assert_eq!(open(&path.beside("name"))?.read()?.read(link)?, 7);
    Ok(())
}

#[test]
fn a_store_is_open_once_among_processes_and_free_when_one_dies() -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        let _store = open(Path::new(&path))?;
        println!("\nopen");
        loop {
            std::thread::park();
        }
    }
    let path = ScratchFile::new()?;
    let mut child = child(&this_test!(), CHILD, &path).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "open"), "the child failed");
    assert_refused!(open(&path), Locked { .. });
    child.kill()?;
    child.wait()?;
    open(&path)?.check()?.into_result()?;
    Ok(())
}

/// A program that is being started has all descriptors for a moment, and with them the lock.
#[test]
fn a_closed_store_is_free_even_while_programs_start() -> TestResult {
    let path = ScratchFile::new()?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let _ = std::process::Command::new("true").status();
            }
        });
        let opened = (0..200).try_for_each(|_| open(&path)?.close());
        is_over.store(true, Relaxed);
        opened
    })?;
    Ok(())
}

#[test]
fn a_thread_does_not_wait_for_itself() -> TestResult {
    let store = Store::in_memory()?;
    let tx = store.write()?;
    assert_refused!(store.write(), NestedWrite);
    assert_refused!(store.update(|tx| tx.alloc(1u64)), NestedWrite);
    let _ = store.read()?;
    drop(tx);
    store.write()?.commit()?;
    let other = Store::in_memory()?;
    let _tx = store.write()?;
    let _ = other.write()?;
    Ok(())
}

/// A leaked transaction never ends, and no thread waits for it for ever.
fn expect_refusals_after_a_leak(store: &Store, link: Link<u64>) -> TestResult {
    std::thread::scope(|scope| {
        let leak = || {
            let mut tx = store.write().expect("the write transaction");
            tx.put(link, 2).expect("to put");
            std::mem::forget(tx);
        };
        scope.spawn(leak).join().expect("the thread that leaks");
        // Many, so some reuse the address of the first one.
        for _ in 0..100 {
            let other = scope.spawn(|| assert_refused!(store.write(), WriterLeaked));
            other.join().expect("the other thread");
        }
    });
    assert_refused!(store.update(|tx| tx.alloc(1u64)), WriterLeaked);
    assert_eq!(store.read()?.read(link)?, 1, "readers go on");
    Ok(())
}

#[test]
fn nobody_waits_for_a_transaction_leaked_on_a_thread_that_ended() -> TestResult {
    let path = ScratchFile::new()?;
    let shared = || open_shared(&path, &OpenOptions::new());
    let link = shared()?.update(|tx| tx.alloc(1u64))?;
    for is_shared in [false, true] {
        let store = if is_shared { shared()? } else { open(&path)? };
        expect_refusals_after_a_leak(&store, link)?;
        store.checkpoint()?;
        store.close()?;
        let store = open(&path)?;
        store.check()?.into_result()?;
        assert_eq!(store.write()?.read(link)?, 1, "nothing of it was committed");
    }
    Ok(())
}

#[test]
fn a_waiting_thread_is_told_when_the_leaking_thread_ends() -> TestResult {
    let store = Store::in_memory()?;
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            std::mem::forget(store.write().expect("the write transaction"));
            tell.send(()).expect("somebody to tell");
            std::thread::sleep(Duration::from_millis(100));
        });
        told.recv().expect("to be told");
        let waits = [(); 3].map(|()| scope.spawn(|| assert_refused!(store.write(), WriterLeaked)));
        waits.into_iter().for_each(|waits| waits.join().expect("a thread that waits"));
    });
    Ok(())
}

#[test]
fn a_transaction_leaked_on_this_thread_blocks_it() -> TestResult {
    let store = Store::in_memory()?;
    std::mem::forget(store.write()?);
    assert_refused!(store.write(), NestedWrite);
    Store::in_memory()?.write()?.commit()?;
    Ok(store.close()?)
}

/// A thread-local transaction ends with its thread.
#[test]
fn a_transaction_may_live_as_long_as_its_thread() -> TestResult {
    thread_local! {
        static KEPT: RefCell<Option<WriteTx<'static>>> = const { RefCell::new(None) };
    }
    let store: &'static Store = Box::leak(Box::new(Store::in_memory()?));
    for keeps_first in [false, true] {
        let keep = move || {
            // Of the two thread-locals, the test's and the store's, the one created first is
            // dropped first.
            if keeps_first {
                KEPT.with(|_| ());
            }
            let tx = store.write().expect("the write transaction");
            KEPT.with(|kept| *kept.borrow_mut() = Some(tx));
        };
        std::thread::spawn(keep).join().expect("no panic");
        std::thread::spawn(|| store.write().map(drop)).join().expect("no panic")?;
    }
    Ok(())
}

/// No thread is left out when threads hand the transaction to each other.
#[test]
fn many_waiting_threads_all_get_their_turn() -> TestResult {
    let store = OpenOptions::new().durability(Durability::Deferred).open_in_memory()?;
    let link = store.update(|tx| tx.alloc(0u64))?;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let counted = store.update(|tx| tx.at_mut(link).map(|count| *count += 1));
                    counted.expect("to count");
                }
            });
        }
    });
    assert_eq!(store.read()?.read(link)?, 16_000);
    Ok(())
}

#[test]
fn another_thread_waits_and_gets_it() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let link = tx.alloc(1u64)?;
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let store = &store;
        let other = scope.spawn(move || {
            let sum = store.update(|tx| {
                tell.send(()).expect("somebody to tell");
                let sum = tx.read(link)? + 1;
                tx.put(link, sum).map(|()| sum)
            });
            sum.expect("the write transaction")
        });
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "it did not wait");
        tx.commit()?;
        assert_eq!(other.join().expect("the other thread"), 2);
        Ok(())
    })
}

#[test]
fn a_writer_that_panics_releases_the_store() -> TestResult {
    let store = Store::in_memory()?;
    let link = store.update(|tx| tx.alloc(1u64))?;
    std::thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let mut tx = store.write().expect("the write transaction");
            tx.put(link, 2).expect("to put");
            std::panic::resume_unwind(Box::new("as planned"));
        });
        assert!(panics.join().is_err());
    });
    assert_eq!(store.write()?.read(link)?, 1);
    Ok(())
}

#[test]
fn a_savepoint_belongs_to_one_transaction() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let link = tx.alloc(1u64)?;
    let first = tx.savepoint()?;
    tx.put(link, 2)?;
    let second = tx.savepoint()?;
    tx.rollback_to(first)?;
    assert_refused!(tx.rollback_to(second), SavepointGone);
    tx.put(link, 3)?;
    let third = tx.savepoint()?;
    tx.put(link, 4)?;
    assert_refused!(tx.rollback_to(second), SavepointGone);
    assert_eq!(tx.read(link)?, 4, "a refusal changes nothing");
    tx.rollback_to(third)?;
    tx.rollback_to(third)?;
    assert_eq!(tx.read(link)?, 3);
    tx.rollback_to(first)?;
    assert_eq!(tx.read(link)?, 1);
    drop(tx);
    let mut tx = store.write()?;
    let _ = tx.savepoint()?;
    assert_refused!(tx.rollback_to(first), SavepointGone);
    let other = Store::in_memory()?;
    let mut other = other.write()?;
    let foreign = other.savepoint()?;
    assert_refused!(tx.rollback_to(foreign), SavepointGone);
    Ok(())
}
