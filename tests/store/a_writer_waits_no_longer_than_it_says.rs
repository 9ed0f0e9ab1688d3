//! Promise: `try_write` does not wait for another writer, and `write_timeout` for no longer than it was
//! told. Whoever gives up takes nothing from those that wait on, and what waiting does not change is an
//! error at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use flagstone::{OpenOptions, Store};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, assert_refused};

const MS: Duration = Duration::from_millis(1);
const TIMES: [Duration; 4] = [Duration::ZERO, MS, Duration::from_secs(3600), Duration::MAX];

/// Runs `act` on another thread while this one has the write transaction.
fn beside_a_writer<T: Send>(store: &Store, act: impl FnOnce() -> T + Send) -> TestResult<T> {
    let _tx = store.write()?;
    std::thread::scope(|scope| scope.spawn(act).join().map_err(|_| "it panicked".into()))
}

#[test]
fn who_tries_beside_a_writer_gets_nothing_and_otherwise_the_transaction() -> TestResult {
    let store = Store::in_memory()?;
    assert!(beside_a_writer(&store, || store.try_write().map(|tx| tx.is_none()))??);
    let _reader = store.read()?;
    let mut tx = store.try_write()?.ok_or("nobody writes")?;
    let link = tx.alloc(7u64)?;
    tx.commit()?;
    assert_eq!(store.read()?.read(link)?, 7);
    for at_most in TIMES {
        let tx = store.write_timeout(at_most)?;
        tx.ok_or("nobody writes")?.commit()?;
    }
    Ok(())
}

#[test]
fn who_waits_gives_up_when_the_time_is_over_and_not_before() -> TestResult {
    let store = Store::in_memory()?;
    for at_most in [Duration::ZERO, MS, 150 * MS] {
        let begun = Instant::now();
        let is_none = || store.write_timeout(at_most).map(|tx| tx.is_none());
        assert!(beside_a_writer(&store, is_none)??);
        assert!(begun.elapsed() >= at_most);
    }
    Ok(())
}

/// `Instant` has no room for some of these times.
#[test]
fn who_waits_long_enough_gets_the_transaction() -> TestResult {
    let store = Store::in_memory()?;
    for at_most in [Duration::from_secs(3600), Duration::MAX] {
        let tx = store.write()?;
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| store.write_timeout(at_most).map(|tx| tx.is_some()));
            std::thread::sleep(30 * MS);
            drop(tx);
            assert!(waits.join().expect("a thread that waits")?);
            TestResult::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_thread_does_not_wait_for_itself_however_long_it_would() -> TestResult {
    let store = Store::in_memory()?;
    let tx = store.write()?;
    assert_refused!(store.try_write(), NestedWrite);
    for at_most in TIMES {
        assert_refused!(store.write_timeout(at_most), NestedWrite);
    }
    drop(tx);
    assert!(store.try_write()?.is_some());
    Ok(())
}

#[test]
fn a_transaction_that_was_leaked_is_an_error_and_nothing_to_wait_for() -> TestResult {
    let store = Store::in_memory()?;
    std::thread::scope(|scope| {
        let leak = || std::mem::forget(store.write().expect("the write transaction"));
        scope.spawn(leak).join().expect("the thread that leaks");
    });
    assert_refused!(store.try_write(), WriterLeaked);
    for at_most in TIMES {
        assert_refused!(store.write_timeout(at_most), WriterLeaked);
    }
    Ok(())
}

#[test]
fn a_store_that_is_only_read_says_so_at_once() -> TestResult {
    let path = ScratchFile::new()?;
    testkit::open(&path)?.close()?;
    // SAFETY: only this test has the file.
    let store = unsafe { OpenOptions::new().open_read_only(&path)? };
    assert_refused!(store.try_write(), ReadOnly { .. });
    for at_most in TIMES {
        assert_refused!(store.write_timeout(at_most), ReadOnly { .. });
    }
    Ok(())
}

#[test]
fn a_writer_that_panics_leaves_the_way_free() -> TestResult {
    let store = Store::in_memory()?;
    let panicking = AssertUnwindSafe(|| {
        let mut tx = store.try_write().expect("to try").expect("nobody writes");
        let _ = tx.alloc(1u64).expect("to allocate");
        panic!("on purpose")
    });
    assert!(catch_unwind(panicking).is_err());
    store.try_write()?.ok_or("nobody writes")?.commit()?;
    assert!(store.check()?.is_clean());
    Ok(())
}

/// A thread that gives up may be the one that was woken: then another one must be.
#[test]
fn who_gives_up_takes_no_turn_from_those_that_wait_on() -> TestResult {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 200;
    let store = Store::in_memory()?;
    let link = store.update(|tx| tx.alloc(0u64))?;
    let (begin, given_up, short) =
        (Barrier::new(2 * THREADS as usize), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, begin, given_up, short) = (&store, &begin, &given_up, &short);
            scope.spawn(move || {
                begin.wait();
                for round in 0..ROUNDS {
                    let at_most = Duration::from_micros((round * 7 + thread) % 50);
                    let Some(mut tx) = store.write_timeout(at_most).expect("to wait") else {
                        given_up.fetch_add(1, Relaxed);
                        continue;
                    };
                    *tx.at_mut(link).expect("the number") += 1;
                    tx.commit().expect("a commit");
                    short.fetch_add(1, Relaxed);
                }
            });
            scope.spawn(move || {
                begin.wait();
                for _ in 0..ROUNDS {
                    store
                        .update(|tx| tx.at_mut(link).map(|number| *number += 1))
                        .expect("a commit");
                }
            });
        }
    });
    let (given_up, short) = (given_up.into_inner(), short.into_inner());
    println!("{short} in time, {given_up} given up");
    assert_eq!(short + given_up, THREADS * ROUNDS);
    assert_eq!(store.read()?.read(link)?, THREADS * ROUNDS + short);
    Ok(())
}
