//! Promise: following, changing through, freeing or rooting a link that does not lead to a value
//! of its type is an error. It is never a panic, never another object's bytes, and never a change
//! to flagstone's own structures.

use flagstone::{Link, LinkChecks, OpenOptions, Persist, Result, Store, WriteTx, persist};
use testkit::{TestResult, assert_refused, refusal};

const PAGE_BYTES: u64 = 4096;

#[persist]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Node {
    value: u64,
    next: Link<Node>,
}

#[persist]
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Colour {
    Red = 1,
    Green = 5,
}

#[persist]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pixel {
    colour: Colour,
    shown: bool,
}

fn node(value: u64) -> Node {
    Node { value, next: Link::null() }
}

fn nodes(count: u32) -> impl ExactSizeIterator<Item = Node> {
    (0..count).map(|index| node(index.into()))
}

fn link<T: Persist>(offset: u64) -> Link<T> {
    Link::from_parts(offset, 1)
}

fn with_checks(checks: LinkChecks) -> Result<Store> {
    OpenOptions::new().link_checks(checks).open_in_memory()
}

fn by_bounds() -> Result<Store> {
    with_checks(LinkChecks::Bounds)
}

fn strict() -> Result<Store> {
    with_checks(LinkChecks::Live)
}

/// Checks that every way to change something through `place` is refused.
fn expect_no_change<T: Persist + Copy>(tx: &mut WriteTx<'_>, place: Link<T>, value: T) {
    refusal(tx.get_mut(place));
    refusal(tx.at_mut(place));
    refusal(tx.put(place, value));
    refusal(tx.get_disjoint_mut([place]));
    refusal(tx.free(place));
    refusal(tx.set_root("bad", place));
    let array = Link::<[T]>::from_parts(place.offset(), 1);
    refusal(tx.get_mut(array));
    refusal(tx.copy_within(array, 0..1, 0));
    refusal(tx.free(array));
    refusal(tx.set_root("bad", array));
}

#[test]
fn a_null_link_is_none_for_get_and_an_error_elsewhere() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let null = Link::<Node>::null();
    assert!(tx.get(null)?.is_none() && tx.get_mut(null)?.is_none());
    assert!(tx.get(Link::<[Node]>::null())?.is_none());
    assert_refused!(tx.at(null), LinkNull { .. });
    assert_refused!(tx.read(null), LinkNull { .. });
    assert_refused!(tx.at_mut(null), LinkNull { .. });
    assert_refused!(tx.put(null, node(1)), LinkNull { .. });
    assert_refused!(tx.free(null), LinkNull { .. });
    assert_refused!(tx.free(Link::<[Node]>::null()), LinkNull { .. });
    assert_refused!(tx.get_disjoint_mut([null]), LinkNull { .. });
    tx.set_root("none", null)?;
    assert!(tx.root::<Node>("none")?.is_null());
    Ok(())
}

#[test]
fn an_offset_or_a_count_past_the_end_is_out_of_bounds() -> TestResult {
    for store in [by_bounds()?, strict()?] {
        let mut tx = store.write()?;
        let array = tx.alloc_slice(nodes(8))?;
        tx.commit()?;
        let end = store.stats()?.heap_bytes;
        for offset in [end, end + 8, 1 << 40, 1 << 63, u64::MAX - 15, u64::MAX - 7, u64::MAX] {
            let mut tx = store.write()?;
            let place = link::<Node>(offset);
            refusal(tx.get(place));
            refusal(tx.get(Link::<[u8]>::from_parts(offset, u64::MAX)));
            expect_no_change(&mut tx, place, node(1));
            expect_no_change(&mut tx, link::<u8>(offset), 1);
        }
        let mut tx = store.write()?;
        let counts = [end, 1 << 32, 1 << 60, (1 << 60) + 1, u64::MAX / 16, u64::MAX - 7, u64::MAX];
        for count in counts {
            let long = Link::<[Node]>::from_parts(array.offset(), count);
            assert_refused!(tx.get(long), LinkNotLive { .. } | LinkOutOfBounds { .. });
            assert_refused!(tx.get_mut(long), LinkOutOfBounds { .. });
            refusal(tx.copy_within(long, 0..1, 1));
            assert_refused!(tx.free(long), LinkNotWhole { .. });
            assert_refused!(tx.set_root("long", long), LinkNotWhole { .. });
        }
        assert_eq!(tx.at(array)?.len(), 8);
    }
    Ok(())
}

