use flagstone::persist;

#[persist]
enum Value {
    None,
    Number(i64),
    Text { bytes: [u8; 8] },
}

fn main() {}
