//! C-like enums of each integer type, alone and in a struct.

#![deny(warnings)]

use flagstone::{Persist, persist};

#[persist]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Color {
    #[default]
    Red,
    Green = 4,
    Blue,
}

#[persist]
#[repr(i16)]
#[derive(Clone, Copy)]
enum Wide {
    Below = -1,
    Above = 1 << 10,
}

#[persist]
#[repr(u64)]
enum Widest {
    Last = u64::MAX,
}

#[persist]
#[allow(dead_code)]
struct Pixel {
    id: Widest,
    x: Wide,
    color: Color,
    border: [Color; 5],
}

fn main() {
    assert_eq!(Color::default(), Color::Red);
    assert!([Color::Green, Color::Blue].map(|color| color as u8) == [4, 5]);
    assert_eq!(size_of::<Color>(), 1);
    assert_eq!(size_of::<Wide>(), 2);
    assert!(Wide::is_valid(&(Wide::Below as i16).to_ne_bytes()));
    assert!(Wide::is_valid(&(Wide::Above as i16).to_ne_bytes()));
    assert!(Widest::is_valid(&(Widest::Last as u64).to_ne_bytes()));
    assert!(!Widest::is_valid(&[0; 8]));
    assert!(!Pixel::ANY_BITS);
}
