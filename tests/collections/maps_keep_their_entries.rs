//! Maps and sets: what they contain, release and refuse.

use std::collections::HashSet as StdSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flagstone::collections::{BTreeMap, BTreeSet, HashMap, HashSet, Vec as StoreVec};
use flagstone::{Result, Store, Text, WriteTx, persist};
use testkit::{TestResult, assert_refused};

const LONG: &str = "a text that is too long to lie inline, and so has an allocation";

#[persist]
#[derive(Clone, Copy)]
struct Small {
    number: u64,
    more: [u64; 7],
}

fn long(tx: &mut WriteTx<'_>, number: u64) -> Result<Text> {
    Text::new(tx, &format!("{number:06} {LONG}"))
}

/// Runs work that must free everything it allocates.
fn leaves_nothing(work: impl Fn(&mut WriteTx<'_>) -> TestResult) -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    work(&mut tx)?;
    tx.commit()?;
    let report = store.check()?;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.unreachable.allocations, 0, "{report:?}");
    Ok(())
}

#[test]
fn tiny_maps_stay_tiny() -> TestResult {
    let store = Store::in_memory()?;
    let keys = 0..20u64;
    for count in 0..20 {
        let map = store.update(|tx| tx.alloc(HashMap::<u64, u64>::new()))?;
        store.update(|tx| map.extend(tx, keys.clone().take(count).map(|key| (key, !key))))?;
        let tx = store.read()?;
        for key in keys.clone() {
            let expected = (key < count as u64).then_some(!key);
            assert_eq!(tx.at(map)?.get(&tx, &key)?.copied(), expected);
        }
    }
    let before = store.stats()?.live_bytes;
    store.update(|tx| {
        let map = tx.alloc(HashMap::<u64, u64>::new())?;
        map.insert(tx, &1, 1)
    })?;
    assert!(store.stats()?.live_bytes - before <= 320);
    Ok(())
}

/// Shards split on the way up, and are drained in another order on the way down.
#[test]
fn a_hash_map_grows_to_many_entries_and_shrinks_back() -> TestResult {
    const COUNT: u64 = 16_000;
    leaves_nothing(|tx| {
        let map = tx.alloc(HashMap::<u64, u64>::new())?;
        tx.set_root("map", map)?;
        for key in 0..COUNT {
            assert_eq!(map.insert(tx, &key, !key)?, None);
        }
        for number in 0..COUNT {
            let key = number * 7919 % COUNT;
            assert_eq!(map.remove(tx, &key)?, Some(!key));
            if number.is_multiple_of(1000) {
                let left: Result<StdSet<u64>> =
                    tx.at(map)?.keys(tx)?.map(|key| key.copied()).collect();
                let expected = number + 1..COUNT;
                assert_eq!(left?, expected.map(|number| number * 7919 % COUNT).collect());
            }
        }
        assert!(tx.at(map)?.is_empty());
        Ok(())
    })
}

/// As FORMAT.md says.
const _: () = assert!(size_of::<HashMap<u64, u64>>() == 32 && size_of::<HashSet<u64>>() == 32);

#[test]
fn collections_lie_in_maps() -> TestResult {
    leaves_nothing(|tx| {
        let map = tx.alloc(HashMap::<Text, HashMap<u64, StoreVec<Text>>>::new())?;
        for number in 0..2000u64 {
            let name = (number % 7).to_string();
            map.entry(tx, &name)?.or_default()?;
            let inner = tx.at(map)?.link(tx, &name)?.expect("it was inserted");
            inner.entry(tx, &(number % 50))?.or_default()?;
            let list = tx.at(inner)?.link(tx, &(number % 50))?.expect("it was inserted");
            let text = long(tx, number)?;
            list.push(tx, text)?;
        }
        let mut found = 0;
        for entry in tx.at(map)?.iter(tx)? {
            for list in entry?.1.values(tx)? {
                found += list?.len();
            }
        }
        assert_eq!(found, 2000);
        Ok(tx.free_deep(map)?)
    })
}

