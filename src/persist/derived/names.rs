//! Names in a store.

use std::fmt::Debug;

/// Returns an identifier as the store knows it: `r#type` is `type`.
#[must_use]
pub const fn plain_name(identifier: &str) -> &str {
    match identifier.as_bytes() {
        [b'r', b'#', ..] => identifier.split_at(2).1,
        _ => identifier,
    }
}

/// Returns the name of a type with its parameters: `Node<i64, 4>`.
#[must_use]
pub fn full_name(base: &str, parameters: &[String]) -> String {
    if parameters.is_empty() {
        return base.to_string();
    }
    format!("{base}<{}>", parameters.join(", "))
}

/// Returns a constant parameter as program text, in which a `char` that would end a line is
/// escaped.
#[must_use]
pub fn constant(value: impl Debug) -> String {
    format!("{value:?}")
}

/// Refuses a name that means something else in descriptions of types: a reader that has only the
/// file could not tell the two apart.
///
/// `#[persist]` refuses such names first, and can point at them in the source.
pub const fn expect_own_name(name: &str, parameters: &str, is_flagstones: bool) {
    let bytes = name.as_bytes();
    assert!(is_one_word(bytes), "a type's name in a store breaks the lines of its description");
    let is_taken = match parameters.is_empty() {
        true => is_primitive(bytes),
        false => matches!(bytes, b"Link" | b"Phantom"),
    };
    assert!(!is_taken, "a type's name has a meaning of its own in descriptions of types");
    assert!(
        is_flagstones || !begins_with(bytes, b"flagstone::"),
        "names that begin with `flagstone::` are those of flagstone's own types"
    );
}

const fn begins_with(name: &[u8], prefix: &[u8]) -> bool {
    match (name, prefix) {
        (_, []) => true,
        ([first, name @ ..], [expected, prefix @ ..]) => {
            *first == *expected && begins_with(name, prefix)
        }
        ([], _) => false,
    }
}

/// Returns whether a name contains nothing that has a meaning in descriptions.
const fn is_one_word(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    while let [byte, rest @ ..] = name {
        let is_plain = byte.is_ascii_alphanumeric() || !byte.is_ascii();
        if !is_plain && !matches!(byte, b'_' | b':' | b'.' | b'-') {
            return false;
        }
        name = rest;
    }
    true
}

/// Returns whether flagstone has a primitive type of this name.
const fn is_primitive(name: &[u8]) -> bool {
    let number = match name {
        [number @ .., b'l' | b'b', b'e'] => number,
        number => number,
    };
    let is_number = match number {
        [b'u' | b'i' | b'f', bits @ ..] => matches!(bits, b"8" | b"16" | b"32" | b"64" | b"128"),
        _ => false,
    };
    is_number || matches!(name, b"bool")
}
