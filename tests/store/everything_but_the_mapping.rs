//! Promise: allocation, transactions, savepoints, snapshots and links are sound. The tests use
//! private memory instead of a mapping, so Miri can check them.

use flagstone::{Link, OpenOptions, Store, persist};

#[persist]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Leaf,
    Branch,
}

#[persist]
#[derive(Clone, Copy)]
struct Node {
    value: u64,
    left: Link<Node>,
    right: Link<Node>,
    kind: Kind,
    flag: bool,
    pad: [u8; 6],
}

fn node(value: u64) -> Node {
    let (left, right) = (Link::null(), Link::null());
    Node { value, left, right, kind: Kind::Leaf, flag: true, pad: [0; 6] }
}

fn store() -> flagstone::Result<Store> {
    OpenOptions::new().log_bytes(64 * 1024).open_in_memory()
}

#[test]
fn values_are_changed_and_read_side_by_side() -> flagstone::Result<()> {
    let store = store()?;
    let mut tx = store.write()?;
    let a = tx.alloc(node(1))?;
    let b = tx.alloc(node(2))?;
    let array = tx.alloc_slice((0..9u16).map(|x| x * x))?;
    {
        let [x, y] = tx.get_disjoint_mut([a, b])?;
        x.left = b;
        y.right = a;
        std::mem::swap(&mut x.value, &mut y.value);
        x.kind = Kind::Branch;
    }
    let (x, y, z) = (tx.at(a)?, tx.at(b)?, tx.at(array)?);
    assert_eq!((x.value, y.value, z[3], x.kind), (2, 1, 9, Kind::Branch));
    assert_eq!(tx.at(x.left)?.value, 1);
    tx.at_mut(array)?[0] = 77;
    tx.copy_within(array, 0..3, 4)?;
    assert_eq!(tx.at(array)?, [77, 1, 4, 9, 77, 1, 4, 49, 64]);
    tx.set_root("a", a)?;
    tx.commit()?;
    let before = store.read()?;
    let held = before.at(a)?;
    store.update(|tx| tx.put(a, node(50)))?;
    store.checkpoint()?;
    assert_eq!(held.value, 2);
    assert_eq!(store.read()?.at(before.root::<Node>("a")?)?.value, 50);
    Ok(())
}

#[test]
fn a_savepoint_rolls_back_later_changes() -> flagstone::Result<()> {
    let store = store()?;
    let mut tx = store.write()?;
    let link = tx.alloc(node(1))?;
    let savepoint = tx.savepoint()?;
    tx.at_mut(link)?.value = 2;
    let later = tx.alloc(node(3))?;
    tx.free(link)?;
    tx.rollback_to(savepoint)?;
    assert_eq!(tx.at(link)?.value, 1);
    assert!(tx.get_mut(later).is_err());
    tx.commit()?;
    store.check()?.into_result()?;
    Ok(())
}

#[test]
fn the_heap_grows_during_a_transaction() -> flagstone::Result<()> {
    let store = store()?;
    let mut tx = store.write()?;
    let first = tx.alloc(7u64)?;
    let large = tx.alloc_slice(std::iter::repeat_n(1u8, 20_000))?;
    assert_eq!((tx.read(first)?, tx.at(large)?.len()), (7, 20_000));
    tx.commit()?;
    store.update(|tx| tx.free(large))?;
    assert_eq!(store.read()?.read(first)?, 7);
    Ok(())
}

#[test]
fn a_bad_link_gives_no_reference() -> flagstone::Result<()> {
    let store = store()?;
    let mut tx = store.write()?;
    let link = tx.alloc(node(1))?;
    let byte = Link::<u8>::from_parts(link.offset() + 25, 1);
    tx.put(byte, 2)?;
    assert!(tx.get(link).is_err() && tx.get_mut(link).is_err());
    for offset in [1, 3, u64::MAX, u64::MAX - 7, 1 << 40] {
        let bad = Link::<Node>::from_parts(offset, 1);
        assert!(tx.get(bad).is_err() && tx.get_mut(bad).is_err() && tx.free(bad).is_err());
        let bad = Link::<[Node]>::from_parts(offset, u64::MAX);
        assert!(tx.get(bad).is_err() && tx.get_mut(bad).is_err());
    }
    tx.put(link, node(4))?;
    assert_eq!(tx.at(link)?.value, 4);
    Ok(())
}
