use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use flagstone::persist;

#[persist]
struct Shared {
    cell: Cell<u32>,
    ref_cell: RefCell<u32>,
    mutex: Mutex<u32>,
    atomic: AtomicU64,
}

fn main() {}
