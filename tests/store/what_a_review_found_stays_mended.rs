//! Promise: bugs that a review found do not come back.

use flagstone::{Store, persist};
use testkit::{TestResult, assert_refused, forge, open};

/// An image's private pages from a time when the heap was longer must not hide pages that a bulk
/// load later writes to the file.
#[test]
fn a_bulk_load_is_seen_where_the_heap_was_longer_before() -> flagstone::Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let store = open(&path)?;
    // Large enough that the file is not truncated when the tail after it is freed.
    store.update(|tx| tx.alloc_slice((0..24u32 << 17).map(u64::from)).map(drop))?;
    let mut tail = Vec::new();
    for _ in 0..4 {
        // Too few pages for a bulk load, so images have private copies of them.
        tail.push(store.update(|tx| tx.alloc_slice(std::iter::repeat_n(u64::MAX, 1 << 16)))?);
        drop(store.read()?);
        store.checkpoint()?;
    }
    store.update(|tx| tail.iter().try_for_each(|link| tx.free(*link)))?;
    for value in 0..5u64 {
        let _ = store.update(|tx| tx.alloc(value))?;
        drop(store.read()?);
        store.checkpoint()?;
    }
    let link = store.update(|tx| tx.alloc_slice((0..3u32 << 16).map(u64::from)))?;
    let is_right = |values: &[u64]| (0..).zip(values).all(|(i, value)| i == *value);
    assert!(is_right(store.read()?.at(link)?), "a reader sees other bytes");
    // A change on each page makes the checkpoint write what its image shows.
    for _ in 0..2 {
        store.update(|tx| {
            tx.at_mut(link)?.iter_mut().step_by(512).for_each(|value| *value ^= 1);
            Ok::<_, flagstone::Error>(())
        })?;
    }
    store.close()?;
    let store = open(&path)?;
    assert!(is_right(store.read()?.at(link)?), "the file has other bytes");
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn a_type_that_was_rolled_back_gets_a_number_of_its_own() -> flagstone::Result<()> {
    let store = Store::in_memory()?;
    let mut tx = store.write()?;
    let _ = tx.alloc(1u64)?;
    let savepoint = tx.savepoint()?;
    let _ = tx.alloc(2u64)?;
    tx.rollback_to(savepoint)?;
    let _ = tx.alloc(3u64)?;
    drop(tx);
    let mut tx = store.write()?;
    let _ = tx.alloc([1u32; 7])?;
    let link = tx.alloc(1u64)?;
    tx.set_root("number", link)?;
    tx.commit()?;
    store.check()?.into_result()?;
    Ok(())
}

#[persist]
#[repr(align(4096))]
struct Page([u8; 4096]);

#[test]
fn an_empty_array_of_pages_can_be_allocated_and_freed() -> flagstone::Result<()> {
    let store = Store::in_memory()?;
    for _ in 0..3 {
        store.update(|tx| {
            let empty = tx.alloc_slice([] as [Page; 0])?;
            assert!(!empty.is_null() && tx.at(empty)?.is_empty());
            tx.set_root("pages", empty)
        })?;
        store.check()?.into_result()?;
        let free = store.stats()?.pages.free;
        store.update(|tx| {
            let empty = tx.root::<[Page]>("pages")?;
            tx.remove_root("pages")?;
            tx.free(empty)
        })?;
        store.check()?.into_result()?;
        assert!(store.stats()?.pages.free > free, "its page is free again");
    }
    Ok(())
}

mod earlier {
    use flagstone::persist;

    #[persist(name = "Inner")]
    #[derive(Clone, Copy, Default)]
    pub struct Inner(pub u32, pub u32);

    #[persist(name = "Outer")]
    #[derive(Clone, Copy, Default)]
    pub struct Outer {
        pub inner: [Inner; 2],
    }
}

mod later {
    use flagstone::persist;

    #[persist(name = "Inner")]
    #[derive(Clone, Copy, Default)]
    pub struct Inner(pub u64);

    #[persist(name = "Outer")]
    #[derive(Clone, Copy, Default)]
    pub struct Outer {
        pub inner: [Inner; 2],
    }
}

/// The outer description contains the inner struct's name, but not its fields.
#[test]
fn a_struct_in_another_one_keeps_its_layout() -> flagstone::Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    open(&path)?.update(|tx| {
        let outer = tx.alloc(earlier::Outer::default())?;
        tx.set_root("outer", outer)
    })?;
    let store = open(&path)?;
    assert!(!store.read()?.root::<earlier::Outer>("outer")?.is_null());
    store.close()?;
    let store = open(&path)?;
    let size = size_of::<earlier::Outer>();
    assert_eq!(size, size_of::<later::Outer>());
    assert_refused!(store.read()?.root::<later::Outer>("outer"), TypeChanged { .. });
    assert_refused!(store.write()?.alloc(later::Outer::default()), TypeChanged { .. });
    assert_refused!(store.write()?.alloc(later::Inner::default()), TypeChanged { .. });
    Ok(())
}

/// Freeing a run with a forged length also freed the pages after it, whatever they belonged to.
#[test]
fn a_run_that_says_to_be_longer_frees_nothing_of_others() -> TestResult {
    const PAGE: usize = 4096;
    const HEAP: usize = 4 * PAGE;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store");
    let store = open(&path)?;
    store.update(|tx| -> flagstone::Result<()> {
        for name in ["a", "b"] {
            let array = tx.alloc_slice_copy(&[1u8; 2 * PAGE])?;
            tx.set_root(name, array)?;
        }
        Ok(())
    })?;
    store.close()?;
    let mut bytes = std::fs::read(&path)?;
    let word = |bytes: &[u8], at: usize| forge::number32(bytes, HEAP + at) as usize;
    let root = HEAP + word(&bytes, 24) * PAGE;
    let first = forge::number(&bytes, root + 16) as usize / PAGE;
    let chunk = word(&bytes, word(&bytes, 656) * PAGE) * PAGE;
    let descriptor = HEAP + chunk + 64 * first;
    for pages in [4u32, 1 << 20] {
        let len_bytes = u64::from(pages) * PAGE as u64;
        bytes[descriptor + 12..descriptor + 16].copy_from_slice(&pages.to_le_bytes());
        forge::set_number(&mut bytes, descriptor + 24, len_bytes);
        forge::set_number(&mut bytes, root + 24, len_bytes);
        std::fs::write(&path, &bytes)?;
        let store = open(&path)?;
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
