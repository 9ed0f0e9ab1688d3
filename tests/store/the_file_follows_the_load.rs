//! Promise: the log gets longer under load and short again when the store is closed; what was freed
//! is cut off the file then, or its space is given back.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flagstone::{Durability, Link, OpenOptions, Result, Store};
use rustix::fs::{FallocateFlags, fallocate};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, open, open_with};

const MIB: u64 = 1 << 20;
const LOG_BYTES: u64 = MIB;

/// Commits until the log is longer than it was made; returns its length.
fn load(store: &Store, array: Link<[u64]>) -> Result<u64> {
    for number in 0..200_000 {
        store.update(|tx| tx.at_mut(array).map(|array| array[..200].fill(number)))?;
        let log_bytes = store.stats()?.log_bytes;
        if log_bytes > LOG_BYTES {
            return Ok(log_bytes);
        }
    }
    panic!("the log stays as it is");
}

fn file_bytes(path: &Path) -> TestResult<(u64, u64)> {
    let found = std::fs::metadata(path)?;
    Ok((found.len(), found.blocks() * 512))
}

/// Returns whether the file system of scratch files gives space back.
fn gives_space_back() -> TestResult<bool> {
    let path = ScratchFile::new()?;
    std::fs::write(&path, vec![1; MIB as usize])?;
    let file = std::fs::File::options().write(true).open(&path)?;
    file.sync_all()?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let is_punched = fallocate(&file, flags, 0, MIB).is_ok();
    file.sync_all()?;
    Ok(is_punched && file_bytes(&path)?.1 < MIB / 2)
}

#[test]
fn the_log_grows_under_load_and_is_short_after_a_close() -> TestResult {
    for durability in [Durability::Deferred, Durability::Durable] {
        let path = ScratchFile::new()?;
        let options = OpenOptions::new().durability(durability);
        let store = open_with(&path, &options)?;
        let array = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1000))?;
        let grown = load(&store, array)?;
        assert!((2 * LOG_BYTES..=16 * LOG_BYTES).contains(&grown), "{grown}");
        // It goes on with the longer log, and with the next move, if there is one.
        for number in 0..2000 {
            store.update(|tx| tx.at_mut(array).map(|array| array[..200].fill(number)))?;
        }
        let value = store.read()?.at(array)?[0];
        store.close()?;
        let store = open(&path)?;
        assert_eq!(store.stats()?.log_bytes, LOG_BYTES);
        assert_eq!(store.stats()?.replayed_bytes, 0);
        assert_eq!(store.read()?.at(array)?[0], value);
        assert!(store.check()?.is_clean());
        store.close()?;
        let (len, _) = file_bytes(&path)?;
        assert!(len <= 2 * LOG_BYTES, "{len}");
    }
    Ok(())
}

/// The lengths of the arrays, in words: many pages each, a few, two, and eight to a page and more.
const ARRAYS: [usize; 5] = [1 << 19, 8192, 600, 64, 8];
/// What a transaction allocates or frees, in words.
const WORDS_AT_ONCE: usize = 1 << 18;

fn fill(store: &Store, bytes: u64) -> Result<Vec<Vec<Link<[u64]>>>> {
    let per_length = bytes as usize / 8 / ARRAYS.len();
    let mut links = Vec::new();
    for len in ARRAYS {
        let values = vec![len as u64; len];
        let at_once = (WORDS_AT_ONCE / len).max(1);
        for _ in 0..per_length / len / at_once {
            links.push(store.update(|tx| {
                (0..at_once).map(|_| tx.alloc_slice_copy(&values)).collect::<Result<Vec<_>>>()
            })?);
        }
    }
    Ok(links)
}

fn free_all(store: &Store, links: impl Iterator<Item = Vec<Link<[u64]>>>) -> Result<()> {
    for links in links {
        store.update(|tx| links.into_iter().try_for_each(|link| tx.free(link)))?;
    }
    Ok(())
}

