//! Promise: the access pattern of a store reaches the kernel, and changes the speed alone.

use std::collections::BTreeMap as Model;
use std::path::Path;

use flagstone::collections::{BTreeMap, HashMap, Vec as List};
use flagstone::{AccessPattern, OpenOptions, Store};
use tempfile::TempDir;

/// Elements of a list: several pieces that are read ahead.
const ITEMS: u64 = 300_000;
/// Entries of a tree and a table.
const ENTRIES: u64 = 60_000;

fn open(folder: &TempDir, pattern: AccessPattern) -> Store {
    let options = OpenOptions::new().access_pattern(pattern);
    // SAFETY: only this test uses the file.
    unsafe { options.open(folder.path().join("store")) }.expect("a store")
}

/// Returns whether the mappings of the file in this process have the kernel's flag for access at
/// random.
fn has_random_mappings(path: &Path) -> bool {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("the mappings");
    let (mut is_own, mut flags) = (false, Vec::new());
    for line in maps.lines() {
        match line.strip_prefix("VmFlags:") {
            // The log is mapped shared, for all threads alike.
            Some(found) if is_own => flags.push(found.split(' ').any(|flag| flag == "rr")),
            Some(_) => {}
            None if line.starts_with(|c: char| c.is_ascii_uppercase()) => {}
            None => is_own = line.ends_with(&*path.to_string_lossy()) && line.contains("p "),
        }
    }
    assert!(!flags.is_empty(), "no mapping of {}", path.display());
    flags.into_iter().all(|is_random| is_random)
}

#[test]
fn the_kernel_knows_the_pattern_also_after_growth() {
    for pattern in [AccessPattern::Random, AccessPattern::Normal, AccessPattern::Auto] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&folder, pattern);
        let path = folder.path().join("store");
        let is_random = pattern == AccessPattern::Random;
        let reader = store.read().expect("a snapshot");
        assert_eq!(has_random_mappings(&path), is_random, "{pattern:?}");
        store.update(|tx| tx.alloc_slice_zeroed::<u8>(20 << 20).map(drop)).expect("growth");
        drop(reader);
        let _reader = store.read().expect("a snapshot");
        assert_eq!(has_random_mappings(&path), is_random, "{pattern:?}, longer");
    }
}

#[test]
fn scans_yield_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, AccessPattern::Normal);
    let entries = || (0..ENTRIES).map(|key| (key.wrapping_mul(0x9e37_79b9_7f4a_7c15), key));
    store
        .update(|tx| {
            let tree = tx.root_or_insert_with("tree", BTreeMap::<u64, u64>::new)?;
            let table = tx.root_or_insert_with("table", HashMap::<u64, u64>::new)?;
            let list = tx.root_or_insert_with("list", List::<u64>::new)?;
            for (key, value) in entries() {
                tree.insert(tx, &key, value)?;
                table.insert(tx, &key, value)?;
            }
            list.extend(tx, 0..ITEMS)?;
            Ok(())
        })
        .expect("the entries");
    store.close().expect("a close");
    let model: Model<u64, u64> = entries().collect();
    let store = open(&folder, AccessPattern::Random);
    let tx = store.read().expect("a snapshot");
    let tree = tx.root_object::<BTreeMap<u64, u64>>("tree").expect("the tree");
    let found = tree.iter(&tx).expect("entries").map(|entry| entry.expect("an entry"));
    assert!(found.eq(&model));
    let table = tx.root_object::<HashMap<u64, u64>>("table").expect("the table");
    let found = table.iter(&tx).expect("entries").map(|entry| entry.expect("an entry"));
    assert_eq!(found.map(|(key, value)| (*key, *value)).collect::<Model<_, _>>(), model);
    let list = tx.root_object::<List<u64>>("list").expect("the list");
    let items = || list.iter(&tx).expect("elements");
    assert!(items().copied().eq(0..ITEMS));
    assert!(items().rev().copied().eq((0..ITEMS).rev()));
    assert_eq!(items().sum::<u64>(), (0..ITEMS).sum::<u64>());
    assert_eq!(items().len() as u64, ITEMS);
    let report = store.check().expect("a look");
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// Takes from both ends in turn, by steps of some lengths, until they meet.
#[test]
fn a_list_is_taken_from_both_ends_until_they_meet() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, AccessPattern::Random);
    let make = |tx: &mut flagstone::WriteTx<'_>| {
        let list = tx.alloc(List::<u64>::new())?;
        list.extend(tx, 0..ITEMS)?;
        Ok(list)
    };
    let list = store.update(make).expect("a list");
    let tx = store.read().expect("a snapshot");
    for (front, back) in [(1, 1), (150_000, 7), (3, 200_000), (ITEMS, 1), (1, ITEMS)] {
        let mut items = tx.at(list).expect("the list").iter(&tx).expect("elements");
        let mut expected = 0..ITEMS;
        while items.len() != 0 {
            for _ in 0..front {
                assert_eq!(items.next().copied(), expected.next());
            }
            for _ in 0..back {
                assert_eq!(items.next_back().copied(), expected.next_back());
            }
            assert_eq!(items.len() as u64, expected.end - expected.start);
        }
        assert_eq!((items.next(), items.next_back()), (None, None));
    }
}
