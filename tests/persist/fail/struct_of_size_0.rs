use flagstone::persist;

#[persist]
struct NoBytes {
    none: [u64; 0],
}

fn main() {}
