//! Links to values and to slices, and integers of a fixed byte order.

#![deny(warnings)]

use flagstone::{Link, Persist, persist};
use zerocopy::byteorder::{BE, LE, U32, U64};

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
    let entry = Entry {
        key: Link::null(),
        value: Link::null(),
        parent: Link::null(),
    };
    assert!(entry.key.is_empty() && entry.value.is_empty() && entry.parent.is_null());
    assert_eq!(size_of::<Entry>(), 40);
    let packet = Packet {
        length: U32::new(1),
        sequence: U64::new(2),
        tag: 3,
    };
    assert_eq!(
        (packet.length.get(), packet.sequence.get(), packet.tag),
        (1, 2, 3)
    );
    assert_eq!((size_of::<Packet>(), align_of::<Packet>()), (13, 1));
    assert!(Packet::ANY_BITS);
}
