//! Tokens that would end the implementation, begin another one, or access something other than a
//! field, in calls of the macros that `#[persist]` calls.

#![forbid(unsafe_code)]

use flagstone::persist::derived::part;

struct Type {
    flag: bool,
    hidden: &'static u8,
}

flagstone::__persist_struct! {
    Type [] where [(<> u8: path Copy { const ANY_BITS: bool = true; } impl Clone)]
    named "Type" fields [] diagnosis {}
}

flagstone::__persist_struct! {
    Type [(type T> Persist for Type { const ANY_BITS: bool = true; } impl<U)]
    where [] named "Type" fields [] diagnosis {}
}

flagstone::__persist_struct! {
    Type [] where [] named "Type"
    fields [
        (|__flagstone_value: &Self| &raw const __flagstone_value.flag)
            is part(|_: &Self| &raw const OTHER);
        (|__flagstone_value: &Self| &raw const OTHER) is part(|_: &Self| &raw const OTHER);
    ]
    diagnosis {}
}
const OTHER: u64 = 0;

flagstone::__persist_enum! {
    Type [] where [] named "Type" variants [A = 7] diagnosis {}
}

flagstone::__persist_refused! { Type [] where [] }

fn main() {}
