//! A forked child cannot use its parent's store: it gets an error, cannot change anything, and
//! dropping what it inherited takes nothing from the parent.

use std::path::Path;
use std::time::Duration;

use flagstone::{Durability, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{TestResult, assert_refused, expect_one_passed, this_test};

const CHILD: &str = "FLAGSTONE_FORKS";

/// Runs `body` in a forked child, and returns whether it succeeded.
fn forked(body: impl FnOnce()) -> bool {
    // SAFETY: the child runs `body` and ends without returning; this program has one thread
    // besides the test runner's, which waits and holds no lock.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends the child, without the handlers of the parent.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for the answer.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

/// Runs `test` in a program of its own, which `--test-threads=1` keeps small.
fn in_a_program_of_its_own(test: &str, body: impl FnOnce(&Path) -> TestResult) -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        return body(Path::new(&path));
    }
    let path = ScratchFile::new()?;
    expect_one_passed(&testkit::child(test, CHILD, &path).output()?);
    Ok(())
}

#[test]
fn every_call_is_refused_and_the_parent_goes_on() -> TestResult {
    in_a_program_of_its_own(&this_test!(), |path| {
        let store = testkit::open(path)?;
        let link = store.update(|tx| tx.root_or_insert_with("number", || 1u64))?;
        // Makes the store start its thread, which the child does not have.
        for _ in 0..20_000 {
            let mut tx = store.write()?;
            *tx.at_mut(link)? += 1;
            tx.set_durability(Durability::Deferred);
            tx.commit()?;
        }
        let held = store.read()?;
        let mut tx = store.write()?;
        *tx.at_mut(link)? = 0;
        let other = path.with_extension("other");
        let went_well = forked(|| {
            assert_refused!(store.read(), Forked { .. });
            assert_refused!(store.write(), Forked { .. });
            assert_refused!(store.try_write(), Forked { .. });
            assert_refused!(store.sync(), Forked { .. });
            assert_refused!(store.checkpoint(), Forked { .. });
            assert_refused!(store.stats(), Forked { .. });
            assert_refused!(store.check(), Forked { .. });
            assert_refused!(tx.commit(), Forked { .. });
            drop(held);
            assert_refused!(testkit::open(path), Locked { .. });
            // A store that the child opens itself works as usual.
            let own = testkit::open(&other).expect("a store");
            let link = own.update(|tx| tx.alloc(7u64)).expect("a commit");
            assert_eq!(own.read().expect("a snapshot").read(link).expect("a number"), 7);
            own.close().expect("closed");
        });
        assert!(went_well, "the child failed, see above");
        // The parent's transaction, which was moved into the closure, was rolled back.
        assert_eq!(store.read()?.read(link)?, 20_001);
        store.close()?;
        Ok(())
    })
}

#[test]
fn dropping_the_store_in_the_child_takes_nothing_from_the_parent() -> TestResult {
    in_a_program_of_its_own(&this_test!(), |path| {
        let mut store = Some(testkit::open(path)?);
        let link = store.as_ref().expect("a store").update(|tx| tx.alloc(1u64))?;
        for round in 2..20u64 {
            assert!(forked(|| drop(store.take())), "the child failed");
            assert_refused!(testkit::open(path), Locked { .. });
            let store: &Store = store.as_ref().expect("the parent's is there");
            store.update(|tx| tx.at_mut(link).map(|number| *number = round))?;
            assert_eq!(store.read()?.read(link)?, round);
        }
        drop(store);
        assert_eq!(testkit::open(path)?.read()?.read(link)?, 19);
        Ok(())
    })
}

/// Same for a shared store: dropping the child's copy releases neither its slot nor the write
/// lock.
#[test]
fn dropping_a_shared_store_in_the_child_takes_nothing_from_others() -> TestResult {
    in_a_program_of_its_own(&this_test!(), |path| {
        let options = OpenOptions::new().log_bytes(64 * 1024);
        let open = || open_shared(path, &options);
        let (store, other) = (open()?, open()?);
        let link = store.update(|tx| tx.root_or_insert_with("number", || 1u64))?;
        let mut store = Some(store);
        for round in 0..20u64 {
            let parents = store.as_ref().expect("the parent's is there");
            let mut tx = parents.write()?;
            *tx.at_mut(link)? = round;
            let mut tx = Some(tx);
            let went_well = forked(|| {
                assert_refused!(parents.read(), Forked { .. });
                assert_refused!(parents.write(), Forked { .. });
                assert_refused!(parents.wait_for_commit(0, Duration::ZERO), Forked { .. });
                drop(tx.take());
            });
            assert!(went_well, "the child failed, see above");
            tx.take().expect("the parent's is there").commit()?;
            drop(tx);
            assert!(forked(|| drop(store.take())), "the child failed");
            // The parent is alive and acknowledges barriers; otherwise its snapshot would change.
            let held = store.as_ref().expect("the parent's is there").read()?;
            other.update(|tx| tx.put(link, round + 100))?;
            other.checkpoint()?;
            assert_eq!(held.read(link)?, round);
        }
        Ok(())
    })
}
