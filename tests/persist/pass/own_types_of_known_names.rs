//! A type of the program may have the name of a refused one: its path tells them apart. Only exact
//! names are reserved, and only where descriptions use them.

#![deny(warnings)]

use flagstone::{Persist, persist};

mod my {
    use flagstone::Link;

    use super::{Persist, persist};

    #[persist]
    pub struct Vec<T: Persist> {
        pub items: Link<[T]>,
    }

    #[persist]
    pub struct Option<T> {
        pub value: T,
        pub is_some: u32,
    }
}

#[persist]
struct Uses {
    list: my::Vec<u16>,
    maybe: my::Option<f32>,
}

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
    let uses = Uses {
        list: my::Vec { items: flagstone::Link::null() },
        maybe: my::Option { value: 0.0, is_some: 0 },
    };
    assert!(uses.list.items.is_empty());
    assert!(uses.maybe.value == 0.0 && uses.maybe.is_some == 0);
    assert_eq!(Link::type_name(), "Link");
    assert_eq!(Phantom::<Number>::type_name(), "own::Phantom<u16.le>");
    let _ = (Link { host: 0 }, Phantom { value: Number { value: 0 } });
}
