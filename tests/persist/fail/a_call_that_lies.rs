//! Calls of the macros that `#[persist]` calls, with false claims.

#![forbid(unsafe_code)]

use flagstone::persist::Owned;
use flagstone::persist::derived::part;

/// Describes a struct by one field, whose type has the properties of `$part`.
macro_rules! describe {
    ($type:ident $field:ident is $part:expr) => {
        flagstone::__persist_struct! {
            $type [] where [] named "Type"
            fields [(|__flagstone_value: &Self| &raw const __flagstone_value.$field) is $part;]
            diagnosis {}
        }
    };
}

struct Half {
    flag: bool,
    hidden: &'static u8,
}
describe! { Half flag is part(|x: &Self| &raw const x.flag) }

struct Reference {
    value: &'static u64,
}
describe! { Reference value is part(|x: &Self| &raw const *x.value) }

struct Array {
    value: [bool; 8],
}
describe! { Array value is part(|_: &Self| std::ptr::null::<[u8; 8]>()) }

/// Its bytes may be uninitialised.
union Union {
    value: u64,
}
describe! { Union value is part(|_: &Self| std::ptr::null::<u64>()) }

struct Returns {
    value: bool,
}
describe! {
    Returns value is hostile::expand_in_turn!(
        part(|x: &Self| &raw const x.value), part(|x: &Self| &raw const x.value),
        return true
    )
}

struct Owner {
    value: u64,
}
fn own(_: &[u8], _: &mut Owned) {}
flagstone::__persist_struct! {
    Owner [] where [] named "flagstone::Text"
    fields [
        (|__flagstone_value: &Self| &raw const __flagstone_value.value)
            is part(|x: &Self| &raw const x.value);
    ]
    diagnosis {}
    own TYPE allow [dead_code] owner own;
}

#[repr(u8)]
enum Fewer {
    A,
    B,
}
flagstone::__persist_enum! {
    Fewer [] where [] named "Fewer" variants [A] diagnosis {}
}

enum Data {
    A,
    B(bool),
}
impl Data {
    const TRUE: Self = Self::B(true);
    const FALSE: Self = Self::B(false);
}
flagstone::__persist_enum! {
    Data [] where [] named "Data" variants [A TRUE FALSE] diagnosis {}
}

struct Refused {
    value: std::rc::Rc<u8>,
}
flagstone::__persist_refused! { "refused" Refused [] where [] }

fn main() {}
