//! Enums that are not plain integers of a fixed width.

use flagstone::persist;

#[persist]
#[repr(usize)]
enum MachineWidth {
    A,
}

#[persist]
#[repr(C)]
enum OfC {
    A,
}

#[persist]
#[repr(u8, align(2))]
enum Aligned {
    A,
}

#[persist]
enum Value {
    None,
    Number(i64),
    Text { bytes: [u8; 8] },
}

#[persist]
enum Never {}

fn main() {}