#[test]
fn arithmetic_on_links_does_not_overflow() {
    let end = Link::<[u64]>::from_parts(u64::MAX - 7, u64::MAX);
    assert_eq!(end.index(0), Some(link(u64::MAX - 7)));
    assert_eq!(end.index(1), None);
    assert_eq!(end.index(u64::MAX - 1), None);
    let array = Link::<[u64]>::from_parts(4096, 3);
    assert_eq!(array.index(2), Some(link(4112)));
    assert_eq!(array.index(3), None);
    assert_eq!(array.prefix(3), Some(array));
    assert_eq!(array.prefix(4), None);
    assert!(array.prefix(0).is_some_and(Link::is_empty));
}

#[test]
fn a_misaligned_link_is_refused() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let array = tx.alloc_slice(nodes(8))?;
    for shift in [1, 2, 4, 7] {
        let bad = link::<Node>(array.offset() + shift);
        assert_refused!(tx.get(bad), LinkMisaligned { align_bytes: 8, .. });
        assert_refused!(tx.get_mut(bad), LinkMisaligned { .. });
        assert_refused!(tx.put(bad, node(1)), LinkMisaligned { .. });
        assert_refused!(tx.get_disjoint_mut([bad]), LinkMisaligned { .. });
        assert_refused!(tx.free(bad), LinkNotWhole { .. });
        assert_refused!(tx.set_root("bad", bad), LinkNotWhole { .. });
        let bad = Link::<[Node]>::from_parts(bad.offset(), 2);
        assert_refused!(tx.get(bad), LinkMisaligned { .. });
        assert_refused!(tx.get_mut(bad), LinkMisaligned { .. });
    }
    Ok(())
}

#[test]
fn freed_memory_cannot_be_changed_and_is_read_only_without_liveness_checks() -> TestResult {
    for (store, is_strict) in [(by_bounds()?, false), (strict()?, true)] {
        let mut tx = store.write()?;
        let _neighbour = tx.alloc(node(1))?;
        let freed = tx.alloc(node(2))?;
        let freed_run = tx.alloc_slice(nodes(5000))?;
        let _after = tx.alloc_slice(nodes(5000))?;
        tx.free(freed)?;
        tx.free(freed_run)?;
        for _ in 0..2 {
            assert_refused!(tx.get_mut(freed), LinkNotLive { .. });
            assert_refused!(tx.put(freed, node(3)), LinkNotLive { .. });
            assert_refused!(tx.get_disjoint_mut([freed]), LinkNotLive { .. });
            assert_refused!(tx.get_mut(freed_run), LinkNotLive { .. });
            assert_refused!(tx.copy_within(freed_run, 0..1, 1), LinkNotLive { .. });
            assert_refused!(tx.free(freed), LinkNotWhole { .. });
            assert_refused!(tx.free(freed_run), LinkNotWhole { .. });
            assert_refused!(tx.set_root("freed", freed), LinkNotWhole { .. });
            tx.commit()?;
            let reader = store.read()?;
            if is_strict {
                assert_refused!(reader.get(freed), LinkNotLive { .. });
                assert_refused!(reader.get(freed_run), LinkNotLive { .. });
            } else {
                // Any bytes are a valid node.
                assert!(reader.get(freed)?.is_some());
                assert!(reader.get(freed_run).is_ok_and(|nodes| nodes.is_some()));
            }
            tx = store.write()?;
        }
        store.check()?.into_result()?;
    }
    Ok(())
}

/// Returns the pages of the heap to which `accepts` takes a link, probed with one byte in each.
fn pages_where(heap_bytes: u64, mut accepts: impl FnMut(Link<u8>) -> bool) -> Vec<u64> {
    let pages = 0..heap_bytes / PAGE_BYTES;
    pages.filter(|page| accepts(link(page * PAGE_BYTES + 64))).collect()
}

