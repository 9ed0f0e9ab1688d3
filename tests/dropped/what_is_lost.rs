// Each of these statements drops a value that matters.
#![deny(unused_must_use)]

use flagstone::collections::{HashMap, Vec};
use flagstone::{OpenOptions, Result, Store, Text, WriteTx};

fn transactions(store: &Store) -> Result<()> {
    store.write()?;
    store.read()?;
    store.check()?;
    store.stats()?;
    Store::in_memory()?;
    OpenOptions::new();
    Ok(())
}

fn objects(tx: &mut WriteTx<'_>) -> Result<()> {
    tx.alloc(7u64)?;
    tx.alloc_slice([7u64])?;
    tx.savepoint()?;
    Text::new(tx, "a text of more than 23 bytes")?;
    let texts = tx.alloc(Vec::<Text>::new())?;
    texts.swap_remove(tx, 0)?;
    let map = tx.alloc(HashMap::<u64, u64>::new())?;
    let map = tx.at(map)?;
    map.iter(tx)?;
    map.reader(tx)?;
    Ok(())
}

fn main() {}
