use flagstone::persist;

#[persist]
union Either {
    number: u32,
    bytes: [u8; 4],
}

#[persist]
fn function() {}

fn main() {}
