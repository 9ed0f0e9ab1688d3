//! Hash maps and sets against those of the standard library, under random operations, and with
//! wrong numbers in the file.

use std::collections::{HashMap as Model, HashSet as ModelSet};
use std::fmt::Debug;
use std::hash::Hash;

use flagstone::collections::hash::Entry;
use flagstone::collections::{HashMap, HashSet, Key, Vec as StoreVec};
use flagstone::{
    Image, Link, LinkChecks, OpenOptions, Pair, Persist, Store, Text, WriteTx, persist,
};
use testkit::{Random, TestResult, is_long, open, seed};

/// A kind of key, with its types in the store and in std.
trait Kind {
    type Stored: Key<Self::Query>;
    type Query: ?Sized;
    type Own: Clone + Eq + Hash + Debug;

    fn make(number: u64) -> Self::Own;
    /// Passes the query for a key to `call`.
    fn with<R>(own: &Self::Own, call: impl FnOnce(&Self::Query) -> R) -> R;
    fn own(tx: &Image, stored: &Self::Stored) -> Self::Own;
}

struct Numbers;

impl Kind for Numbers {
    type Stored = u64;
    type Query = u64;
    type Own = u64;

    fn make(number: u64) -> u64 {
        number
    }

    fn with<R>(own: &u64, call: impl FnOnce(&u64) -> R) -> R {
        call(own)
    }

    fn own(_tx: &Image, stored: &u64) -> u64 {
        *stored
    }
}

struct Texts;

impl Kind for Texts {
    type Stored = Text;
    type Query = str;
    type Own = String;

    fn make(number: u64) -> String {
        let long =
            if number.is_multiple_of(3) { ", a key that is too long to lie inline" } else { "" };
        format!("{number}{long}")
    }

    fn with<R>(own: &String, call: impl FnOnce(&str) -> R) -> R {
        call(own)
    }

    fn own(tx: &Image, stored: &Text) -> String {
        stored.as_str(tx).unwrap().to_string()
    }
}

struct Arrays;

impl Kind for Arrays {
    type Stored = [u8; 5];
    type Query = [u8; 5];
    type Own = [u8; 5];

    fn make(number: u64) -> [u8; 5] {
        std::array::from_fn(|i| (number >> (4 * i)) as u8)
    }

    fn with<R>(own: &[u8; 5], call: impl FnOnce(&[u8; 5]) -> R) -> R {
        call(own)
    }

    fn own(_tx: &Image, stored: &[u8; 5]) -> [u8; 5] {
        *stored
    }
}

struct Pairs;

