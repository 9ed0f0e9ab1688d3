//! Promise: several processes write one store in alternation, and each sees what the others
//! committed. Each store here has its own locks and mappings, as in a separate process.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use flagstone::{Durability, ErrorKind, Link, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_read_only, open_shared};
use testkit::{TestResult, assert_refused, open_with, refusal};

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024)
}

fn open(path: &Path) -> flagstone::Result<Store> {
    open_shared(path, &options())
}

/// Returns two openings of a new store, as two processes have.
fn open_twice() -> TestResult<(ScratchFile, Store, Store)> {
    let path = ScratchFile::new()?;
    let (first, second) = (open(&path)?, open(&path)?);
    Ok((path, first, second))
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
    let path = ScratchFile::new()?;
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
    assert_eq!(count(&testkit::open(&path)?)?, 3000);
    Ok(())
}

/// A thread with pending commits can still write, however long ago its process took the write
/// lock.
#[test]
fn a_pending_commit_does_not_block_writers() -> TestResult {
    let (_path, first, second) = open_twice()?;
    let mut waiting = Vec::new();
    for store in [&first, &second, &first, &first] {
        let mut tx = store.write()?;
        let count = tx.root_or_insert_with("count", || 0u64)?;
        *tx.at_mut(count)? += 1;
        waiting.push(tx.commit_later()?);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(count(&second)?, 4);
    waiting.into_iter().try_for_each(|commit| commit.wait())?;
    Ok(())
}

/// When a process releases the write lock, it flushes the commits that its other threads wait
/// for. A thread that checked just before must not wait for another process's write lock: its
/// commit is already durable. Each round checks a little later into the release.
#[test]
fn a_commit_flushed_by_another_thread_waits_for_no_process() -> TestResult {
    let (_path, first, second) = open_twice()?;
    let mut rounds = 0;
    for round in 0..24 {
        let answered = AtomicBool::new(false);
        let (sender, joined) = mpsc::channel();
        let is_in_time = std::thread::scope(|scope| -> flagstone::Result<bool> {
            let (first, second, answered) = (&first, &second, &answered);
            let mut tx = first.write()?;
            *tx.root_or_insert_with("count", || 0u64).and_then(|count| tx.at_mut(count))? += 1;
            let (release, released) = mpsc::channel::<()>();
            scope.spawn(move || {
                // Shares the process's write lock, and waits for the transaction that holds it.
                let tx = first.write();
                let _ = sender.send(());
                let _ = released.recv();
                drop(tx);
            });
            std::thread::sleep(Duration::from_micros(300));
            let pending = tx.commit_later()?;
            let has_joined = joined.recv_timeout(Duration::from_millis(50)).is_ok();
            let other = scope.spawn(move || {
                let _tx = second.write();
                let begun = Instant::now();
                while !answered.load(SeqCst) && begun.elapsed() < Duration::from_secs(3) {
                    std::thread::sleep(Duration::from_micros(100));
                }
                answered.load(SeqCst)
            });
            std::thread::sleep(Duration::from_millis(2));
            drop(release);
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(10 * round) {
                std::hint::spin_loop();
            }
            pending.wait()?;
            answered.store(true, SeqCst);
            rounds += u32::from(has_joined);
            Ok(other.join().expect("no panic") || !has_joined)
        })?;
        assert!(is_in_time, "round {round} waited for the other process");
    }
    assert!(rounds > 0, "no thread ever shared the write lock of its process");
    Ok(())
}

/// Threads of several processes at once: each commit counts, and none waits for ever.
#[test]
fn threads_of_all_processes_write_at_once() -> TestResult {
    const EACH: u64 = 150;
    let path = ScratchFile::new()?;
    let stores = [open(&path)?, open(&path)?, open(&path)?];
    std::thread::scope(|threads| {
        for (index, store) in stores.iter().enumerate() {
            for thread in 0..3 {
                threads.spawn(move || {
                    for round in 0..EACH {
                        let durable = (round + thread).is_multiple_of(16);
                        let kind = if durable { Durability::Durable } else { Durability::Deferred };
                        let before = add(store, kind).expect("a commit");
                        assert!(count(store).expect("the count") >= before);
                        if round.is_multiple_of(50) && index == 1 {
                            store.checkpoint().expect("a checkpoint");
                        }
                    }
                });
            }
        }
    });
    assert_eq!(count(&stores[2])?, 9 * EACH);
    Ok(())
}

#[test]
fn incompatible_ways_to_open_are_refused() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    let alone = || open_with(&path, &options());
    let to_read = || open_read_only(&path);
    assert_refused!(alone(), Locked { .. });
    assert_refused!(to_read(), Locked { .. });
    assert_refused!(OpenOptions::new().open_private(&path), Locked { .. });
    assert_refused!(OpenOptions::new().open_copy(&path), Locked { .. });
    drop(store);
    let reader = to_read()?;
    assert_refused!(open(&path), Locked { .. });
    drop(reader);
    let owner = alone()?;
    assert_refused!(open(&path), Locked { .. });
    drop(owner);
    // A file that is not a store is reported, and left unchanged.
    for text in ["x".repeat(20_000), "short".to_string()] {
        let other = ScratchFile::with(text.as_bytes())?;
        assert_refused!(open(&other), NotAStore { .. });
        assert_eq!(std::fs::read_to_string(&other)?, text);
    }
    Ok(())
}

