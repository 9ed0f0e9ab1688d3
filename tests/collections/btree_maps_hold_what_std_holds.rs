//! Ordered maps and sets, compared with those of the standard library: random changes, committed,
//! rolled back and read again, and damage in every word.

use std::collections::{BTreeMap as StdMap, VecDeque};
use std::ops::Bound;

use flagstone::collections::btree::Entry;
use flagstone::collections::{BTreeMap, BTreeSet, Vec as StoreVec};
use flagstone::{Link, Pair, Result, Store, Text, WriteTx, persist};
use testkit::{Random, seed};

#[persist]
#[derive(Clone, Copy)]
struct Small {
    number: u64,
    more: [u64; 7],
}

/// Four of them do not fit into half a page.
#[persist]
#[derive(Clone, Copy)]
struct Large {
    number: u64,
    more: [u64; 374],
}

#[persist]
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Aligned {
    number: u64,
    more: [u64; 15],
}

/// A type with invalid bit patterns.
#[persist]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Flagged {
    number: u16,
    is_odd: bool,
    is_even: bool,
}

fn flagged(n: u64) -> Flagged {
    Flagged { number: n as u16, is_odd: n % 2 == 1, is_even: n.is_multiple_of(2) }
}

fn of_pair((text, number): &(String, u64)) -> (&str, &u64) {
    (text, number)
}

fn text_of(number: u64) -> String {
    // Some are stored inline, some are not.
    format!("{}{number}", "key ".repeat((number % 9) as usize))
}

fn bound<T>(kind: u64, key: T) -> Bound<T> {
    match kind {
        0 => Bound::Included(key),
        1 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    }
}

fn range_of<K: Ord + Clone>(
    model: &StdMap<K, u64>,
    range: (Bound<&K>, Bound<&K>),
) -> VecDeque<(K, u64)> {
    model.range::<K, _>(range).map(|(key, number)| (key.clone(), *number)).collect()
}

fn used(store: &Store) -> u64 {
    store.stats().unwrap().live_bytes
}

