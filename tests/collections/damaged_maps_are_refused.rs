//! No number in the file can make a map panic, hang or take much memory, nor can an order of keys
//! that contradicts itself.

use std::time::{Duration, Instant};

use flagstone::collections::{BTreeMap, HashMap};
use flagstone::{Link, LinkChecks, OpenOptions, Persist, Result, Store, Text, WriteTx, persist};
use testkit::{Random, TestResult, seed};

use super::damaged_collections_are_refused::{Method, methods};

fn put_word(tx: &mut WriteTx<'_>, offset: u64, word: u64) {
    let _ = tx.put(Link::<u64>::from_parts(offset, 1), word);
}

fn word(tx: &WriteTx<'_>, offset: u64) -> u64 {
    tx.read(Link::<u64>::from_parts(offset, 1)).unwrap()
}

/// Calls each method after `forge`, and then the first one, which reads. Every call may fail, but
/// none may panic or hang.
fn call_each<T: Persist>(
    tx: &mut WriteTx<'_>,
    map: Link<T>,
    methods: &[Method<T>],
    forge: impl Fn(&mut WriteTx<'_>),
) {
    for method in methods {
        let savepoint = tx.savepoint().unwrap();
        forge(tx);
        let _ = method(map, tx);
        let _ = methods[0](map, tx);
        tx.rollback_to(savepoint).unwrap();
    }
}

#[test]
fn no_word_of_a_hash_map_can_crash_it() -> TestResult {
    let methods: &[Method<HashMap<u64, Text>>] = methods! { map: HashMap<u64, Text>, tx:
        {
            let map = tx.at(map)?;
            for key in 0..200 {
                let _ = map.get(tx, &key);
            }
            let _ = map.capacity(tx);
            let _ = map.keys(tx).map(Iterator::count);
            let _ = map.values(tx).map(Iterator::count);
            map.iter(tx)?.collect::<Result<Vec<_>>>()?.len()
        };
        (0..200).try_for_each(|key| map.insert(tx, &(key * 7), Text::empty()).map(|_| ()))?;
        (0..200).try_for_each(|key| map.remove(tx, &key).map(|_| ()))?;
        (0..200).try_for_each(|key| map.get_mut(tx, &key).map(|_| ()))?;
        map.entry(tx, &1)?.or_default().map(|_| ())?;
        map.retain(tx, |key, _| key % 2 == 0)?;
        map.drain(tx)?;
        map.clear(tx)?;
        map.shrink_to_fit(tx)?;
        map.reserve(tx, 1000)?;
        tx.free_deep(map)?;
    };
    // The test itself reads past the last shard.
    let store = OpenOptions::new().link_checks(LinkChecks::Bounds).open_in_memory()?;
    for count in [3, 150, 6000] {
        let mut tx = store.write()?;
        let map = tx.alloc(HashMap::<u64, Text>::new())?;
        for key in 0..count {
            map.insert(&mut tx, &key, Text::empty())?;
        }
        let header = map.offset();
        let directory = word(&tx, header);
        let segment = word(&tx, directory);
        let [tags, tag_bytes, slots] = [0, 8, 16].map(|at| word(&tx, segment + at));
        let places = [0, 8, 16, 24].map(|at| header + at).into_iter();
        let places = places
            .chain([directory, directory + 8, tags + tag_bytes - 8, tags, slots])
            .chain((0..4).map(|i| segment + 8 * i))
            .chain((0..8).map(|i| segment + 32 + 8 * i));
        let limit = store.stats()?.heap_bytes;
        for at in places {
            let old = word(&tx, at);
            let near = [old.wrapping_add(1), old.wrapping_sub(8), old << 1, old ^ 16];
            let offsets = [limit, limit - 8, header, directory, segment, tags, slots];
            let numbers = [0, 1, 3, 8, 16, u64::MAX, 1 << 63, u64::MAX / 24, u64::MAX / 16];
            let all_tags = [0x0101_0101_0101_0101, 0x0203_0203_0203_0203];
            for wrong in [&near[..], &offsets, &numbers, &all_tags].concat() {
                call_each(&mut tx, map, methods, |tx| put_word(tx, at, wrong));
            }
        }
        // All tags are in use, or none: a probe sequence has no end, or nothing is found.
        for wrong in [u64::MAX, 0] {
            call_each(&mut tx, map, methods, |tx| {
                (0..tag_bytes / 8 - 1).for_each(|i| put_word(tx, tags + 8 * i, wrong));
            });
        }
        tx.commit()?;
    }
    assert!(store.check()?.is_clean(), "all of it was rolled back");
    Ok(())
}

#[test]
fn no_word_of_an_ordered_map_can_crash_it() -> TestResult {
    type Map = BTreeMap<u64, [u64; 31]>;

    const VALUE: [u64; 31] = [1; 31];
    fn other(tx: &mut WriteTx<'_>) -> Result<Link<Map>> {
        let other = tx.alloc(Map::new())?;
        (0..60).try_for_each(|key| other.insert(tx, &(key * 41), VALUE).map(|_| ()))?;
        Ok(other)
    }
    let methods: &[Method<Map>] = methods! { map: Map, tx:
        {
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
            map.iter(tx).map(|mut iter| {
                while iter.next().is_some_and(|x| x.is_ok()) && iter.next_back().is_some() {}
            })?;
        };
        (0..300).try_for_each(|i| map.insert(tx, &(i * 10 + 1), VALUE).map(|_| ()))?;
        (0..2).try_for_each(|i| map.remove(tx, &(i * 1000)).map(|_| ()))?;
        (0..1200).try_for_each(|i| map.remove(tx, &(i * 2)).map(|_| ()))?;
        (0..700).try_for_each(|_| map.pop_first(tx).map(|_| ()))?;
        (0..700).try_for_each(|_| map.pop_last(tx).map(|_| ()))?;
        map.retain(tx, |key, _| key % 20 == 0)?;
        { let other = other(tx)?; map.append(tx, other)? };
        { let other = other(tx)?; other.append(tx, map)? };
        map.split_off(tx, &1500)?;
        map.clear(tx)?;
    };
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let map = tx.alloc(Map::new())?;
    let other = other(&mut tx)?;
    // Enough for three levels, with nodes of 7 entries and 128 children.
    for key in 0..1200 {
        map.insert(&mut tx, &(key * 37 % 1200 * 2), VALUE)?;
    }
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
            call_each(&mut tx, map, methods, |tx| put_word(tx, place, bad));
        }
    }
    assert_eq!(tx.at(map)?.iter(&tx)?.count(), 1200);
    Ok(())
}