#[test]
fn only_objects_of_users_can_be_changed() -> TestResult {
    for store in [by_bounds()?, strict()?] {
        let mut tx = store.write()?;
        let array = tx.alloc_slice(nodes(1000))?;
        tx.set_root("array", array)?;
        tx.commit()?;
        let stats = store.stats()?;
        let mut tx = store.write()?;
        let heap = stats.heap_bytes;
        let first = array.offset() / PAGE_BYTES;
        let of_array: Vec<u64> = (first..first + 1000 * 16 / PAGE_BYTES + 1).collect();
        assert_eq!(pages_where(heap, |place| tx.get_mut(place).is_ok()), of_array);
        assert_eq!(pages_where(heap, |place| tx.put(place, 0).is_ok()), of_array);
        assert_eq!(pages_where(heap, |place| tx.free(place).is_ok()), [0u64; 0]);
        assert_eq!(pages_where(heap, |place| tx.set_root("any", place).is_ok()), [0u64; 0]);
        tx.rollback();
        assert_eq!(store.read()?.at(array)?[999], node(999));
        store.check()?.into_result()?;
    }
    Ok(())
}

#[test]
fn no_byte_of_the_log_can_be_read() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let _ = tx.alloc(node(1))?;
    tx.commit()?;
    let stats = store.stats()?;
    let reader = store.read()?;
    let hidden = pages_where(stats.heap_bytes, |place| reader.get(place).is_err());
    assert_eq!(hidden.len() as u64, stats.pages.log);
    let (start, end) = (hidden[0] * PAGE_BYTES, (hidden[hidden.len() - 1] + 1) * PAGE_BYTES);
    assert_eq!(end - start, stats.log_bytes, "one region");
    let seen = |offset, count| reader.get(Link::<[u8]>::from_parts(offset, count)).is_ok();
    assert!(seen(start - 64, 64) && seen(end, 64));
    assert!(!seen(start - 64, 65) && !seen(end - 1, 64) && !seen(start - 1, end - start + 2));
    assert!(!seen(64, stats.heap_bytes - 64), "a slice over all of it");
    let mut tx = store.write()?;
    for offset in [start, start + 4096, end - 64] {
        assert_refused!(tx.get(link::<Node>(offset)), LinkOutOfBounds { .. });
        expect_no_change(&mut tx, link(offset), node(9));
    }
    Ok(())
}

#[test]
fn bytes_that_are_no_value_are_refused() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let good = Pixel { colour: Colour::Green, shown: true };
    let pixels = tx.alloc_slice([good; 2])?;
    let single = tx.alloc(good)?;
    let start = pixels.offset();
    for (place, byte) in [(0, 0), (0, 2), (0, 4), (0, 255), (1, 2), (1, 255), (3, 2)] {
        let savepoint = tx.savepoint()?;
        tx.put(link::<u8>(start + place), byte)?;
        let (bad, fine) = match place {
            3 => (1, 0),
            _ => (0, 1),
        };
        let (bad, fine) = (pixels.index(bad).unwrap(), pixels.index(fine).unwrap());
        assert_refused!(tx.get(bad), InvalidBits { .. });
        assert_refused!(tx.get(pixels), InvalidBits { .. });
        assert_refused!(tx.get_mut(bad), InvalidBits { .. });
        assert_refused!(tx.get_mut(pixels), InvalidBits { .. });
        assert_refused!(tx.get_disjoint_mut([fine, bad]), InvalidBits { .. });
        assert_eq!(tx.read(fine)?, good);
        tx.put(bad, good)?;
        assert_eq!(tx.at(pixels)?, [good; 2], "`put` does not look at what was there");
        tx.rollback_to(savepoint)?;
    }
    assert_refused!(tx.get(link::<bool>(single.offset())), InvalidBits { .. });
    assert_eq!(tx.read(link::<Colour>(single.offset()))?, Colour::Green);
    Ok(())
}

#[test]
fn an_interior_link_can_be_followed_but_neither_freed_nor_made_a_root() -> TestResult {
    for store in [by_bounds()?, strict()?] {
        let mut tx = store.write()?;
        let small = tx.alloc_slice(nodes(8))?;
        let large = tx.alloc_slice(nodes(1000))?;
        for (array, index) in [(small, 3), (large, 700)] {
            let inside = array.index(index).unwrap();
            assert_eq!(tx.read(inside)?, node(index));
            tx.at_mut(inside)?.value += 1;
            tx.put(link::<u64>(inside.offset()), index)?;
            assert_eq!(tx.read(inside)?, node(index));
            assert_refused!(tx.free(inside), LinkNotWhole { .. });
            assert_refused!(tx.set_root("inside", inside), LinkNotWhole { .. });
            let tail = Link::<[Node]>::from_parts(inside.offset(), array.len() - index);
            assert_eq!(tx.at(tail)?.len() as u64, array.len() - index);
            assert_refused!(tx.free(tail), LinkNotWhole { .. });
            let first = array.index(0).unwrap();
            assert_refused!(tx.free(first), LinkNotWhole { .. });
            assert_refused!(tx.set_root("first", first), LinkNotWhole { .. });
        }
        let past = Link::<[Node]>::from_parts(large.offset() + 16, 1000);
        assert_refused!(tx.get_mut(past), LinkNotLive { .. });
        assert!(tx.roots()?.is_empty());
    }
    Ok(())
}

