//! A type is proved to be storable also where a program only names it, behind a link: its
//! description goes into the file.

use std::marker::PhantomData;

use flagstone::{Link, Persist, Store, persist};

#[persist]
struct Nothing<T: Persist> {
    mark: PhantomData<T>,
}

#[persist]
struct Root {
    link: Link<Nothing<u64>>,
}

fn main() {
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let _ = tx.alloc(Root { link: Link::null() });
}
