//! Types that link to themselves, to each other, and to slices of themselves.

#![deny(warnings)]

use flagstone::{Link, Persist, persist};

#[persist]
struct Node {
    value: i64,
    next: Link<Node>,
}

#[persist]
struct Tree {
    parent: Link<Self>,
    children: Link<[Tree]>,
}

#[persist]
struct Author {
    books: Link<[Book]>,
}

#[persist]
struct Book {
    author: Link<Author>,
    sequel: Link<Book>,
}

#[persist]
struct List<T: Persist> {
    value: T,
    next: Link<List<T>>,
}

fn main() {
    let node = Node {
        value: 1,
        next: Link::null(),
    };
    assert!(node.next.is_null() && node.value == 1);
    let tree = Tree {
        parent: Link::null(),
        children: Link::null(),
    };
    assert!(tree.parent.is_null() && tree.children.is_empty());
    let book = Book {
        author: Link::null(),
        sequel: Link::null(),
    };
    assert!(book.author.is_null() && book.sequel.is_null());
    assert!(
        Author {
            books: Link::null()
        }
        .books
        .is_empty()
    );
    let list = List {
        value: 7_u64,
        next: Link::null(),
    };
    assert!(list.next.is_null() && list.value == 7);
    let () = <List<List<Node>> as Persist>::CHECK;
}