/// Fills a store with so many bytes, has the log grow behind them, frees everything and closes it.
/// Returns how long the file is then, and its space on the disk.
fn fill_free_and_close(bytes: u64, is_last_first: bool) -> TestResult<(u64, u64)> {
    let path = ScratchFile::new()?;
    let store = open_with(&path, &OpenOptions::new().durability(Durability::Deferred))?;
    let kept = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1000))?;
    let links = fill(&store, bytes)?;
    load(&store, kept)?;
    assert!(store.stats()?.file_bytes > bytes / 8 * 7);
    match is_last_first {
        true => free_all(&store, links.into_iter().rev())?,
        false => free_all(&store, links.into_iter())?,
    }
    store.close()?;
    let found = file_bytes(&path)?;
    let store = open(&path)?;
    assert_eq!(store.stats()?.log_bytes, LOG_BYTES);
    assert_eq!(store.read()?.at(kept)?.len(), 1000);
    assert!(store.check()?.is_clean());
    // It can grow again.
    let links = fill(&store, 8 * MIB)?;
    free_all(&store, links.into_iter())?;
    assert!(store.check()?.is_clean());
    Ok(found)
}

#[test]
fn a_file_whose_data_was_freed_is_short() -> TestResult {
    for is_last_first in [false, true] {
        let (len, on_disk) = fill_free_and_close(64 * MIB, is_last_first)?;
        assert!(len.max(on_disk) <= 2 * MIB, "{len} {on_disk}");
    }
    Ok(())
}

#[test]
#[ignore = "a gigabyte"]
fn a_gigabyte_that_was_freed_is_not_in_the_file() -> TestResult {
    for is_last_first in [false, true] {
        let (len, on_disk) = fill_free_and_close(1 << 30, is_last_first)?;
        eprintln!("{len} bytes, {on_disk} on the disk");
        assert!(len.max(on_disk) <= 4 * MIB, "{len} {on_disk}");
    }
    Ok(())
}

/// The directory of chunks has a second page then.
#[test]
#[ignore = "more than two gigabytes"]
fn two_gigabytes_that_were_freed_are_not_in_the_file() -> TestResult {
    let (len, on_disk) = fill_free_and_close(9 << 28, false)?;
    assert!(len.max(on_disk) <= 4 * MIB, "{len} {on_disk}");
    Ok(())
}

/// A close that has nothing to shorten makes the calls that it always made.
#[test]
fn a_file_that_is_as_short_as_its_data_is_left_alone() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    let kept = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1 << 18))?;
    store.close()?;
    let before = file_bytes(&path)?;
    for number in 0..3 {
        let store = open(&path)?;
        store.update(|tx| tx.at_mut(kept).map(|kept| kept[0] = number))?;
        let position = store.read()?.position();
        store.close()?;
        assert_eq!(file_bytes(&path)?, before);
        let store = open(&path)?;
        // No record was appended to shorten it: only what is behind the last one to its block's end.
        assert!(store.read()?.position() - position < 4096);
    }
    Ok(())
}

#[test]
fn free_space_in_the_middle_is_given_back_and_taken_again() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    let large = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1 << 19))?;
    let last = store.update(|tx| tx.alloc_slice_copy(&[7u64; 10_000]))?;
    store.checkpoint()?;
    store.update(|tx| tx.free(large))?;
    store.close()?;
    let (len, on_disk) = file_bytes(&path)?;
    assert!(len > 5 * MIB, "{len}");
    if !gives_space_back()? {
        println!("SKIP: this file system gives no space back");
        return Ok(());
    }
    assert!(on_disk <= 2 * MIB, "{on_disk} of {len}");
    // Opening takes none of it, nor does a read.
    let store = open(&path)?;
    assert_eq!(store.read()?.at(last)?[9999], 7);
    assert!(store.check()?.is_clean());
    assert_eq!(file_bytes(&path)?.1, on_disk);
    let again = store.update(|tx| tx.alloc_slice_copy(&[3u64; 1 << 18]))?;
    assert!(file_bytes(&path)?.1 >= on_disk + 2 * MIB, "its pages have space");
    store.checkpoint()?;
    assert_eq!(store.stats()?.file_bytes, len, "it was taken from there");
    store.close()?;
    let store = open(&path)?;
    assert!(store.read()?.at(again)?.iter().all(|value| *value == 3));
    assert!(store.check()?.is_clean());
    Ok(())
}
