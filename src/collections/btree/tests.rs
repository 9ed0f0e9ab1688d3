//! Checks the invariants of the nodes after each of many changes.

use std::cmp::Ordering;

use super::layout::{Inner, Leaf};
use super::node::{InnerAt, LeafAt, Tree};
use super::value::Payload;
use crate::collections::key::{OrdKey, SortedKey};
use crate::collections::{BTreeMap, Text};
use crate::error::Result;
use crate::image::Image;
use crate::persist::{Element, Link, Persist};
use crate::store::{Store, WriteTx};

/// The results of a walk over all nodes.
#[derive(Default)]
struct Seen {
    entries: u64,
    leaves: u64,
    last: u64,
    last_key: u64,
}

fn is_zero(tx: &Image, node: u64, from: u64, to: u64) -> bool {
    tx.bytes("slots", node + from, to - from).unwrap().iter().all(|byte| *byte == 0)
}

/// Checks B1 to B4 at and below a node; returns the link to its first key.
fn look<K: SortedKey, P: Payload>(
    tx: &Image,
    (offset, level): (u64, u64),
    seen: &mut Seen,
) -> Result<Link<K>> {
    if level == 0 {
        let leaf = LeafAt::<K, P>::open(tx, offset)?;
        assert_eq!(leaf.prev, seen.last, "B2");
        if seen.last != 0 {
            assert_eq!(LeafAt::<K, P>::open(tx, seen.last)?.next, offset, "B2");
        }
        for index in 0..leaf.len {
            let key = leaf.key_link(index);
            if seen.last_key != 0 {
                let last = tx.at(Link::<K>::from_parts(seen.last_key, 1))?;
                assert_eq!(last.compare(tx, tx.at(key)?)?, Ordering::Less, "B2");
            }
            seen.last_key = key.offset();
        }
        let plan = Leaf::<K, P>::PLAN;
        assert!(is_zero(tx, offset, Leaf::<K, P>::key_at(leaf.len), plan.others_at), "B4");
        assert!(is_zero(tx, offset, Leaf::<K, P>::value_at(leaf.len), plan.size_bytes), "B4");
        (seen.last, seen.entries, seen.leaves) = (offset, seen.entries + leaf.len, seen.leaves + 1);
        return Ok(leaf.key_link(0));
    }
    let inner = InnerAt::<K, P>::open(tx, offset, level)?;
    let mut first = Link::null();
    for index in 0..inner.len {
        let before = seen.last_key;
        let below = look::<K, P>(tx, (inner.child(tx, index)?, level - 1), seen)?;
        if index == 0 {
            first = below;
            continue;
        }
        let between = tx.at(inner.key_link(index - 1))?;
        let before = tx.at(Link::<K>::from_parts(before, 1))?;
        assert_eq!(before.compare(tx, between)?, Ordering::Less, "B3");
        assert_ne!(between.compare(tx, tx.at(below)?)?, Ordering::Greater, "B3");
        if K::OWNS {
            let bytes = |link: Link<K>| tx.bytes("key", link.offset(), size_of::<K>() as u64);
            assert_eq!(bytes(inner.key_link(index - 1))?, bytes(below)?, "B3: a copy");
        }
    }
    let plan = Inner::<K, P>::PLAN;
    assert!(is_zero(tx, offset, Inner::<K, P>::key_at(inner.len - 1), plan.others_at), "B4");
    assert!(is_zero(tx, offset, Inner::<K, P>::child_at(inner.len), plan.size_bytes), "B4");
    Ok(first)
}

fn expect_sound<K: SortedKey, P: Payload>(tx: &Image, tree: &Tree<K, P>) -> Seen {
    let mut seen = Seen::default();
    if tree.root != 0 {
        let _ = look::<K, P>(tx, (tree.root, tree.height), &mut seen).unwrap();
        assert_eq!(LeafAt::<K, P>::open(tx, seen.last).unwrap().next, 0, "B2");
        if tree.height > 0 {
            assert!(InnerAt::<K, P>::open(tx, tree.root, tree.height).unwrap().len > 1);
        }
    }
    assert_eq!(seen.entries, tree.len);
    seen
}

