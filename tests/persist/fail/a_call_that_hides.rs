//! Calls of the macros that `#[persist]` calls, bypassing what makes `#[persist]` fail first.

#![forbid(unsafe_code)]

use flagstone::persist::derived::part;

#[repr(C)]
struct Padded {
    small: u8,
    large: u64,
}
flagstone::__persist_struct! {
    Padded [] where [] named "Padded"
    fields [
        (|__flagstone_value: &Self| &raw const __flagstone_value.small)
            is part(|x: &Self| &raw const x.small);
        (|__flagstone_value: &Self| &raw const __flagstone_value.large)
            is part(|x: &Self| &raw const x.large);
    ]
    diagnosis {}
}

#[repr(C)]
struct PaddedBehind {
    large: u64,
    small: u8,
}
flagstone::__persist_struct! {
    PaddedBehind [] where [] named "PaddedBehind"
    fields [
        (|__flagstone_value: &Self| &raw const __flagstone_value.large)
            is part(|x: &Self| &raw const x.large);
        (|__flagstone_value: &Self| &raw const __flagstone_value.small)
            is part(|x: &Self| &raw const x.small);
    ]
    diagnosis {}
}

struct Taken {
    value: u64,
}
flagstone::__persist_struct! {
    Taken [] where [] named "flagstone::Text"
    fields [
        (|__flagstone_value: &Self| &raw const __flagstone_value.value)
            is part(|x: &Self| &raw const x.value);
    ]
    diagnosis {}
}

struct Lines {
    value: u64,
}
flagstone::__persist_struct! {
    Lines [] where [] named "Lines size 8\n"
    fields [
        (|__flagstone_value: &Self| &raw const __flagstone_value.value)
            is part(|x: &Self| &raw const x.value);
    ]
    diagnosis {}
}

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
flagstone::__persist_struct! {
    Nothing [] where [] named "Nothing" fields [] diagnosis {}
}

fn main() {}
