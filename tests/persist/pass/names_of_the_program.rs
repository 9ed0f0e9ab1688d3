//! Constants, statics, functions, unit structs and types with common names in the scope of a
//! type, and methods of its own with the names of those of `Persist`.

#![deny(warnings)]
#![forbid(unsafe_code)]
#![allow(non_upper_case_globals, non_camel_case_types, dead_code)]

use flagstone::{Link, Persist, field, persist};

const end: usize = 7;
const start: u64 = 1;
const bytes: &[u8] = &[];
const value: u32 = 1;
const variant: Kind = Kind::A;
static reach: u8 = 0;
static field0: u8 = 0;
struct owned;
fn part() {}
macro_rules! offset_of {
    () => {
        ()
    };
}

#[persist]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Point {
    end: u32,
    bytes: u32,
    value: [bool; 8],
}

#[persist]
struct Node<T: Persist, const reach: usize> {
    start: [T; reach],
    next: Link<Node<T, reach>>,
}

#[persist]
#[repr(u16)]
#[derive(Clone, Copy)]
enum Kind {
    A = 300,
    bytes,
}

/// Takes precedence over the trait's when named as `Point::…`.
impl Point {
    pub const ANY_BITS: bool = true;
    pub const CHECK: () = ();
    pub const OWNS: bool = true;
    pub fn is_valid(_: &[u8]) -> bool {
        true
    }
    pub fn type_name() -> String {
        "u64".to_string()
    }
}

impl Kind {
    /// A variant takes precedence over it.
    pub const A: Kind = Kind::bytes;
    pub fn is_valid(_: &[u8]) -> bool {
        true
    }
}

trait Everywhere: Sized {
    fn enter<T>(&self) -> bool {
        panic!()
    }
    fn any_bits(self) -> bool {
        true
    }
    fn is_some_and<F>(self, _: F) -> bool {
        true
    }
}
impl<T> Everywhere for T {}

fn main() {
    assert!(!<Point as Persist>::ANY_BITS && !<Point as Persist>::OWNS);
    assert!(!<Point as Persist>::is_valid(&[2; 16]));
    assert!(<Point as Persist>::is_valid(&[1; 16]));
    assert_eq!(<Point as Persist>::type_name(), "Point");
    assert!(!<Kind as Persist>::is_valid(&[0; 2]));
    assert!(<Kind as Persist>::is_valid(&300_u16.to_ne_bytes()));
    assert!(<Kind as Persist>::is_valid(&301_u16.to_ne_bytes()));
    let () = <Node<u64, 2> as Persist>::CHECK;
    let _ = (field!(Point, bytes), offset_of!(), part());
}
