//! Options that do not exist, and names that are invalid, reserved, or flagstone's own.

use flagstone::{Persist, persist};

#[persist(size = 8)]
struct Unknown {
    value: u8,
}

#[persist(name = "A", name = "B")]
struct Twice {
    value: u8,
}

#[persist(name = "A B<C>")]
struct BadName {
    value: u8,
}

#[persist(name = "")]
struct EmptyName {
    value: u8,
}

#[persist(name = "flagstone::Vec")]
struct Mine {
    value: u64,
}

fn own(_: &[u8], _: &mut flagstone::persist::Owned) {}

#[persist(owner = own)]
struct Owner {
    value: u64,
}

#[persist(shape = flagstone::persist::Shape::Bytes)]
struct Shaped {
    words: [u64; 3],
}

#[persist]
struct Phantom<T: Persist> {
    value: T,
}

#[persist]
struct Link<const N: usize> {
    host: [u64; N],
}

#[persist(name = "u16le")]
struct Number {
    value: u64,
}

fn main() {}
