//! Promise: whatever bytes a file contains, opening and using it yields values or errors, and
//! never a panic, a signal, an endless loop or an unbounded allocation. If `check` finds nothing,
//! the store holds a committed state, and works.
//!
//! A child damages and uses one file after another and tells its parent before it begins each, so
//! even a case that ends the process has a number. To repeat a case, set `FLAGSTONE_SEED` to its
//! number.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;

use flagstone::{
    Checkpoints, Durability, Link, LinkChecks, OpenOptions, Result, Store, WriteTx, persist,
};
use testkit::bounded::{CHILD, TIMEOUT, limit_memory};
use testkit::forge::{self, HEAP, PAGE};
use testkit::scratch::ScratchFile;
use testkit::{Random, TestResult, assert_refused, child, is_long, open_with, seed, this_test};

/// The heap header in the file, including the first directory pages.
const HEADER: Range<usize> = HEAP..HEAP + 800;
/// The pages that hold descriptors.
const DESCRIPTIONS: Range<usize> = HEAP + PAGE..HEAP + 11 * PAGE;
/// The log of the samples; registry, roots and objects follow it.
const LOG: Range<usize> = DESCRIPTIONS.end..DESCRIPTIONS.end + 16 * PAGE;
/// Nodes of the list in the samples.
const NODES: u64 = 40;
/// Address space of the child: far more than the samples need.
const MAX_BYTES: u64 = 4 << 30;

#[persist]
#[derive(Clone, Copy, PartialEq)]
enum Colour {
    Red = 3,
    Green = 200,
}

#[persist]
#[derive(Clone, Copy)]
struct Tag {
    shown: [bool; 3],
    colour: Colour,
    number: u32,
}

#[persist]
#[derive(Clone, Copy)]
struct Node {
    value: u64,
    next: Link<Node>,
    bytes: Link<[u8]>,
    tags: Link<[Tag]>,
}

fn tag(number: u64) -> Tag {
    Tag { shown: [true, false, true], colour: Colour::Green, number: number as u32 }
}

/// Returns the length in bytes of the array of node `value`: small arrays, and runs of pages.
fn array_len(value: u64) -> usize {
    (value * value * 7 % 12_000) as usize
}

fn options() -> OpenOptions {
    // A crash never leaves a file like one that is read during a checkpoint, so there are no
    // checkpoints.
    OpenOptions::new()
        .log_bytes(64 * 1024)
        .durability(Durability::Deferred)
        .checkpoints(Checkpoints::ByCommits)
}

fn push(tx: &mut WriteTx<'_>, value: u64) -> Result<()> {
    let next = tx.root::<Node>("list")?;
    let bytes = tx.alloc_slice((0..array_len(value)).map(|_| value as u8))?;
    let tags = tx.alloc_slice((0..value as u32 % 9).map(|_| tag(value)))?;
    let node = tx.alloc(Node { value, next, bytes, tags })?;
    tx.set_root("list", node)?;
    let named = tx.alloc_slice([tag(value)])?;
    tx.set_root(&format!("tag {}", value % 7), named)?;
    // Leaves free runs, and slabs with free slots.
    let gone = tx.alloc_slice((0..value as u32 * 100).map(u64::from))?;
    tx.free(gone)
}

/// Returns a store's file, closed or as a crash leaves it.
fn sample(folder: &Path, is_closed: bool) -> TestResult<Vec<u8>> {
    let path = folder.join("sample");
    let store = open_with(&path, &options())?;
    (0..NODES).try_for_each(|value| store.update(|tx| push(tx, value)))?;
    let crashed = std::fs::read(&path)?;
    let closed = forge::closed(store, &path)?;
    std::fs::remove_file(&path)?;
    Ok(if is_closed { closed } else { crashed })
}

/// Returns whether the list is a committed one.
fn is_a_committed_state(store: &Store) -> Result<bool> {
    let tx = store.read()?;
    let mut at = tx.root::<Node>("list")?;
    let mut values = Vec::new();
    while let Some(node) = tx.get(at)? {
        let (bytes, tags) = (tx.at(node.bytes)?, tx.at(node.tags)?);
        let is_right = node.value < NODES
            && bytes.len() == array_len(node.value)
            && bytes.iter().all(|byte| *byte == node.value as u8)
            && tags.len() as u64 == node.value % 9
            && tags.iter().all(|tag| tag.colour == Colour::Green && tag.shown[2]);
        if !is_right || values.len() as u64 == NODES {
            return Ok(false);
        }
        values.push(node.value);
        at = node.next;
    }
    let len = values.len() as u64;
    Ok(values.into_iter().eq((0..len).rev()))
}

