//! No number in a collection's header can make it panic, hang or take much memory: every method
//! returns a value or an error.

use std::cmp::Ordering;

use flagstone::collections::{Deque, Vec as StoreVec};
use flagstone::{Bytes, Link, Persist, Result, Store, Text, WriteTx, persist};
use testkit::{Random, seed};

/// An element that owns more of its own type, so damage can make it own the list that contains
/// it.
#[persist]
struct Node {
    list: StoreVec<Node>,
    ring: Deque<Node>,
    name: Text,
}

pub type Method<T> = fn(Link<T>, &mut WriteTx<'_>) -> Result<()>;

/// A store with a few objects, and the numbers that an attacker would write.
struct Ground {
    store: Store,
    hostile: Vec<u64>,
}

fn ground() -> Result<Ground> {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let (number, array) = (tx.alloc(7u64)?, tx.alloc_slice([7u64; 2000])?);
    let other = StoreVec::from_iter(&mut tx, 0..40u64)?;
    let other = tx.alloc(other)?;
    let other_items = tx.read(Link::<[u64; 3]>::from_parts(other.offset(), 1))?[0];
    let (freed, freed_array) = (tx.alloc(8u64)?, tx.alloc_slice([7u64; 3000])?);
    tx.free(freed)?;
    tx.free(freed_array)?;
    let heap_bytes = store.stats()?.heap_bytes;
    tx.commit()?;
    let places = [number.offset(), array.offset(), other.offset(), other_items];
    let freed = [freed.offset(), freed_array.offset()];
    let sizes = [0, 1, 2, 3, 5, 7, 8, 64, 2000, 4096, 8192, 12_288, 1 << 20, 1 << 32];
    let huge = [1 << 40, 1 << 60, 1 << 63, u64::MAX / 24, u64::MAX / 8, u64::MAX - 7, u64::MAX];
    let edge = [heap_bytes - 8, heap_bytes, heap_bytes + 8];
    // The first pages and those after the objects belong to flagstone.
    let hostile = [&places[..], &freed, &sizes, &huge, &edge].concat();
    Ok(Ground { store, hostile })
}

/// Runs `methods` on the value of `make`, for each hostile number in each of the header's `N`
/// words, and then for random ones in all of them.
fn with_hostile_headers<T: Persist, const N: usize>(
    make: impl Fn(&mut WriteTx<'_>) -> Result<T>,
    methods: &[Method<T>],
) {
    const { assert!(size_of::<T>() == N * 8) };
    let Ground { store, hostile } = ground().unwrap();
    let seed = seed(1);
    println!("FLAGSTONE_SEED={seed}");
    let mut random = Random::new(seed);
    let words = |link: Link<T>| Link::<[u8; 8]>::from_parts(link.offset(), 1);
    let mut changes: Vec<Vec<(usize, u64)>> = Vec::new();
    for word in 0..N {
        changes.extend(hostile.iter().map(|number| vec![(word, *number)]));
    }
    changes.extend(hostile.iter().map(|number| (0..N).map(|word| (word, *number)).collect()));
    for _ in 0..400 {
        changes.push((0..N).map(|word| (word, random.pick(&hostile))).collect());
    }
    for change in changes {
        for method in methods {
            let mut tx = store.write().unwrap();
            let value = make(&mut tx).unwrap();
            let link = tx.alloc(value).unwrap();
            for (word, number) in &change {
                let place = Link::from_parts(words(link).offset() + *word as u64 * 8, 1);
                tx.put(place, number.to_le_bytes()).unwrap();
            }
            // An error is as good as a value, also for a second call on the state that the first
            // one left.
            for _ in 0..2 {
                let _ = method(link, &mut tx);
            }
            tx.rollback();
        }
    }
    assert!(store.stats().unwrap().file_bytes < 64 << 20);
    assert!(store.check().unwrap().is_clean());
}

/// Runs each expression separately, since a failing one must not hide the next.
macro_rules! methods {
    ($link:ident: $type:ty, $tx:ident: $($call:expr;)*) => {
        &[$(|$link: Link<$type>, $tx: &mut WriteTx<'_>| {
            let _ = $call;
            Ok(())
        },)*]
    };
}
pub(super) use methods;

fn numbers(tx: &mut WriteTx<'_>) -> Result<StoreVec<u64>> {
    StoreVec::from_iter(tx, 0..9)
}

/// Returns the numbers 1 to 9; the last one is just before the wrap-around.
fn ring(tx: &mut WriteTx<'_>) -> Result<Deque<u64>> {
    let deque = Deque::from_iter(tx, 0..9u64)?;
    let link = tx.alloc(deque)?;
    link.pop_front(tx)?;
    link.push_back(tx, 9)?;
    Ok(std::mem::take(tx.at_mut(link)?))
}

#[test]
fn a_vector_of_numbers() {
    with_hostile_headers::<_, 3>(
        numbers,
        methods! { vec: StoreVec<u64>, tx:
            tx.at(vec)?.as_slice(tx)?.iter().max();
            (tx.at(vec)?.get(tx, 3)?, tx.at(vec)?.get(tx, u64::MAX)?);
            (tx.at(vec)?.get_range(tx, ..)?, tx.at(vec)?.get_range(tx, u64::MAX..)?);
            (tx.at(vec)?.first(tx)?, tx.at(vec)?.last(tx)?, tx.at(vec)?.link(1 << 61));
            (tx.at(vec)?.contains(tx, &77)?, tx.at(vec)?.binary_search(tx, &5)?);
            tx.at(vec)?.partition_point(tx, |_| true)?;
            vec.push(tx, 1)?;
            vec.pop(tx)?;
            vec.pop_if(tx, |_| true)?;
            vec.get_mut(tx, 2)?.map(|place| *place = 1);
            vec.last_mut(tx)?.map(|place| *place = 1);
            vec.get_disjoint_mut(tx, [0, 1 << 61])?;
            vec.as_mut_slice(tx)?.fill(1);
            vec.replace(tx, 1, 1)?;
            vec.extend(tx, 0..20)?;
            vec.extend_from_within(tx, ..)?;
            { let other = numbers(tx)?; let other = tx.alloc(other)?; vec.append(tx, other)? };
            { let other = numbers(tx)?; let other = tx.alloc(other)?; other.append(tx, vec)? };
            vec.split_off(tx, 1)?;
            vec.insert(tx, 1, 1)?;
            vec.remove(tx, 1)?;
            vec.swap_remove(tx, 1)?;
            vec.drain(tx, ..)?;
            vec.splice(tx, 1.., [1; 30])?;
            vec.swap(tx, 0, 1)?;
            vec.copy_within(tx, 1.., 0)?;
            vec.reserve(tx, 1)?;
            vec.reserve_exact(tx, 1)?;
            vec.shrink_to_fit(tx)?;
            vec.clear(tx)?;
            vec.truncate(tx, 1)?;
            vec.resize(tx, 20, 1)?;
            vec.retain(tx, |number| number % 2 == 0)?;
            vec.dedup_by(tx, |_, _| true)?;
            vec.duplicate(tx)?;
            vec.sort(tx)?;
            vec.sort_by_cached_key(tx, |_, number| Ok(*number))?;
            vec.sort_unstable_by(tx, |_, _| Ordering::Equal)?;
            vec.reverse(tx)?;
            vec.rotate_left(tx, 1)?;
            vec.rotate_right(tx, 1)?;
            tx.free_deep(vec)?;
        },
    );
}

#[test]
fn a_deque_of_numbers() {
    with_hostile_headers::<_, 4>(
        ring,
        methods! { deque: Deque<u64>, tx:
            tx.at(deque)?.iter(tx)?.rev().max();
            (tx.at(deque)?.get(tx, 3)?, tx.at(deque)?.get(tx, u64::MAX)?);
            tx.at(deque)?.range(tx, 1..)?.count();
            (tx.at(deque)?.front(tx)?, tx.at(deque)?.back(tx)?, tx.at(deque)?.link(1 << 61));
            (tx.at(deque)?.contains(tx, &77)?, tx.at(deque)?.binary_search(tx, &5)?);
            deque.push_back(tx, 1)?;
            deque.push_front(tx, 1)?;
            deque.pop_front(tx)?;
            deque.pop_back(tx)?;
            deque.get_mut(tx, 2)?.map(|place| *place = 1);
            deque.back_mut(tx)?.map(|place| *place = 1);
            deque.replace(tx, 1, 1)?;
            deque.swap(tx, 0, 1)?;
            deque.extend(tx, 0..20)?;
            { let other = ring(tx)?; let other = tx.alloc(other)?; deque.append(tx, other)? };
            { let other = ring(tx)?; let other = tx.alloc(other)?; other.append(tx, deque)? };
            deque.reserve(tx, 1)?;
            deque.reserve_exact(tx, 1)?;
            deque.shrink_to_fit(tx)?;
            deque.make_contiguous(tx)?.sort();
            deque.insert(tx, 1, 1)?;
            deque.insert(tx, 7, 1)?;
            deque.remove(tx, 1)?;
            deque.swap_remove_front(tx, 2)?;
            deque.swap_remove_back(tx, 2)?;
            deque.drain(tx, 1..3)?;
            deque.drain(tx, ..)?;
            deque.split_off(tx, 1)?;
            deque.truncate(tx, 1)?;
            deque.clear(tx)?;
            deque.resize(tx, 20, 1)?;
            deque.retain(tx, |number| number % 2 == 0)?;
            deque.rotate_left(tx, 1)?;
            deque.rotate_right(tx, 1)?;
            tx.free_deep(deque)?;
        },
    );
}

#[test]
fn texts_and_bytes() {
    const LONG: &str = "a text that is too long to lie inline, and so has an allocation";
    with_hostile_headers::<_, 3>(
        |tx| Text::new(tx, LONG),
        methods! { text: Text, tx:
            (tx.at(text)?.len()?, tx.at(text)?.is_empty()?);
            tx.at(text)?.as_str(tx)?.len();
            text.set(tx, "short")?;
            text.replace(tx, LONG)?;
            text.push_str(tx, LONG)?;
            text.change(tx, |text| text.pop())?;
            text.duplicate(tx)?;
            text.clear(tx)?;
            tx.free_deep(text)?;
        },
    );
    with_hostile_headers::<_, 3>(
        |tx| Bytes::new(tx, LONG.as_bytes()),
        methods! { bytes: Bytes, tx:
            tx.at(bytes)?.as_bytes(tx)?.len();
            bytes.set(tx, b"short")?;
            bytes.as_mut_bytes(tx)?.fill(1);
            bytes.extend_from_slice(tx, LONG.as_bytes())?;
            bytes.duplicate(tx)?;
            bytes.clear(tx)?;
        },
    );
}

/// Returns a node with four nodes in each list.
fn node(tx: &mut WriteTx<'_>) -> Result<Node> {
    let leaf = |tx: &mut WriteTx<'_>| {
        let name = Text::new(tx, "a name that is too long to lie inline")?;
        Ok(Node { list: StoreVec::new(), ring: Deque::new(), name })
    };
    let (list, ring) = (tx.alloc(StoreVec::new())?, tx.alloc(Deque::new())?);
    list.resize_with(tx, 4, leaf)?;
    ring.resize_with(tx, 4, leaf)?;
    let (list, ring) = (std::mem::take(tx.at_mut(list)?), std::mem::take(tx.at_mut(ring)?));
    Ok(Node { list, ring, ..leaf(tx)? })
}

