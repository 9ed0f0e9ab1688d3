//! Promise: opening, checking and using a file takes time proportional to its length, whatever it
//! contains. A few bytes can refer to many others, repeatedly; each case here took minutes or
//! hours before its bound existed.

use std::path::Path;

use flagstone::collections::{BTreeMap, HashMap, Vec as List};
use flagstone::{Link, OpenOptions, Store, Text, WriteTx, persist};
use testkit::bounded::{within, write_sparse};
use testkit::forge::{self, HEAP, PAGE};
use testkit::scratch::{ScratchFile, check_file};
use testkit::{TestResult, assert_refused, open, open_with, this_test};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A field of the heap header: the type registry.
const REGISTRY: usize = 8;
/// Address space of a case: the files' contents are mapped more than once.
const MAX_BYTES: u64 = 8 << 30;

/// Makes a store with a log of `log_bytes`, in the place of any other file. Returns its content:
/// closed, or as if it was not.
fn sample(path: &Path, log_bytes: u64, is_closed: bool) -> TestResult<Vec<u8>> {
    let _ = std::fs::remove_file(path);
    let store = open_with(path, &OpenOptions::new().log_bytes(log_bytes))?;
    store.update(|tx| tx.alloc(1u64).map(drop))?;
    let mut bytes = forge::closed(store, path)?;
    if !is_closed {
        forge::superblocks(&mut bytes, |block| block[28] = 0);
    }
    Ok(bytes)
}

/// The record of a large transaction names entries elsewhere in the file. In a forged log, every
/// record could name the same entries.
#[test]
fn entries_outside_of_the_log_are_read_once() -> TestResult {
    const LEN: u64 = 256 << 20;
    within(&this_test!(), MAX_BYTES, |path| {
        let mut bytes = sample(path, 64 * 1024, false)?;
        let newest = forge::newest(&bytes);
        let [epoch, heap_bytes] = [72, 120].map(|field| forge::number(&bytes, newest + field));
        let sum = xxh3_64_with_seed(&vec![0; LEN as usize], epoch);
        let records = vec![(3, vec![heap_bytes, LEN, sum]); 800];
        forge::log_of(&mut bytes, &records, heap_bytes);
        write_sparse(path, &bytes, HEAP as u64 + heap_bytes + LEN)?;
        let report = check_file(path)?;
        // A log that a program wrote has at most one.
        assert!(report.torn_end.is_some());
        let store = open(path)?;
        assert!(store.check()?.is_clean());
        Ok(())
    })
}

/// Sixteen bytes of log can zero any number of pages, or declare them written in place.
#[test]
fn pages_that_a_log_names_again_are_not_visited_again() -> TestResult {
    const PAGES: u64 = 1 << 18;
    within(&this_test!(), MAX_BYTES, |path| {
        let sample = sample(path, 64 << 20, false)?;
        let first = u64::from(forge::number32(&sample, HEAP));
        let count = PAGES - first;
        let [zero, bulk] = [1, 2].map(|op| [first << 8, (count << 8) | op]);
        let line = [(first * 64 + 64) << 8 | 1, 7];
        // All pages except the last are bulk; an entry has zeroed the last.
        let last = [(PAGES - 1) << 8, 1 << 8 | 1];
        let before_last = [first << 8, (count - 1) << 8 | 2];
        for (begin, round) in [
            (zero, [zero, line]),
            (bulk, [bulk, line]),
            (zero, [bulk, zero]),
            (last, [before_last; 2]),
        ] {
            let mut body = begin.to_vec();
            body.extend(round.as_flattened().repeat(900_000));
            let mut bytes = sample.clone();
            forge::log_of(&mut bytes, &[(1, body)], PAGES * PAGE as u64);
            write_sparse(path, &bytes, HEAP as u64 + PAGES * PAGE as u64)?;
            // The heap header does not have that length.
            assert_refused!(open(path), Corrupt { .. });
        }
        Ok(())
    })
}