/// Reads everything reachable. A damaged list may be cyclic, and bounding its traversal is the
/// program's job.
fn read_all(store: &Store) -> Result<usize> {
    let tx = store.read()?;
    let mut len = tx.roots()?.len();
    let mut at = tx.root::<Node>("list")?;
    for _ in 0..2 * NODES {
        let Some(node) = tx.get(at)? else { break };
        len += tx.get(node.bytes).map_or(0, |bytes| bytes.map_or(0, <[u8]>::len));
        len += tx.get(node.tags).map_or(0, |tags| tags.map_or(0, <[Tag]>::len));
        at = node.next;
    }
    Ok(len)
}

/// Tries each way to change something; errors do not stop it.
fn change_all(store: &Store, random: &mut Random) -> Result<()> {
    for round in 0..3 {
        let mut tx = store.write()?;
        let savepoint = tx.savepoint()?;
        let _ = change(&mut tx, random);
        if random.one_in(3) {
            tx.rollback_to(savepoint)?;
        }
        for value in 0..4 {
            let _ = push(&mut tx, random.below(100) + value);
        }
        if random.one_in(4) {
            continue;
        }
        let _ = tx.commit();
        if round == 1 {
            let _ = store.checkpoint();
        }
    }
    Ok(())
}

fn change(tx: &mut WriteTx<'_>, random: &mut Random) -> Result<()> {
    let list = tx.root::<Node>("list")?;
    let node = tx.read(list)?;
    tx.at_mut(list)?.value ^= 1;
    let _ = tx.put(list, node);
    let _ = tx.get_disjoint_mut([list, node.next]).map(|[a, b]| std::mem::swap(a, b));
    let _ = tx.copy_within(node.bytes, 0..node.bytes.len() / 2, node.bytes.len() / 3);
    let _ = tx.get_mut(node.tags).map(|tags| tags.map(|tags| tags.fill(tag(1))));
    let _ = tx.free(node.bytes);
    let _ = tx.free(node.tags);
    let _ = tx.remove_root(&format!("tag {}", random.below(7)));
    tx.set_root("list", node.next)?;
    let _ = tx.free(list);
    let _ = tx.alloc([random.next(); 200]);
    let _ = tx.alloc_slice((0..random.below(100_000) as usize).map(|_| 1u8));
    Ok(())
}

/// Opens and uses a file; returns whether every step succeeded.
fn use_file(path: &Path, random: &mut Random, is_believable: bool) -> bool {
    let tests = random.pick(&[LinkChecks::Bounds, LinkChecks::Live]);
    let options = options().link_checks(tests).salvage(random.one_in(4)).verify(random.one_in(8));
    let Ok(store) = open_with(path, &options) else { return false };
    let is_clean = store.check().is_ok_and(|report| report.is_clean());
    let is_committed = is_a_committed_state(&store);
    if is_clean && is_believable {
        assert!(is_committed.expect("a clean store can be read"), "clean, but never committed");
    }
    let stats = store.stats().is_ok();
    let read = read_all(&store).is_ok();
    let changed = change_all(&store, random).is_ok();
    let _ = read_all(&store);
    if is_clean && is_believable {
        let report = store.check().expect("a clean store can be looked at");
        assert!(report.is_clean(), "clean before it was changed, not after: {report:?}");
    }
    let closed = store.close().is_ok();
    let again = open_with(path, &options).is_ok_and(|store| read_all(&store).is_ok());
    stats && read && changed && closed && again
}

const NUMBERS: [u64; 12] =
    [0, 1, 2, 63, 64, 4096, 1 << 31, u32::MAX as u64, 1 << 44, 1 << 62, u64::MAX - 4095, u64::MAX];

/// Changes a few bits, bytes or numbers within `range`.
fn damage(bytes: &mut [u8], range: Range<usize>, random: &mut Random) {
    let range = range.start..range.end.min(bytes.len());
    if range.len() < 8 {
        return;
    }
    for _ in 0..1 + random.below(3) {
        let at = range.start + random.below(range.len() as u64 - 7) as usize;
        match random.below(5) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.next() as u8,
            3 => forge::set_number32(bytes, at / 4 * 4, random.below(600) as u32),
            _ => forge::set_number(bytes, at / 8 * 8, random.pick(&NUMBERS)),
        }
    }
}

fn swap_pages(bytes: &mut [u8], random: &mut Random) {
    let pages = (bytes.len() / PAGE) as u64;
    let [a, b] = [random.below(pages), random.below(pages)].map(|page| page as usize * PAGE);
    let (first, second) = (bytes[a..a + PAGE].to_vec(), bytes[b..b + PAGE].to_vec());
    bytes[a..a + PAGE].copy_from_slice(&second);
    if random.one_in(2) {
        bytes[b..b + PAGE].copy_from_slice(&first);
    }
}

