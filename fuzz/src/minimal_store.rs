//! A store as small as can be, for recovery alone: what lies in it matters little, and
//! each run copies it.

use std::cell::OnceCell;

use flagstone::collections::BTreeMap;
use flagstone::sim::{MemoryDisk, Random, SimDisk};
use flagstone::{Durability, Link, OpenOptions, Result, Store, WriteTx, persist};

use crate::program::options;
use crate::samples::Sample;
use crate::sampling::Chance;

/// One of a list.
#[persist]
#[derive(Default)]
pub struct Node {
    number: u64,
    next: Link<Node>,
}

/// The same store, left in two ways.
#[derive(Default)]
pub struct Plain {
    closed: OnceCell<Sample>,
    logged: OnceCell<Sample>,
}

impl Plain {
    /// Closed in order.
    pub fn closed(&self) -> &Sample {
        self.closed.get_or_init(|| sample(true).expect("a store"))
    }

    /// With records in its log.
    pub fn logged(&self) -> &Sample {
        self.logged.get_or_init(|| sample(false).expect("a store"))
    }
}

fn sample(is_closed: bool) -> Result<Sample> {
    let (store, disk) = SimDisk::create(&options(0))?;
    change(&store, 1)?;
    store.checkpoint()?;
    (2..6).try_for_each(|number| change(&store, number))?;
    if is_closed {
        store.close()?;
    } else {
        disk.fail_after(0);
    }
    Ok(Sample::of(disk.crash(&mut Random(0)), Vec::new()))
}

/// A transaction that allocates, frees and follows links.
fn change(store: &Store, number: u64) -> Result<()> {
    let mut tx = store.write()?;
    tx.set_durability(Durability::Durable);
    let next = tx.root::<Node>("list")?;
    let new = tx.alloc(Node { number, next })?;
    tx.set_root("list", new)?;
    if number.is_multiple_of(3) {
        cut(&mut tx, new)?;
    }
    let tree = tx.root_or_insert_with("tree", BTreeMap::<u64, u64>::new)?;
    tree.insert(&mut tx, &(number % 5), number)?;
    tx.commit()
}

/// Takes out what follows.
fn cut(tx: &mut WriteTx<'_>, node: Link<Node>) -> Result<()> {
    let gone = tx.at(node)?.next;
    if gone.is_null() {
        return Ok(());
    }
    let after = tx.at(gone)?.next;
    tx.at_mut(node)?.next = after;
    tx.free(gone)
}

/// Reads all that there is.
fn read(store: &Store) -> Result<()> {
    let tx = store.read()?;
    tx.roots()?;
    let mut at = tx.root::<Node>("list")?;
    for _ in 0..100 {
        let Some(node) = tx.get(at)? else { break };
        at = node.next;
    }
    let Some(tree) = tx.get(tx.root::<BTreeMap<u64, u64>>("tree")?)? else { return Ok(()) };
    tree.iter(&tx)?.take(1000).try_for_each(|entry| entry.map(drop))
}

/// Opens what a disk holds. What recovery has made of it must open again, as it is there
/// when the process is killed; and few runs do all the rest.
pub fn recover(disk: &MemoryDisk, bits: u8, mut chance: Chance) {
    let options = options(bits).verify(chance.one_in(64));
    let Ok(store) = disk.open(&options) else { return };
    if chance.one_in(16) {
        drop(store);
        use_again(disk, &options, &mut chance);
    }
}

fn use_again(disk: &MemoryDisk, options: &OpenOptions, chance: &mut Chance) {
    let store = disk.open(options).expect("what was recovered opens again");
    if chance.one_in(8) {
        let _ = store.check();
    }
    let _ = read(&store);
    if chance.one_in(4) {
        for number in 7..10 {
            let _ = change(&store, number);
        }
        let _ = store.checkpoint();
        let _ = store.close();
        let _ = disk.open(options).map(|store| read(&store));
    }
}
