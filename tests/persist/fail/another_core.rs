//! A crate that replaces `core`; its `assert` asserts nothing and its `compile_error` is no
//! error.

#![forbid(unsafe_code)]

extern crate self as core;

pub mod mem {
    #[macro_export]
    macro_rules! wrong_offset {
        ($type:ty, small) => {
            0
        };
        ($type:ty, large) => {
            1
        };
    }
    pub use wrong_offset as offset_of;
    pub const fn size_of<T>() -> usize {
        9
    }
}

#[macro_export]
macro_rules! assert {
    ($($any:tt)*) => {};
}

#[macro_export]
macro_rules! compile_error {
    ($($any:tt)*) => {};
}

#[flagstone::persist]
struct Padded {
    small: u8,
    large: u64,
}

#[flagstone::persist]
struct Refused {
    text: &'static str,
}

fn main() {
    let () = <Refused as flagstone::Persist>::CHECK;
}
