//! Promise: what a test decides about, `pop_…_if` and `retain…`, is removed if the test says so and
//! stays as it is if not; a test that fails or panics changes nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flagstone::collections::{BTreeMap, BTreeSet, Deque, HashMap, HashSet};
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

/// Keeps every other entry, of enough for several nodes and shards, and then fails or panics in the
/// middle of the next time.
macro_rules! retains {
    ($name:ident, $map:ident, $set:ident) => {
        #[test]
        fn $name() -> TestResult {
            leaves_nothing(|tx| {
                let map = tx.root_or_insert_with("map", $map::<Text, Text>::new)?;
                let set = tx.root_or_insert_with("set", $set::<Text>::new)?;
                for number in 0..1000u64 {
                    let key = format!("{number:0100}");
                    let value = Text::new(tx, &key)?;
                    map.insert(tx, &key, value)?;
                    set.insert(tx, &key)?;
                }
                let is_even = |key: &str| key.ends_with(['0', '2', '4', '6', '8']);
                map.retain_with(tx, |tx, key, value| {
                    assert_eq!(key.as_str(tx)?, value.as_str(tx)?);
                    Ok(is_even(key.as_str(tx)?))
                })?;
                set.retain_with(tx, |tx, key| Ok(is_even(key.as_str(tx)?)))?;
                let expect_whole = |tx: &Image| -> TestResult {
                    assert_eq!((tx.at(map)?.len(), tx.at(set)?.len()), (500, 500));
                    assert_eq!(
                        (tx.at(map)?.iter(tx)?.count(), tx.at(set)?.iter(tx)?.count()),
                        (500, 500)
                    );
                    for key in tx.at(map)?.keys(tx)? {
                        assert!(is_even(key?.as_str(tx)?));
                    }
                    Ok(())
                };
                expect_whole(tx)?;

                let mut asked = 0;
                let mut fails = |is_panic: bool| -> Result<bool> {
                    asked += 1;
                    match asked % 300 {
                        0 if is_panic => panic!("on purpose"),
                        0 => failed(),
                        _ => Ok(false),
                    }
                };
                assert_refused!(map.retain_with(tx, |_, _, _| fails(false)), SavepointGone);
                assert_refused!(set.retain_with(tx, |_, _| fails(false)), SavepointGone);
                expect_whole(tx)?;
                let panicking = AssertUnwindSafe(|| map.retain_with(tx, |_, _, _| fails(true)));
                assert!(catch_unwind(panicking).is_err());
                let panicking = AssertUnwindSafe(|| set.retain_with(tx, |_, _| fails(true)));
                assert!(catch_unwind(panicking).is_err());
                expect_whole(tx)?;

                let savepoint = tx.savepoint()?;
                map.retain_with(tx, |_, _, _| Ok(false))?;
                set.retain_with(tx, |_, _| Ok(false))?;
                assert!(tx.at(map)?.is_empty() && tx.at(set)?.is_empty());
                tx.rollback_to(savepoint)?;
                expect_whole(tx)
            })
        }
    };
}

retains!(of_trees_all_stays_if_the_test_fails_for_one, BTreeMap, BTreeSet);
retains!(of_hash_tables_all_stays_if_the_test_fails_for_one, HashMap, HashSet);

/// What a test moves out of a value is not released with it; what it puts there must be live.
#[test]
fn a_test_may_change_values_but_not_to_what_is_not_there() -> TestResult {
    leaves_nothing(|tx| {
        let map = tx.root_or_insert_with("map", HashMap::<u64, Text>::new)?;
        let tree = tx.root_or_insert_with("tree", BTreeMap::<u64, Text>::new)?;
        for number in 0..10 {
            let long = format!("{number:0100}");
            let (value, other) = (Text::new(tx, &long)?, Text::new(tx, &long)?);
            map.insert(tx, &number, value)?;
            tree.insert(tx, &number, other)?;
        }
        let mut moved = Vec::new();
        map.retain_with(tx, |_, number, value| {
            moved.push(std::mem::take(value));
            Ok(number % 2 == 0)
        })?;
        tree.retain_with(tx, |_, number, value| {
            moved.push(std::mem::take(value));
            Ok(number % 2 == 0)
        })?;
        assert_eq!((tx.at(map)?.len(), tx.at(tree)?.len(), moved.len()), (5, 5, 20));
        assert_eq!(tx.at(tree)?.get(tx, &4)?.ok_or("an entry")?.as_str(tx)?, "");
        for text in moved {
            assert_eq!(text.as_str(tx)?.len(), 100);
            tx.release(text)?;
        }
        let savepoint = tx.savepoint()?;
        let gone = Text::new(tx, &"x".repeat(100))?;
        tx.rollback_to(savepoint)?;
        let mut gone = Some(gone);
        let refused = map.retain_with(tx, |_, _, value| {
            if let Some(gone) = gone.take() {
                *value = gone;
            }
            Ok(true)
        });
        assert_refused!(refused, OwnedNotLive { .. });
        Ok(())
    })
}
