//! Promise: a value that a program kept from a transaction that was rolled back, from another
//! store, or from before it was freed, is refused. Every way to store it refuses it, in every
//! build; every way to read it does where links are checked for liveness.

use flagstone::collections::{BTreeMap, BTreeSet, Deque, HashMap, HashSet, Vec};
use flagstone::{Bytes, ErrorKind, Link, LinkChecks, OpenOptions, Result, Store, Text, WriteTx};
use flagstone::{field, persist};
use testkit::scratch::{ScratchFile, open_read_only, open_shared};
use testkit::{TestResult, assert_refused, refusal};

const LONG: &str = "a text that is far too long to lie inline";

#[persist]
#[derive(Default)]
struct Person {
    age: u64,
    names: [Text; 2],
    numbers: Vec<Text>,
}

fn store(tests: LinkChecks) -> Result<Store> {
    OpenOptions::new().link_checks(tests).open_in_memory()
}

/// Returns the result of `make`, in a transaction that is rolled back afterwards.
fn stale<T>(tx: &mut WriteTx<'_>, make: impl Fn(&mut WriteTx<'_>) -> Result<T>) -> Result<T> {
    let before = tx.savepoint()?;
    let value = make(tx)?;
    tx.rollback_to(before)?;
    Ok(value)
}

fn long(tx: &mut WriteTx<'_>) -> Result<Text> {
    Text::new(tx, LONG)
}

#[track_caller]
fn expect_not_stored<T>(result: Result<T>) {
    assert_refused!(result, OwnedNotLive { .. });
}

