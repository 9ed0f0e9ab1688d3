//! Promise: freed space is reused, and returns to the file system at the end of the file.

use flagstone::{Durability, Link, OpenOptions, Store, WriteTx, persist};
use testkit::scratch::ScratchFile;
use testkit::{Random, open_with, seed};

#[persist]
#[derive(Clone, Copy)]
struct Small {
    value: u64,
    next: Link<Small>,
}

/// An allocation that will be freed.
enum Thing {
    Small(Link<Small>),
    Bytes(Link<[u8]>),
    Numbers(Link<[u64]>),
}

fn allocate(tx: &mut WriteTx<'_>, random: &mut Random) -> flagstone::Result<Thing> {
    Ok(match random.below(8) {
        0..4 => Thing::Small(tx.alloc(Small { value: random.next(), next: Link::null() })?),
        4 | 5 => {
            let len = random.below(600) as usize;
            Thing::Bytes(tx.alloc_slice(std::iter::repeat_n(7, len))?)
        }
        6 => {
            let len = random.below(400) as usize;
            Thing::Numbers(tx.alloc_slice(std::iter::repeat_n(5, len))?)
        }
        _ => Thing::Bytes(tx.alloc_slice(std::iter::repeat_n(9, random.below(30_000) as usize))?),
    })
}

fn free(tx: &mut WriteTx<'_>, thing: Thing) -> flagstone::Result<()> {
    match thing {
        Thing::Small(link) => tx.free(link),
        Thing::Bytes(link) => tx.free(link),
        Thing::Numbers(link) => tx.free(link),
    }
}

/// Frees half of the things at random and allocates as many.
fn round(store: &Store, things: &mut Vec<Thing>, random: &mut Random) -> flagstone::Result<()> {
    let count = things.len();
    for _ in 0..20 {
        store.update(|tx| {
            for _ in 0..count / 40 {
                let index = random.below(things.len() as u64) as usize;
                free(tx, things.swap_remove(index))?;
            }
            for _ in 0..count / 40 {
                things.push(allocate(tx, random)?);
            }
            Ok(())
        })?;
    }
    store.checkpoint()
}

#[test]
fn twenty_rounds_of_churn_leave_the_file_as_long_as_one() -> flagstone::Result<()> {
    [250, 1000].into_iter().try_for_each(churn)
}

fn churn(batch: usize) -> flagstone::Result<()> {
    let seed = seed(5);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let path = ScratchFile::new().expect("a folder");
    let options = OpenOptions::new().durability(Durability::Deferred);
    let store = open_with(&path, &options)?;
    let mut things = Vec::new();
    for _ in 0..20 {
        store.update(|tx| {
            (0..batch).try_for_each(|_| allocate(tx, &mut random).map(|x| things.push(x)))
        })?;
    }
    round(&store, &mut things, &mut random)?;
    let first = store.stats()?.file_bytes;
    for _ in 1..20 {
        round(&store, &mut things, &mut random)?;
    }
    let last = store.stats()?;
    store.check()?.into_result()?;
    let ratio = last.file_bytes as f64 / first as f64;
    println!("file: {first} bytes after round 1, {} after round 20, {ratio:.3}", last.file_bytes);
    assert!(ratio <= 1.25, "{ratio}");
    Ok(())
}

#[test]
fn space_freed_at_the_end_returns_to_the_file_system() -> flagstone::Result<()> {
    let path = ScratchFile::new().expect("a folder");
    let store = open_with(&path, &OpenOptions::new())?;
    let empty = store.stats()?.file_bytes;
    let links = store.update(|tx| {
        let large = |_| tx.alloc_slice(std::iter::repeat_n(1u64, 100_000));
        (0..40).map(large).collect::<flagstone::Result<Vec<_>>>()
    })?;
    assert!(store.stats()?.file_bytes > empty + 30_000_000);
    store.update(|tx| links.into_iter().try_for_each(|link| tx.free(link)))?;
    for _ in 0..3 {
        store.update(|tx| tx.alloc(1u64).map(drop))?;
        store.checkpoint()?;
    }
    store.check()?.into_result()?;
    let open_bytes = store.stats()?.file_bytes;
    store.close()?;
    let closed_bytes = std::fs::metadata(&path).expect("the file").len();
    println!("{empty} bytes empty, {open_bytes} after freeing, {closed_bytes} closed");
    assert!(open_bytes <= 2 * empty && closed_bytes <= empty + (1 << 20));
    Ok(())
}

#[persist]
#[repr(align(4096))]
struct Page([u8; 4096]);

#[test]
fn an_empty_array_of_pages_gives_its_page_back() -> flagstone::Result<()> {
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
