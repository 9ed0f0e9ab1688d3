//! Calls of the macros that `#[persist]` calls, bypassing what makes `#[persist]` fail first.

#![forbid(unsafe_code)]

use flagstone::persist::derived::part;

/// Describes a struct with these fields, each as it is.
macro_rules! describe {
    ($type:ident $name:literal $($field:ident)*) => {
        flagstone::__persist_struct! {
            $type [] where [] named $name
            fields [$(
                (|__flagstone_value: &Self| &raw const __flagstone_value.$field)
                    is part(|x: &Self| &raw const x.$field);
            )*]
            diagnosis {}
        }
    };
}

#[repr(C)]
struct Padded {
    small: u8,
    large: u64,
}
describe! { Padded "Padded" small large }

#[repr(C)]
struct PaddedBehind {
    large: u64,
    small: u8,
}
describe! { PaddedBehind "PaddedBehind" large small }

struct Taken {
    value: u64,
}
describe! { Taken "flagstone::Text" value }

struct Lines {
    value: u64,
}
describe! { Lines "Lines size 8\n" value }

#[repr(u8)]
enum u64le {
    A,
}
flagstone::__persist_enum! {
    u64le [] where [] named "u64le" variants [A] diagnosis {}
}

#[repr(u8, align(2))]
enum Wide {
    A,
}
flagstone::__persist_enum! {
    Wide [] where [] named "Wide" variants [A] diagnosis {}
}

struct Nothing;
describe! { Nothing "Nothing" }

fn main() {}
