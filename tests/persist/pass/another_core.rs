//! A crate that replaces `core`, `std` and `alloc` with other things: flagstone does not look
//! there.

#![deny(warnings)]
#![forbid(unsafe_code)]
#![allow(dead_code)]

extern crate self as alloc;
extern crate self as core;
extern crate self as std;

pub mod mem {
    #[macro_export]
    macro_rules! wrong_offset {
        ($($any:tt)*) => {
            0
        };
    }
    pub use wrong_offset as offset_of;
    pub const fn size_of<T>() -> usize {
        0
    }
}

#[macro_export]
macro_rules! assert {
    ($($any:tt)*) => {};
}

#[::flagstone::persist]
struct Node {
    value: u64,
    flags: [bool; 8],
    next: ::flagstone::Link<Node>,
}

#[::flagstone::persist]
#[repr(i32)]
enum Kind {
    A = -5,
    B,
}

fn expect(holds: bool) {
    if !holds {
        panic!()
    }
}

fn main() {
    let mut bytes = [0; 24];
    expect(<Node as ::flagstone::Persist>::is_valid(&bytes));
    bytes[9] = 2;
    expect(!<Node as ::flagstone::Persist>::is_valid(&bytes));
    expect(<Kind as ::flagstone::Persist>::is_valid(&(-4_i32).to_ne_bytes()));
    expect(!<Kind as ::flagstone::Persist>::is_valid(&(-3_i32).to_ne_bytes()));
    let field = ::flagstone::field!(Node, next);
    let link = ::flagstone::Link::<Node>::from_parts(64, 1).field(field);
    expect(link.offset() == 80);
}
