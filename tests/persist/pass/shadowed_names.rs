//! The emitted code relies on no name that the program may
//! redefine.

#![no_implicit_prelude]
#![deny(warnings)]
#![allow(non_camel_case_types, dead_code)]

mod core {}
mod std {}
mod flagstone {}

struct Option;
struct Result;
struct String;
struct Some;
struct Ok;
trait TryFrom {}
struct Persist;
struct Reach;
struct bool;
struct u8;

macro_rules! assert {
    () => {
        ()
    };
}
macro_rules! vec {
    () => {
        ()
    };
}
macro_rules! format {
    () => {
        ()
    };
}

#[::flagstone::persist]
struct Node<T: ::flagstone::Persist, const N: usize> {
    value: [T; N],
    next: ::flagstone::Link<Node<T, N>>,
}

#[::flagstone::persist]
enum Kind {
    A,
    B,
}

fn main() {
    let () = <Node<u64, 2> as ::flagstone::Persist>::CHECK;
    let _ = (assert!(), vec![], format!());
}
