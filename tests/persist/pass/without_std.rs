//! A crate of types that does not use the standard library.

#![no_std]
#![deny(warnings)]
#![forbid(unsafe_code)]
#![allow(dead_code)]

use flagstone::{Link, Persist, persist};

#[persist]
pub struct Node<T: Persist, const N: usize> {
    pub values: [T; N],
    pub next: Link<Node<T, N>>,
}

#[persist(name = "types::Kind")]
pub enum Kind {
    Leaf,
    Inner,
}

#[persist]
pub struct Both {
    pub nodes: Node<i64, 3>,
    pub kinds: [Kind; 8],
}

fn main() {
    assert!(!Both::ANY_BITS);
    assert!(!Kind::is_valid(&[2]));
}