/// The error of a process that waits for the write lock names the writer that holds it. Threads
/// of one process wait together, not one after the other.
#[test]
fn the_process_that_blocks_others_is_named() -> TestResult {
    let (_path, first, second) = open_twice()?;
    let tx = first.write()?;
    let (begun, own) = (Instant::now(), std::process::id());
    let errors = std::thread::scope(|scope| {
        let waiting = [(); 3].map(|()| scope.spawn(|| refusal(second.write())));
        waiting.map(|thread| thread.join().expect("no panic"))
    });
    let took = begun.elapsed();
    for error in errors {
        let ErrorKind::ProcessUnresponsive { process, waited, .. } = error.kind() else {
            panic!("{error}");
        };
        assert_eq!(*process, own);
        assert!(took >= *waited && took < *waited * 2, "they took {took:?}");
    }
    drop(tx);
    assert_eq!(add(&second, Durability::Durable)?, 1);
    Ok(())
}

#[test]
fn a_commit_of_another_process_wakes_a_waiting_one() -> TestResult {
    let (_path, first, second) = open_twice()?;
    add(&first, Durability::Deferred)?;
    let seen = second.read()?.position();
    assert!(!second.wait_for_commit(seen, Duration::from_millis(20))?);
    std::thread::scope(|threads| -> TestResult {
        let waiting = threads.spawn(|| second.wait_for_commit(seen, Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(20));
        add(&first, Durability::Deferred)?;
        assert!(waiting.join().expect("no panic")?);
        Ok(())
    })?;
    assert_eq!(count(&second)?, 2);
    Ok(())
}

/// The program's report of readers runs without the write lock: it may write or panic, even after
/// a process has died.
#[test]
fn a_report_of_readers_may_write_or_panic() -> TestResult {
    use std::sync::{Arc, OnceLock, Weak};
    let path = ScratchFile::new()?;
    let this: Arc<OnceLock<Weak<Store>>> = Arc::default();
    let known = Arc::clone(&this);
    let options = options().report_readers(Duration::ZERO, move |_| {
        let store = known.get().and_then(Weak::upgrade).expect("the store");
        add(&store, Durability::Durable).expect("a commit");
        panic!("as a program's own code may");
    });
    let store = Arc::new(open_shared(&path, &options)?);
    this.set(Arc::downgrade(&store)).expect("once");
    let other = open(&path)?;
    add(&store, Durability::Durable)?;
    let held = store.read()?;
    add(&other, Durability::Durable)?;
    assert_eq!(count(&store)?, 2);
    let reported = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.checkpoint()));
    assert!(reported.is_err(), "the report was not made");
    assert_eq!(count(&other)?, 3);
    drop(held);
    add(&other, Durability::Durable)?;
    assert_eq!(add(&store, Durability::Durable)?, 5);
    Ok(())
}
