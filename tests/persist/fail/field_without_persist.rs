use std::net::Ipv4Addr;

use flagstone::{Link, persist};

type Count = usize;

struct Plain {
    value: u32,
}

#[persist]
struct Holder {
    address: Ipv4Addr,
    plain: [Plain; 2],
    count: Count,
}

#[persist]
struct Good<T> {
    value: T,
}

#[persist]
struct Parameter {
    good: Good<Plain>,
}

#[persist]
struct Unbounded<T> {
    value: T,
    next: Link<Unbounded<T>>,
}

#[persist]
struct Tail {
    count: u64,
    items: [u8],
}

fn main() {}
