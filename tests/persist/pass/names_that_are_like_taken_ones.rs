//! Only the exact names are reserved, and only where descriptions use them.

use flagstone::{Persist, persist};

#[persist]
struct Link {
    host: u64,
}

#[persist(name = "own::Phantom")]
struct Phantom<T: Persist> {
    value: T,
}

#[persist(name = "u16.le")]
struct Number {
    value: u64,
}

fn main() {
    assert_eq!(Link::type_name(), "Link");
    assert_eq!(Phantom::<Number>::type_name(), "own::Phantom<u16.le>");
    let _ = (Link { host: 0 }, Phantom { value: Number { value: 0 } });
}