#[test]
fn lists_of_what_owns_lists() {
    use flagstone::field;
    with_hostile_headers::<_, 10>(
        node,
        methods! { node: Node, tx:
            node.field(field!(Node, list)).truncate(tx, 1)?;
            node.field(field!(Node, list)).retain(tx, |_| false)?;
            node.field(field!(Node, list)).clear(tx)?;
            node.field(field!(Node, list)).pop(tx)?.map(|node| tx.release(node));
            node.field(field!(Node, ring)).truncate(tx, 1)?;
            node.field(field!(Node, ring)).retain(tx, |_| false)?;
            node.field(field!(Node, ring)).clear(tx)?;
            node.field(field!(Node, ring)).pop_front(tx)?.map(|node| tx.release(node));
            tx.free_deep(node)?;
        },
    );
}

/// Elements that own the allocation that contains them.
#[test]
fn elements_that_own_where_they_lie() {
    use flagstone::field;
    let store = Store::in_memory().unwrap();
    let calls: &[Method<Node>] = methods! { node: Node, tx:
        node.field(field!(Node, list)).truncate(tx, 1)?;
        node.field(field!(Node, list)).retain(tx, |_| false)?;
        node.field(field!(Node, list)).clear(tx)?;
        node.field(field!(Node, ring)).truncate(tx, 1)?;
        node.field(field!(Node, ring)).retain(tx, |_| false)?;
        node.field(field!(Node, ring)).clear(tx)?;
        tx.free_deep(node)?;
    };
    for call in calls {
        let mut tx = store.write().unwrap();
        let value = node(&mut tx).unwrap();
        let outer = tx.alloc(value).unwrap();
        let headers = tx.read(Link::<[u64; 7]>::from_parts(outer.offset(), 1)).unwrap();
        for index in 0..4 {
            for offset in [headers[0], headers[3]] {
                let element = Link::from_parts(offset + index * size_of::<Node>() as u64, 1);
                tx.put(element, headers).unwrap();
            }
        }
        let _ = call(outer, &mut tx);
        tx.rollback();
    }
    assert!(store.check().unwrap().is_clean());
}