impl Kind for Pairs {
    type Stored = Pair<Text, u64>;
    type Query = (&'static str, &'static u64);
    type Own = (&'static str, u64);

    fn make(number: u64) -> (&'static str, u64) {
        (["a", "", "one that is too long to lie inline"][number as usize % 3], number / 3)
    }

    fn with<R>(own: &Self::Own, call: impl FnOnce(&Self::Query) -> R) -> R {
        let number: &'static u64 = Box::leak(Box::new(own.1));
        call(&(own.0, number))
    }

    fn own(tx: &Image, stored: &Pair<Text, u64>) -> Self::Own {
        let texts = ["a", "", "one that is too long to lie inline"];
        let text = stored.first.as_str(tx).unwrap();
        (texts.into_iter().find(|known| *known == text).unwrap(), stored.second)
    }
}

/// A value that owns memory, so leaks and double releases are detected.
#[persist]
struct Value {
    number: u64,
    text: Text,
}

fn value(tx: &mut WriteTx<'_>, number: u64) -> flagstone::Result<Value> {
    let text = match number % 4 {
        0 => format!("{number}: a text that does not lie inline, but in the heap"),
        _ => number.to_string(),
    };
    Ok(Value { number, text: Text::new(tx, &text)? })
}

type Map<T> = HashMap<<T as Kind>::Stored, Value>;

fn assert_same<T: Kind>(tx: &Image, map: Link<Map<T>>, model: &Model<T::Own, u64>) {
    let map = tx.at(map).unwrap();
    assert_eq!(map.len(), model.len() as u64);
    assert!(map.capacity(tx).unwrap() >= map.len());
    let mut seen = 0;
    for entry in map.iter(tx).unwrap() {
        let (key, value) = entry.unwrap();
        assert_eq!(model.get(&T::own(tx, key)), Some(&value.number));
        seen += 1;
    }
    assert_eq!(seen, model.len());
    let reader = map.reader(tx).unwrap();
    for (key, number) in model {
        let found = T::with(key, |query| reader.get(query).unwrap().map(|value| value.number));
        assert_eq!(found, Some(*number));
    }
    assert_eq!(map.keys(tx).unwrap().count(), model.len());
    let numbers = map.values(tx).unwrap().map(|value| value.unwrap().number);
    let (mut numbers, mut expected): (Vec<_>, Vec<_>) =
        (numbers.collect(), model.values().copied().collect());
    numbers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(numbers, expected);
}

/// Performs one random operation on both.
fn operate<T: Kind>(
    tx: &mut WriteTx<'_>,
    map: Link<Map<T>>,
    model: &mut Model<T::Own, u64>,
    random: &mut Random,
    (keys, growth): (u64, u64),
) -> flagstone::Result<()> {
    let key = T::make(random.below(keys));
    let number = random.next();
    let choice = random.below(100);
    if choice < growth {
        let new = value(tx, number)?;
        let old = T::with(&key, |query| map.insert(tx, query, new))?;
        assert_eq!(old.as_ref().map(|old| old.number), model.insert(key, number));
        return old.map_or(Ok(()), |old| tx.release(old));
    }
    match random.below(10) {
        0..=4 => {
            let old = T::with(&key, |query| map.remove(tx, query))?;
            assert_eq!(old.as_ref().map(|old| old.number), model.remove(&key));
            if let Some(old) = old {
                tx.release(old)?;
            }
        }
        5 => {
            let old = T::with(&key, |query| map.remove_entry(tx, query))?;
            assert_eq!(old.is_some(), model.remove(&key).is_some());
            if let Some((stored, old)) = old {
                assert_eq!(T::own(tx, &stored), key);
                tx.release(stored)?;
                tx.release(old)?;
            }
        }
        6 => {
            let found = T::with(&key, |query| {
                map.get_mut(tx, query)
                    .map(|found| found.map(|found| std::mem::replace(&mut found.number, number)))
            })?;
            assert_eq!(found, model.get(&key).copied());
            model.entry(key).and_modify(|old| *old = number);
        }
        7 => {
            let was = model.contains_key(&key);
            T::with(&key, |query| match map.entry(tx, query)? {
                Entry::Occupied(mut entry) => {
                    assert!(was);
                    assert_eq!(entry.get()?.number, model[&key]);
                    entry.get_mut()?.number = number;
                    Ok(())
                }
                entry @ Entry::Vacant(_) => {
                    assert!(!was);
                    entry.or_try_insert_with(|tx| value(tx, number)).map(|new| {
                        assert_eq!(new.number, number);
                    })
                }
            })?;
            model.insert(key, number);
        }
        8 => {
            let link = T::with(&key, |query| tx.at(map)?.link(tx, query))?;
            assert_eq!(link.is_some(), model.contains_key(&key));
            if let Some(link) = link {
                tx.at_mut(link)?.number = number;
                model.insert(key, number);
            }
        }
        _ => {
            let found = T::with(&key, |query| tx.at(map)?.contains_key(tx, query))?;
            assert_eq!(found, model.contains_key(&key));
        }
    }
    Ok(())
}

/// Grows to thousands of entries and shrinks to none, with commits, rollbacks and reopenings in
/// between.
fn run<T: Kind>(name: &str, keys: u64) -> TestResult {
    let seed = seed(7);
    println!("{name}: seed {seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let mut store = open(&path)?;
    let map = store.update(|tx| tx.root_or_insert_with("map", Map::<T>::new))?;
    // Registers each type and allocates its slabs.
    let mut model = Model::new();
    store.update(|tx| {
        (0..50).try_for_each(|_| operate::<T>(tx, map, &mut model, &mut random, (keys, 90)))
    })?;
    store.update(|tx| map.clear(tx))?;
    model.clear();
    let before = store.stats()?.live_bytes;
    for (round, growth) in [80, 60, 20, 90, 0, 70, 10].into_iter().enumerate() {
        for part in 0..4 {
            let mut tx = store.write()?;
            let mut changed = model.clone();
            for _ in 0..keys / 2 {
                operate::<T>(&mut tx, map, &mut changed, &mut random, (keys, growth))?;
            }
            if part == 1 {
                drop(tx);
            } else {
                tx.commit()?;
                model = changed;
            }
        }
        assert_same::<T>(&*store.read()?, map, &model);
        let report = store.check()?;
        assert!(report.is_clean(), "round {round}: {report:?}");
        if round % 2 == 1 {
            store.close()?;
            store = open(&path)?;
            assert_same::<T>(&*store.read()?, map, &model);
        }
    }
    store.update(|tx| -> flagstone::Result<()> {
        map.retain(tx, |_, value| {
            value.number ^= 1;
            value.number % 4 != 0
        })?;
        model.values_mut().for_each(|number| *number ^= 1);
        model.retain(|_, number| *number % 4 != 0);
        assert_same::<T>(tx, map, &model);
        map.shrink_to_fit(tx)?;
        assert_same::<T>(tx, map, &model);
        map.reserve(tx, 2 * keys)?;
        assert!(tx.at(map)?.capacity(tx)? >= 2 * keys + model.len() as u64);
        assert_same::<T>(tx, map, &model);
        Ok(())
    })?;
    store.update(|tx| map.clear(tx))?;
    assert_eq!(store.stats()?.live_bytes, before, "everything is given back");
    assert!(store.check()?.is_clean());
    // Removes entries one by one; then only the empty table is left.
    store.update(|tx| -> flagstone::Result<()> {
        for number in 0..keys / 4 {
            let new = value(tx, number)?;
            T::with(&T::make(number), |query| map.insert(tx, query, new))?;
        }
        for number in 0..keys / 4 {
            let old = T::with(&T::make(number), |query| map.remove(tx, query))?;
            old.map_or(Ok(()), |old| tx.release(old))?;
        }
        assert!(tx.at(map)?.is_empty());
        Ok(())
    })?;
    assert!(store.stats()?.live_bytes < before + 4096, "{}", store.stats()?.live_bytes - before);
    Ok(())
}

fn keys(few: u64) -> u64 {
    if is_long() { few * 10 } else { few }
}

#[test]
fn maps_of_numbers() -> TestResult {
    run::<Numbers>("numbers", keys(16_000))
}

#[test]
fn maps_of_texts() -> TestResult {
    run::<Texts>("texts", keys(4000))
}

#[test]
fn maps_of_arrays() -> TestResult {
    run::<Arrays>("arrays", keys(4000))
}

#[test]
fn maps_of_pairs() -> TestResult {
    run::<Pairs>("pairs", keys(3000))
}

/// Runs `work` twice: once to register all types, then to check that it leaves nothing.
fn leaves_nothing(work: impl Fn(&Store) -> TestResult) -> TestResult {
    let store = Store::in_memory()?;
    work(&store)?;
    let before = store.stats()?.live_bytes;
    work(&store)?;
    assert_eq!(store.stats()?.live_bytes, before);
    assert!(store.check()?.is_clean());
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

#[test]
fn collections_lie_in_maps() -> TestResult {
    leaves_nothing(nest)
}

fn nest(store: &Store) -> TestResult {
    let mut tx = store.write()?;
    let map = tx.alloc(HashMap::<Text, HashMap<u64, StoreVec<Text>>>::new())?;
    for number in 0..2000u64 {
        let name = (number % 7).to_string();
        let inner = map.link_or_insert_with(&mut tx, &name, HashMap::new)?;
        let list = inner.link_or_insert_with(&mut tx, &(number % 50), StoreVec::new)?;
        let text = Text::new(&mut tx, &format!("{number}, which is a long text in the heap"))?;
        list.push(&mut tx, text)?;
    }
    let mut found = 0;
    for entry in tx.at(map)?.iter(&tx)? {
        for list in entry?.1.values(&tx)? {
            found += list?.len();
        }
    }
    assert_eq!(found, 2000);
    tx.set_root("map", map)?;
    tx.commit()?;
    assert!(store.check()?.is_clean());
    store.update(|tx| {
        tx.remove_root("map")?;
        tx.free_deep(map)
    })?;
    Ok(())
}

#[test]
fn drained_entries_are_the_callers() -> TestResult {
    leaves_nothing(drain)
}

fn drain(store: &Store) -> TestResult {
    let mut tx = store.write()?;
    let map = tx.alloc(HashMap::<u64, Text>::new())?;
    for number in 0..5000u64 {
        let text = Text::new(&mut tx, &format!("{number}, which is a long text in the heap"))?;
        map.insert(&mut tx, &number, text)?;
    }
    let mut drained = map.drain(&mut tx)?;
    assert!(tx.at(map)?.is_empty());
    drained.sort_unstable_by_key(|entry| entry.0);
    for (number, (key, text)) in drained.into_iter().enumerate() {
        assert_eq!(key, number as u64);
        assert!(text.as_str(&tx)?.starts_with(&format!("{number},")));
        tx.release(text)?;
    }
    tx.free(map)?;
    tx.commit()?;
    Ok(())
}

#[test]
fn sets_hold_what_those_of_std_do() -> TestResult {
    leaves_nothing(try_sets)
}

fn try_sets(store: &Store) -> TestResult {
    let seed = seed(11);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut tx = store.write()?;
    let (a, b) = (tx.alloc(HashSet::<u64>::new())?, tx.alloc(HashSet::<u64>::new())?);
    let (mut model_a, mut model_b) = (ModelSet::new(), ModelSet::new());
    for round in 0..60_000u64 {
        let key = random.below(9000);
        let (set, model) = if random.one_in(2) { (a, &mut model_a) } else { (b, &mut model_b) };
        if random.one_in(if round < 30_000 { 4 } else { 2 }) {
            assert_eq!(set.remove(&mut tx, &key)?, model.remove(&key));
        } else {
            assert_eq!(set.insert(&mut tx, &key)?, model.insert(key));
        }
    }
    let sorted = |keys: Vec<u64>| {
        let mut keys = keys;
        keys.sort_unstable();
        keys
    };
    let (set_a, set_b) = (tx.at(a)?, tx.at(b)?);
    let both = set_a.intersection(&tx, set_b)?.map(|key| key.copied()).collect::<Result<_, _>>()?;
    assert_eq!(sorted(both), sorted(model_a.intersection(&model_b).copied().collect()));
    let only = set_a.difference(&tx, set_b)?.map(|key| key.copied()).collect::<Result<_, _>>()?;
    assert_eq!(sorted(only), sorted(model_a.difference(&model_b).copied().collect()));
    assert_eq!(set_a.is_disjoint(&tx, set_b)?, model_a.is_disjoint(&model_b));
    assert_eq!(set_a.is_subset(&tx, set_b)?, model_a.is_subset(&model_b));
    assert!(set_a.is_superset(&tx, set_a)?);
    a.retain(&mut tx, |key| key % 3 == 0)?;
    model_a.retain(|key| key % 3 == 0);
    let left = tx.at(a)?.iter(&tx)?.map(|key| key.copied()).collect::<Result<_, _>>()?;
    assert_eq!(sorted(left), sorted(model_a.iter().copied().collect()));
    let one = *model_a.iter().next().ok_or("a key")?;
    assert_eq!(a.take(&mut tx, &one)?, Some(one));
    assert_eq!(tx.at(a)?.get(&tx, &one)?, None);
    assert_eq!(a.drain(&mut tx)?.len(), model_a.len() - 1);
    b.clear(&mut tx)?;
    tx.free(a)?;
    tx.free(b)?;
    tx.commit()?;
    Ok(())
}

/// Does everything that a map supports; only errors may result.
fn do_all(store: &Store, map: Link<HashMap<u64, Text>>, forge: impl Fn(&mut WriteTx<'_>)) {
    let each = |call: &dyn Fn(&mut WriteTx<'_>) -> flagstone::Result<()>| {
        let mut tx = store.write().unwrap();
        forge(&mut tx);
        let _ = call(&mut tx);
    };
    each(&|tx| {
        let map = tx.at(map)?;
        for key in 0..200 {
            let _ = map.get(tx, &key);
        }
        let _ = map.capacity(tx);
        let _ = map.keys(tx).map(Iterator::count);
        let _ = map.values(tx).map(Iterator::count);
        let _ = map.iter(tx)?.collect::<Result<Vec<_>, _>>();
        Ok(())
    });
    each(&|tx| (0..200).try_for_each(|key| map.insert(tx, &(key * 7), Text::empty()).map(|_| ())));
    each(&|tx| (0..200).try_for_each(|key| map.remove(tx, &key).map(|_| ())));
    each(&|tx| (0..200).try_for_each(|key| map.get_mut(tx, &key).map(|_| ())));
    each(&|tx| map.entry(tx, &1)?.or_default().map(|_| ()));
    each(&|tx| map.retain(tx, |key, _| key % 2 == 0));
    each(&|tx| map.drain(tx).map(|_| ()));
    each(&|tx| map.clear(tx));
    each(&|tx| map.shrink_to_fit(tx));
    each(&|tx| map.reserve(tx, 1000));
    each(&|tx| tx.free_deep(map));
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

/// Replaces one word of a link's target.
fn forge_word(tx: &mut WriteTx<'_>, offset: u64, word: u64) {
    let _ = tx.put(Link::from_parts(offset, 1), word);
}

#[test]
fn wrong_numbers_in_the_file_are_errors() -> TestResult {
    // The test itself reads past the last shard.
    let store = OpenOptions::new().link_checks(LinkChecks::Bounds).open_in_memory()?;
    for count in [3, 150, 6000] {
        let mut tx = store.write()?;
        let map = tx.alloc(HashMap::<u64, Text>::new())?;
        for key in 0..count {
            map.insert(&mut tx, &key, Text::empty())?;
        }
        tx.commit()?;
        let tx = store.read()?;
        let word = |at: u64| tx.read(Link::<u64>::from_parts(at, 1));
        let header = map.offset();
        let directory = word(header)?;
        let segment = word(directory)?;
        let (tags, tag_bytes) = (word(segment)?, word(segment + 8)?);
        let (slots, counts) = (word(segment + 16)?, tags + tag_bytes - 8);
        let words = [header, header + 8, header + 16, header + 24]
            .into_iter()
            .chain([directory, directory + 8, counts, tags, slots])
            .chain((0..4).map(|i| segment + 8 * i))
            .chain((0..8).map(|i| segment + 32 + 8 * i));
        let limit = store.stats()?.heap_bytes;
        for at in words {
            let old = word(at)?;
            let wrong = [
                0,
                1,
                3,
                8,
                16,
                old.wrapping_add(1),
                old.wrapping_sub(8),
                old << 1,
                old ^ 16,
                limit,
            ]
            .into_iter()
            .chain([limit - 8, header, directory, segment, tags, slots, u64::MAX, 1 << 63])
            .chain([
                u64::MAX / 24,
                u64::MAX / 16,
                0x0101_0101_0101_0101,
                0x0203_0203_0203_0203,
            ]);
            for word in wrong {
                do_all(&store, map, |tx| forge_word(tx, at, word));
            }
        }
        // All tags are in use: a probe sequence has no end.
        do_all(&store, map, |tx| {
            (0..tag_bytes / 8 - 1).for_each(|i| forge_word(tx, tags + 8 * i, u64::MAX));
        });
        do_all(&store, map, |tx| {
            (0..tag_bytes / 8 - 1).for_each(|i| forge_word(tx, tags + 8 * i, 0));
        });
    }
    assert!(store.check()?.is_clean(), "all of it was rolled back");
    Ok(())
}

/// Compile-time checks of the layout that FORMAT.md documents.
const _: () = {
    const fn size<T: Persist>() -> usize {
        size_of::<T>()
    }
    assert!(size::<HashMap<u64, u64>>() == 32 && size::<HashSet<u64>>() == 32);
};
