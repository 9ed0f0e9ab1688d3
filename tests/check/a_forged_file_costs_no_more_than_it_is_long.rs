//! Promise: opening, checking and using a file takes time proportional to its length, whatever it
//! contains. A few bytes can refer to many others, repeatedly; each case here took minutes or
//! hours before its bound existed.

use std::path::Path;

use flagstone::collections::{BTreeMap, HashMap, Vec as List};
use flagstone::{Link, OpenOptions, Store, Text, WriteTx, persist};
use testkit::bounded::{within, write_sparse};
use testkit::{TestResult, assert_refused, forge, open_with};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const PAGE: usize = 4096;
/// The start of the heap in the file.
const HEAP: usize = 4 * PAGE;
/// A field of the heap header: the type registry.
const REGISTRY: usize = 8;
/// Address space of a case: the files' contents are mapped more than once.
const MAX_BYTES: u64 = 8 << 30;

/// Returns a store that was closed, or that looks as if it was not, with a log of `log_bytes`.
fn sample(folder: &Path, log_bytes: u64, is_closed: bool) -> TestResult<Vec<u8>> {
    let path = folder.join("sample");
    let store = open_with(&path, &OpenOptions::new().log_bytes(log_bytes))?;
    store.update(|tx| tx.alloc(1u64).map(drop))?;
    store.close()?;
    let mut bytes = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    if !is_closed {
        forge::superblocks(&mut bytes, |block| block[28] = 0);
    }
    Ok(bytes)
}

fn open(path: &Path) -> flagstone::Result<Store> {
    open_with(path, &OpenOptions::new())
}

/// The record of a large transaction names entries elsewhere in the file. In a forged log, every
/// record could name the same entries.
#[test]
fn entries_outside_of_the_log_are_read_once() -> TestResult {
    const LEN: u64 = 256 << 20;
    within(&testkit::test_path!("entries_outside_of_the_log_are_read_once"), MAX_BYTES, |folder| {
        let mut bytes = sample(folder, 64 * 1024, false)?;
        let newest = forge::newest(&bytes);
        let [epoch, heap_bytes] = [72, 120].map(|field| forge::number(&bytes, newest + field));
        let sum = xxh3_64_with_seed(&vec![0; LEN as usize], epoch);
        let records = vec![(3, vec![heap_bytes, LEN, sum]); 800];
        forge::log_of(&mut bytes, &records, heap_bytes);
        let path = folder.join("store");
        write_sparse(&path, &bytes, HEAP as u64 + heap_bytes + LEN)?;
        // SAFETY: the file belongs to this test.
        let report = unsafe { Store::check_file(&path) }?;
        // A log that a program wrote has at most one.
        assert!(report.torn_end.is_some());
        let store = open(&path)?;
        assert!(store.check()?.is_clean());
        Ok(())
    })
}

/// Sixteen bytes of log can zero any number of pages, or declare them written in place.
#[test]
fn pages_that_a_log_names_again_are_not_gone_through_again() -> TestResult {
    const PAGES: u64 = 1 << 18;
    let test = "pages_that_a_log_names_again_are_not_gone_through_again";
    within(&testkit::test_path!(test), MAX_BYTES, |folder| {
        let sample = sample(folder, 64 << 20, false)?;
        let first = u64::from(forge::number32(&sample, HEAP));
        let count = PAGES - first;
        let [zero, bulk] = [1, 2].map(|op| [first << 8, (count << 8) | op]);
        let line = [(first * 64 + 64) << 8 | 1, 7];
        // All pages except the last are bulk; an entry has zeroed the last.
        let last = [(PAGES - 1) << 8, 1 << 8 | 1];
        let before_last = [first << 8, (count - 1) << 8 | 2];
        for (begin, round) in [(zero, [zero, line]), (bulk, [bulk, line]), (last, [before_last; 2])]
        {
            let mut body = begin.to_vec();
            body.extend(round.as_flattened().repeat(900_000));
            let mut bytes = sample.clone();
            forge::log_of(&mut bytes, &[(1, body)], PAGES * PAGE as u64);
            let path = folder.join("store");
            write_sparse(&path, &bytes, HEAP as u64 + PAGES * PAGE as u64)?;
            // The heap header does not have that length.
            assert_refused!(open(&path), Corrupt { .. });
        }
        Ok(())
    })
}