#[test]
fn only_a_whole_allocation_is_freed_and_only_once() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let single = tx.alloc(node(1))?;
    let small = tx.alloc_slice(nodes(8))?;
    let large = tx.alloc_slice(nodes(1000))?;
    let as_slice = |count| Link::<[Node]>::from_parts(single.offset(), count);
    for array in [small, large] {
        for count in [0, 1, array.len() / 2, array.len() * 2, array.len() + 1000] {
            let other = Link::<[Node]>::from_parts(array.offset(), count);
            assert_refused!(tx.free(other), LinkNotWhole { .. });
            assert_refused!(tx.set_root("other", other), LinkNotWhole { .. });
        }
        let other = Link::<[[u64; 2]]>::from_parts(array.offset(), array.len());
        assert_refused!(tx.free(other), LinkNotWhole { .. });
    }
    for count in [999, 1001] {
        let other = Link::<[Node]>::from_parts(large.offset(), count);
        assert_refused!(tx.free(other), LinkNotWhole { .. });
    }
    assert_refused!(tx.free(as_slice(1)), LinkNotWhole { .. });
    assert_refused!(tx.free(as_slice(0)), LinkNotWhole { .. });
    assert_refused!(tx.free(link::<[u64; 2]>(single.offset())), LinkNotWhole { .. });
    assert_refused!(tx.free(link::<u64>(single.offset())), LinkNotWhole { .. });
    assert_eq!((tx.read(single)?, tx.at(small)?.len(), tx.at(large)?.len()), (node(1), 8, 1000));
    tx.free(single)?;
    assert_refused!(tx.free(single), LinkNotWhole { .. });
    tx.free(small)?;
    assert_refused!(tx.free(small), LinkNotWhole { .. });
    tx.free(large)?;
    assert_refused!(tx.free(large), LinkNotWhole { .. });
    tx.commit()?;
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn overlapping_links_are_not_borrowed_at_once() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let array = tx.alloc_slice(nodes(8))?;
    let at = |index| array.index(index).unwrap();
    assert_refused!(
        tx.get_disjoint_mut([at(1), at(2), at(1)]),
        LinksOverlap { first: 0, second: 2, .. }
    );
    let between = link::<Node>(at(1).offset() + 8);
    assert_refused!(
        tx.get_disjoint_mut([at(1), between]),
        LinksOverlap { first: 0, second: 1, .. }
    );
    let [a, b] = tx.get_disjoint_mut([at(1), at(2)])?;
    std::mem::swap(a, b);
    assert_eq!((tx.read(at(1))?, tx.read(at(2))?), (node(2), node(1)));
    Ok(())
}

#[test]
fn a_range_to_copy_stays_within_its_array() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let array = tx.alloc_slice((0..10u32).map(u64::from))?;
    let far = u64::MAX;
    #[allow(clippy::reversed_empty_ranges)]
    let bad = [(0..11, 0), (5..10, 6), (0..1, 10), (0..far, 0), (0..1, far), (far..far, 0)];
    for (from, to) in bad {
        assert_refused!(tx.copy_within(array, from, to), IndexOutOfRange { len: 10, .. });
    }
    #[allow(clippy::reversed_empty_ranges)]
    for (from, to) in [(5..3, 4), (7..3, 0), (20..10, 0), (far..0, 0), (10..0, 10)] {
        assert_refused!(tx.copy_within(array, from, to), RangeReversed { len: 10, .. });
    }
    assert_refused!(tx.copy_within(Link::<[u64]>::null(), 0..0, 0), LinkNull { .. });
    tx.copy_within(array, 10..10, 0)?;
    tx.copy_within(array, 0..8, 2)?;
    assert_eq!(tx.at(array)?, [0, 1, 0, 1, 2, 3, 4, 5, 6, 7]);
    Ok(())
}