/// Forges superblocks.
fn forge_superblocks(bytes: &mut [u8], random: &mut Random) {
    let (field, by) = (64 + 8 * random.below(9) as usize, random.pick(&NUMBERS));
    let is_sum = random.one_in(2);
    forge::superblocks(bytes, |block| {
        let old = forge::number(block, field);
        let new = if is_sum { old.wrapping_add(by.wrapping_mul(8)) } else { by };
        forge::set_number(block, field, new);
    });
}

/// Forges a record.
fn forge_log(bytes: &mut [u8], random: &mut Random) {
    let records = forge::records(bytes);
    if records.is_empty() {
        return damage(bytes, LOG, random);
    }
    let some = random.pick(&[0, records.len() / 2, records.len() - 1]);
    let record = records[some].clone();
    match random.below(4) {
        0 => damage(bytes, record.start + 32..record.start + forge::RECORD_HEADER, random),
        1 => bytes[record.start + 3] = 1 + random.below(3) as u8,
        _ => damage(bytes, record.start + forge::RECORD_HEADER..record.end, random),
    }
    forge::reseal(bytes, &records);
}

/// Applies one kind of damage. Returns `false` if the checksums were recomputed, so `check` need
/// not find it.
fn harm(bytes: &mut Vec<u8>, random: &mut Random) -> bool {
    let len = bytes.len();
    match random.below(12) {
        0 | 1 => damage(bytes, 0..len, random),
        2 => damage(bytes, 0..HEADER.start, random),
        3 | 4 => damage(bytes, HEADER, random),
        5 | 6 => damage(bytes, DESCRIPTIONS, random),
        7 => damage(bytes, LOG, random),
        8 => damage(bytes, LOG.end..LOG.end + 20 * PAGE, random),
        9 if random.one_in(2) => bytes.truncate(random.below(len as u64) as usize),
        9 => swap_pages(bytes, random),
        10 => {
            forge_superblocks(bytes, random);
            return false;
        }
        _ => {
            forge_log(bytes, random);
            return false;
        }
    }
    true
}

/// Returns the nodes of the list with their links, as far as they can be read.
fn nodes(store: &Store, mut at: Link<Node>) -> Result<Vec<(Link<Node>, Node)>> {
    let tx = store.read()?;
    let mut nodes = Vec::new();
    while let Some(node) = tx.get(at)? {
        nodes.push((at, *node));
        at = node.next;
    }
    Ok(nodes)
}

/// Allocates memory of each kind, and extends flagstone's own arrays.
fn take_space(store: &Store) -> Result<()> {
    for round in 0..20 {
        store.update(|tx| {
            let number = tx.alloc([round; 3])?;
            (0..20).try_for_each(|name| tx.set_root(&format!("{round} {name}"), number))?;
            tx.alloc_slice((0..round as usize * 1000).map(|_| 0xffu8)).map(drop)
        })?;
    }
    Ok(())
}

/// A store that trusts a forged header must not hand out memory that is in use.
#[test]
fn a_damaged_heap_header_costs_no_object() -> TestResult {
    /// The fields before the lists of free space.
    const FIELDS: Range<usize> = HEADER.start..HEADER.start + 56;
    let path = ScratchFile::new()?;
    let whole = sample(path.folder(), true)?;
    std::fs::write(&path, &whole)?;
    let store = open_with(&path, &options())?;
    let list = store.read()?.root::<Node>("list")?;
    let expected = nodes(&store, list)?;
    drop(store);
    for bit in FIELDS.start * 8..FIELDS.end * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes)?;
        let Ok(store) = open_with(&path, &options()) else { continue };
        let _ = take_space(&store);
        let _ = store.close();
        let Ok(store) = open_with(&path, &options()) else { continue };
        let tx = store.read()?;
        for (link, node) in &expected {
            let found = tx
                .get(*link)
                .is_ok_and(|found| found.is_some_and(|found| found.value == node.value));
            let bytes = tx
                .at(node.bytes)
                .is_ok_and(|bytes| bytes.iter().all(|byte| *byte == node.value as u8));
            assert!(
                found && bytes,
                "bit {bit} of byte {}: node {}",
                bit / 8 - FIELDS.start,
                node.value
            );
        }
    }
    Ok(())
}