/// The models of sets compare sets in order alone.
#[test]
fn hash_sets_are_compared_as_in_memory() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let (a, b) = (tx.alloc(HashSet::<u64>::new())?, tx.alloc(HashSet::<u64>::new())?);
    let models: [StdSet<u64>; 2] = [(0..9000).step_by(2).collect(), (0..9000).step_by(3).collect()];
    a.extend(&mut tx, &models[0])?;
    b.extend(&mut tx, &models[1])?;
    let (set_a, set_b) = (tx.at(a)?, tx.at(b)?);
    let both = set_a.intersection(&tx, set_b)?.map(|key| key.copied());
    assert_eq!(both.collect::<Result<StdSet<_>>>()?, &models[0] & &models[1]);
    let only = set_a.difference(&tx, set_b)?.map(|key| key.copied());
    assert_eq!(only.collect::<Result<StdSet<_>>>()?, &models[0] - &models[1]);
    assert!(!set_a.is_disjoint(&tx, set_b)? && set_a.is_disjoint(&tx, &HashSet::new())?);
    assert!(!set_a.is_subset(&tx, set_b)? && set_a.is_subset(&tx, set_a)?);
    assert!(!set_a.is_superset(&tx, set_b)? && set_a.is_superset(&tx, set_a)?);
    Ok(())
}

/// A reader validates the table once.
#[test]
fn a_reader_of_a_map_finds_what_the_map_does() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let map = tx.alloc(HashMap::<Text, u64>::new())?;
    (0..5000).try_for_each(|n| map.insert(&mut tx, &n.to_string(), n).map(|_| ()))?;
    let reader = tx.at(map)?.reader(&tx)?;
    for n in 0..5010u64 {
        let key = n.to_string();
        assert_eq!(reader.get(&key)?.copied(), (n < 5000).then_some(n));
        assert_eq!(reader.contains_key(&key)?, n < 5000);
    }
    let mut values: Vec<u64> =
        tx.at(map)?.values(&tx)?.map(|value| value.copied()).collect::<Result<_>>()?;
    values.sort_unstable();
    assert!(values.into_iter().eq(0..5000));
    Ok(())
}

/// Keys' texts may fill the whole heap, and each is hashed whenever its entry moves.
#[test]
fn texts_that_fill_the_heap_move_as_often_as_they_must() -> TestResult {
    const KEYS: u64 = 100;
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let map = tx.alloc(HashMap::<Text, [u64; 640]>::new())?;
    let key = |number: u64| format!("{number:0>60000}");
    for number in 0..KEYS {
        map.insert(&mut tx, &key(number), [number; 640])?;
    }
    map.reserve(&mut tx, 40 * KEYS)?;
    map.shrink_to_fit(&mut tx)?;
    map.reserve(&mut tx, 40 * KEYS)?;
    map.retain(&mut tx, |_, value| value[0] % 2 == 0)?;
    map.shrink_to_fit(&mut tx)?;
    for number in 0..KEYS {
        let value = tx.at(map)?.get(&tx, &key(number))?;
        assert_eq!(value.map(|value| value[0]), (number % 2 == 0).then_some(number));
    }
    tx.commit()?;
    assert!(store.check()?.is_clean());
    Ok(())
}

#[test]
fn a_sorted_build_fills_its_nodes() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    for count in [0, 1, 2, 28, 29, 56, 57, 28 * 128, 28 * 128 + 1, 28 * 128 * 2 + 1, 100_000] {
        let value = |n| Small { number: n, more: [n; 7] };
        let entries = (0..count).map(|n| (n, value(n)));
        let map = BTreeMap::<u64, Small>::from_sorted(&mut tx, entries)?;
        assert_eq!(map.len(), count);
        let found = map.iter(&tx)?.map(|pair| pair.map(|(key, value)| (*key, value.number)));
        assert!(found.eq_by_result(0..count));
        let link = tx.alloc(map)?;
        // The map still works like any other.
        for n in count..count + 100 {
            link.insert(&mut tx, &n, value(n))?;
        }
        assert_eq!(tx.at(link)?.iter(&tx)?.count() as u64, count + 100);
        tx.free_deep(link)?;
    }
    let unsorted = [(1u64, 1u64), (3, 3), (3, 4)];
    let error = BTreeMap::<u64, u64>::from_sorted(&mut tx, unsorted).map(|map| map.len());
    assert_refused!(error, NotAscending { index: 2, .. });
    let unsorted = ["b", "a"];
    assert!(BTreeSet::<Text>::from_sorted(&mut tx, unsorted).is_err());
    Ok(())
}

/// Compares an iterator of results with exactly these numbers, as keys and values.
trait EqByResult {
    fn eq_by_result(self, numbers: std::ops::Range<u64>) -> bool;
}

impl<I: Iterator<Item = Result<(u64, u64)>>> EqByResult for I {
    fn eq_by_result(self, numbers: std::ops::Range<u64>) -> bool {
        self.map(|pair| pair.unwrap()).eq(numbers.map(|n| (n, n)))
    }
}

