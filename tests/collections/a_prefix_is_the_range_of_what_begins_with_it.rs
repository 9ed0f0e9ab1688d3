//! Promise: `prefix` is the range of exactly the keys that begin with it, whatever these are, from both
//! ends, in maps and in sets.

use flagstone::collections::{BTreeMap, BTreeSet, prefix};
use flagstone::{Bytes, Result, Store, Text};
use testkit::TestResult;

/// Returns all sequences of fewer than five of `parts`.
fn sequences<T: Copy>(parts: &[T]) -> Vec<Vec<T>> {
    let (mut all, mut last) = (vec![vec![]], vec![vec![]]);
    for _ in 1..5 {
        let longer = |short: &Vec<T>| {
            let one_more = |part: &T| short.iter().chain([part]).copied().collect();
            parts.iter().map(one_more).collect::<Vec<Vec<T>>>()
        };
        last = last.iter().flat_map(longer).collect();
        all.extend_from_slice(&last);
    }
    all
}

/// The least and the greatest byte are among them.
#[test]
fn of_bytes() -> TestResult {
    let keys = sequences(&[0u8, 1, 254, 255]);
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let set = tx.alloc(BTreeSet::<Bytes>::new())?;
    keys.iter().try_for_each(|key| set.insert(&mut tx, &key[..]).map(drop))?;
    let set = tx.at(set)?;
    assert_eq!(set.len(), 341);
    for start in &keys {
        let mut expected: Vec<&[u8]> =
            keys.iter().map(|key| &key[..]).filter(|key| key.starts_with(start)).collect();
        expected.sort_unstable();
        let found = set.range(&tx, prefix(start))?.map(|key| key?.as_bytes(&tx));
        assert_eq!(found.collect::<Result<Vec<_>>>()?, expected, "{start:?}");
        expected.reverse();
        let found = set.range(&tx, prefix(&start[..]))?.rev().map(|key| key?.as_bytes(&tx));
        assert_eq!(found.collect::<Result<Vec<_>>>()?, expected, "{start:?}");
    }
    assert_eq!(set.range(&tx, prefix(b""))?.count(), keys.len());
    assert_eq!(set.range(&tx, prefix(&[255; 5]))?.count(), 0);
    Ok(())
}

/// So are characters of each length, those beside the surrogates, and the last one.
#[test]
fn of_texts() -> TestResult {
    let parts = ['\0', 'a', '\u{7f}', '\u{80}', '\u{d7ff}', '\u{e000}', '\u{10ffff}'];
    let keys: Vec<String> =
        sequences(&parts).into_iter().map(|key| key.into_iter().collect()).collect();
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let map = tx.alloc(BTreeMap::<Text, u64>::new())?;
    for (number, key) in (0..).zip(&keys) {
        map.insert(&mut tx, key.as_str(), number)?;
    }
    let map = tx.at(map)?;
    for start in keys.iter().step_by(7) {
        let mut expected: Vec<&String> =
            keys.iter().filter(|key| key.starts_with(start.as_str())).collect();
        expected.sort_unstable();
        let found = map.range(&tx, prefix(start))?.map(|entry| entry?.0.as_str(&tx));
        assert_eq!(found.collect::<Result<Vec<_>>>()?, expected, "{start:?}");
        assert_eq!(map.range(&tx, prefix(start.as_str()))?.rev().count(), expected.len());
    }
    assert_eq!(map.range(&tx, prefix(""))?.count(), keys.len());
    Ok(())
}