/// Returns random numbers from a fixed seed (SplitMix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn hold_through_changes<K, V, Q>(key: impl Fn(u64) -> Q, value: impl Fn(u64) -> V, range: u64)
where
    K: OrdKey<Q::Target>,
    V: Persist,
    Q: std::ops::Deref,
{
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let map = tx.alloc(BTreeMap::<K, V>::new()).unwrap();
    let sound = |tx: &WriteTx<'_>, map: Link<BTreeMap<K, V>>| {
        expect_sound(tx, &tx.at(map).unwrap().tree().unwrap());
    };
    let mut seed = 1;
    for step in 0..6000u64 {
        // First growing, then steady, then shrinking.
        let key = key(random(&mut seed) % range);
        if random(&mut seed) % 10 < 7 - step / 1500 {
            map.insert(&mut tx, &key, value(step)).unwrap();
        } else {
            map.remove(&mut tx, &key).unwrap();
        }
        if step % 97 == 0 {
            sound(&tx, map);
        }
    }
    for n in 0..range {
        map.insert(&mut tx, &key(n), value(n)).unwrap();
    }
    sound(&tx, map);
    for by in [7, 2, 5, 3] {
        let mut count = 0u64;
        map.retain(&mut tx, |_, _| {
            count += 1;
            !count.is_multiple_of(by) && (by != 5 || !(100..400).contains(&count))
        })
        .unwrap();
        sound(&tx, map);
    }
    let right = map.split_off(&mut tx, &key(range / 2)).unwrap();
    let right = tx.alloc(right).unwrap();
    sound(&tx, map);
    sound(&tx, right);
    right.append(&mut tx, map).unwrap();
    sound(&tx, right);
    let len = tx.at(right).unwrap().len();
    for step in 0..len {
        if step % 2 == 0 { right.pop_first(&mut tx) } else { right.pop_last(&mut tx) }.unwrap();
        if step % 31 == 0 {
            sound(&tx, right);
        }
    }
    assert!(tx.at(right).unwrap().is_empty());
}

#[test]
fn nodes_are_sound_after_each_change() {
    hold_through_changes::<u64, [u64; 40], _>(Box::new, |n| [n; 40], 900);
    hold_through_changes::<u64, u64, _>(Box::new, |n| n, 4000);
    // Inner nodes of four children with keys that own nothing, and long values.
    hold_through_changes::<[u8; 600], [u64; 200], _>(
        |n| {
            let mut key = [0; 600];
            key[..8].copy_from_slice(&n.to_be_bytes());
            Box::new(key)
        },
        |n| [n; 200],
        500,
    );
    hold_through_changes::<Text, [u64; 50], _>(
        |n| format!("{}{n}", "long keys lie outside ".repeat((n % 3) as usize)),
        |n| [n; 50],
        900,
    );
}

#[test]
fn what_comes_in_order_fills_its_leaves() {
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let fewest = 10_000u64.div_ceil(Leaf::<u64, [u64; 8]>::CAPACITY);
    for keys in [Vec::from_iter(0..10_000u64), Vec::from_iter((0..10_000).rev())] {
        let map = tx.alloc(BTreeMap::<u64, [u64; 8]>::new()).unwrap();
        for key in keys {
            map.insert(&mut tx, &key, [key; 8]).unwrap();
        }
        let seen = expect_sound(&tx, &tx.at(map).unwrap().tree().unwrap());
        assert_eq!(seen.leaves, fewest);
    }
    let entries = (0..10_000).map(|key| (key, [key; 8]));
    let map = BTreeMap::<u64, [u64; 8]>::from_sorted(&mut tx, entries).unwrap();
    assert_eq!(expect_sound(&tx, &map.tree().unwrap()).leaves, fewest);
}

#[test]
fn nodes_fit_their_slots_and_their_entries() {
    fn expect<K: Persist, P: Payload>(entries: u64, leaf_bytes: u64, children: u64) {
        assert_eq!(Leaf::<K, P>::CAPACITY, entries);
        assert_eq!(Leaf::<K, P>::SIZE_BYTES, leaf_bytes);
        assert_eq!(Inner::<K, P>::CAPACITY, children);
        for (size, align) in [
            (Leaf::<K, P>::SIZE_BYTES, Leaf::<K, P>::ALIGN_BYTES),
            (Inner::<K, P>::SIZE_BYTES, Inner::<K, P>::ALIGN_BYTES),
        ] {
            assert!(size <= 2048 && size.is_multiple_of(align) || size.is_multiple_of(4096));
        }
        assert!(Leaf::<K, P>::value_at(entries) <= leaf_bytes);
    }
    expect::<u64, [u64; 8]>(28, 2048, 128);
    expect::<u64, super::value::Nothing>(253, 2048, 128);
    expect::<u8, super::value::Nothing>(2024, 2048, 226);
    expect::<i32, u8>(404, 2048, 170);
    expect::<[u8; 700], u8>(5, 4096, 6);
    expect::<u64, [u64; 375]>(4, 12288, 128);
    expect::<u64, [u8; 1 << 20]>(4, (4 << 20) + 4096, 128);
    expect::<u64, [u64; 60]>(4, 1984, 128);
}