/// All types can share one long description in which no name ends.
#[test]
fn types_are_compared_by_the_starts_of_their_descriptions() -> TestResult {
    const TYPES: u32 = 60_000;
    within(&this_test!(), MAX_BYTES, |path| {
        let mut bytes = sample(path, 64 * 1024, true)?;
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        let text = (bytes.len() - HEAP) as u64;
        bytes.resize(bytes.len() + (1 << 20), b'x');
        // Identity, description, its length, and no slabs.
        let mut entry = [0; 16];
        entry[..3].copy_from_slice(&[1, text, 1 << 20]);
        forge::system_array(&mut bytes, REGISTRY, &entry, TYPES);
        let pages = (bytes.len() - HEAP) / PAGE;
        forge::lengthen_heap(&mut bytes, pages as u32);
        std::fs::write(path, &bytes)?;
        let store = open(path)?;
        assert!(store.read()?.root::<u64>("none")?.is_null());
        assert!(store.update(|tx| tx.alloc(1u64)).is_err());
        Ok(())
    })
}

/// The length of a key to be forged.
const KEY_LEN: usize = 77;

/// Closes a store, and makes `long` the text of each of at least `keys` keys in its file.
fn name_in_all_keys(store: Store, path: &Path, keys: u64, long: Link<[u8]>) -> TestResult {
    let mut bytes = forge::closed(store, path)?;
    let is_key = |at| forge::number(&bytes, at + 8) == KEY_LEN as u64 && bytes[at + 23] == 255;
    let places = (HEAP..bytes.len() - 24).step_by(8);
    let found: Vec<usize> = places.filter(|at| is_key(*at)).collect();
    assert!(found.len() as u64 >= keys);
    for at in found {
        forge::set_number(&mut bytes, at, long.offset());
        forge::set_number(&mut bytes, at + 8, long.len());
    }
    Ok(std::fs::write(path, &bytes)?)
}

/// Keys own their texts, but in a forged table all keys can name the same text.
#[test]
fn a_text_that_many_keys_share_is_not_hashed_for_each() -> TestResult {
    const LEN: usize = 64 << 20;
    const KEYS: u64 = 4000;
    within(&this_test!(), MAX_BYTES, |path| {
        let store = open(path)?;
        let long: Link<[u8]> = store.update(|tx| -> flagstone::Result<_> {
            let long = tx.alloc_slice_copy(&vec![3u8; LEN])?;
            let map = tx.root_or_insert_with("map", HashMap::<Text, u64>::new)?;
            for number in 0..KEYS {
                map.insert(tx, &format!("{number:0>KEY_LEN$}"), number)?;
            }
            Ok(long)
        })?;
        name_in_all_keys(store, path, KEYS, long)?;
        assert!(!check_file(path)?.is_clean());
        let store = open(path)?;
        let more = store.update(|tx| -> flagstone::Result<()> {
            let map = tx.root::<HashMap<Text, u64>>("map")?;
            (0..KEYS).try_for_each(|number| map.insert(tx, &format!("{number}"), 0).map(drop))
        });
        assert_refused!(more, Corrupt { .. });
        Ok(())
    })
}

/// The keys of one shard may name as much as the heap holds, but not the keys of every shard.
#[test]
fn a_text_that_many_keys_share_is_not_hashed_for_each_shard() -> TestResult {
    const LEN: usize = 1 << 20;
    const KEYS: u64 = 200;
    type Large = HashMap<Text, [u64; 640]>;
    within(&this_test!(), MAX_BYTES, |path| {
        let store = open(path)?;
        let long: Link<[u8]> = store.update(|tx| -> flagstone::Result<_> {
            // Makes the heap as long as the keys of one shard claim to need.
            let _ = tx.alloc_slice_copy(&vec![0u64; 4 * LEN])?;
            let long = tx.alloc_slice_copy(&vec![3u8; LEN])?;
            let map = tx.root_or_insert_with("map", Large::new)?;
            for number in 0..KEYS {
                map.insert(tx, &format!("{number:0>KEY_LEN$}"), [number; 640])?;
            }
            Ok(long)
        })?;
        name_in_all_keys(store, path, KEYS, long)?;
        let store = open(path)?;
        let change = |change: fn(Link<Large>, &mut WriteTx<'_>) -> flagstone::Result<()>| {
            store.update(|tx| tx.root("map").and_then(|map| change(map, tx)))
        };
        assert_refused!(change(|map, tx| map.reserve(tx, 4 * KEYS)), Corrupt { .. });
        assert_refused!(change(|map, tx| map.shrink_to_fit(tx)), Corrupt { .. });
        Ok(())
    })
}