fn run_cases(folder: &Path, cases: Range<u64>) -> TestResult {
    limit_memory(MAX_BYTES)?;
    let samples = [sample(folder, true)?, sample(folder, false)?];
    let path = folder.join("damaged");
    let mut used = 0;
    for case in cases.clone() {
        println!("case {case}");
        let mut random = Random::new(case);
        let mut bytes = samples[random.below(2) as usize].clone();
        let is_believable = harm(&mut bytes, &mut random);
        std::fs::write(&path, &bytes)?;
        used += u64::from(use_file(&path, &mut random, is_believable));
    }
    println!("all went well with {used} of {} damaged files", cases.count());
    Ok(())
}

#[test]
fn damage_of_any_kind_gives_no_more_than_errors() -> TestResult {
    let cases = if is_long() { 300_000 } else { 2000 };
    let cases = seed(1)..seed(1) + cases;
    if let Some(folder) = std::env::var_os(CHILD) {
        return run_cases(Path::new(&folder), cases);
    }
    println!("cases {cases:?}");
    // Uses a folder in memory if there is one, since the tests depend only on the bytes.
    let memory = Some(Path::new("/dev/shm")).filter(|folder| folder.is_dir());
    let folder = tempfile::tempdir_in(memory.unwrap_or(&std::env::temp_dir()))?;
    let mut child = child(&this_test!(), CHILD, folder.path()).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let mut last = String::new();
    loop {
        match told.recv_timeout(TIMEOUT) {
            Ok(line) if line.starts_with("case") => last = line,
            Ok(line) if line.starts_with("all went well") => println!("{line}"),
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                panic!("{last} takes too long");
            }
        }
    }
    let status = child.wait()?;
    assert!(status.success(), "{status} at {last}; see above");
    Ok(())
}

/// Freeing a run with a forged length also freed the pages after it, whatever they belonged to.
#[test]
fn a_run_with_a_forged_length_frees_nothing_of_others() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open_with(&path, &OpenOptions::new())?;
    store.update(|tx| {
        for name in ["a", "b"] {
            let array = tx.alloc_slice_copy(&[1u8; 2 * PAGE])?;
            tx.set_root(name, array)?;
        }
        Ok(())
    })?;
    let mut bytes = forge::closed(store, &path)?;
    let root = HEAP + forge::number32(&bytes, HEAP + 24) as usize * PAGE;
    let first = forge::number(&bytes, root + 16) as usize / PAGE;
    let descriptor = forge::descriptor(&bytes, first).expect("a page of the heap");
    for pages in [4u32, 1 << 20] {
        let len_bytes = u64::from(pages) * PAGE as u64;
        forge::set_number32(&mut bytes, descriptor + 12, pages);
        forge::set_number(&mut bytes, descriptor + 24, len_bytes);
        forge::set_number(&mut bytes, root + 24, len_bytes);
        std::fs::write(&path, &bytes)?;
        let store = open_with(&path, &OpenOptions::new())?;
        let mut tx = store.write()?;
        let array = tx.root::<[u8]>("a")?;
        assert_refused!(tx.free(array), Corrupt { .. });
        let _ = tx.alloc_slice_copy(&[3u8; 4 * PAGE])?;
        tx.commit()?;
        let tx = store.read()?;
        assert_eq!(tx.at(tx.root::<[u8]>("b")?)?, [1; 2 * PAGE]);
    }
    Ok(())
}

/// Recovery would write the end of such a record into both superblocks, and no opening could use
/// them.
#[test]
fn a_record_that_leaves_no_space_for_a_header_is_not_replayed() -> TestResult {
    const HEADER_BYTES: u64 = forge::RECORD_HEADER as u64;
    let path = ScratchFile::new()?;
    let mut closed = forge::closed(open_with(&path, &options())?, &path)?;
    forge::superblocks(&mut closed, |block| block[28] = 0);
    let newest = forge::newest(&closed);
    let [position, heap_bytes] = [104, 120].map(|field| forge::number(&closed, newest + field));
    for left_bytes in [0, 8, 40, 48, 56] {
        let mut bytes = closed.clone();
        // The first word of the body says that the rest is padding.
        let body_bytes = 2 * PAGE as u64 - position % PAGE as u64 - HEADER_BYTES - left_bytes;
        let entries = vec![0; body_bytes as usize / 8];
        forge::only_record(&mut bytes, &entries, (HEADER_BYTES + body_bytes) as u32, heap_bytes);
        std::fs::write(&path, bytes)?;
        let store = open_with(&path, &options())?;
        let is_record = store.stats()?.replayed_bytes > 0;
        assert_eq!(is_record, left_bytes == 0 || left_bytes >= HEADER_BYTES, "{left_bytes} bytes");
        store.close()?;
        open_with(&path, &options())?.close()?;
    }
    Ok(())
}
