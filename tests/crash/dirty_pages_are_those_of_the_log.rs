//! Promise: a store knows at any time which pages its file may lack, without a scan of the log. So
//! a checkpoint writes all of them, and a write transaction begins in the same time however long
//! the log is, and however much memory is private.

use flagstone::sim::{Call, Done, Faults, Random, SimDisk, dirty_pages};
use flagstone::{Durability, OpenOptions, Store};
use testkit::process_run::ProcessRun;
use testkit::sim_run::{Fixture, Run};
use testkit::{TestResult, seed};

/// ENOMEM.
const NO_MEMORY: i32 = 12;
/// Runs of each kind.
const RUNS: u64 = 16;

fn expect_same(store: &Store, at: &str) -> TestResult {
    let pages = dirty_pages(store)?;
    assert_eq!(pages.noted, pages.scanned, "{at}");
    Ok(())
}

/// Makes a checkpoint fail at any of its calls. The store goes on if no write failed; otherwise it
/// is opened again.
fn fail_a_checkpoint(run: &mut Run<'_>) -> TestResult {
    let first = run.disk.next_call() + run.random.below(12);
    let (calls, done) = (first..first + 1, Done::Nothing);
    run.disk.set_faults(Some(Faults { calls, errno: NO_MEMORY, done, spares_reading: false }));
    let _ = run.checkpoint();
    run.disk.set_faults(None);
    if run.store().write().is_err() {
        run.start_again()?;
    }
    Ok(())
}

#[test]
fn they_are_noted_through_commits_rollbacks_and_failed_checkpoints() -> TestResult {
    let mut compared = 0;
    for seed in seed(1)..seed(1) + RUNS {
        let fixture = Fixture::of_seed(seed);
        let mut run = Run::new(&fixture, seed, seed % 2 == 0)?;
        for step in 0..40 {
            match run.random.below(6) {
                0 => fail_a_checkpoint(&mut run)?,
                _ => run.step()?,
            }
            let store = run.store();
            expect_same(store, &format!("seed {seed}, step {step}"))?;
            compared += dirty_pages(store)?.noted.len();
        }
    }
    assert!(compared > 1000, "{compared} pages: were there any?");
    Ok(())
}

#[test]
fn they_are_noted_by_each_of_several_processes() -> TestResult {
    let mut compared = 0;
    for seed in seed(1)..seed(1) + RUNS {
        let fixture = Fixture::of_seed(seed);
        let mut run = ProcessRun::new(&fixture, seed)?;
        for step in 0..60 {
            run.step()?;
            let store = run.any_store();
            expect_same(&store, &format!("seed {seed}, step {step}"))?;
            compared += dirty_pages(&store)?.noted.len();
        }
    }
    assert!(compared > 1000, "{compared} pages: were there any?");
    Ok(())
}

/// Opens a store with more private memory than its budget, and `commits` records in its log.
fn store_with_log(commits: u64) -> TestResult<(Store, SimDisk)> {
    let options = OpenOptions::new().memory_budget_bytes(0).durability(Durability::Deferred);
    let (store, disk) = SimDisk::create(&options.log_bytes(16 << 20))?;
    let table = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1 << 16))?;
    store.checkpoint()?;
    let mut random = Random(commits);
    for _ in 0..commits {
        store.update(|tx| {
            let at = table.index(random.below(1 << 16)).expect("an element");
            tx.at_mut(at).map(|element| *element += 1)
        })?;
    }
    Ok((store, disk))
}

/// The work of a begin is counted in calls of the disk interface: a scan of the log needs one for
/// each piece that it reads.
#[test]
fn a_transaction_begins_without_reading_the_log() -> TestResult {
    for commits in [1, 100, 5000] {
        let (store, disk) = store_with_log(commits)?;
        for _ in 0..3 {
            let before = disk.calls().len();
            drop(store.write()?);
            assert_eq!(disk.calls()[before..], [], "{commits} commits");
        }
        store.checkpoint()?;
        let before = disk.calls().len();
        drop(store.write()?);
        let calls = &disk.calls()[before..];
        assert!(!calls.contains(&Call::Load), "releasing memory reads no log: {calls:?}");
    }
    Ok(())
}
