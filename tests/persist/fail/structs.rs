//! Structs with another layout or without fields, parts that depend on how the program is built,
//! and items of other kinds.

use flagstone::persist;

#[persist]
#[repr(C, packed)]
struct Packed {
    small: u8,
    large: u64,
}

#[persist]
#[repr(packed(2))]
struct PackedTwo {
    small: u16,
    large: u64,
}

#[persist]
#[repr(Rust)]
struct OfRust {
    value: u8,
}

#[persist]
struct Unit;

#[persist]
struct Empty {}

#[persist]
struct EmptyTuple();

#[persist]
union Either {
    number: u32,
    bytes: [u8; 4],
}

#[persist]
fn function() {}

#[persist]
struct Fields {
    always: u8,
    #[cfg(unix)]
    sometimes: u8,
}

#[persist]
enum Variants {
    Always,
    #[cfg(unix)]
    Sometimes,
}

#[persist]
struct Further {
    always: u8,
    #[cfg_attr(unix, cfg_attr(unix, doc = "", cfg(windows)))]
    sometimes: u8,
}

fn main() {}
