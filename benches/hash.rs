//! Hash maps from `u64` to 64 bytes against std's with the same hash function: dependent and
//! independent lookups, the cost of a read transaction per lookup, inserts, the bytes of the
//! file, and the log of the slowest insert.
//!
//! `cargo bench --bench hash [-- entries]`

mod common;

use std::collections::HashMap as StdMap;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::time::Duration;

use common::{Folder, shuffled, time};
use fastrand::Rng;
use flagstone::collections::HashMap;
use flagstone::{Durability, Link, OpenOptions, Store};
use siphasher::sip::SipHasher13;

type Value = [u64; 8];
type Map = HashMap<u64, Value>;

/// std's side: the same function with the same key.
#[derive(Clone, Copy)]
struct SameHash([u8; 16]);

impl BuildHasher for SameHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        let word = |range: std::ops::Range<usize>| self.0[range].try_into().map(u64::from_le_bytes);
        SipHasher13::new_with_keys(word(0..8).expect("8 bytes"), word(8..16).expect("8 bytes"))
    }
}

/// Rounds, each of which times both.
const ROUNDS: usize = 301;
/// Lookups per round.
const STEPS: usize = 10_000;

/// Returns entries in which each value is the next key of one long cycle.
fn entries(count: usize) -> Vec<(u64, Value)> {
    let mut random = Rng::with_seed(count as u64);
    let keys: Vec<u64> = (0..count).map(|_| random.u64(..)).collect();
    let order = shuffled(count);
    let mut entries: Vec<(u64, Value)> = keys.iter().map(|key| (*key, [0; 8])).collect();
    for (at, next) in order.iter().zip(order.iter().cycle().skip(1)) {
        entries[*at].1 = [keys[*next]; 8];
    }
    entries
}

struct Sides {
    store: Store,
    map: Link<Map>,
    std: StdMap<u64, Value, SameHash>,
    entries: Vec<(u64, Value)>,
}

fn insert_all(store: &Store, name: &str, entries: &[(u64, Value)]) -> Link<Map> {
    let mut tx = store.write().expect("a transaction");
    let map = tx.root_or_insert_with(name, Map::new).expect("a map");
    for (key, value) in entries {
        map.insert(&mut tx, key, *value).expect("an insert");
    }
    tx.commit().expect("a commit");
    map
}

fn inserts(folder: &Folder, entries: &[(u64, Value)]) -> Sides {
    let mut ratios = Vec::new();
    let mut last = None;
    for round in 0..5 {
        let store = folder.open(&format!("inserts-{}-{round}", entries.len()), &OpenOptions::new());
        let mut map = Link::null();
        let ours = time(|| map = insert_all(&store, "map", entries));
        let key = SameHash(store.read().expect("a snapshot").hash_key());
        let mut std = StdMap::with_hasher(key);
        let theirs = time(|| {
            for (key, value) in entries {
                std.insert(*key, *value);
            }
        });
        ratios.push(ours.as_secs_f64() / theirs.as_secs_f64());
        println!("  inserts: {ours:?}, std {theirs:?}");
        last = Some((store, map, std));
    }
    ratios.sort_by(f64::total_cmp);
    println!("{:>9} inserts in one durable transaction: ratio {:.2}", entries.len(), ratios[2]);
    let (store, map, std) = last.expect("a round");
    store.checkpoint().expect("a checkpoint");
    let stats = store.stats().expect("figures");
    let payload = entries.len() as f64 * 72.0;
    println!(
        "{:>9} entries: file {:.3} of the payload; live {:.3}, pages {:?}",
        entries.len(),
        stats.file_bytes as f64 / payload,
        stats.live_bytes as f64 / payload,
        stats.pages,
    );
    Sides { store, map, std, entries: entries.to_vec() }
}

#[inline(never)]
fn chain_std(std: &StdMap<u64, Value, SameHash>, mut key: u64, steps: usize) -> u64 {
    for _ in 0..steps {
        key = std.get(&key).expect("a key")[0];
    }
    key
}

#[inline(never)]
fn chain_reader(store: &Store, map: Link<Map>, mut key: u64, steps: usize) -> u64 {
    let tx = store.read().expect("a snapshot");
    let reader = tx.at(map).expect("a map").reader(&tx).expect("a reader");
    for _ in 0..steps {
        key = reader.get(&key).expect("a sound map").expect("a key")[0];
    }
    key
}

#[inline(never)]
fn chain_map(store: &Store, map: Link<Map>, mut key: u64, steps: usize) -> u64 {
    let tx = store.read().expect("a snapshot");
    let map = tx.at(map).expect("a map");
    for _ in 0..steps {
        key = map.get(&tx, &key).expect("a sound map").expect("a key")[0];
    }
    key
}