#[test]
fn entries_behind_one_that_does_not_ascend_are_released() -> TestResult {
    leaves_nothing(|tx| {
        let mut entries = Vec::new();
        for number in [1u64, 2, 2, 3, 4] {
            entries.push((number, long(tx, number)?));
        }
        assert!(BTreeMap::<u64, Text>::from_sorted(tx, entries).is_err());
        Ok(())
    })
}

/// Capacities that a caller may request by mistake.
#[test]
fn room_that_no_file_has_is_refused_at_once() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let map = tx.alloc(HashMap::<u64, u64>::new())?;
    map.insert(&mut tx, &1, 1)?;
    for huge in [1 << 48, 1 << 61, u64::MAX - 1, u64::MAX] {
        assert!(HashMap::<u64, u64>::with_capacity(&mut tx, huge).is_err());
        assert!(HashSet::<u8>::with_capacity(&mut tx, huge).is_err());
        assert!(map.reserve(&mut tx, huge).is_err());
    }
    assert_eq!(tx.at(map)?.get(&tx, &1)?, Some(&1));
    tx.free_deep(map)?;
    tx.commit()?;
    assert!(store.stats()?.file_bytes < 8 << 20);
    Ok(())
}

/// As in vectors and deques.
#[test]
fn a_panic_of_the_callers_leaves_the_map_whole() -> TestResult {
    leaves_nothing(|tx| {
        let is_caught = |call: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(call)).is_err();
        let tree = tx.alloc(BTreeMap::<Text, Text>::new())?;
        let set = tx.alloc(BTreeSet::<Text>::new())?;
        let hash = tx.alloc(HashMap::<Text, Text>::new())?;
        for number in 0..3000 {
            let key = format!("{number:06} {LONG}");
            let values = [long(tx, number)?, long(tx, number)?];
            let [a, b] = values;
            tree.insert(tx, key.as_str(), a)?;
            hash.insert(tx, key.as_str(), b)?;
            set.insert(tx, key.as_str())?;
        }
        for stop in [1, 20, 150, 1000] {
            let keep = || {
                let mut count = 0;
                move || {
                    count += 1;
                    assert!(count < stop, "meant");
                    count % 7 == 0
                }
            };
            let (mut first, mut second, mut third) = (keep(), keep(), keep());
            assert!(is_caught(&mut || drop(tree.retain(tx, |_, _| first()))));
            assert!(is_caught(&mut || drop(set.retain(tx, |_| second()))));
            assert!(is_caught(&mut || drop(hash.retain(tx, |_, _| third()))));
        }
        assert_eq!(tx.at(tree)?.iter(tx)?.count() as u64, tx.at(tree)?.len());
        assert_eq!(tx.at(set)?.iter(tx)?.count() as u64, tx.at(set)?.len());
        assert_eq!(tx.at(hash)?.iter(tx)?.count() as u64, tx.at(hash)?.len());
        for value in tx.at(tree)?.values(tx)? {
            assert!(value?.as_str(tx)?.ends_with(LONG));
        }
        tree.retain(tx, |_, _| false)?;
        tx.free_deep(tree)?;
        tx.free_deep(set)?;
        tx.free_deep(hash)?;
        Ok(())
    })
}

/// A value that `retain`'s closure takes out of an entry belongs to the closure, even if the
/// entry is removed: hash maps released the old content.
#[test]
fn what_retain_takes_out_is_not_released() -> TestResult {
    const WORDS: &str = "words that are too many to lie in a text itself";
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let map = tx.root_or_insert_with("map", HashMap::<u64, Text>::new)?;
    for number in 0..2 {
        let text = Text::new(&mut tx, WORDS)?;
        map.insert(&mut tx, &number, text)?;
    }
    let mut taken = Vec::new();
    map.retain(&mut tx, |number, text| {
        let stays = *number != 0;
        if !stays {
            taken.push(std::mem::take(text));
        }
        stays
    })?;
    let list = tx.root_or_insert_with("list", StoreVec::<Text>::new)?;
    list.extend(&mut tx, taken)?;
    let other = Text::new(&mut tx, &WORDS.to_uppercase())?;
    list.push(&mut tx, other)?;
    let kept = tx.at(list)?.get(&tx, 0)?.map(|text| text.as_str(&tx)).transpose()?;
    assert_eq!(kept, Some(WORDS));
    tx.commit()?;
    let report = store.check()?;
    assert!(report.is_clean() && report.unreachable.allocations == 0, "{report:?}");
    Ok(())
}
