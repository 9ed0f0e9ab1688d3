//! Layouts with padding, without bytes, or with too large an alignment; and a type with `Drop`.

use flagstone::persist;

#[persist]
#[repr(C, align(8192))]
struct Huge {
    bytes: [u8; 8192],
}

#[persist]
struct Guard {
    value: u32,
}

impl Drop for Guard {
    fn drop(&mut self) {}
}

#[persist]
struct End {
    large: u64,
    small: u8,
}

#[persist]
#[repr(align(16))]
struct Aligned(u64);

#[persist]
struct Pair<A, B> {
    first: A,
    second: B,
}

#[persist]
struct Outer {
    pairs: [Pair<u32, u16>; 2],
}

#[persist]
struct Middle {
    small: u8,
    large: u64,
}

#[persist]
struct Tuple(u16, u32);

#[persist]
struct NoBytes {
    none: [u64; 0],
}

fn main() {}
