//! Attributes below `#[persist]` may change the item that it has seen; the final type is the one
//! that counts.

#![forbid(unsafe_code)]

use flagstone::persist;
use hostile::replace;

#[persist]
#[replace(pub struct Added { flag: bool, hidden: bool })]
struct Added {
    flag: bool,
}

#[persist]
#[replace(struct Removed { flag: bool })]
struct Removed {
    flag: bool,
    also: bool,
}

#[persist]
#[replace(struct Retyped { value: &'static u64 })]
struct Retyped {
    value: u64,
}

#[persist]
#[replace(#[repr(C)] struct Reordered { small: u8, large: [u16; 2] })]
struct Reordered {
    large: [u16; 2],
    small: u16,
}

#[persist]
#[replace(#[repr(C, packed)] struct Packed { small: u8, large: u64 })]
struct Packed {
    small: u8,
    large: u64,
}

#[persist]
#[replace(#[repr(C)] union Both { value: u64 })]
struct Both {
    value: u64,
}

struct Inner {
    value: u64,
}

struct Outer(Inner);

impl std::ops::Deref for Outer {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

#[persist]
#[replace(type Followed = Outer;)]
struct Followed {
    value: u64,
}

#[persist]
#[replace(#[repr(u8, align(2))] enum Wider { A, B })]
#[repr(u16)]
enum Wider {
    A,
    B,
}

#[persist]
#[replace(#[repr(u8)] enum More { A, B })]
#[repr(u8)]
enum More {
    A,
}

#[persist]
#[replace(#[repr(u8)] enum Filled { A, B(bool) })]
#[repr(u8)]
enum Filled {
    A,
    B,
}

fn main() {}
