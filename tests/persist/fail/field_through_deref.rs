//! A field of what a struct derefs to is no field of the struct.

use std::ops::Deref;

use flagstone::{field, persist};

#[persist]
struct Inner {
    value: u64,
}

#[persist]
struct Outer {
    inner: Inner,
}

impl Deref for Outer {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

fn main() {
    let _ = field!(Outer, value);
}