#[test]
fn a_reversed_range_is_reported_as_reversed() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let list = tx.alloc(flagstone::collections::Vec::<u64>::new())?;
    list.extend(&mut tx, 0..10)?;
    #[allow(clippy::reversed_empty_ranges)]
    let drained = list.drain(&mut tx, 7..3).map(drop);
    assert_refused!(drained, RangeReversed { start: 7, end: 3, len: 10, .. });
    assert_refused!(list.drain(&mut tx, 7..11).map(drop), IndexOutOfRange { index: 11, .. });
    Ok(())
}

/// An iterator that claims a length of its own.
struct Claims<I> {
    items: I,
    len: usize,
}

impl<I: Iterator> Iterator for Claims<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.items.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<I: Iterator> ExactSizeIterator for Claims<I> {}

#[test]
fn an_array_of_an_impossible_or_wrong_length_is_refused() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    for len in [usize::MAX, usize::MAX / 16 + 2, 1 << 60, 1 << 40, 100] {
        assert_refused!(tx.alloc_slice(Claims { items: nodes(0), len }), TooLarge { .. });
    }
    assert_refused!(tx.alloc_slice(Claims { items: 0u64.., len: 3 }), TooLarge { count: 3, .. });
    let _ = tx.alloc(node(1))?;
    tx.commit()?;
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn an_error_names_the_type_and_the_place_even_where_it_is_unwrapped() -> TestResult {
    let store = by_bounds()?;
    let tx = store.read()?;
    let error = refusal(tx.get(link::<Node>(u64::MAX - 7)));
    let message = error.to_string();
    assert!(message.contains("Node") && message.contains("0xfffffffffffffff8"), "{message}");
    assert_eq!(format!("{error:?}"), message);
    let message = refusal(tx.at(Link::<Node>::null())).to_string();
    assert!(message.contains("root_or_insert_with"), "{message}");
    Ok(())
}

#[test]
fn a_link_is_live_from_its_allocation_until_it_is_freed_or_rolled_back() -> TestResult {
    for store in [by_bounds()?, strict()?] {
        let mut tx = store.write()?;
        let first = tx.alloc(node(1))?;
        let savepoint = tx.savepoint()?;
        let second = tx.alloc(node(2))?;
        assert!(tx.is_live(first) && tx.is_live(second));
        tx.rollback_to(savepoint)?;
        assert!(tx.is_live(first) && !tx.is_live(second));
        tx.commit()?;
        let before = store.read()?;
        let mut tx = store.write()?;
        let third = tx.alloc_slice([1u64, 2, 3])?;
        tx.free(first)?;
        assert!(!tx.is_live(first) && tx.is_live(third) && before.is_live(first));
        tx.rollback();
        let after = store.read()?;
        assert!(after.is_live(first) && !after.is_live(third));
        store.update(|tx| tx.free(first))?;
        assert!(before.is_live(first) && after.is_live(first) && !store.read()?.is_live(first));
    }
    Ok(())
}

#[test]
fn what_no_allocation_holds_as_a_whole_is_not_live() -> TestResult {
    let store = by_bounds()?;
    let mut tx = store.write()?;
    let array = tx.alloc_slice([1u64, 2, 3, 4])?;
    let of = |count| Link::<[u64]>::from_parts(array.offset(), count);
    assert!(tx.is_live(of(4)) && tx.is_live(of(1)) && tx.is_live(of(0)));
    assert!(tx.is_live(array.index(3).ok_or("four")?));
    for count in [1 << 20, u64::MAX / 8, u64::MAX] {
        assert!(!tx.is_live(of(count)), "{count}");
    }
    assert!(!tx.is_live(Link::<u64>::null()) && !tx.is_live(Link::<[u64]>::null()));
    for offset in [8, PAGE_BYTES, PAGE_BYTES << 20, u64::MAX - 7, u64::MAX] {
        assert!(!tx.is_live(link::<u64>(offset)), "{offset:#x}");
        assert!(!tx.is_live(Link::<[u64]>::from_parts(offset, u64::MAX)), "{offset:#x}");
    }
    Ok(())
}