/// Capacities and indices that a caller may request by mistake.
#[test]
fn room_that_no_file_has_and_places_that_no_list_has() {
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let (vec, deque) = (numbers(&mut tx).unwrap(), ring(&mut tx).unwrap());
    let (vec, deque) = (tx.alloc(vec).unwrap(), tx.alloc(deque).unwrap());
    for huge in [1 << 61, 1 << 63, u64::MAX - 1, u64::MAX] {
        assert!(StoreVec::<u64>::with_capacity(&mut tx, huge).is_err());
        assert!(Deque::<u64>::with_capacity(&mut tx, huge).is_err());
        assert!(vec.reserve(&mut tx, huge).is_err());
        assert!(vec.reserve_exact(&mut tx, huge).is_err());
        assert!(vec.resize(&mut tx, huge, 1).is_err());
        assert!(vec.insert(&mut tx, huge, 1).is_err());
        assert!(vec.remove(&mut tx, huge).is_err());
        assert!(vec.split_off(&mut tx, huge).is_err());
        assert!(vec.drain(&mut tx, huge..).is_err());
        assert!(vec.drain(&mut tx, ..=huge).is_err());
        assert!(vec.copy_within(&mut tx, 1.., huge).is_err());
        assert!(vec.rotate_left(&mut tx, huge).is_err());
        assert!(deque.reserve(&mut tx, huge).is_err());
        assert!(deque.reserve_exact(&mut tx, huge).is_err());
        assert!(deque.resize(&mut tx, huge, 1).is_err());
        assert!(deque.insert(&mut tx, huge, 1).is_err());
        assert!(deque.remove(&mut tx, huge).unwrap().is_none());
        assert!(deque.swap(&mut tx, 0, huge).is_err());
        assert!(deque.rotate_right(&mut tx, huge).is_err());
    }
    let error = vec.swap(&mut tx, 3, 9).unwrap_err().to_string();
    assert_eq!(error, "index 9 of a flagstone::Vec<u64> of 9 elements; expected one below 9");
    let null = Link::<StoreVec<u64>>::null();
    assert!(null.push(&mut tx, 1).is_err() && null.clear(&mut tx).is_err());
    assert!(Link::<Deque<u64>>::null().push_back(&mut tx, 1).is_err());
    assert!(Link::<Text>::null().set(&mut tx, "text").is_err());
    assert_eq!(tx.at(vec).unwrap().len(), 9);
}

