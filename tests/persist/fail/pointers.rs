use std::rc::Rc;

use flagstone::persist;

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
