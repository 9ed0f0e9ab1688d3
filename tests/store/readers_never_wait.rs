//! Promise: readers wait for no writer and no checkpoint, on as many threads and in as many snapshots
//! as a program has, and what they see is whole and stays. (What a read does without a lock is tested
//! where locks can be held: `src/store/read.rs`. What threads write is tested in `src/image/reader.rs`.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use flagstone::{Checkpoints, Durability, Link, OpenOptions, Store};
use testkit::scratch::ScratchFile;
use testkit::{Random, TestResult, seed};

const MIB: u64 = 1 << 20;

fn options() -> OpenOptions {
    OpenOptions::new().durability(Durability::Deferred)
}

fn fill(store: &Store, array: Link<[u64]>, value: u64) -> flagstone::Result<()> {
    store.update(|tx| tx.at_mut(array).map(|array| array.fill(value)))
}

/// Returns the one value that all words have.
fn value(tx: &flagstone::Image, array: Link<[u64]>) -> u64 {
    let words = tx.at(array).expect("the array");
    assert!(words.iter().all(|word| *word == words[0]), "half of a commit");
    words[0]
}

/// A reader on each of some threads, beside a snapshot that is held, steady commits and checkpoints.
/// Prints the longest `read()`; what it is allowed here is for machines that are busy.
#[test]
fn beside_a_held_reader_and_checkpoints() -> TestResult {
    for budget in [MIB, 1024 * MIB] {
        let path = ScratchFile::new()?;
        let options = options().log_bytes(MIB).memory_budget_bytes(budget);
        let store = testkit::open_with(&path, &options)?;
        let array = store.update(|tx| tx.alloc_slice_copy(&[0u64; 600]))?;
        let table = store.update(|tx| tx.alloc_slice_zeroed::<u64>(32 * MIB / 8))?;
        let held = store.read()?;
        let (is_over, longest) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for number in 0..3 {
                let (store, is_over, longest) = (&store, &is_over, &longest);
                scope.spawn(move || {
                    let (mut random, mut last) = (Random::new(seed(number)), 0);
                    while !is_over.load(Relaxed) {
                        let begun = Instant::now();
                        let tx = store.read().expect("a snapshot");
                        longest.fetch_max(begun.elapsed().as_micros() as u64, Relaxed);
                        let first = value(&tx, array);
                        assert!(first >= last, "a reader went back");
                        last = first;
                        if random.one_in(10) {
                            std::thread::sleep(Duration::from_millis(random.below(4)));
                            assert_eq!(value(&tx, array), first, "a snapshot changed");
                        }
                    }
                });
            }
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    store.checkpoint().expect("a checkpoint");
                }
            });
            let (mut random, begun) = (Random::new(seed(9)), Instant::now());
            for number in 1.. {
                store
                    .update(|tx| {
                        tx.at_mut(array)?.fill(number);
                        for _ in 0..20 {
                            let word = table.index(random.below(table.len())).expect("a word");
                            *tx.at_mut(word)? += 1;
                        }
                        Ok(())
                    })
                    .expect("a commit");
                if begun.elapsed() > Duration::from_secs(2) {
                    break;
                }
            }
            is_over.store(true, Relaxed);
        });
        assert_eq!(value(&held, array), 0, "the held snapshot changed");
        let longest = Duration::from_micros(longest.load(Relaxed));
        println!("budget {} MiB: the longest read took {longest:?}", budget / MIB);
        assert!(longest < Duration::from_secs(2), "{longest:?}");
        drop(held);
        assert!(store.check()?.is_clean());
    }
    Ok(())
}

/// More snapshots than a thread has slots for, at one position and at many; and each may end on
/// another thread, after its own has ended.
#[test]
fn with_many_snapshots_on_one_thread() -> TestResult {
    let path = ScratchFile::new()?;
    let store = Arc::new(testkit::open_with(&path, &options().log_bytes(MIB))?);
    let array = store.update(|tx| tx.alloc_slice_copy(&[0u64; 600]))?;
    let mut held = Vec::new();
    for number in 1..8 {
        fill(&store, array, number)?;
        let own = Arc::clone(&store);
        let hold = move || (0..12).map(|_| own.read_owned()).collect::<flagstone::Result<Vec<_>>>();
        let taken = std::thread::spawn(hold).join().expect("no panic")?;
        held.extend(taken.into_iter().map(|tx| (number, tx)));
        if number % 3 == 0 {
            store.checkpoint()?;
        }
    }
    assert_eq!(store.stats()?.held_images, 7);
    store.checkpoint()?;
    fill(&store, array, 100)?;
    assert!(held.iter().all(|(number, tx)| value(tx, array) == *number));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let some = held.split_off(held.len() - held.len() / 5);
            scope.spawn(move || {
                some.iter().for_each(|(number, tx)| assert_eq!(value(tx, array), *number));
            });
        }
    });
    drop(held);
    let stats = store.stats()?;
    assert_eq!((stats.held_images, stats.oldest_reader.is_none()), (0, true));
    assert_eq!(value(&*store.read()?, array), 100);
    Ok(())
}

/// After commits that nobody read, a reader sees the last one, whoever makes checkpoints and however
/// little memory there is.
#[test]
fn after_a_long_time_without_readers() -> TestResult {
    for checkpoints in [Checkpoints::Background, Checkpoints::ByCommits] {
        for budget in [MIB, 1024 * MIB] {
            let path = ScratchFile::new()?;
            let options = options()
                .log_bytes(64 * 1024)
                .max_log_bytes(64 * 1024)
                .memory_budget_bytes(budget)
                .checkpoints(checkpoints);
            let store = testkit::open_with(&path, &options)?;
            let array = store.update(|tx| tx.alloc_slice_copy(&[0u64; 600]))?;
            for round in 0..5 {
                (0..40).try_for_each(|number| fill(&store, array, 100 * round + number))?;
                let tx = store.read()?;
                assert_eq!(value(&tx, array), 100 * round + 39);
                (40..80).try_for_each(|number| fill(&store, array, 100 * round + number))?;
                assert_eq!(value(&tx, array), 100 * round + 39, "a snapshot changed");
            }
            assert_eq!(value(&*store.read()?, array), 479);
        }
    }
    Ok(())
}