/// Returns a map in which every shard is the same one: a few hundred kilobytes that claim to be
/// 20 million tables of 2000 slots.
fn shared(tx: &mut WriteTx<'_>, is_empty: bool) -> Result<Link<HashMap<u64, u64>>> {
    let map = tx.alloc(HashMap::<u64, u64>::new())?;
    for number in 0..1500 {
        map.insert(tx, &number, number)?;
    }
    let segment = word(tx, word(tx, map.offset()));
    let shard: [u64; 4] = [0, 8, 16, 24].map(|at| word(tx, segment + at));
    if is_empty {
        for at in (0..shard[1]).step_by(8) {
            put_word(tx, shard[0] + at, 0);
        }
    }
    let segment = tx.alloc_slice([shard; 512])?;
    let directory = tx.alloc_slice(vec![[segment.offset(), 512]; 40_000])?;
    for (at, word) in (0..).step_by(8).zip([directory.offset(), 40_000, 512 * 40_000, 1 << 50]) {
        put_word(tx, map.offset() + at, word);
    }
    Ok(map)
}

type Walk = fn(&mut WriteTx<'_>, Link<HashMap<u64, u64>>) -> Result<u64>;

#[test]
fn shards_that_are_shared_are_refused_soon() -> TestResult {
    let walks: [Walk; 8] = [
        |tx, map| tx.at(map)?.iter(tx)?.try_fold(0, |count, entry| entry.map(|_| count + 1)),
        |tx, map| tx.at(map)?.capacity(tx),
        |tx, map| Ok(map.drain(tx)?.len() as u64),
        |tx, map| map.retain(tx, |_, _| true).map(|()| 0),
        |tx, map| map.reserve(tx, 1).map(|()| 0),
        |tx, map| map.shrink_to_fit(tx).map(|()| 0),
        |tx, map| map.clear(tx).map(|()| 0),
        |tx, map| map.insert(tx, &1_000_000, 1).map(|_| 0),
    ];
    for is_empty in [true, false] {
        let store = Store::in_memory()?;
        for (index, walk) in walks.iter().enumerate() {
            let mut tx = store.write()?;
            let map = shared(&mut tx, is_empty)?;
            let begun = Instant::now();
            let found = walk(&mut tx, map);
            println!("{index} {is_empty}: {:?} {found:?}", begun.elapsed());
            assert!(begun.elapsed() < Duration::from_secs(20), "walk {index}");
            assert!(index == 7 || found.is_err(), "walk {index}");
        }
    }
    Ok(())
}

/// Numbers whose sum overflows.
#[test]
fn the_capacity_of_damaged_shards_is_an_error() -> TestResult {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let map = tx.alloc(HashMap::<u64, u64>::new())?;
    for number in 0..20_000 {
        map.insert(&mut tx, &number, number)?;
    }
    let segment = word(&tx, word(&tx, map.offset()));
    for shard in 0..3 {
        put_word(&mut tx, segment + 32 * shard + 8, (1 << 63) + 8);
        put_word(&mut tx, segment + 32 * shard + 24, 1 << 63);
    }
    assert!(tx.at(map)?.capacity(&tx).is_err());
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