/// A way to store one more text.
type Way = fn(&mut WriteTx<'_>, Text) -> Result<()>;

#[test]
fn every_way_to_store_a_value_refuses_one_that_owns_freed_memory() -> TestResult {
    let ways: &[Way] = &[
        |tx, text| tx.alloc(text).map(drop),
        |tx, text| tx.alloc_slice([text]).map(drop),
        |tx, text| tx.root_or_insert_with("text", || text).map(drop),
        |tx, text| tx.alloc(Text::empty()).and_then(|at| tx.put(at, text)),
        |tx, text| {
            tx.alloc(Person { names: [Text::empty(), text], ..Default::default() }).map(drop)
        },
        |tx, text| Vec::from_iter(tx, [text]).map(drop),
        |tx, text| tx.alloc(Vec::new())?.push(tx, text),
        |tx, text| tx.alloc(Vec::new())?.insert(tx, 0, text),
        |tx, text| tx.alloc(Vec::new())?.extend(tx, [Text::empty(), text]),
        |tx, text| tx.alloc(Vec::new())?.splice(tx, .., [text]).map(drop),
        |tx, text| {
            let vec = Vec::from_iter(tx, [Text::empty()])?;
            tx.alloc(vec)?.replace(tx, 0, text).map(drop)
        },
        |tx, text| Deque::from_iter(tx, [text]).map(drop),
        |tx, text| tx.alloc(Deque::new())?.push_back(tx, text),
        |tx, text| tx.alloc(Deque::new())?.push_front(tx, text),
        |tx, text| tx.alloc(Deque::new())?.insert(tx, 0, text),
        |tx, text| tx.alloc(Deque::new())?.extend(tx, [text]),
        |tx, text| {
            let deque = Deque::from_iter(tx, [Text::empty()])?;
            tx.alloc(deque)?.replace(tx, 0, text).map(drop)
        },
        |tx, text| tx.alloc(HashMap::<u64, Text>::new())?.insert(tx, &1, text).map(drop),
        |tx, text| {
            let map = tx.alloc(HashMap::<u64, Text>::new())?;
            map.insert(tx, &1, Text::empty())?;
            map.insert(tx, &1, text).map(drop)
        },
        |tx, text| {
            let map = tx.alloc(HashMap::<u64, Text>::new())?;
            map.entry(tx, &1)?.or_insert(text).map(drop)
        },
        |tx, text| tx.alloc(BTreeMap::<u64, Text>::new())?.insert(tx, &1, text).map(drop),
        |tx, text| {
            let map = tx.alloc(BTreeMap::<u64, Text>::new())?;
            map.insert(tx, &1, Text::empty())?;
            map.insert(tx, &1, text).map(drop)
        },
        |tx, text| {
            let map = tx.alloc(BTreeMap::<u64, Text>::new())?;
            map.entry(tx, &1)?.or_insert(text).map(drop)
        },
    ];
    for (number, way) in ways.iter().enumerate() {
        let store = store(LinkChecks::Bounds)?;
        let mut tx = store.write()?;
        let text = stale(&mut tx, long)?;
        let error = refusal(way(&mut tx, text));
        assert!(matches!(error.kind(), ErrorKind::OwnedNotLive { .. }), "{number}: {error}");
        // The same way accepts a valid text.
        let text = long(&mut tx)?;
        way(&mut tx, text).map_err(|error| format!("{number}: {error}"))?;
        tx.commit()?;
        assert!(store.check()?.is_clean(), "{number}");
    }
    Ok(())
}

#[test]
fn a_collection_that_was_rolled_back_is_not_stored() -> TestResult {
    let store = store(LinkChecks::Bounds)?;
    let mut tx = store.write()?;
    let tx = &mut tx;
    let bytes = stale(tx, |tx| Bytes::new(tx, LONG.as_bytes()))?;
    expect_not_stored(tx.alloc(bytes));
    let vec = stale(tx, |tx| Vec::from_iter(tx, [1u64]))?;
    expect_not_stored(tx.alloc(vec));
    let deque = stale(tx, |tx| Deque::from_iter(tx, [1u64]))?;
    expect_not_stored(tx.alloc(deque));
    // Taken out of the vector, which the same transaction then rolls back.
    macro_rules! expect_map_not_stored {
        ($map:ident) => {
            let maps = tx.alloc(Vec::<$map<u64, u64>>::new())?;
            let map = stale(tx, |tx| {
                maps.push(tx, $map::new())?;
                tx.at(maps)?.link(0).expect("a map").insert(tx, &1, 1)?;
                Ok(maps.pop(tx)?.expect("a map"))
            })?;
            expect_not_stored(maps.push(tx, map));
        };
    }
    expect_map_not_stored!(HashMap);
    expect_map_not_stored!(BTreeMap);
    Ok(())
}

/// Like a value of another store, at whose offset this store has something else.
#[test]
fn a_value_that_owns_memory_of_something_else_is_not_stored() -> TestResult {
    let store = store(LinkChecks::Bounds)?;
    let mut tx = store.write()?;
    let words = tx.alloc_slice([1u64; 6])?;
    let bytes = tx.alloc_slice([1u8; 400])?;
    let object = tx.alloc([1u8; LONG.len()])?;
    let other = tx.alloc_slice([1u8; LONG.len()])?;
    let texts = tx.alloc(Vec::<Text>::new())?;
    for offset in [words.offset(), bytes.offset(), object.offset(), other.offset() + 1, 4096] {
        let text = long(&mut tx)?;
        texts.push(&mut tx, text)?;
        let last = tx.at(texts)?.link(0).expect("one");
        tx.at_mut(Link::<[u64; 3]>::from_parts(last.offset(), 1))?[0] = offset;
        let text = texts.pop(&mut tx)?.expect("one");
        let error = refusal(texts.push(&mut tx, text));
        assert!(matches!(error.kind(), ErrorKind::OwnedNotLive { .. }), "{offset:#x}: {error}");
    }
    Ok(())
}

#[test]
fn a_text_of_another_store_is_refused() -> TestResult {
    let (here, there) = (store(LinkChecks::Live)?, store(LinkChecks::Live)?);
    let mut foreign = there.write()?;
    let mut tx = here.write()?;
    let text = long(&mut foreign)?;
    assert_refused!(text.as_str(&tx), LinkNotLive { .. } | LinkOutOfBounds { .. });
    expect_not_stored(tx.alloc(text));
    Ok(())
}

fn expect_not_live<const N: usize>(readings: [Result<()>; N]) {
    for (number, reading) in readings.into_iter().enumerate() {
        let error = refusal(reading);
        let kind = error.kind();
        let is_right =
            matches!(kind, ErrorKind::LinkNotLive { .. } | ErrorKind::LinkOutOfBounds { .. });
        assert!(is_right, "{number}: {error}");
    }
}

#[test]
fn nothing_of_a_dropped_transaction_can_be_read() -> TestResult {
    let store = store(LinkChecks::Live)?;
    let kept = store.update(|tx| tx.alloc(1u64))?;
    let mut tx = store.write()?;
    let (text, link) = (long(&mut tx)?, tx.alloc(7u64)?);
    let person = tx.alloc(Person::default())?;
    let array = tx.alloc_slice([1u64, 2, 3])?;
    let vec = Vec::from_iter(&mut tx, [1u64, 2])?;
    let deque = Deque::from_iter(&mut tx, [1u64, 2])?;
    tx.rollback();
    let mut tx = store.write()?;
    expect_not_live([
        text.as_str(&tx).map(drop),
        text.as_bytes(&tx).map(drop),
        tx.get(link).map(drop),
        tx.at(link).map(drop),
        tx.read(link).map(drop),
        tx.at(array).map(drop),
        tx.at(array.index(1).expect("three")).map(drop),
        tx.at(array.prefix(2).expect("three")).map(drop),
        tx.at(person.field(field!(Person, age))).map(drop),
        tx.get_mut(link).map(drop),
        tx.get_disjoint_mut([kept, link]).map(drop),
        tx.copy_within(array, 0..1, 1),
        vec.as_slice(&tx).map(drop),
        vec.get(&tx, 1).map(drop),
        vec.get_range(&tx, 1..).map(drop),
        vec.iter(&tx).map(drop),
        vec.contains(&tx, &2).map(drop),
        vec.binary_search(&tx, &2).map(drop),
        tx.at(vec.link(1).expect("two")).map(drop),
        deque.get(&tx, 1).map(drop),
        deque.as_slices(&tx).map(drop),
        deque.iter(&tx).map(drop),
        person.field(field!(Person, numbers)).pop(&mut tx).map(drop),
        person.field(field!(Person, numbers)).clear(&mut tx),
    ]);
    drop(tx);
    let tx = store.read()?;
    expect_not_live([
        text.as_str(&tx).map(drop),
        tx.get(link).map(drop),
        tx.at(array).map(drop),
        tx.read(link).map(drop),
        vec.as_slice(&tx).map(drop),
        deque.get(&tx, 1).map(drop),
    ]);
    assert_eq!(tx.read(kept)?, 1);
    Ok(())
}

/// A header from a snapshot is used with a later state, in which its memory was freed.
#[test]
fn a_header_from_an_older_snapshot_is_valid_in_that_snapshot_only() -> TestResult {
    let store = store(LinkChecks::Live)?;
    let mut tx = store.write()?;
    let text = long(&mut tx)?;
    let text = tx.alloc(text)?;
    let hash = tx.alloc(HashMap::<u64, u64>::new())?;
    let tree = tx.alloc(BTreeMap::<u64, u64>::new())?;
    let (hashes, trees) = (tx.alloc(HashSet::<u64>::new())?, tx.alloc(BTreeSet::<u64>::new())?);
    for key in 0..300 {
        hash.insert(&mut tx, &key, key)?;
        tree.insert(&mut tx, &key, key)?;
        hashes.insert(&mut tx, &key)?;
        trees.insert(&mut tx, &key)?;
    }
    tx.commit()?;
    let old = store.read()?;
    store.update(|tx| {
        tx.free_deep(text)?;
        tx.free_deep(hash)?;
        tx.free_deep(tree)?;
        tx.free_deep(hashes)?;
        tx.free_deep(trees)
    })?;
    let new = store.read()?;
    refusal(new.at(text));
    refusal(new.at(hash));
    refusal(old.at(text)?.as_str(&new));
    refusal(old.at(hash)?.get(&new, &7));
    refusal(old.at(tree)?.get(&new, &7));
    refusal(old.at(hashes)?.contains(&new, &7));
    refusal(old.at(trees)?.contains(&new, &7));
    refusal(old.at(hash)?.iter(&new).and_then(|mut entries| entries.next().transpose()));
    refusal(old.at(tree)?.iter(&new).and_then(|mut entries| entries.next().transpose()));
    refusal(old.at(tree)?.range(&new, 3..9).and_then(|mut entries| entries.next().transpose()));
    assert_eq!(old.at(text)?.as_str(&old)?, LONG);
    assert_eq!(old.at(hash)?.get(&old, &7)?, Some(&7));
    assert_eq!(old.at(tree)?.get(&old, &7)?, Some(&7));
    Ok(())
}

#[test]
fn liveness_is_checked_by_default_in_debug_builds() -> TestResult {
    let expected = if cfg!(debug_assertions) { LinkChecks::Live } else { LinkChecks::Bounds };
    assert_eq!(LinkChecks::default(), expected);
    let path = ScratchFile::new()?;
    let link = testkit::open(&path)?.update(|tx| {
        let link = tx.alloc(7u64)?;
        let _ = tx.alloc(8u64)?;
        tx.free(link)?;
        Ok(link)
    })?;
    let ways: [&dyn Fn() -> Result<Store>; 5] = [
        &|| testkit::open(&path),
        &|| open_shared(&path, &OpenOptions::new()),
        &|| open_read_only(&path),
        &|| OpenOptions::new().open_copy(&path),
        &|| OpenOptions::new().open_private(&path),
    ];
    for open in ways {
        let store = open()?;
        assert_eq!(store.read()?.get(link).is_err(), cfg!(debug_assertions));
    }
    Ok(())
}
