//! Links to values, to slices and to the type itself, and integers of a fixed byte order.

#![deny(warnings)]

use flagstone::{Link, Persist, persist};
use zerocopy::byteorder::{BE, LE, U32, U64};

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

#[persist]
struct Entry {
    key: Link<[u8]>,
    value: Link<[Link<Entry>]>,
    parent: Link<Entry>,
}

#[persist]
struct Packet {
    length: U32<BE>,
    sequence: U64<LE>,
    tag: u8,
}

fn main() {
    let node = Node { value: 1, next: Link::null() };
    assert!(node.next.is_null() && node.value == 1);
    let tree = Tree { parent: Link::null(), children: Link::null() };
    assert!(tree.parent.is_null() && tree.children.is_empty());
    let book = Book { author: Link::null(), sequel: Link::null() };
    assert!(book.author.is_null() && book.sequel.is_null());
    assert!(Author { books: Link::null() }.books.is_empty());
    let list = List { value: 7_u64, next: Link::null() };
    assert!(list.next.is_null() && list.value == 7);
    let () = <List<List<Node>> as Persist>::CHECK;
    let entry = Entry { key: Link::null(), value: Link::null(), parent: Link::null() };
    assert!(entry.key.is_empty() && entry.value.is_empty() && entry.parent.is_null());
    assert_eq!(size_of::<Entry>(), 40);
    let packet = Packet { length: U32::new(1), sequence: U64::new(2), tag: 3 };
    assert_eq!((packet.length.get(), packet.sequence.get(), packet.tag), (1, 2, 3));
    assert_eq!((size_of::<Packet>(), align_of::<Packet>()), (13, 1));
    assert!(Packet::ANY_BITS);
}