/// Replaces a description with one stored at `link`.
fn describe(bytes: &mut [u8], begin: &str, link: Link<[u8]>, text: impl FnOnce(&str) -> String) {
    let (entry, old) = forge::type_entry(bytes, begin);
    let text = text(std::str::from_utf8(&bytes[old]).expect("a description"));
    assert!(text.len() as u64 <= link.len());
    let start = HEAP + link.offset() as usize;
    bytes[start..start + text.len()].copy_from_slice(text.as_bytes());
    forge::set_number(bytes, entry + 8, link.offset());
    forge::set_number32(bytes, entry + 16, text.len() as u32);
}

/// Allocates space for a description of any length.
fn space(tx: &mut WriteTx<'_>) -> flagstone::Result<Link<[u8]>> {
    let space = tx.alloc_slice_copy(&vec![b' '; 1 << 20])?;
    tx.set_root("space", space)?;
    Ok(space)
}

/// A node has as many values as keys, whatever its description says.
#[test]
fn a_leaf_has_no_more_values_than_keys() -> TestResult {
    within(&this_test!(), MAX_BYTES, |path| {
        let store = open(path)?;
        let space = store.update(|tx| {
            let map = tx.root_or_insert_with("map", BTreeMap::<u64, bool>::new)?;
            map.insert(tx, &1, true)?;
            space(tx)
        })?;
        let mut bytes = forge::closed(store, path)?;
        describe(&mut bytes, "struct flagstone::BTreeLeaf<", space, |text| {
            let line = |line: &str| match line.starts_with("24 keys") {
                true => "24 keys: [[u8; 0]; 4294967295]\n".to_string(),
                false => format!("{line}\n"),
            };
            text.lines().map(line).collect()
        });
        // Level 0, one entry, no neighbours, and the key.
        let is_leaf = |at: &usize| {
            [0, 8, 16, 24].map(|word| forge::number(&bytes, at + word)) == [1 << 32, 0, 0, 1]
        };
        let leaf = (HEAP..bytes.len() - 2048).step_by(64).find(is_leaf).expect("the leaf");
        bytes[leaf + 4..leaf + 8].fill(0xff);
        std::fs::write(path, &bytes)?;
        assert!(!check_file(path)?.is_clean());
        Ok(())
    })
}

/// Only listed findings get a name, which may be long.
#[test]
fn long_names_of_parts_are_read_only_for_listed_findings() -> TestResult {
    const FLAGS: usize = 8192;
    within(&this_test!(), MAX_BYTES, |path| {
        let store = open(path)?;
        let (flags, space) = store.update(|tx| {
            let flags = tx.root_or_insert_with("flags", || [false; FLAGS])?;
            Ok((flags, space(tx)?))
        })?;
        let mut bytes = forge::closed(store, path)?;
        describe(&mut bytes, "primitive [bool", space, |_| {
            let nested = |name: String, _| format!("[{name}; {}1]", "0".repeat(8300));
            let name = (0..124).fold("bool".to_string(), nested);
            format!("primitive [{name}; {FLAGS}] size {FLAGS} align 1\n")
        });
        bytes[HEAP + flags.offset() as usize..][..FLAGS].fill(2);
        std::fs::write(path, &bytes)?;
        assert!(check_file(path)?.findings.len() > 1000);
        Ok(())
    })
}

const HEAP_BYTES: u64 = 200 << 20;

/// Opens a closed store with a heap of `HEAP_BYTES` bytes, mostly holes; `change` gets the offset at
/// which the holes begin.
fn open_with_holes(path: &Path, change: impl FnOnce(&mut Vec<u8>, u64)) -> TestResult<Store> {
    let mut bytes = sample(path, 64 * 1024, true)?;
    // Past all arrays that `change` adds.
    let holes = bytes.len() as u64 + (16 << 20);
    change(&mut bytes, holes);
    forge::lengthen_heap(&mut bytes, (HEAP_BYTES / PAGE as u64) as u32);
    write_sparse(path, &bytes, HEAP_BYTES + HEAP as u64)?;
    Ok(open(path)?)
}

