use flagstone::{Persist, persist};

#[persist]
struct Pair<A, B> {
    first: A,
    second: B,
}

fn main() {
    let () = <Pair<u32, u32> as Persist>::CHECK;
    let () = <Pair<u8, u32> as Persist>::CHECK;
}
