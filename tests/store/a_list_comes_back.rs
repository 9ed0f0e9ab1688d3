//! Promise: linked and committed objects are there in the next run.

use flagstone::{Link, Store, persist};

#[persist]
struct Node {
    value: i64,
    next: Link<Node>,
}

fn fill(store: &Store, count: i64) -> Result<(), flagstone::Error> {
    for value in 0..count {
        let mut tx = store.write()?;
        let next = tx.root::<Node>("head")?;
        let node = tx.alloc(Node { value, next })?;
        tx.set_root("head", node)?;
        tx.commit()?;
    }
    Ok(())
}

fn values(store: &Store) -> Result<Vec<i64>, flagstone::Error> {
    let tx = store.read()?;
    let mut at = tx.root::<Node>("head")?;
    let mut values = Vec::new();
    while let Some(node) = tx.get(at)? {
        values.push(node.value);
        at = node.next;
    }
    Ok(values)
}

#[test]
fn a_list_is_there_after_reopening() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("list.flag");
    let expected: Vec<i64> = (0..1000).rev().collect();
    {
        // SAFETY: only this test uses the file.
        let store = unsafe { Store::open(&path)? };
        fill(&store, 1000)?;
        assert_eq!(values(&store)?, expected);
        store.check()?.into_result()?;
        store.close()?;
    }
    // SAFETY: as above.
    let store = unsafe { Store::open(&path)? };
    assert_eq!(values(&store)?, expected);
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn a_list_in_memory_works_the_same() -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::in_memory()?;
    fill(&store, 300)?;
    assert_eq!(values(&store)?, (0..300).rev().collect::<Vec<_>>());
    store.check()?.into_result()?;
    Ok(())
}
