//! Fields, each known by its type alone, and the functions that the proofs apply to them.

use std::marker::PhantomData;

use crate::persist::{Field, MAX_ALIGN_BYTES, MAX_TYPE_BYTES, Owned, Persist, Reach, Shape};

/// The properties of a field's type. Only a type that is `Persist` has them, and only `part` makes
/// this. With `CHECKED`, the type's `CHECK` was evaluated.
pub struct Part<F, const CHECKED: bool> {
    any_bits: bool,
    owns: bool,
    size_bytes: usize,
    is_valid: fn(&[u8]) -> bool,
    type_name: fn() -> String,
    reach: fn(&mut Reach),
    owned: fn(&[u8], &mut Owned),
    field: PhantomData<fn(F) -> F>,
}

/// Returns the properties of the type of the field that `_get` leads to.
#[must_use]
#[inline(always)]
pub const fn part<S, F: Persist, const CHECKED: bool>(
    _get: fn(&S) -> *const F,
) -> Part<F, CHECKED> {
    if CHECKED {
        check::<F>();
    }
    Part {
        any_bits: F::ANY_BITS,
        owns: F::OWNS,
        size_bytes: size_of::<F>(),
        is_valid: F::is_valid,
        type_name: F::type_name,
        reach: F::reach,
        owned: F::owned,
        field: PhantomData,
    }
}

/// A separate function, since a constant is evaluated wherever a function that names it is.
const fn check<F: Persist>() {
    let () = F::CHECK;
}

/// Forces `part` to have the type of the field that `_get` leads to.
///
/// A raw pointer does not coerce to a raw pointer to another type, so both types are the same.
#[must_use]
#[inline(always)]
pub const fn of_field<S, F, const CHECKED: bool>(
    _get: fn(&S) -> *const F,
    part: Part<F, CHECKED>,
) -> Part<F, CHECKED> {
    part
}

/// Returns `ANY_BITS` of a field.
#[must_use]
pub const fn any_bits<F>(part: &Part<F, false>) -> bool {
    part.any_bits
}

/// Returns `OWNS` of a field.
#[must_use]
pub const fn owns<F>(part: &Part<F, false>) -> bool {
    part.owns
}

/// Proves that a field begins at `end`, where the previous one ends. Returns where it ends.
#[must_use]
#[track_caller]
pub const fn expect_adjacent<F>(
    part: &Part<F, true>,
    offset_bytes: usize,
    end: usize,
    report: &str,
) -> usize {
    // A field of size 0 may lie anywhere in a transparent struct.
    assert!(part.size_bytes == 0 || offset_bytes == end, "{}", report);
    end + part.size_bytes
}

/// Proves that the last field of `S` ends at `end`, where `S` does.
#[track_caller]
pub const fn expect_end<S>(end: usize, report: &str) {
    assert!(end == size_of::<S>(), "{}", report);
}

/// Proves P4.
#[track_caller]
pub const fn expect_storable<S>(no_size: &str, align: &str, drop: &str) {
    assert!(size_of::<S>() != 0, "{}", no_size);
    assert!(align_of::<S>() <= MAX_ALIGN_BYTES, "{}", align);
    assert!(!std::mem::needs_drop::<S>(), "{}", drop);
    assert!(size_of::<S>() as u64 <= MAX_TYPE_BYTES, "a type in a store has less than 4 GiB");
}

/// Returns whether a field's bytes, within those of the whole value, are a value of its type.
#[must_use]
#[inline(always)]
pub fn is_valid<F>(part: &Part<F, false>, offset_bytes: usize, bytes: &[u8]) -> bool {
    bytes.get(offset_bytes..offset_bytes + part.size_bytes).is_some_and(part.is_valid)
}

/// Adds what a field owns to `owned`; `bytes` are those of the whole value.
pub fn owned<F>(part: &Part<F, false>, offset_bytes: usize, bytes: &[u8], owned: &mut Owned) {
    let range = offset_bytes..offset_bytes + part.size_bytes;
    if let (true, Some(bytes)) = (part.owns, bytes.get(range)) {
        (part.owned)(bytes, owned);
    }
}

/// Makes the description of a field.
#[must_use]
pub fn field<F>(part: &Part<F, false>, name: &str, offset_bytes: usize) -> Field {
    let name = super::names::plain_name(name).to_string();
    Field { name, offset_bytes, type_name: (part.type_name)() }
}

/// Adds the descriptions of the types behind a field.
pub fn reach<F>(part: &Part<F, false>, reach: &mut Reach) {
    (part.reach)(reach);
}

/// Makes the description of a struct.
#[must_use]
pub fn struct_of<const N: usize>(fields: [Field; N]) -> Shape {
    Shape::Struct(Vec::from(fields))
}

/// Returns whether `S` is new to `reach`.
///
/// Evaluates `CHECK`, also for a type that is only named, behind a link or a collection without
/// elements: its description goes into the file like any other.
pub fn enter<S: Persist>(reach: &mut Reach) -> bool {
    let () = S::CHECK;
    reach.enter::<S>()
}

/// Adds the description of `S`.
pub fn add<S: Persist>(reach: &mut Reach, shape: Shape) {
    reach.add::<S>(shape);
}