/// A test of one kind of map. Keys and values are made from numbers: `$key` makes the model's
/// key, `$query` the query for it, `$same` reads it back; `$value` and `$number` do the same for
/// values.
macro_rules! against_std {
    ($name:ident, $k:ty, $v:ty, mask: $mask:expr, keys: $keys:expr, rounds: $rounds:expr,
     key: |$n:ident| $key:expr, query: [$($by:tt)*] $query:expr,
     same: |$tx:ident, $stored:ident| $same:expr,
     value: |$vtx:ident, $vn:ident| $value:expr,
     number: |$ntx:ident, $nv:ident| $number:expr) => {
        #[test]
        fn $name() -> Result<()> {
            let seed = seed(0x5eed_0001);
            println!("FLAGSTONE_SEED={seed}");
            let mut random = Random::new(seed);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store");
            let mut store = testkit::open(&path)?;

            let model_key = |$n: u64| $key;
            macro_rules! ask {
                ($model:expr) => {
                    $($by)* $query($model)
                };
            }
            macro_rules! value {
                ($t:expr, $number_of:expr) => {{
                    let ($vtx, $vn): (&mut WriteTx<'_>, u64) = ($t, $number_of);
                    $value
                }};
            }
            macro_rules! entry {
                ($t:expr, $pair:expr) => {{
                    let ($stored, $nv): (&$k, &$v) = $pair;
                    let key = {
                        let $tx: &flagstone::Image = $t;
                        $same
                    };
                    let $ntx: &flagstone::Image = $t;
                    (key, $number)
                }};
            }

            let map = store.update(|tx| -> Result<_> {
                let map = tx.alloc(BTreeMap::<$k, $v>::new())?;
                tx.set_root("map", map)?;
                // Registers each type and allocates its slabs.
                for n in 0..200 {
                    let key = model_key(n);
                    let value = value!(tx, n);
                    if let Some(old) = map.insert(tx, ask!(&key), value)? {
                        tx.release(old)?;
                    }
                }
                map.clear(tx)?;
                Ok(map)
            })?;
            let before = used(&store);

            let mut kept = StdMap::new();
            for _ in 0..$rounds {
                let mut model = kept.clone();
                let mut tx = store.write()?;
                let growth = random.below(3);
                for _ in 0..random.below(400) {
                    let key = model_key(random.below($keys));
                    let number = random.next() & $mask;
                    match random.below(if growth == 0 { 20 } else { 12 }) {
                        0..6 => {
                            let value = value!(&mut tx, number);
                            let old = map.insert(&mut tx, ask!(&key), value)?;
                            let expected = model.insert(key, number);
                            assert_eq!(old.is_some(), expected.is_some());
                            if let Some(old) = old {
                                let ($nv, $ntx): (&$v, &flagstone::Image) = (&old, &tx);
                                assert_eq!(Some($number), expected);
                                tx.release(old)?;
                            }
                        }
                        6 => {
                            let value = value!(&mut tx, number);
                            match map.entry(&mut tx, ask!(&key))? {
                                Entry::Vacant(entry) => {
                                    entry.insert(value)?;
                                    assert_eq!(model.insert(key, number), None);
                                }
                                Entry::Occupied(mut entry) => {
                                    let old = entry.insert(value)?;
                                    assert!(model.insert(key, number).is_some());
                                    tx.release(old)?;
                                }
                            }
                        }
                        7 => {
                            let found = tx.at(map)?.get_key_value(&tx, ask!(&key))?;
                            let found = found.map(|pair| entry!(&tx, pair));
                            let expected = model.get(&key).map(|number| (key.clone(), *number));
                            assert_eq!(found, expected);
                        }
                        8 => {
                            let is_last = random.one_in(2);
                            let popped = match is_last {
                                true => map.pop_last(&mut tx)?,
                                false => map.pop_first(&mut tx)?,
                            };
                            let expected =
                                if is_last { model.pop_last() } else { model.pop_first() };
                            let found = popped.as_ref().map(|(k, v)| entry!(&tx, (k, v)));
                            assert_eq!(found, expected);
                            if let Some((key, value)) = popped {
                                tx.release(key)?;
                                tx.release(value)?;
                            }
                        }
                        _ => {
                            let old = map.remove(&mut tx, ask!(&key))?;
                            let expected = model.remove(&key);
                            assert_eq!(old.is_some(), expected.is_some());
                            if let Some(old) = old {
                                tx.release(old)?;
                            }
                        }
                    }
                }
                match random.below(12) {
                    0 => {
                        let (by, rest) = (random.below(6) + 2, random.below(2));
                        map.retain(&mut tx, |_, _| true)?;
                        let mut count = 0;
                        let mut odd = || {
                            count += 1;
                            (count % by == 0) == (rest == 0)
                        };
                        map.retain(&mut tx, |_, _| odd())?;
                        count = 0;
                        let mut odd = || {
                            count += 1;
                            (count % by == 0) == (rest == 0)
                        };
                        model.retain(|_, _| odd());
                    }
                    1 => {
                        let at = model_key(random.below($keys));
                        let right = map.split_off(&mut tx, ask!(&at))?;
                        let expected = model.split_off(&at);
                        assert_eq!(right.len(), expected.len() as u64);
                        let right = tx.alloc(right)?;
                        let found = tx.at(right)?.iter(&tx)?.map(|pair| Ok(entry!(&tx, pair?)));
                        assert_eq!(
                            found.collect::<Result<Vec<_>>>()?,
                            Vec::from_iter(expected.clone())
                        );
                        match random.below(3) {
                            0 => tx.free_deep(right)?,
                            // All of them are above.
                            1 => {
                                map.append(&mut tx, right)?;
                                model.extend(expected);
                                tx.free(right)?;
                            }
                            _ => {
                                right.append(&mut tx, map)?;
                                map.append(&mut tx, right)?;
                                model.extend(expected);
                                tx.free(right)?;
                            }
                        }
                    }
                    2 => {
                        let other = tx.alloc(BTreeMap::<$k, $v>::new())?;
                        for _ in 0..random.below(200) {
                            let (key, number) = (model_key(random.below($keys)), random.next() & $mask);
                            let value = value!(&mut tx, number);
                            if let Some(old) = other.insert(&mut tx, ask!(&key), value)? {
                                tx.release(old)?;
                            }
                            model.insert(key, number);
                        }
                        map.append(&mut tx, other)?;
                        assert!(tx.at(other)?.is_empty());
                        tx.free(other)?;
                    }
                    3 => {
                        map.clear(&mut tx)?;
                        let all = std::mem::take(&mut model);
                        for (key, number) in &all {
                            let value = value!(&mut tx, *number);
                            assert!(map.insert(&mut tx, ask!(key), value)?.is_none());
                        }
                        model = all;
                    }
                    _ => {}
                }
                {
                    let found = tx.at(map)?;
                    assert_eq!(found.len(), model.len() as u64);
                    let all = found.iter(&tx)?.map(|pair| Ok(entry!(&tx, pair?)));
                    assert_eq!(all.collect::<Result<Vec<_>>>()?, Vec::from_iter(model.clone()));
                    let all = found.iter(&tx)?.rev().map(|pair| Ok(entry!(&tx, pair?)));
                    let back = Vec::from_iter(model.clone().into_iter().rev());
                    assert_eq!(all.collect::<Result<Vec<_>>>()?, back);
                    let first = found.first_key_value(&tx)?.map(|pair| entry!(&tx, pair));
                    assert_eq!(first, model.first_key_value().map(|(k, v)| (k.clone(), *v)));
                    let last = found.last_key_value(&tx)?.map(|pair| entry!(&tx, pair));
                    assert_eq!(last, model.last_key_value().map(|(k, v)| (k.clone(), *v)));
                    for _ in 0..20 {
                        let (a, b) =
                            (model_key(random.below($keys)), model_key(random.below($keys)));
                        let kinds = (random.below(3), random.below(3));
                        let is_backward =
                            kinds.0 < 2 && kinds.1 < 2 && (a > b || a == b && kinds != (0, 0));
                        let mut expected = if is_backward {
                            VecDeque::new()
                        } else {
                            range_of(&model, (bound(kinds.0, &a), bound(kinds.1, &b)))
                        };
                        let mut entries = found
.range(&tx, (bound(kinds.0, ask!(&a)), bound(kinds.1, ask!(&b))))?;
                        let switch = random.below(40) + 1;
                        let mut step = 0;
                        loop {
                            step += 1;
                            let is_back = step / switch % 2 == 1;
                            let next = if is_back { entries.next_back() } else { entries.next() };
                            let next = next.transpose()?.map(|pair| entry!(&tx, pair));
                            let expected =
                                if is_back { expected.pop_back() } else { expected.pop_front() };
                            assert_eq!(next, expected);
                            if expected.is_none() {
                                break;
                            }
                        }
                        assert!(entries.next().is_none() && entries.next_back().is_none());
                    }
                }
                if random.one_in(3) {
                    tx.rollback();
                    continue;
                }
                tx.commit()?;
                kept = model;
                if random.one_in(4) {
                    drop(store);
                    store = testkit::open(&path)?;
                    assert_eq!(store.read()?.root::<BTreeMap<$k, $v>>("map")?, map);
                }
            }
            assert!(!kept.is_empty());
            assert!(used(&store) > before);
            assert!(store.check()?.is_clean());
            store.update(|tx| map.clear(tx))?;
            assert_eq!(used(&store), before);
            assert!(store.check()?.is_clean());
            Ok(())
        }
    };
}

against_std! {
    numbers, u64, Small, mask: u64::MAX, keys: 3000, rounds: 120,
    key: |n| n * 7, query: [&] Clone::clone, same: |_tx, stored| *stored,
    value: |_tx, n| Small { number: n, more: [n; 7] },
    number: |_tx, v| v.number
}

against_std! {
    negative_numbers_and_nothing_but_a_byte, i32, u8, mask: 0xff, keys: 20_000, rounds: 60,
    key: |n| n as i32 - 10_000, query: [&] Clone::clone, same: |_tx, stored| *stored,
    value: |_tx, n| n as u8,
    number: |_tx, v| u64::from(*v)
}

against_std! {
    texts, Text, Text, mask: u64::MAX, keys: 1500, rounds: 80,
    key: |n| text_of(n), query: [] String::as_str,
    same: |tx, stored| stored.as_str(tx).unwrap().to_string(),
    value: |tx, n| Text::new(tx, &format!("{n} {}", "x".repeat((n % 40) as usize)))?,
    number: |tx, v| v.as_str(tx).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
}

against_std! {
    pairs_with_vectors, Pair<Text, u64>, StoreVec<u64>, mask: u64::MAX, keys: 600, rounds: 60,
    key: |n| (text_of(n / 10), n % 10), query: [&] of_pair,
    same: |tx, stored| (stored.first.as_str(tx).unwrap().to_string(), stored.second),
    value: |tx, n| {
        let mut vec = StoreVec::with_capacity(tx, 1 + n % 5)?;
        let link = tx.alloc(vec)?;
        link.push(tx, n)?;
        vec = StoreVec::new();
        let full = std::mem::replace(tx.at_mut(link)?, vec);
        tx.free(link)?;
        full
    },
    number: |tx, v| *v.first(tx).unwrap().unwrap()
}

against_std! {
    long_keys_with_large_values, [u8; 700], Large, mask: u64::MAX, keys: 300, rounds: 40,
    key: |n| {
        let mut key = [0; 700];
        key[690..698].copy_from_slice(&n.to_be_bytes());
        key
    },
    query: [&] Clone::clone, same: |_tx, stored| *stored,
    value: |_tx, n| Large { number: n, more: [n; 374] },
    number: |_tx, v| v.number
}

against_std! {
    values_of_many_lines, [u8; 3], Aligned, mask: u64::MAX, keys: 800, rounds: 60,
    key: |n| [1, (n / 256) as u8, n as u8], query: [&] Clone::clone, same: |_tx, stored| *stored,
    value: |_tx, n| Aligned { number: n, more: [n; 15] },
    number: |_tx, v| v.number
}

against_std! {
    keys_that_are_tested, Flagged, Flagged, mask: 0xffff, keys: 2000, rounds: 60,
    key: |n| flagged(n), query: [&] Clone::clone, same: |_tx, stored| *stored,
    value: |_tx, n| flagged(n),
    number: |_tx, v| u64::from(v.number)
}

#[test]
fn sets_hold_what_std_holds() -> Result<()> {
    let mut random = Random::new(seed(7));
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let set = tx.alloc(BTreeSet::<Text>::new())?;
    let mut model = std::collections::BTreeSet::new();
    for _ in 0..20_000 {
        let key = text_of(random.below(3000));
        if random.below(5) < 3 {
            assert_eq!(set.insert(&mut tx, &*key)?, model.insert(key));
        } else {
            assert_eq!(set.remove(&mut tx, &*key)?, model.remove(&key));
        }
    }
    set.retain(&mut tx, |key| key.len().unwrap() % 3 > 0)?;
    model.retain(|key| key.len() % 3 > 0);
    let read = |key: Result<&Text>| key.and_then(|key| key.as_str(&tx)).map(str::to_string);
    let found = tx.at(set)?;
    assert_eq!(
        found.iter(&tx)?.map(read).collect::<Result<Vec<_>>>()?,
        Vec::from_iter(model.clone())
    );
    let part: Vec<_> = model.range("key 1".to_string()..="key 5".to_string()).cloned().collect();
    let range = found.range(&tx, "key 1"..="key 5")?;
    assert_eq!(range.map(read).collect::<Result<Vec<_>>>()?, part);
    let text = found.get(&tx, &**model.first().unwrap())?.unwrap();
    assert_eq!(text.as_str(&tx)?, found.first(&tx)?.unwrap().as_str(&tx)?);
    assert_eq!(found.last(&tx)?.unwrap().as_str(&tx)?, model.last().unwrap());

    let mut others = std::collections::BTreeSet::new();
    let other = tx.alloc(BTreeSet::<Text>::new())?;
    for n in (0..4000).step_by(3) {
        other.insert(&mut tx, &*text_of(n))?;
        others.insert(text_of(n));
    }
    let tx = &tx;
    let (a, b) = (tx.at(set)?, tx.at(other)?);
    let read = |keys: flagstone::collections::btree::SetPair<'_, Text>| {
        let text = |key: Result<&Text>| key.and_then(|key| key.as_str(tx)).map(str::to_string);
        keys.map(text).collect::<Result<Vec<_>>>()
    };
    assert_eq!(read(a.union(tx, b)?)?, Vec::from_iter(model.union(&others).cloned()));
    let both = Vec::from_iter(model.intersection(&others).cloned());
    assert_eq!(read(a.intersection(tx, b)?)?, both);
    assert_eq!(read(a.difference(tx, b)?)?, Vec::from_iter(model.difference(&others).cloned()));
    let one = Vec::from_iter(model.symmetric_difference(&others).cloned());
    assert_eq!(read(b.symmetric_difference(tx, a)?)?, one);
    assert!(a.is_subset(tx, a)? && !a.is_subset(tx, b)? && !a.is_superset(tx, b)?);
    assert!(!a.is_disjoint(tx, b)? && a.is_disjoint(tx, &BTreeSet::new())?);
    Ok(())
}

