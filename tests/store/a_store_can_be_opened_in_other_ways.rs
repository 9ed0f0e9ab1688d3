//! Other ways to open a store: read-only, where no byte of the file changes; as a private copy,
//! whose changes stay in memory; through a copy that is written through, which needs no promise;
//! and in memory. Ways that cannot be combined are refused with an error.

use std::os::unix::fs::FileExt;

use flagstone::collections::Vec as StoredVec;
use flagstone::{Link, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_read_only, read_only_with};
use testkit::{TestResult, assert_refused, this_test};

fn fill(store: &Store, count: u64) -> flagstone::Result<Link<StoredVec<u64>>> {
    let mut tx = store.write()?;
    let numbers = tx.root_or_insert_with("numbers", StoredVec::<u64>::new)?;
    for number in 0..count {
        numbers.push(&mut tx, number)?;
    }
    tx.commit()?;
    Ok(numbers)
}

fn numbers(store: &Store) -> flagstone::Result<Vec<u64>> {
    let tx = store.read()?;
    let root = tx.root::<StoredVec<u64>>("numbers")?;
    Ok(tx.at(root)?.as_slice(&tx)?.to_vec())
}

/// Returns a store of 5000 numbers, and a copy of its file from before it was closed.
fn closed_and_unclean() -> TestResult<[ScratchFile; 2]> {
    let [path, unclean] = [ScratchFile::new()?, ScratchFile::new()?];
    let store = testkit::open(&path)?;
    let _ = fill(&store, 5000)?;
    std::fs::copy(&path, &unclean)?;
    store.close()?;
    Ok([path, unclean])
}

#[test]
fn read_only_it_is_not_written() -> TestResult {
    for path in closed_and_unclean()? {
        let before = std::fs::read(&path)?;
        let store = open_read_only(&path)?;
        let second = open_read_only(&path)?;
        assert_eq!(numbers(&store)?, (0..5000).collect::<Vec<u64>>());
        assert_eq!(numbers(&second)?.len(), 5000);
        assert_refused!(store.write(), ReadOnly { .. });
        store.sync()?;
        store.checkpoint()?;
        assert!(store.check()?.is_clean());
        assert_refused!(testkit::open(&path), Locked { .. });
        store.close()?;
        drop(second);
        assert!(std::fs::read(&path)? == before, "a byte of the file changed");
        let writer = testkit::open(&path)?;
        assert_refused!(open_read_only(&path), Locked { .. });
        assert_eq!(numbers(&writer)?.len(), 5000);
    }
    assert_refused!(open_read_only(&ScratchFile::new()?), NoSuchFile { .. });
    Ok(())
}

/// Without a place to write, each changed page takes memory.
#[test]
fn a_log_that_changes_more_than_the_budget_is_not_replayed_to_read() -> TestResult {
    let [_, unclean] = closed_and_unclean()?;
    let before = std::fs::read(&unclean)?;
    let within = |budget| read_only_with(&unclean, &OpenOptions::new().memory_budget_bytes(budget));
    let error = testkit::refusal(within(4096));
    let flagstone::ErrorKind::ReplayNeedsMemory { needed_bytes, budget_bytes: 4096, .. } =
        *error.kind()
    else {
        return Err(error.into());
    };
    assert!(error.to_string().contains("open it once to write"), "{error}");
    assert_refused!(within(needed_bytes / 2), ReplayNeedsMemory { .. });
    assert_eq!(numbers(&within(needed_bytes)?)?.len(), 5000);
    assert!(std::fs::read(&unclean)? == before, "a byte of the file changed");
    testkit::open(&unclean)?.close()?;
    assert_eq!(numbers(&within(4096)?)?.len(), 5000);
    Ok(())
}

