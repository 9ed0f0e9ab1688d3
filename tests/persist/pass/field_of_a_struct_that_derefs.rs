//! `field!` names the field itself, and the type that it was given once.

#![forbid(unsafe_code)]

use std::ops::Deref;

use flagstone::{Link, Persist, Store, field, persist};

#[persist]
struct Stamped {
    version: u64,
    value: u64,
}

impl Deref for Stamped {
    type Target = u64;

    fn deref(&self) -> &u64 {
        &self.value
    }
}

#[persist]
struct Row<T: Persist> {
    id: T,
    stamped: Stamped,
}

#[persist]
struct Before {
    x: u64,
    y: u64,
}

#[persist]
struct After {
    y: u64,
    x: u64,
}

fn id_of<T: Persist>(row: Link<Row<T>>) -> Link<T> {
    row.field(field!(Row<T>, id))
}

fn main() {
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let row = tx.alloc(Row { id: 1u64, stamped: Stamped { version: 7, value: 42 } }).unwrap();
    let stamped: Link<Stamped> = row.field(field!(Row<u64>, stamped));
    assert_eq!(tx.read(stamped.field(field!(Stamped, value))).unwrap(), 42);
    assert_eq!(tx.read(id_of(row)).unwrap(), 1);
    // Each mention of such a type may be another one; there is one mention.
    let before = tx.alloc(Before { x: 1, y: 2 }).unwrap();
    let after = tx.alloc(After { y: 3, x: 4 }).unwrap();
    assert_eq!(
        tx.read(before.field(field!(hostile::expand_in_turn!(Before, After), x))).unwrap(),
        1
    );
    assert_eq!(tx.read(after.field(field!(After, x))).unwrap(), 4);
}