/// All types can share one long description in which no name ends.
#[test]
fn a_type_is_sought_by_the_begins_of_descriptions() -> TestResult {
    const TYPES: u32 = 60_000;
    within(
        &testkit::test_path!("a_type_is_sought_by_the_begins_of_descriptions"),
        MAX_BYTES,
        |folder| {
            let mut bytes = sample(folder, 64 * 1024, true)?;
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            let text = (bytes.len() - HEAP) as u64;
            bytes.resize(bytes.len() + (1 << 20), b'x');
            // Identity, description, its length, and no slabs.
            let mut entry = [0; 16];
            entry[..3].copy_from_slice(&[1, text, 1 << 20]);
            forge::system_array(&mut bytes, REGISTRY, &entry, TYPES);
            let pages = (bytes.len() - HEAP) / PAGE;
            forge::lengthen_heap(&mut bytes, pages as u32);
            let path = folder.join("store");
            std::fs::write(&path, &bytes)?;
            let store = open(&path)?;
            assert!(store.read()?.root::<u64>("none")?.is_null());
            assert!(store.update(|tx| tx.alloc(1u64)).is_err());
            Ok(())
        },
    )
}

/// The length of a key to be forged.
const KEY_LEN: usize = 77;

/// Closes a store, and makes `long` the text of each of at least `keys` keys in its file.
fn name_in_all_keys(store: Store, path: &Path, keys: u64, long: Link<[u8]>) -> TestResult {
    store.close()?;
    let mut bytes = std::fs::read(path)?;
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
fn one_text_of_many_keys_is_not_hashed_for_each() -> TestResult {
    const LEN: usize = 64 << 20;
    const KEYS: u64 = 4000;
    within(
        &testkit::test_path!("one_text_of_many_keys_is_not_hashed_for_each"),
        MAX_BYTES,
        |folder| {
            let path = folder.join("store");
            let store = open(&path)?;
            let long: Link<[u8]> = store.update(|tx| -> flagstone::Result<_> {
                let long = tx.alloc_slice_copy(&vec![3u8; LEN])?;
                let map = tx.root_or_insert_with("map", HashMap::<Text, u64>::new)?;
                for number in 0..KEYS {
                    map.insert(tx, &format!("{number:0>KEY_LEN$}"), number)?;
                }
                Ok(long)
            })?;
            name_in_all_keys(store, &path, KEYS, long)?;
            // SAFETY: the file belongs to this test.
            assert!(!unsafe { Store::check_file(&path) }?.is_clean());
            let store = open(&path)?;
            let more = store.update(|tx| -> flagstone::Result<()> {
                let map = tx.root::<HashMap<Text, u64>>("map")?;
                (0..KEYS).try_for_each(|number| map.insert(tx, &format!("{number}"), 0).map(drop))
            });
            assert_refused!(more, Corrupt { .. });
            Ok(())
        },
    )
}

/// The keys of one shard may name as much as the heap holds, but not the keys of every shard.
#[test]
fn one_text_of_many_keys_is_not_hashed_for_each_shard() -> TestResult {
    const LEN: usize = 1 << 20;
    const KEYS: u64 = 200;
    type Large = HashMap<Text, [u64; 640]>;
    within(
        &testkit::test_path!("one_text_of_many_keys_is_not_hashed_for_each_shard"),
        MAX_BYTES,
        |folder| {
            let path = folder.join("store");
            let store = open(&path)?;
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
            name_in_all_keys(store, &path, KEYS, long)?;
            let store = open(&path)?;
            let room = |change: fn(Link<Large>, &mut WriteTx<'_>) -> flagstone::Result<()>| {
                store.update(|tx| tx.root("map").and_then(|map| change(map, tx)))
            };
            assert_refused!(room(|map, tx| map.reserve(tx, 4 * KEYS)), Corrupt { .. });
            assert_refused!(room(|map, tx| map.shrink_to_fit(tx)), Corrupt { .. });
            Ok(())
        },
    )
}

/// Replaces a description with one stored at `link`.
fn describe(bytes: &mut [u8], begin: &str, link: Link<[u8]>, text: impl FnOnce(&str) -> String) {
    let (entry, old) = forge::type_entry(bytes, begin);
    let text = text(std::str::from_utf8(&bytes[old]).expect("a description"));
    assert!(text.len() as u64 <= link.len());
    let start = HEAP + link.offset() as usize;
    bytes[start..start + text.len()].copy_from_slice(text.as_bytes());
    forge::set_number(bytes, entry + 8, link.offset());
    bytes[entry + 16..entry + 20].copy_from_slice(&(text.len() as u32).to_le_bytes());
}

/// Allocates space for a description of any length.
fn room(tx: &mut WriteTx<'_>) -> flagstone::Result<Link<[u8]>> {
    let room = tx.alloc_slice_copy(&vec![b' '; 1 << 20])?;
    tx.set_root("room", room)?;
    Ok(room)
}

/// A node has as many values as keys, whatever its description says.
#[test]
fn a_leaf_has_no_more_values_than_keys() -> TestResult {
    within(&testkit::test_path!("a_leaf_has_no_more_values_than_keys"), MAX_BYTES, |folder| {
        let path = folder.join("store");
        let store = open(&path)?;
        let room = store.update(|tx| {
            let map = tx.root_or_insert_with("map", BTreeMap::<u64, bool>::new)?;
            map.insert(tx, &1, true)?;
            room(tx)
        })?;
        store.close()?;
        let mut bytes = std::fs::read(&path)?;
        describe(&mut bytes, "struct flagstone::BTreeLeaf<", room, |text| {
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
        std::fs::write(&path, &bytes)?;
        // SAFETY: the file belongs to this test.
        assert!(!unsafe { Store::check_file(&path) }?.is_clean());
        Ok(())
    })
}

/// Only listed findings get a name, which may be long.
#[test]
fn long_names_of_parts_are_read_a_few_times() -> TestResult {
    const FLAGS: usize = 8192;
    within(&testkit::test_path!("long_names_of_parts_are_read_a_few_times"), MAX_BYTES, |folder| {
        let path = folder.join("store");
        let store = open(&path)?;
        let (flags, room) = store.update(|tx| {
            let flags = tx.alloc([false; FLAGS])?;
            tx.set_root("flags", flags)?;
            Ok::<_, flagstone::Error>((flags, room(tx)?))
        })?;
        store.close()?;
        let mut bytes = std::fs::read(&path)?;
        describe(&mut bytes, "primitive [bool", room, |_| {
            let nested = |name: String, _| format!("[{name}; {}1]", "0".repeat(8300));
            let name = (0..124).fold("bool".to_string(), nested);
            format!("primitive [{name}; {FLAGS}] size {FLAGS} align 1\n")
        });
        bytes[HEAP + flags.offset() as usize..][..FLAGS].fill(2);
        std::fs::write(&path, &bytes)?;
        // SAFETY: the file belongs to this test.
        assert!(unsafe { Store::check_file(&path) }?.findings.len() > 1000);
        Ok(())
    })
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
    within(&testkit::test_path!("a_length_over_zeros_takes_no_memory"), 512 << 20, |folder| {
        let path = folder.join("store");
        let store = open(&path)?;
        store.update(|tx| {
            let list = tx.root_or_insert_with("list", List::<Only>::new)?;
            list.reserve_exact(tx, LEN)?;
            list.push(tx, Only::One)?;
            tx.put(Link::from_parts(list.offset() + 8, 1), LEN)
        })?;
        store.close()?;
        // SAFETY: the file belongs to this test.
        assert!(unsafe { Store::check_file(&path) }?.findings.len() > 1000);
        Ok(())
    })
}