#[test]
fn the_statistics_say_whether_records_were_replayed() -> TestResult {
    let [path, unclean] = closed_and_unclean()?;
    assert_eq!(open_read_only(&path)?.stats()?.replayed_bytes, 0);
    for _ in 0..2 {
        assert!(open_read_only(&unclean)?.stats()?.replayed_bytes > 0);
    }
    assert!(testkit::open(&unclean)?.stats()?.replayed_bytes > 0);
    assert_eq!(open_read_only(&unclean)?.stats()?.replayed_bytes, 0, "it was recovered");
    Ok(())
}

#[test]
fn changes_of_a_private_copy_stay_in_it() -> TestResult {
    for path in closed_and_unclean()? {
        let before = std::fs::read(&path)?;
        let copies =
            [OpenOptions::new().open_private(&path)?, OpenOptions::new().open_private(&path)?];
        for (index, copy) in copies.iter().enumerate() {
            // Enough for checkpoints, growth, and moves of the log.
            let _ = fill(copy, 400_000 + index as u64)?;
            copy.checkpoint()?;
            let _ = fill(copy, 10)?;
            assert_eq!(numbers(copy)?.len(), 405_010 + index);
            assert!(copy.check()?.is_clean());
        }
        // The file is not locked: others write it, and a copy still shows its original state.
        assert!(std::fs::read(&path)? == before, "a byte of the file changed");
        let writer = testkit::open(&path)?;
        let _ = fill(&writer, 1)?;
        assert_refused!(OpenOptions::new().open_private(&path), Locked { .. });
        assert_eq!(numbers(&writer)?.len(), 5001);
        assert_eq!(numbers(&copies[0])?.len(), 405_010);
    }
    assert_refused!(OpenOptions::new().open_private(ScratchFile::new()?), NoSuchFile { .. });
    Ok(())
}

#[test]
fn no_other_program_changes_what_is_read_through_a_copy() -> TestResult {
    let path = ScratchFile::new()?;
    let store = OpenOptions::new().open_copy(&path)?;
    let _ = fill(&store, 5000)?;
    store.checkpoint()?;
    assert_refused!(testkit::open(&path), Locked { .. });
    let good = std::fs::read(&path)?;
    // A program that ignores the lock overwrites all of it.
    let file = std::fs::OpenOptions::new().write(true).open(&path)?;
    file.write_all_at(&vec![0xff; good.len()], 0)?;
    assert_eq!(numbers(&store)?, (0..5000).collect::<Vec<u64>>());
    assert!(store.check()?.is_clean());
    file.write_all_at(&good, 0)?;
    let _ = fill(&store, 1)?;
    store.close()?;
    assert_eq!(numbers(&testkit::open(&path)?)?.len(), 5001);
    Ok(())
}

const CHILD: &str = "FLAGSTONE_COPY";

#[test]
fn a_killed_writer_through_a_copy_loses_nothing() -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        let store = OpenOptions::new().open_copy(path)?;
        let _ = fill(&store, 300_000)?;
        for _ in 0..50 {
            let _ = fill(&store, 100)?;
        }
        store.checkpoint()?;
        let _ = fill(&store, 7)?;
        std::process::abort();
    }
    let path = ScratchFile::new()?;
    let output = testkit::child(&this_test!(), CHILD, &path).output()?;
    assert!(!output.status.success());
    let store = OpenOptions::new().verify(true).open_copy(&path)?;
    assert_eq!(numbers(&store)?.len(), 305_007);
    assert!(store.stats()?.replayed_bytes > 0);
    Ok(())
}

#[test]
fn a_store_in_memory_is_like_any_other() -> TestResult {
    let store = Store::in_memory()?;
    let _ = fill(&store, 300_000)?;
    let held = store.read()?;
    for _ in 0..50 {
        let _ = fill(&store, 1000)?;
    }
    store.checkpoint()?;
    assert_eq!(numbers(&store)?.len(), 350_000);
    let root = held.root::<StoredVec<u64>>("numbers")?;
    assert_eq!(held.at(root)?.len(), 300_000);
    drop(held);
    assert!(store.check()?.is_clean());
    store.close()?;
    Ok(())
}