#[test]
fn a_sorted_build_fills_its_nodes() -> Result<()> {
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
    testkit::assert_refused!(error, NotAscending { index: 2, .. });
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

/// Does everything that a map supports: each call may fail, but none may panic or hang.
fn do_everything<V: flagstone::Persist + Copy>(
    tx: &mut WriteTx<'_>,
    map: Link<BTreeMap<u64, V>>,
    other: Link<BTreeMap<u64, V>>,
    value: V,
) {
    type Change<'a, V> = &'a dyn Fn(&mut WriteTx<'_>, Link<BTreeMap<u64, V>>) -> Result<()>;
    let reads: Change<'_, V> = &|tx, map| {
        let map = tx.at(map)?;
        for key in (0..3000).step_by(307) {
            let _ = map.get(tx, &key).map(|value| value.is_some());
            let _ = map.range(tx, key..).map(|mut range| range.next_back().is_some());
            let _ = map.range(tx, ..key).map(|mut range| range.next().is_some());
        }
        let _ = map.first_key_value(tx).map(|entry| entry.is_some());
        let _ = map.last_key_value(tx).map(|entry| entry.is_some());
        let _ = map.iter(tx).map(|iter| iter.filter(Result::is_ok).count());
        let _ = map.iter(tx).map(|iter| iter.rev().filter(Result::is_ok).count());
        let _ = map.range(tx, 1000..2000).map(|iter| iter.filter(Result::is_ok).count());
        let _ = map.iter(tx).map(|mut iter| {
            while iter.next().is_some_and(|x| x.is_ok()) && iter.next_back().is_some() {}
        });
        Ok(())
    };
    let changes: [Change<'_, V>; 9] = [
        &|tx, map| (0..300).try_for_each(|i| map.insert(tx, &(i * 10 + 1), value).map(|_| ())),
        &|tx, map| (0..2).try_for_each(|i| map.remove(tx, &(i * 1000)).map(|_| ())),
        &|tx, map| (0..1200).try_for_each(|i| map.remove(tx, &(i * 2)).map(|_| ())),
        &|tx, map| (0..700).try_for_each(|_| map.pop_first(tx).map(|_| ())),
        &|tx, map| (0..700).try_for_each(|_| map.pop_last(tx).map(|_| ())),
        &|tx, map| map.retain(tx, |key, _| key % 20 == 0),
        &|tx, map| map.append(tx, other),
        &|tx, map| map.split_off(tx, &1500).map(|_| ()),
        &|tx, map| map.clear(tx),
    ];
    let _ = reads(tx, map);
    for change in changes {
        let savepoint = tx.savepoint().unwrap();
        if change(tx, map).is_ok() {
            let _ = reads(tx, map);
        }
        tx.rollback_to(savepoint).unwrap();
    }
    let savepoint = tx.savepoint().unwrap();
    let _ = other.append(tx, map);
    tx.rollback_to(savepoint).unwrap();
}

#[test]
fn no_word_of_a_map_can_crash_it() -> Result<()> {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let value = [1u64; 31];
    let map = tx.alloc(BTreeMap::<u64, [u64; 31]>::new())?;
    let other = tx.alloc(BTreeMap::<u64, [u64; 31]>::new())?;
    // Enough for three levels, with nodes of 7 entries and 128 children.
    for key in 0..1200 {
        map.insert(&mut tx, &(key * 37 % 1200 * 2), value)?;
    }
    for key in 0..60 {
        other.insert(&mut tx, &(key * 41), value)?;
    }
    let word = |tx: &WriteTx<'_>, at: u64| tx.read(Link::<u64>::from_parts(at, 1)).unwrap();
    let root = word(&tx, map.offset());
    let height = word(&tx, map.offset() + 16);
    assert_eq!(height, 2, "the test wants inner nodes above inner nodes");
    let children = |node: u64| node + 8 + 127 * 8;
    let (low, high) = (word(&tx, children(root)), word(&tx, children(root) + 8));
    let leaves = [children(low), children(low) + 8, children(high)].map(|at| word(&tx, at));
    let mut places = vec![];
    places.extend((0..3).map(|i| map.offset() + 8 * i));
    for node in [root, low, high] {
        places.extend([0, 1, 2, 3].map(|i| node + 8 * i));
        places.extend([0, 1, 2, 3, 60].map(|i| children(node) + 8 * i));
    }
    for leaf in leaves {
        places.extend((0..10).map(|i| leaf + 8 * i));
    }
    let two = |level: u64, len: u64| level | len << 32;
    let hostile = [
        0,
        1,
        3,
        u64::MAX,
        1 << 40,
        root,
        low,
        high,
        leaves[0],
        leaves[1],
        leaves[2],
        leaves[1] + 8,
        other.offset(),
        word(&tx, other.offset()),
        two(0, 1),
        two(0, 7),
        two(0, 8),
        two(1, 1),
        two(1, 128),
        two(1, 129),
        two(2, 2),
        two(2, 64),
        two(31, 3),
        two(u64::from(u32::MAX), 5),
    ];
    for place in places {
        let is = word(&tx, place);
        for bad in hostile.iter().copied().filter(|bad| *bad != is) {
            let savepoint = tx.savepoint()?;
            tx.put(Link::<u64>::from_parts(place, 1), bad)?;
            do_everything(&mut tx, map, other, value);
            tx.rollback_to(savepoint)?;
        }
    }
    assert_eq!(tx.at(map)?.iter(&tx)?.count(), 1200);
    Ok(())
}

/// An inconsistent order.
#[persist]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fickle {
    number: u64,
}

