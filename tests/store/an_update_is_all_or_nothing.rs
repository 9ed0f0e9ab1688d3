//! Promise: `update` and `try_update` commit all that their closure did, or nothing of it, however the
//! closure ends; and the errors of both are inferred.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flagstone::{Error, ErrorKind, Link, Store};
use testkit::{TestResult, assert_refused};

fn store() -> flagstone::Result<(Store, Link<u64>)> {
    let store = Store::in_memory()?;
    let link = store.update(|tx| {
        let link = tx.alloc(1u64)?;
        tx.set_root("number", link)?;
        Ok(link)
    })?;
    Ok((store, link))
}

#[derive(Debug)]
enum Own {
    Store(Error),
    Refused,
}

impl From<Error> for Own {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

#[test]
fn a_closure_that_ends_in_ok_is_committed() -> TestResult {
    let (store, link) = store()?;
    store.update(|tx| {
        tx.put(link, 2)?;
        Ok(())
    })?;
    assert_eq!(store.read()?.read(link)?, 2);
    Ok(())
}

#[test]
fn an_error_of_either_kind_changes_nothing() -> TestResult {
    let (store, link) = store()?;
    let stale = store.update(|tx| {
        tx.put(link, 2)?;
        tx.put(Link::<u64>::null(), 3)
    });
    assert_refused!(stale, LinkNull { .. });
    let own = store.try_update(|tx| {
        tx.put(link, 2)?;
        Err::<(), _>(Own::Refused)
    });
    assert!(matches!(own, Err(Own::Refused)));
    let passed_on = store.try_update(|tx| {
        tx.put(Link::<u64>::null(), 3)?;
        Ok::<_, Own>(())
    });
    let Err(Own::Store(error)) = passed_on else { return Err("no error".into()) };
    assert!(matches!(error.kind(), ErrorKind::LinkNull { .. }));
    assert_eq!(store.read()?.read(link)?, 1);
    Ok(())
}

#[test]
fn a_closure_that_panics_changes_nothing_and_keeps_no_lock() -> TestResult {
    let (store, link) = store()?;
    let panicking = AssertUnwindSafe(|| {
        store.update::<()>(|tx| {
            tx.put(link, 2)?;
            panic!("on purpose")
        })
    });
    assert!(catch_unwind(panicking).is_err());
    assert_eq!(store.read()?.read(link)?, 1);
    store.update(|tx| tx.put(link, 3))?;
    assert_eq!(store.read()?.read(link)?, 3);
    Ok(())
}

#[test]
fn a_savepoint_within_it_takes_back_its_own_part_alone() -> TestResult {
    let (store, link) = store()?;
    store.update(|tx| {
        tx.put(link, 2)?;
        let savepoint = tx.savepoint()?;
        tx.put(link, 3)?;
        tx.rollback_to(savepoint)
    })?;
    assert_eq!(store.read()?.read(link)?, 2);
    Ok(())
}

#[test]
fn an_update_within_an_update_is_refused_and_the_outer_one_goes_on() -> TestResult {
    let (store, link) = store()?;
    store.update(|tx| {
        tx.put(link, 2)?;
        assert_refused!(store.update(|tx| tx.put(link, 3)), NestedWrite);
        Ok(())
    })?;
    assert_eq!(store.read()?.read(link)?, 2);
    Ok(())
}
