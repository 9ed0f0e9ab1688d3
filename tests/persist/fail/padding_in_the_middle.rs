use flagstone::persist;

#[persist]
struct Middle {
    small: u8,
    large: u64,
}

#[persist]
struct Tuple(u16, u32);

fn main() {}