impl PartialOrd for Fickle {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fickle {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let mut random = Random::new(self.number ^ other.number.rotate_left(20));
        [std::cmp::Ordering::Less, std::cmp::Ordering::Equal, std::cmp::Ordering::Greater]
            [(random.below(20).min(2)) as usize]
    }
}

#[test]
fn an_order_that_contradicts_itself_gives_answers_of_some_kind() -> Result<()> {
    let mut random = Random::new(seed(11));
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let map = tx.alloc(BTreeMap::<Fickle, [u64; 40]>::new())?;
    for round in 0..30_000u64 {
        let key = Fickle { number: random.below(2000) };
        if random.below(5) < 3 || round < 5000 {
            map.insert(&mut tx, &key, [round; 40])?;
        } else {
            map.remove(&mut tx, &key)?;
        }
        if round % 500 == 0 {
            let (a, b) = (Fickle { number: random.below(2000) }, key);
            let found = tx.at(map)?;
            let _ = found.range(&tx, &a..&b).map(|range| range.count());
            assert_eq!(found.iter(&tx)?.count() as u64, found.len());
        }
    }
    map.retain(&mut tx, |key, _| key.number % 2 == 0)?;
    while map.pop_first(&mut tx)?.is_some() {}
    assert!(tx.at(map)?.is_empty());
    Ok(())
}
