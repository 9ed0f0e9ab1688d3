//! Promise: `check` lists the allocations that no root reaches and the links to nothing live,
//! using only the descriptions in the file. Neither counts as damage.

use flagstone::persist::{Schema, Shape};
use flagstone::{Dangling, Link, Report, Result, Store, Unreachable, WriteTx, persist};
use testkit::forge::{self, HEAP, PAGE};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, open};

#[persist]
#[derive(Clone, Copy)]
struct Node {
    value: u64,
    next: Link<Node>,
}

#[persist]
#[derive(Clone, Copy)]
struct Pair<A: Copy, B: Copy> {
    first: A,
    second: B,
}

type Ends = Pair<[Link<Node>; 2], Link<[u8]>>;

/// Links of each kind, deep inside a value.
#[persist]
#[derive(Clone, Copy)]
struct Deep {
    id: u64,
    pairs: [Ends; 3],
    numbers: Link<[Pair<u64, Link<Node>>]>,
    colour: Colour,
    _pad: [u8; 7],
}

#[persist]
#[derive(Clone, Copy)]
enum Colour {
    Red,
}

/// Fills a store, and returns its check report.
fn checked(fill: impl FnOnce(&mut WriteTx<'_>) -> Result<()>) -> Result<Report> {
    let store = Store::in_memory()?;
    store.update(fill)?;
    let report = store.check()?;
    report.clone().into_result()?;
    Ok(report)
}

/// Returns offsets, lengths and types of the unreachable allocations; checks the totals.
#[track_caller]
fn unreachable(report: &Report) -> Vec<(u64, u64, &str)> {
    let list = &report.unreachable;
    let triple = |found: &'_ Unreachable| (found.offset, found.len_bytes);
    assert_eq!(list.allocations, list.listed.len() as u64);
    assert_eq!(list.len_bytes, list.listed.iter().map(|found| triple(found).1).sum::<u64>());
    list.listed.iter().map(|x| (x.offset, x.len_bytes, &*x.type_name)).collect()
}

#[track_caller]
fn assert_nothing(report: &Report) {
    assert_eq!(unreachable(report), []);
    assert_eq!((report.dangling.links, &report.dangling.listed[..]), (0, &[][..]));
}

fn node(tx: &mut WriteTx<'_>, next: Link<Node>) -> Result<Link<Node>> {
    tx.alloc(Node { value: 0x1000, next })
}

fn list(tx: &mut WriteTx<'_>, len: u64) -> Result<Link<Node>> {
    (0..len).try_fold(Link::null(), |next, _| node(tx, next))
}

#[test]
fn an_empty_store_and_a_reachable_list_have_none() -> TestResult {
    assert_nothing(&checked(|_| Ok(()))?);
    let report = checked(|tx| {
        let head = list(tx, 10_000)?;
        tx.set_root("head", head)
    })?;
    assert_nothing(&report);
    Ok(())
}

#[test]
fn leaked_objects_and_arrays_are_listed_with_type_and_length() -> TestResult {
    let mut leaked = vec![];
    let report = checked(|tx| {
        let kept = list(tx, 3)?;
        tx.set_root("kept", kept)?;
        let numbers = tx.alloc_slice((0..10).map(|_| 1u32))?;
        let many = tx.alloc_slice((0..3000).map(|_| 1u32))?;
        let object = node(tx, Link::null())?;
        let large = tx.alloc([7u64; 500])?;
        leaked = vec![
            (object.offset(), 16, "Node"),
            (numbers.offset(), 48, "[u32]"),
            (many.offset(), 12_000, "[u32]"),
            (large.offset(), 4000, "[u64; 500]"),
        ];
        Ok(())
    })?;
    leaked.sort();
    assert_eq!(unreachable(&report), leaked);
    let shown = report.unreachable.listed[0].to_string();
    assert!(shown.contains(leaked[0].2) && shown.contains("no root reaches"), "{shown}");
    Ok(())
}

#[test]
fn long_lists_are_cut_but_their_totals_are_exact() -> TestResult {
    let report = checked(|tx| {
        let gone = list(tx, 1)?;
        let links = tx.alloc_slice((0..300).map(|_| gone))?;
        tx.set_root("links", links)?;
        tx.free(gone)?;
        for value in 0..1000u128 {
            let _ = tx.alloc(value)?;
        }
        Ok(())
    })?;
    let (unreachable, dangling) = (&report.unreachable, &report.dangling);
    assert_eq!((unreachable.allocations, unreachable.len_bytes), (1000, 16_000));
    assert_eq!((unreachable.listed.len(), dangling.listed.len()), (100, 100));
    assert_eq!(dangling.links, 300);
    Ok(())
}

#[test]
fn links_to_freed_memory_dangle() -> TestResult {
    let (mut kept, mut freed, mut array) = (Link::null(), Link::null(), Link::<[u64]>::null());
    let mut spans = Link::<[Link<[u64]>]>::null();
    let report = checked(|tx| {
        freed = list(tx, 1)?;
        kept = node(tx, freed)?;
        tx.set_root("kept", kept)?;
        tx.free(freed)?;
        array = tx.alloc_slice((0..1000u32).map(u64::from))?;
        let past = Link::from_parts(array.offset(), 1001);
        let behind = Link::from_parts(array.offset() + 8000, 1);
        let outside = Link::from_parts(1 << 40, 1);
        let own = Link::from_parts(4096, u64::MAX);
        let null = Link::from_parts(0, 7);
        let empty = tx.alloc_slice::<u64, _>([])?;
        spans = tx.alloc_slice([array, past, behind, outside, own, null, empty])?;
        tx.set_root("spans", spans)
    })?;
    assert_eq!(unreachable(&report), []);
    assert_eq!(report.dangling.links, 5);
    let found = |at: Link<[Link<[u64]>]>, index| at.index(index).map(Link::offset);
    let places: Vec<_> = report.dangling.listed.iter().map(|x| (x.offset, x.target)).collect();
    let expected = [
        (kept.offset() + 8, freed.offset()),
        (found(spans, 1).ok_or("no element")?, array.offset()),
        (found(spans, 2).ok_or("no element")?, array.offset() + 8000),
        (found(spans, 3).ok_or("no element")?, 1 << 40),
        (found(spans, 4).ok_or("no element")?, 4096),
    ];
    assert_eq!(places, expected);
    let reasons: Vec<_> = report.dangling.listed.iter().map(|x: &Dangling| x.found).collect();
    assert_eq!(reasons[0], "a free slot");
    assert!(reasons[1].contains("ends before") && reasons[2].contains("behind"), "{reasons:?}");
    assert!(report.dangling.listed[0].to_string().ends_with("which is a free slot"));
    Ok(())
}

#[test]
fn a_link_into_an_allocation_reaches_all_of_it() -> TestResult {
    let mut behind = vec![];
    let report = checked(|tx| {
        let nodes = [list(tx, 1)?, list(tx, 1)?, list(tx, 1)?, list(tx, 1)?];
        let pairs = nodes.map(|second| Pair { first: 5u64, second });
        let pairs = tx.alloc_slice(pairs)?;
        // A link to a field of the second element: that element is walked, the others are not.
        let field = Link::<u64>::from_parts(pairs.offset() + 16, 1);
        let _ = tx.root_or_insert_with("field", || field)?;
        // A link to the second and third element of an array in pages of its own.
        let long = tx.alloc_slice((0..1000).map(|_| nodes[3]))?;
        let links = Link::<[Link<Node>]>::from_parts(long.offset() + 8, 2);
        let _ = tx.root_or_insert_with("part", || links)?;
        behind = vec![nodes[0], nodes[2]];
        Ok(())
    })?;
    let expected: Vec<_> = behind.iter().map(|node| (node.offset(), 16, "Node")).collect();
    assert_eq!(unreachable(&report), expected);
    assert_eq!(report.dangling.links, 0);
    Ok(())
}

#[test]
fn an_array_field_can_be_the_target_of_a_link() -> TestResult {
    let report = checked(|tx| {
        let node = list(tx, 1)?;
        let object = tx.alloc(Pair { first: [3u32; 8], second: node })?;
        // Eight numbers, not eight structs.
        tx.root_or_insert_with("numbers", || Link::<[u32]>::from_parts(object.offset(), 8))
            .map(drop)
    })?;
    assert_nothing(&report);
    Ok(())
}

#[test]
fn links_deep_inside_values_are_followed() -> TestResult {
    let report = checked(|tx| {
        let mut pairs = vec![];
        for len in [0, 10, 5000] {
            let first = [list(tx, 4)?, Link::null()];
            let second = tx.alloc_slice((0..len).map(|_| 0xffu8))?;
            pairs.push(Pair { first, second });
        }
        let pairs = [pairs[0], pairs[1], pairs[2]];
        let mut numbers = vec![];
        for first in 0..200 {
            numbers.push(Pair { first, second: list(tx, 2)? });
        }
        let numbers = tx.alloc_slice(numbers)?;
        let deep = Deep { id: 1 << 20, pairs, numbers, colour: Colour::Red, _pad: [9; 7] };
        let all = tx.alloc_slice([deep; 30])?;
        tx.set_root("deep", all)?;
        // A link to an array of links to arrays.
        let head = list(tx, 3)?;
        let inner = tx.alloc([head; 300])?;
        let outer = tx.alloc_slice([inner; 3])?;
        tx.root_or_insert_with("links", || outer).map(drop)
    })?;
    assert_nothing(&report);
    Ok(())
}

#[test]
fn cycles_are_unreachable_together() -> TestResult {
    let mut circle = [Link::null(); 2];
    let report = checked(|tx| {
        for name in ["reachable", "not"] {
            let last = list(tx, 1)?;
            let first = node(tx, last)?;
            tx.at_mut(last)?.next = first;
            tx.set_root(name, first)?;
            circle = [last, first];
        }
        tx.remove_root("not").map(drop)
    })?;
    let expected = circle.map(|node| (node.offset(), 16, "Node"));
    assert_eq!(unreachable(&report), expected);
    assert_eq!(report.dangling.links, 0);
    Ok(())
}

#[test]
fn everything_behind_a_removed_root_is_unreachable() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    store.update(|tx| {
        let numbers = tx.alloc_slice((0..5000u32).map(u64::from))?;
        let head = list(tx, 49)?;
        let shared = list(tx, 7)?;
        let all = tx.alloc_slice([head, shared])?;
        tx.set_root("all", all)?;
        tx.set_root("shared", shared)?;
        tx.set_root("numbers", numbers)
    })?;
    assert_nothing(&store.check()?);
    store.update(|tx| tx.remove_root("all"))?;
    store.close()?;
    // Simulates another program: the file contains everything needed.
    let store = open(&path)?;
    let report = store.check()?;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(unreachable(&report).len(), 50);
    store.update(|tx| tx.set_root("numbers", Link::<[u64]>::null()))?;
    let report = store.check()?;
    assert_eq!(report.unreachable.len_bytes, 49 * 16 + 16 + 40_000);
    Ok(())
}