/// One text, however long, can be shared by many names and types.
#[test]
fn forged_directories_cost_no_more_than_valid_ones() -> TestResult {
    const ROOTS: usize = 24;
    const MANY: u32 = 60_000;
    let list = |store: &Store| store.read().and_then(|tx| tx.roots());
    within(&this_test!(), 2 << 30, |path| {
        for len in [100 << 20, 4096] {
            let root = |at| [at, 1 << 32 | len, 0, u64::MAX];
            let store = open_with_holes(path, |bytes, holes| {
                forge::system_array(bytes, ROOTS, &root(holes), MANY);
            })?;
            assert_refused!(list(&store), Corrupt { .. });
            assert!(!store.check()?.is_clean());
        }
        // As many as fit into the heap, all of them in a hole.
        let store = open_with_holes(path, |bytes, holes| {
            forge::set_number(bytes, HEAP + ROOTS, (1 << 32) | (holes / PAGE as u64));
            forge::set_number(bytes, HEAP + ROOTS + 8, (150 << 20) / 32);
        })?;
        assert_refused!(list(&store), Corrupt { .. });
        assert_refused!(store.update(|tx| tx.root_or_insert_with("none", || 1u64)), Corrupt { .. });
        drop(store);
        for len in [100 << 20, 1 << 20] {
            let mut entry = [1; 16];
            let store = open_with_holes(path, |bytes, holes| {
                entry[1..3].copy_from_slice(&[holes, len]);
                forge::system_array(bytes, REGISTRY, &entry, MANY);
            })?;
            let _ = list(&store);
            let _ = store.read()?.root::<u64>("none");
            let _ = store.update(|tx| tx.root_or_insert_with("none", || 1u64));
            assert!(!store.check()?.is_clean());
        }
        Ok(())
    })
}

#[test]
fn a_heap_of_holes_has_few_findings() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open_with_holes(&path, |_, _| ())?;
    let report = store.check()?;
    assert!(report.pages > 40_000 && (1..1000).contains(&report.findings.len()));
    Ok(())
}

#[persist]
#[derive(Clone, Copy)]
enum Only {
    One = 1,
}

/// Findings are counted, but only listed ones are remembered.
#[test]
fn a_length_over_zeros_takes_no_memory() -> TestResult {
    const LEN: u64 = 1 << 24;
    // The file is mapped; a note for each byte would take twenty times as much.
    within(&this_test!(), 512 << 20, |path| {
        let store = open(path)?;
        store.update(|tx| {
            let list = tx.root_or_insert_with("list", List::<Only>::new)?;
            list.reserve_exact(tx, LEN)?;
            list.push(tx, Only::One)?;
            tx.put(Link::from_parts(list.offset() + 8, 1), LEN)
        })?;
        store.close()?;
        assert!(check_file(path)?.findings.len() > 1000);
        Ok(())
    })
}

#[test]
fn a_record_is_no_longer_than_its_log_allows() -> TestResult {
    const LOG: u64 = 1 << 30;
    // Log and heap are mapped, a gigabyte each; a quarter is left for everything else.
    within(&this_test!(), LOG * 9 / 4, |path| {
        for claimed in [LOG - (1 << 20), LOG / 2 - 2 * PAGE as u64] {
            let mut bytes = sample(path, 64 * 1024, false)?;
            let start = forge::number(&bytes, forge::newest(&bytes) + 80);
            forge::superblocks(&mut bytes, |block| {
                forge::set_number(block, 88, LOG);
                forge::set_number(block, 96, forge::number(block, 104));
                forge::set_number(block, 120, LOG + start - HEAP as u64);
            });
            forge::only_record(&mut bytes, &[], claimed as u32, 0);
            write_sparse(path, &bytes, LOG + start)?;
            // Just short enough to be accepted, but there is no memory for it.
            assert_refused!(open(path), Corrupt { .. } | Io { .. });
        }
        Ok(())
    })
}

/// A header that claims 1 TiB, in a file of a few pages.
#[test]
fn a_forged_count_of_segments_is_reported_once() -> TestResult {
    let path = ScratchFile::new()?;
    let mut bytes = sample(&path, 64 * 1024, true)?;
    forge::page(&mut bytes, 0, |page| forge::set_number32(page, 4, 1 << 19));
    std::fs::write(&path, bytes)?;
    let findings = check_file(&path)?.findings;
    assert!((1..10).contains(&findings.len()), "{} findings", findings.len());
    Ok(())
}
