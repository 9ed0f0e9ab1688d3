//! Promise: closing, which frees what a file's end does not need, frees nothing on the word of one
//! damaged page.

use std::path::Path;

use flagstone::{Link, Store};
use testkit::forge::{self, HEAP, PAGE};
use testkit::{TestResult, open};

/// Fields of a descriptor.
const KIND: usize = 0;
const SLOT_BYTES: usize = 2;
/// Fields of the heap header.
const SEGMENTS: usize = 4;
const DIRECTORY: usize = 656;
const SLAB: u8 = 1;

/// Returns the file of a closed store whose last page is a slab.
fn ends_with_a_slab(path: &Path) -> TestResult<(Vec<u8>, Link<u64>)> {
    let store = open(path)?;
    let number = store.update(|tx| {
        let _ = tx.alloc_slice_copy(&[5u64; 1000])?;
        tx.alloc(7u64)
    })?;
    let bytes = forge::closed(store, path)?;
    Ok((bytes, number))
}

fn last_descriptor(bytes: &[u8]) -> usize {
    let pages = forge::number32(bytes, HEAP) as usize;
    forge::descriptor(bytes, pages - 1).expect("it has one")
}

/// Changes the store, so that closing it has something to do.
fn change(store: &Store) -> flagstone::Result<()> {
    store.update(|tx| tx.set_root("changed", Link::<u64>::null()))
}

#[test]
fn a_slab_without_a_slot_size_is_left_alone() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let (sound, number) = ends_with_a_slab(&path)?;
    for slot_bytes in [0u16, 1, 7, 2049, 4096, u16::MAX] {
        let mut bytes = sound.clone();
        let last = last_descriptor(&bytes);
        assert_eq!(bytes[last + KIND], SLAB);
        bytes[last + SLOT_BYTES..][..2].copy_from_slice(&slot_bytes.to_le_bytes());
        std::fs::write(&path, &bytes)?;
        let store = open(&path)?;
        let _ = change(&store);
        let _ = store.close();
        let store = open(&path)?;
        let _ = store.read()?.at(number).map(|number| assert_eq!(*number, 7));
    }
    Ok(())
}

/// The entry of a segment that the heap does not reach any more is all that says where its chunk is.
#[test]
fn a_chunk_that_is_something_else_is_not_freed() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let store = open(&path)?;
    let kept = store.update(|tx| tx.alloc_slice_copy(&[5u64; 20_000]))?;
    let mut bytes = forge::closed(store, &path)?;
    let kept_page = kept.offset() as usize / PAGE;
    // A second segment, whose chunk is said to lie in the array.
    let directory = HEAP + forge::number32(&bytes, HEAP + DIRECTORY) as usize * PAGE;
    forge::set_number32(&mut bytes, directory + 4, kept_page as u32 + 2);
    let segments = HEAP + SEGMENTS;
    assert_eq!(forge::number32(&bytes, segments), 1);
    forge::set_number32(&mut bytes, segments, 2);
    std::fs::write(&path, &bytes)?;
    let store = open(&path)?;
    let _ = change(&store);
    let _ = store.close();
    let store = open(&path)?;
    let more = store.update(|tx| tx.alloc_slice_copy(&[9u64; 4096]));
    assert!(store.read()?.at(kept)?.iter().all(|value| *value == 5), "{more:?}");
    Ok(())
}
