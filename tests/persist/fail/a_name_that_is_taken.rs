//! Names that are reserved in type descriptions.

use flagstone::{Persist, persist};

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
