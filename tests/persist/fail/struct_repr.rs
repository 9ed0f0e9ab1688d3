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

fn main() {}
