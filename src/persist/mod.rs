//! The [`Persist`] trait, and the types that can live in a store.
//!
//! **Owns** the contract of plain old data, the link types, and the textual
//! description (schema) of a type. **Must not know** files, images or
//! transactions: this module deals with bytes and types alone.
//!
//! # Invariants
//!
//! `P1` A value of a `Persist` type has no padding: each of its bytes is
//! initialised whenever the value is. `P2` [`Persist::is_valid`] accepts a
//! byte string only if it is a value of the type. `P3` Every byte string of
//! the right length is a value if [`Persist::ANY_BITS`]. `P4` The size is not
//! zero, the alignment is at most 4096, and dropping does nothing.
//! `P5` There is no interior mutability: while a shared reference exists, the
//! bytes do not change.
//!
//! The mapping module relies on these when it turns bytes into references.

#[doc(hidden)]
pub mod derived;
mod describe;
mod element;
mod field;
mod link;
mod owned;
mod owned_parts;
mod primitives;
mod range;
mod reach;
mod schema;

pub(crate) use derived::persist_own;
pub(crate) use element::{Block, Blocks, Element};
pub use field::FieldOf;
pub(crate) use field::own_field;
pub use link::{Link, Pointee};
pub use owned::Owned;
pub(crate) use owned::{Piece, words};
pub(crate) use range::expect_range;
pub use reach::Reach;
pub(crate) use reach::{ElementRef, Reached};
pub use schema::{Field, Schema, Shape};

/// The largest alignment of a type in a store, in bytes: a page.
pub const MAX_ALIGN_BYTES: usize = 4096;

/// Largest size of a type in a store, in bytes: the registry keeps it in 32 bits.
pub const MAX_TYPE_BYTES: u64 = u32::MAX as u64;

/// Types whose values can be stored.
///
/// Implement it with [`#[persist]`](macro@crate::persist) on a struct or a
/// C-like enum. Fixed-width integers, floats, `bool`, arrays, [`Link`]s and
/// zerocopy's byte-order types implement it already.
///
/// # Safety
///
/// An implementation promises P1 to P5 of this trait's module:
///
/// - a value has no padding bytes and no interior mutability;
/// - `is_valid` returns true only for bytes that are a value of `Self`, and
///   for every value's bytes;
/// - with `ANY_BITS`, all byte strings of `size_of::<Self>()` are values;
/// - `Self` has no drop glue. Evaluating `CHECK` proves this at compile time, together
///   with the size and the alignment (fields of size 0 are allowed; the code that stores
///   an object refuses a whole object of size 0).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in a flagstone store",
    label = "not `Persist`",
    note = "a struct or a C-like enum gets it from `#[flagstone::persist]`",
    note = "instead of `usize`, `isize` use `u64`, `i64`; instead of a pointer, a reference, `Box` or `Option<Box<_>>` use `Link<T>` (null is none)",
    note = "instead of `String`, `Vec<T>` or a map use `flagstone::Text` and `flagstone::collections`; instead of `char` use `u32`; instead of `Option<u32>` use a flag beside the value or a value that means none"
)]
pub unsafe trait Persist: Sized + Send + Sync + 'static {
    /// Whether every bit pattern is a value, so that reading needs no check.
    const ANY_BITS: bool;

    /// Fails to compile if the type breaks a rule of this trait.
    const CHECK: ();

    /// Returns whether `bytes` (exactly `size_of::<Self>()` of them) are a value.
    fn is_valid(bytes: &[u8]) -> bool;

    /// Returns the type's name in the store's registry, with its parameters: `Node<i64>`. It
    /// does not depend on the compiler.
    fn type_name() -> String;

    /// Adds the descriptions of this type and of all types reachable from it, through fields
    /// and links, to `reach`.
    fn reach(reach: &mut Reach);

    /// Whether a value can own allocations, as collections do.
    #[doc(hidden)]
    const OWNS: bool = false;

    /// Adds to `owned` what the value with these bytes owns. The bytes come from a file, so
    /// they need not be a valid value.
    #[doc(hidden)]
    fn owned(bytes: &[u8], owned: &mut Owned) {
        let _ = (bytes, owned);
    }
}

/// Returns the bytes of a value.
#[inline]
pub(crate) fn bytes_of<T: Persist>(value: &T) -> &[u8] {
    const { assert_object::<T>() };
    let start = std::ptr::from_ref(value).cast();
    // SAFETY: P1: each of the value's bytes is initialised. P5: they do not change while
    // `value` is borrowed.
    unsafe { std::slice::from_raw_parts(start, size_of::<T>()) }
}

/// Proves at compile time that `T` can be stored as a whole object.
///
/// Every access evaluates this, so an illegal type fails the build wherever it is first used.
pub(crate) const fn assert_object<T: Persist>() {
    let () = T::CHECK;
    assert!(
        size_of::<T>() != 0,
        "a type of size 0 cannot be stored: a link to it would address nothing"
    );
    assert!(
        align_of::<T>() <= MAX_ALIGN_BYTES,
        "a type in a store may not ask for more than 4096 bytes of alignment"
    );
    assert!(
        !std::mem::needs_drop::<T>(),
        "a type in a store may not implement Drop: assigning to it would drop bytes of the file"
    );
}