#[persist]
#[derive(Clone, Copy)]
struct Span {
    all: Link<[Span]>,
}

#[test]
fn overlapping_ranges_take_no_more_time_than_their_bytes() -> TestResult {
    // Each element spans all; walking each span would take hours.
    let report = checked(|tx| {
        let all = tx.alloc_slice((0..500_000).map(|_| Span { all: Link::null() }))?;
        let start = all.offset();
        for (index, span) in (0..).zip(tx.at_mut(all)?) {
            span.all = match index % 3 {
                0 => all,
                1 => Link::from_parts(start + 16 * index, 500_000 - index),
                _ => Link::from_parts(start + 8, index),
            };
        }
        let first = all.prefix(2).and_then(|two| two.index(0)).expect("an element");
        tx.root_or_insert_with("first", || first).map(drop)
    })?;
    assert_nothing(&report);
    Ok(())
}

#[test]
fn overlapping_allocations_are_reported_and_not_visited() -> TestResult {
    const RUNS: usize = 50;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    store.update(|tx| {
        let _ = tx.root_or_insert_with("long", || [Link::<u8>::null(); RUNS * 512])?;
        let mut links = vec![];
        for _ in 0..2 * RUNS {
            links.push(tx.alloc([Link::<u8>::null(); 512])?);
        }
        let links = tx.alloc_slice(links)?;
        tx.set_root("links", links)
    })?;
    let mut bytes = forge::closed(store, &path)?;
    let run_of = |pages: usize, at: &usize| {
        let line = &bytes[*at..*at + 64];
        line[..2] == [2, 1]
            && line[12..16] == (pages as u32).to_le_bytes()
            && forge::number(line, 24) == (pages * PAGE) as u64
    };
    let places = || (HEAP..bytes.len()).step_by(64);
    let long = places().find(|at| run_of(RUNS, at)).ok_or("no long run")?;
    let long = bytes[long..long + 64].to_vec();
    let short: Vec<usize> = places().filter(|at| run_of(1, at)).collect();
    let is_row = |runs: &&[usize]| runs[2 * RUNS - 1] - runs[0] == 64 * (2 * RUNS - 1);
    let row = short.windows(2 * RUNS).find(is_row).ok_or("no row of short runs")?;
    // Each begins a page after the previous one, and all are long.
    row[..RUNS].iter().for_each(|at| bytes[*at..*at + 64].copy_from_slice(&long));
    std::fs::write(&path, &bytes)?;
    let report = open(&path)?.check()?;
    let is_told = report.findings.iter().any(|x| x.what.contains("lie over each other"));
    assert!(is_told && report.unreachable.listed.is_empty(), "{:?}", report.findings);
    Ok(())
}

#[test]
fn a_string_of_bytes_is_described_by_one_line() {
    let (name, shape) = ("Text".to_string(), Shape::Bytes);
    let schema = Schema { name, size_bytes: 24, align_bytes: 8, shape };
    assert_eq!(schema.to_string(), "bytes Text size 24 align 8\n");
}
