use flagstone::persist;

#[persist]
struct Pair<A, B> {
    first: A,
    second: B,
}

#[persist]
struct Outer {
    pairs: [Pair<u32, u16>; 2],
}

fn main() {}
