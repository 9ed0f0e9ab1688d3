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

fn main() {}
