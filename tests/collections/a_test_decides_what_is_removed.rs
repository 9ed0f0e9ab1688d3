//! Promise: what a test decides about, `pop_…_if` and `retain…`, is removed if the test says so and
//! stays as it is if not; a test that fails or panics changes nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flagstone::collections::{BTreeMap, BTreeSet, Deque};
use flagstone::{ErrorKind, Image, Link, Pair, Result, Store, Text, WriteTx};
use testkit::{TestResult, assert_refused};

/// An error of the program's test.
fn failed<T>() -> Result<T> {
    Err(ErrorKind::SavepointGone.into())
}

/// Runs `act` in a transaction, commits, and looks for what nothing leads to.
fn leaves_nothing(act: impl FnOnce(&mut WriteTx<'_>) -> TestResult) -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    act(&mut tx)?;
    tx.commit()?;
    let report = store.check()?;
    assert!(report.is_clean() && report.unreachable.allocations == 0, "{report:?}");
    Ok(())
}

fn names(tx: &mut WriteTx<'_>) -> Result<Link<BTreeMap<Text, Text>>> {
    let names = tx.root_or_insert_with("names", BTreeMap::<Text, Text>::new)?;
    for name in ["Ada", "Alan", "Grace, whose name is longer than a text has room for"] {
        let value = Text::new(tx, name)?;
        names.insert(tx, name, value)?;
    }
    Ok(names)
}

#[test]
fn an_end_is_taken_only_if_the_test_says_so() -> TestResult {
    leaves_nothing(|tx| {
        let names = names(tx)?;
        let is_short = |tx: &Image, key: &Text, value: &Text| {
            assert_eq!(key.as_str(tx)?, value.as_str(tx)?);
            Ok(key.as_str(tx)?.len() < 10)
        };
        assert!(names.pop_last_if(tx, is_short)?.is_none());
        let (key, value) = names.pop_first_if(tx, is_short)?.ok_or("Ada")?;
        assert_eq!(key.as_str(tx)?, "Ada");
        tx.release(key)?;
        tx.release(value)?;
        assert_eq!(tx.at(names)?.len(), 2);
        let set = tx.root_or_insert_with("set", BTreeSet::<Pair<u64, u64>>::new)?;
        assert!(set.pop_first_if(tx, |_, _| Ok(true))?.is_none(), "it is empty");
        set.insert(tx, &(&1u64, &2u64))?;
        set.insert(tx, &(&3u64, &4u64))?;
        assert!(set.pop_last_if(tx, |_, key| Ok(key.first < 3))?.is_none());
        assert_eq!(
            set.pop_last_if(tx, |_, key| Ok(key.first == 3))?.map(|key| key.second),
            Some(4)
        );
        let jobs = tx.root_or_insert_with("jobs", Deque::<u64>::new)?;
        assert!(
            jobs.pop_front_if(tx, |_| true)?.is_none() && jobs.pop_back_if(tx, |_| true)?.is_none()
        );
        jobs.extend(tx, [1, 2, 3])?;
        assert_eq!(jobs.pop_front_if(tx, |job| *job == 3)?, None);
        assert_eq!(jobs.pop_front_if(tx, |job| *job == 1)?, Some(1));
        assert_eq!(jobs.pop_back_if(tx, |job| *job == 1)?, None);
        assert_eq!(jobs.pop_back_if(tx, |job| *job == 3)?, Some(3));
        Ok(())
    })
}

#[test]
fn a_test_of_an_end_that_fails_or_panics_takes_nothing() -> TestResult {
    leaves_nothing(|tx| {
        let names = names(tx)?;
        assert_refused!(names.pop_first_if(tx, |_, _, _| failed()), SavepointGone);
        assert_refused!(names.pop_last_if(tx, |_, _, _| failed()), SavepointGone);
        let panicking = AssertUnwindSafe(|| names.pop_first_if(tx, |_, _, _| panic!("on purpose")));
        assert!(catch_unwind(panicking).is_err());
        let found: Result<Vec<_>> =
            tx.at(names)?.keys(tx)?.map(|key| key?.as_str(tx).map(str::len)).collect();
        assert_eq!(found?, [3, 4, 52]);
        Ok(())
    })
}
