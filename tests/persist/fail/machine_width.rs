use flagstone::persist;

#[persist]
struct Counts {
    unsigned: usize,
    signed: isize,
    spelled_out: core::primitive::usize,
    many: [usize; 4],
}

#[persist]
struct Tuple(u32, usize);

fn main() {}
