//! The implementations of [`Persist`](super::Persist) that `#[persist]` stands for.
//!
//! The attribute writes the type as it was given, and one call of a macro of this
//! module. So the word `unsafe` stands here and not in the attribute's output, and
//! whoever puts another crate in flagstone's place, or in that of `core`, gets
//! nothing from it.
//!
//! **Owns** the proofs of P1 to P4. **Must not know** how a type was written: what
//! counts is the type that the compiler has in the end.
//!
//! # Why the macros are sound, whatever they are called with
//!
//! Anyone can call them, with any tokens, and attributes below `#[persist]` may
//! change the type that it saw. So:
//!
//! `D1` What a caller gives becomes a name, a type, a bound, a literal or an expression
//! by itself (a fragment of macro-by-example), or is compared token by token. No token
//! of a caller's can end the `unsafe impl` or begin another.
//! `D2` The type of a field is never written. `of_field` compares it, without coercion,
//! with that of an access to the field of the compiler's own struct; only `part` makes
//! what is compared, and only for a type that is `Persist`.
//! `D3` A pattern without `..` holds the struct to the fields that were listed, and one
//! that must match all values holds the enum to its variants. So an access to a listed
//! field is one to the struct's own, never through `Deref`.
//! `D4` Whatever is looked up is looked up through `$crate`, as a function and not a
//! method, and as an item of the trait, not of the type (`<Self as Persist>::…`).
//! `D5` No ordinary name is bound: a constant of that name in the caller's scope
//! would make a pattern of it.
//! `D6` An expression of the caller's stands in a constant, so it cannot return from a
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

pub use core::marker::{Send, Sync};
pub use core::mem::offset_of;
pub use core::primitive::{bool, i128, u8};
pub use core::{compile_error, stringify};
pub use std::string::String;

/// What only flagstone's own types may have: for others it is private.
pub(crate) mod own {
    /// The type may have a name that begins as those of flagstone's own types do.
    pub(crate) const TYPE: bool = true;
}
