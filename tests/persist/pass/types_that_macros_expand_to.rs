//! A macro may expand differently each time: the type of a field, the length of an array and the
//! value of a variant are those of the final type.

#![deny(warnings)]
#![forbid(unsafe_code)]
#![allow(dead_code)]

use flagstone::{Persist, persist};
use hostile::{expand_in_turn, replace};

#[persist]
struct Changing {
    flag: expand_in_turn!([bool; 2], [u8; 2], &'static u16, u16),
    bytes: [bool; expand_in_turn!(6, 5, 4, 1)],
    count: expand_in_turn!(u64, &'static u64, i64, [u8; 8]),
}

#[persist]
#[repr(u16)]
enum Kind {
    A = expand_in_turn!(7, 8, 9),
    B = expand_in_turn!(300, 1, 2),
}

/// Laid out differently from how it was written, and equally sound.
#[persist]
#[replace(
    #[repr(C)]
    struct Replaced {
        flag: [u8; 8],
        count: [bool; 8],
    }
)]
struct Replaced {
    flag: u64,
    count: u64,
}

fn main() {
    assert_eq!(size_of::<Changing>(), 16);
    let mut bytes = [0xff; 16];
    bytes[..8].fill(1);
    assert!(Changing::is_valid(&bytes));
    for place in 0..8 {
        let mut bytes = bytes;
        bytes[place] = 2;
        assert!(!Changing::is_valid(&bytes), "byte {place}");
    }
    let valid = (0..=u16::MAX).filter(|value| Kind::is_valid(&value.to_ne_bytes()));
    assert_eq!(Vec::from_iter(valid), [7, 300]);

    let mut bytes = [0xff; 16];
    assert!(!Replaced::is_valid(&bytes));
    bytes[8..].fill(1);
    assert!(Replaced::is_valid(&bytes));
}
