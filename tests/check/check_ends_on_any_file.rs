//! Promise: `check` ends soon on any file, with little memory and a bounded stack, whatever
//! lengths the file claims, however deep its structures are, and however they overlap.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use flagstone::collections::{HashMap, Vec as StoreVec};
use flagstone::{Link, OpenOptions, Report, Result, WriteTx, field, persist};
use testkit::bounded::write_sparse;
use testkit::forge::{self, HEAP, PAGE};
use testkit::scratch::{ScratchFile, check_file};
use testkit::{TestResult, open_with};

/// Longer than any of these takes, even on a busy machine.
const SOON: Duration = Duration::from_secs(60);

#[persist]
#[derive(Default)]
struct Node {
    list: StoreVec<Node>,
    more: HashMap<u64, Node>,
    flags: [bool; 8],
}

fn options() -> OpenOptions {
    OpenOptions::new().log_bytes(64 * 1024)
}

fn check(path: &Path) -> Result<Report> {
    let begun = Instant::now();
    let report = check_file(path)?;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    Ok(report)
}

/// Returns a closed store that `fill` has filled.
fn closed(
    path: &Path,
    fill: impl FnOnce(&mut WriteTx<'_>, Link<Node>) -> Result<()>,
) -> TestResult<Vec<u8>> {
    let store = open_with(path, &options())?;
    store.update(|tx| {
        let node = tx.root_or_insert_with("node", Node::default)?;
        fill(tx, node)
    })?;
    forge::closed(store, path)
}

#[test]
fn nested_vectors_and_maps_take_no_stack() -> TestResult {
    let path = ScratchFile::new()?;
    closed(&path, |tx, node| {
        let mut at = node;
        for _ in 0..50_000 {
            let list = at.field(field!(Node, list));
            list.push(tx, Node::default())?;
            list.push(tx, Node::default())?;
            let Some(inner) = tx.at(list)?.link(0) else { return Ok(()) };
            at = inner;
        }
        for _ in 0..2_000 {
            let more = at.field(field!(Node, more));
            more.insert(tx, &1, Node::default())?;
            let Some(inner) = tx.at(more)?.link(tx, &1)? else { return Ok(()) };
            at = inner;
        }
        Ok(())
    })?;
    let report = check(&path)?;
    assert!(report.is_clean() && report.unreachable.allocations == 0, "{:?}", report.findings);
    Ok(())
}

/// Each vector claims to own all pages up to the end of the heap.
#[test]
fn vectors_that_overlap_are_not_all_visited() -> TestResult {
    const VECTORS: usize = 400;
    let path = ScratchFile::new()?;
    let mut bytes = closed(&path, |tx, node| {
        let list = node.field(field!(Node, list));
        list.reserve_exact(tx, VECTORS as u64)?;
        for index in 0..VECTORS as u64 {
            list.push(tx, Node::default())?;
            let Some(inner) = tx.at(list)?.link(index) else { return Ok(()) };
            // More than a page.
            inner.field(field!(Node, list)).reserve_exact(tx, 100)?;
            inner.field(field!(Node, list)).push(tx, Node::default())?;
        }
        Ok(())
    })?;
    let size = size_of::<Node>();
    let pages = forge::number32(&bytes, HEAP) as usize;
    let mut lengthened = 0;
    for page in 0..pages.min(512) {
        let descriptor = forge::descriptor(&bytes, page).expect("a page of the heap");
        let is_run =
            bytes[descriptor] == 2 && forge::number(&bytes, descriptor + 24) == 100 * size as u64;
        if !is_run {
            continue;
        }
        let elements = (pages - page) * PAGE / size;
        let run_pages = (elements * size).div_ceil(PAGE);
        forge::set_number32(&mut bytes, descriptor + 12, run_pages as u32);
        forge::set_number(&mut bytes, descriptor + 24, (elements * size) as u64);
        // The vector that names it.
        let offset = (page * PAGE) as u64;
        let named = (HEAP..bytes.len()).step_by(8).find(|at| forge::number(&bytes, *at) == offset);
        let vector = named.expect("a vector");
        forge::set_number(&mut bytes, vector + 8, elements as u64);
        forge::set_number(&mut bytes, vector + 16, elements as u64);
        lengthened += 1;
    }
    assert!(lengthened > VECTORS / 4, "{lengthened}");
    fs::write(&path, bytes)?;
    let report = check(&path)?;
    let is_told = report.findings.iter().any(|found| found.what.contains("lie over each other"));
    assert!(is_told, "{:?}", report.findings.first());
    Ok(())
}

/// Returns the file with a heap that claims this length and number of segments.
fn with_heap(closed: &[u8], pages: u32, segments: u32) -> Vec<u8> {
    let mut bytes = closed.to_vec();
    forge::lengthen_heap(&mut bytes, pages);
    forge::set_number32(&mut bytes, HEAP + 4, segments);
    bytes
}

#[test]
fn a_heap_may_claim_the_maximum_length() -> TestResult {
    let path = ScratchFile::new()?;
    let closed = closed(&path, |_, _| Ok(()))?;
    for pages in [1 << 20, 1 << 28] {
        for segments in [1, pages / 512, u32::MAX] {
            let bytes = with_heap(&closed, pages, segments);
            write_sparse(&path, &bytes, HEAP as u64 + u64::from(pages) * PAGE as u64)?;
            let report = check(&path)?;
            assert!(!report.is_clean() && report.pages == pages.into());
        }
        // A single chunk claims to describe every segment.
        let mut bytes = with_heap(&closed, pages, pages / 512);
        let directory = HEAP + forge::number32(&bytes, HEAP + 656) as usize * PAGE;
        for range in [directory..directory + PAGE, HEAP + 656..HEAP + 2704] {
            let first = forge::number32(&bytes, range.start).to_le_bytes();
            bytes[range].chunks_mut(4).for_each(|number| number.copy_from_slice(&first));
        }
        write_sparse(&path, &bytes, HEAP as u64 + u64::from(pages) * PAGE as u64)?;
        let report = check(&path)?;
        let is_told =
            report.findings.iter().any(|found| found.what.contains("that of another one"));
        assert!(is_told, "{:?}", report.findings.first());
    }
    Ok(())
}
