//! `name` and `crate`, alone, together, and from a macro of another crate.

#![deny(warnings)]

mod storage {
    pub use flagstone::*;

    macro_rules! stored {
        ($name:ident, $ty:ty) => {
            #[$crate::storage::persist(crate = $crate::storage)]
            struct $name {
                value: $ty,
            }
        };
    }
    pub(crate) use stored;
}

use storage::Persist;

#[flagstone::persist(name = "geometry::Point")]
struct P<T: Persist> {
    x: T,
}

#[storage::persist(crate = crate::storage)]
struct Elsewhere<T> {
    x: T,
}

#[storage::persist(crate = storage, name = "both",)]
enum Both {
    One,
}

storage::stored!(Made, [u16; 4]);

fn main() {
    assert_eq!(P::<u8>::type_name(), "geometry::Point<u8>");
    assert_eq!(P { x: 1_u8 }.x, 1);
    assert_eq!(Elsewhere::<bool>::type_name(), "Elsewhere<bool>");
    assert_eq!(Elsewhere { x: true }.x, true);
    assert_eq!(Both::type_name(), "both");
    assert_eq!(Both::One as u8, 0);
    assert_eq!(Made { value: [1; 4] }.value, [1; 4]);
}
