use flagstone::persist;

#[persist]
#[repr(C, align(8192))]
struct Huge {
    bytes: [u8; 8192],
}

fn main() {}
