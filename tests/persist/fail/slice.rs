use flagstone::persist;

#[persist]
struct Tail {
    count: u64,
    items: [u8],
}

fn main() {}