#[inline(never)]
fn chain_reads(store: &Store, map: Link<Map>, mut key: u64, steps: usize) -> u64 {
    for _ in 0..steps {
        let tx = store.read().expect("a snapshot");
        let map = tx.at(map).expect("a map");
        key = map.get(&tx, &key).expect("a sound map").expect("a key")[0];
    }
    key
}

#[inline(never)]
fn each_std(std: &StdMap<u64, Value, SameHash>, keys: &[u64]) -> u64 {
    keys.iter().fold(0, |sum, key| sum.wrapping_add(std.get(key).expect("a key")[1]))
}

#[inline(never)]
fn each_reader(store: &Store, map: Link<Map>, keys: &[u64]) -> u64 {
    let tx = store.read().expect("a snapshot");
    let reader = tx.at(map).expect("a map").reader(&tx).expect("a reader");
    let value = |key| reader.get(key).expect("a sound map").expect("a key")[1];
    keys.iter().fold(0, |sum, key| sum.wrapping_add(value(key)))
}

#[inline(never)]
fn each_map(store: &Store, map: Link<Map>, keys: &[u64]) -> u64 {
    let tx = store.read().expect("a snapshot");
    let map = tx.at(map).expect("a map");
    let value = |key| map.get(&tx, key).expect("a sound map").expect("a key")[1];
    keys.iter().fold(0, |sum, key| sum.wrapping_add(value(key)))
}

