use flagstone::persist;

#[persist(name = "flagstone::Vec")]
struct Mine {
    value: u64,
}

fn own(_: &[u8], _: &mut flagstone::persist::Owned) {}

#[persist(owner = own)]
struct Owner {
    value: u64,
}

#[persist(shape = flagstone::persist::Shape::Bytes)]
struct Shaped {
    words: [u64; 3],
}

fn main() {}
