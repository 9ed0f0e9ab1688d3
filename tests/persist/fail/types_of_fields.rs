//! Fields whose bytes mean something only in this run, or only on this machine.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use flagstone::{Link, persist};

#[persist]
struct Text {
    text: String,
    list: Vec<u8>,
    spelled_out: std::vec::Vec<u8>,
    letter: char,
    nothing: (),
    tuple: (u8, u8),
}

#[persist]
struct Shared {
    cell: Cell<u32>,
    ref_cell: RefCell<u32>,
    mutex: Mutex<u32>,
    atomic: AtomicU64,
}

#[persist]
struct Counts {
    unsigned: usize,
    signed: isize,
    spelled_out: core::primitive::usize,
    many: [usize; 4],
}

#[persist]
struct Tuple(u32, usize);

#[persist]
struct Maybe {
    number: Option<u32>,
    link: Option<Link<Maybe>>,
    boxed: Option<Box<Maybe>>,
    reference: core::option::Option<&'static Maybe>,
}

#[persist]
struct Borrowed<'a> {
    reference: &'a u32,
}

#[persist]
struct Pointers {
    text: &'static str,
    raw: *const u32,
    function: fn(u32) -> u32,
    boxed: Box<u32>,
    rc: Rc<u32>,
    arc: std::sync::Arc<u32>,
    object: Box<dyn Fn()>,
}

fn main() {}