/// Times both in short alternating rounds. Each round continues where the last one ended, so
/// other load on the machine affects both or stands out.
fn compare(what: &str, len: usize, ours: impl Fn(usize) -> u64, theirs: impl Fn(usize) -> u64) {
    let mut ratios = Vec::new();
    let (mut a, mut b): (Vec<Duration>, Vec<Duration>) = Default::default();
    for round in 0..ROUNDS {
        let start = round * STEPS % (len - STEPS + 1);
        let (mut x, mut y) = (0, 0);
        a.push(time(|| x = black_box(ours(start))));
        b.push(time(|| y = black_box(theirs(start))));
        assert_eq!(x, y);
        ratios.push(a[round].as_secs_f64() / b[round].as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let nanos = |times: &mut Vec<Duration>, part: usize| {
        times.sort_unstable();
        times[ROUNDS * part / 100].as_nanos() as f64 / STEPS as f64
    };
    let (fast, fast_std) = (nanos(&mut a, 10), nanos(&mut b, 10));
    println!(
        "{what}: median ratio {:.3} ({:.3} to {:.3}); fastest tenth {fast:.1} ns, std {fast_std:.1} ns, ratio {:.3}",
        ratios[ROUNDS / 2],
        ratios[ROUNDS / 4],
        ratios[ROUNDS * 3 / 4],
        fast / fast_std,
    );
}

fn lookups(Sides { store, map, std, entries }: &Sides) {
    let count = entries.len();
    // The keys in the order of the cycle.
    let mut chain = vec![entries[0].0];
    (1..count).for_each(|i| chain.push(std[&chain[i - 1]][0]));
    let dependent = |what: &str, walk: fn(&Store, Link<Map>, u64, usize) -> u64| {
        let what = format!("{count:>9} entries, dependent, {what}");
        let ours = |start: usize| walk(store, *map, chain[start], STEPS);
        compare(&what, count, ours, |start| chain_std(std, chain[start], STEPS));
    };
    dependent("reader", chain_reader);
    dependent("map", chain_map);
    dependent("a read transaction each", chain_reads);
    begin_and_end(store, *map, &chain);
    let independent = |what: &str, walk: fn(&Store, Link<Map>, &[u64]) -> u64| {
        let what = format!("{count:>9} entries, independent, {what}");
        let ours = |start: usize| walk(store, *map, &chain[start..start + STEPS]);
        compare(&what, count, ours, |start| each_std(std, &chain[start..start + STEPS]));
    };
    independent("reader", each_reader);
    independent("map", each_map);
    let absent: Vec<u64> = chain.iter().map(|key| !key).collect();
    let tx = store.read().expect("a snapshot");
    let reader = tx.at(*map).expect("a map").reader(&tx).expect("a reader");
    let is_there = |key: &u64| reader.get(key).expect("a sound map").is_some();
    let ours =
        |start: usize| absent[start..start + STEPS].iter().filter(|key| is_there(key)).count();
    let theirs = |start: usize| {
        absent[start..start + STEPS].iter().filter(|key| std.get(*key).is_some()).count()
    };
    let what = format!("{count:>9} entries, absent keys");
    compare(&what, count, |start| ours(start) as u64, |start| theirs(start) as u64);
}

/// Measures what a read transaction per lookup costs over one for all lookups: the median of the
/// differences between adjacent rounds.
fn begin_and_end(store: &Store, map: Link<Map>, chain: &[u64]) {
    let mut nanos: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let key = chain[round * STEPS % (chain.len() - STEPS + 1)];
            let (mut x, mut y) = (0, 0);
            // The first lookups load the round's cache lines, whichever side runs first.
            let warm = chain_map(store, map, key, STEPS);
            black_box(chain_map(store, map, key, STEPS));
            let mut turn = |is_each: bool| {
                let sum = if is_each { &mut y } else { &mut x };
                let walk = if is_each { chain_reads } else { chain_map };
                time(|| *sum = black_box(walk(store, map, key, STEPS)))
            };
            let first = turn(round % 2 == 0);
            let second = turn(round % 2 == 1);
            let (each, one) = if round % 2 == 0 { (first, second) } else { (second, first) };
            assert!(x == y && x == warm);
            (each.as_nanos() as f64 - one.as_nanos() as f64) / STEPS as f64
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!(
        "{:>9} entries, a read transaction each adds {:.1} ns ({:.1} to {:.1})",
        chain.len(),
        nanos[ROUNDS / 2],
        nanos[ROUNDS / 4],
        nanos[ROUNDS * 3 / 4],
    );
}

/// Measures the log bytes of inserts, one per transaction. The log has its final length from the
/// start: a move would describe the new pages in a separate transaction, which must not be
/// attributed to the next insert.
fn log_of_inserts(folder: &Folder, count: u64) {
    const LOG_BYTES: u64 = 16 << 20;
    let options = OpenOptions::new()
        .durability(Durability::Deferred)
        .log_bytes(LOG_BYTES)
        .max_log_bytes(LOG_BYTES);
    let store = folder.open("log", &options);
    let map = store.update(|tx| tx.root_or_insert_with("map", Map::new)).expect("a map");
    let mut random = Rng::with_seed(3);
    let (mut last, mut slowest, mut all) = (0, 0, 0);
    let spent = time(|| {
        for number in 0..count {
            let mut tx = store.write().expect("a transaction");
            let position = tx.position();
            if number > 0 {
                slowest = slowest.max(position - last);
                all += position - last;
            }
            last = position;
            map.insert(&mut tx, &random.u64(..), [number; 8]).expect("an insert");
            tx.commit().expect("a commit");
        }
    });
    println!(
        "{count:>9} inserts, a transaction each: {} log bytes on average, {slowest} at most, {:?} each",
        all / count,
        spent / count as u32,
    );
    let stats = store.stats().expect("figures");
    println!("          file {:.3} of the payload", stats.file_bytes as f64 / count as f64 / 72.0);
}

/// Measures the file's bytes per entry at many sizes, good and bad ones.
fn bytes_at_all_sizes(folder: &Folder, entries: &[(u64, Value)]) {
    let options = OpenOptions::new().durability(Durability::Deferred);
    let store = folder.open(&format!("sizes-{}", entries.len()), &options);
    let map = insert_all(&store, "map", &[]);
    let mut live: Vec<f64> = Vec::new();
    let mut done = 0;
    for next in (500_000..=entries.len()).step_by(25_000) {
        let mut tx = store.write().expect("a transaction");
        for (key, value) in &entries[done..next] {
            map.insert(&mut tx, key, *value).expect("an insert");
        }
        tx.commit().expect("a commit");
        done = next;
        let stats = store.stats().expect("figures");
        live.push(
            (stats.pages.slabs + stats.pages.runs + stats.pages.own) as f64 * 4096.0
                / next as f64
                / 72.0,
        );
    }
    live.sort_by(f64::total_cmp);
    println!(
        "used pages of the payload from 500k to {}: {:.3} to {:.3}",
        entries.len(),
        live[0],
        live[live.len() - 1]
    );
}

fn main() {
    let asked =
        std::env::args().filter_map(|argument| argument.parse().ok()).collect::<Vec<usize>>();
    let folder = Folder::new();
    for count in if asked.is_empty() { vec![1_000_000, 10_000_000] } else { asked } {
        let entries = entries(count);
        let sides = inserts(&folder, &entries);
        lookups(&sides);
        bytes_at_all_sizes(&folder, &entries);
    }
    log_of_inserts(&folder, 10_000_000);
}
