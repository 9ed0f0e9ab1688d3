use flagstone::persist;

#[persist]
struct End {
    large: u64,
    small: u8,
}

#[persist]
#[repr(align(16))]
struct Aligned(u64);

fn main() {}
