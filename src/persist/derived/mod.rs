//! The implementations of [`Persist`](super::Persist) behind `#[persist]`.
//!
//! The attribute writes the type as it was given, and one call of a macro of this
//! module. So `unsafe` appears here and not in the attribute's output. A program that
//! substitutes another crate for flagstone, or for `core`, gets no unsafe code out of it.
//!
//! **Owns** the proofs of P1 to P4. **Must not know** how a type was written: only
//! the type that the compiler ends up with counts.
//!
//! # Why the macros are sound with any arguments
//!
//! Anyone can call them, with any tokens, and attributes below `#[persist]` may
//! change the type that it saw. So:
//!
//! `D1` Each argument of a caller is parsed as a complete name, type, bound, literal or
//! expression (a fragment of macro-by-example), or is compared token by token. No token
//! of a caller can end the `unsafe impl` or begin another.
//! `D2` The type of a field is never written. `of_field` compares it, without coercion,
//! with that of an access to the field of the compiler's own struct. Only `part` makes
//! the value that is compared, and only for a type that is `Persist`.
//! `D3` A pattern without `..` makes the compiler check that the listed fields are all of
//! the struct's fields, and an exhaustive pattern does the same for an enum's variants. So
//! an access to a listed field accesses the struct's own field, never one through `Deref`.
//! `D4` Every lookup goes through `$crate`, to a function and not a method, and to an item
//! of the trait, not of the type (`<Self as Persist>::…`).
//! `D5` No ordinary name is bound: a constant of that name in the caller's scope
//! would turn the binding into a constant pattern.
//! `D6` An expression of the caller stands in a constant, so it cannot return from a
//! function of the implementation. Each may be a macro that expands to something else
//! at each mention.

mod enums;
mod names;
mod part;
mod refused;
mod structs;

pub use enums::*;
pub use names::*;
pub use part::*;
pub(crate) use structs::persist_own;

pub use crate::persist::field::room;
pub use core::marker::{Send, Sync};
pub use core::mem::offset_of;
pub use core::primitive::{bool, i128, u8};
pub use core::{compile_error, stringify};
pub use std::string::String;

/// Flags for flagstone's own types. Private, so other types cannot have them.
pub(crate) mod own {
    /// Allows a type to have a name with the prefix of flagstone's own types.
    pub(crate) const TYPE: bool = true;
}