/// An iterator or predicate of the caller that panics leaves a usable list.
#[test]
fn a_panic_of_the_callers_leaves_the_list_whole() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let (vec, deque) = (numbers(&mut tx).unwrap(), ring(&mut tx).unwrap());
    let (vec, deque) = (tx.alloc(vec).unwrap(), tx.alloc(deque).unwrap());
    let bad = || (0..100u64).map(|number| if number < 70 { number } else { panic!("meant") });
    let is_caught = |call: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(call)).is_err();
    assert!(is_caught(&mut || drop(vec.extend(&mut tx, bad()))));
    assert!(is_caught(&mut || drop(vec.splice(&mut tx, 1..2, bad()))));
    assert!(is_caught(&mut || drop(vec.retain(&mut tx, |number| *number < 5 && panic!("meant")))));
    assert!(is_caught(&mut || drop(deque.extend(&mut tx, bad()))));
    assert!(is_caught(&mut || drop(deque.retain(&mut tx, |_| panic!("meant")))));
    assert_eq!(tx.at(vec).unwrap().as_slice(&tx).unwrap()[..9], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(tx.at(deque).unwrap().iter(&tx).unwrap().copied().eq((1..10).chain(0..70)));
    vec.push(&mut tx, 1).unwrap();
    tx.free_deep(vec).unwrap();
    tx.free_deep(deque).unwrap();
    tx.commit().unwrap();
    assert!(store.check().unwrap().is_clean());
}
