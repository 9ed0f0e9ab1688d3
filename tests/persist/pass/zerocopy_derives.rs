//! zerocopy's derives together with `#[persist]`.

#![deny(warnings)]

use flagstone::{Link, persist};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

#[persist]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
struct Header {
    link: Link<Header>,
    count: u32,
    kind: [u8; 4],
}

#[persist]
#[derive(TryFromBytes, IntoBytes, KnownLayout, Immutable)]
enum Kind {
    One = 1,
    Two,
}

fn main() {
    let header = Header { link: Link::null(), count: 3, kind: [1; 4] };
    let read = Header::read_from_bytes(header.as_bytes()).unwrap();
    assert_eq!((read.link, read.count, read.kind), (header.link, 3, [1; 4]));
    assert_eq!(Kind::One.as_bytes(), [1]);
    assert!(Kind::try_ref_from_bytes(Kind::Two.as_bytes()).is_ok());
    assert!(Kind::try_ref_from_bytes(&[0]).is_err());
}
