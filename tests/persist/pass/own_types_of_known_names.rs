//! A path distinguishes a type of the program from the refused one of the same name.

#![deny(warnings)]

use flagstone::{Link, Persist, persist};

mod my {
    use super::{Link, Persist, persist};

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

fn main() {
    let uses = Uses {
        list: my::Vec {
            items: Link::null(),
        },
        maybe: my::Option {
            value: 0.0,
            is_some: 0,
        },
    };
    assert!(uses.list.items.is_empty());
    assert!(uses.maybe.value == 0.0 && uses.maybe.is_some == 0);
}
