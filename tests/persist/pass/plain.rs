//! Numbers, arrays, tuple structs and structs in structs; attributes on the item stay on
//! it.

#![deny(warnings, missing_docs, unused)]
#![forbid(unsafe_code)]

use flagstone::{Persist, persist};

/// A point.
#[persist]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// East.
    pub x: f64,
    /// North.
    pub y: f64,
}

#[persist]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment(Point, Point);

#[persist]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wide {
    a: u128,
    b: i128,
    c: [Segment; 3],
    d: [[u16; 2]; 2],
    e: f32,
    f: i8,
    on: bool,
    _pad: [u8; 2],
}

#[persist]
#[repr(transparent)]
struct Meters(f32);

#[persist]
#[repr(C, align(64))]
struct Line([u8; 64]);

#[persist]
#[repr(align(16))]
struct Aligned {
    value: u128,
}

#[persist]
#[allow(dead_code)]
struct Raw {
    r#type: u32,
    r#fn: u32,
}

#[persist]
#[deprecated]
#[allow(dead_code)]
struct Old {
    #[deprecated]
    value: u32,
}

fn main() {
    #[persist]
    struct Local {
        value: u32,
    }

    assert_eq!(Local { value: 1 }.value, 1);
    assert_eq!(Segment::type_name(), "Segment");
    assert_eq!(size_of::<Meters>(), 4);
    assert_eq!(Meters(1.0).0, 1.0);
    assert_eq!(align_of::<Line>(), 64);
    assert_eq!(Line([0; 64]).0.len(), 64);
    assert_eq!(align_of::<Aligned>(), 16);
    assert_eq!(Aligned { value: 1 }.value, 1);
    let wide = Wide {
        a: 1,
        b: 2,
        c: [Segment(Point::default(), Point::default()); 3],
        d: [[0; 2]; 2],
        e: 0.0,
        f: 0,
        on: true,
        _pad: [0; 2],
    };
    assert_eq!(wide.clone(), wide);
    assert!(!Wide::is_valid(&[2; size_of::<Wide>()]));
}
