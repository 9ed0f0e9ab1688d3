//! Checks values on their own: bools, enums, and the length bytes of strings.
//!
//! **Owns** which bit patterns are values. **Must not know** what a value owns or links to.

use crate::check::schema::layout::{What, bytes_at};
use crate::format::collections::bytes::{IN_HEAP, MAX_INLINE, TAG};

use super::context::Context;
use super::elements::Place;

/// Reports each part of a value whose bytes are invalid.
pub(super) fn check_parts(context: &mut Context<'_>, bytes: &[u8], place: Place, plan: usize) {
    let layouts = context.layouts;
    layouts.parts(plan, &mut |at, what| check_part(context, bytes, place, (at, what)));
}

/// Reports the part `at` bytes into a value that begins at `place`, if its bytes are invalid.
pub(super) fn check_part(
    context: &mut Context<'_>,
    bytes: &[u8],
    place: Place,
    (at, what): (u64, What),
) {
    let byte = |at| bytes_at::<1>(bytes, at).map_or(0, |[byte]| byte);
    let place = place.plus(at);
    match what {
        What::Bool if byte(at) > 1 => {
            context.report(place, format!("expected a bool, 0 or 1, found {}", byte(at)));
        }
        What::Enum(number) => {
            let layout = &context.layouts.types[number];
            let value = integer(bytes, at, layout.size_bytes);
            if layout.variants.binary_search(&value).is_err() {
                let expected = format!("expected a variant of {}", layout.name);
                context.report(place, format!("{expected}, found {value}"));
            }
        }
        What::Bytes { .. } => {
            let tag = byte(at + TAG as u64);
            if usize::from(tag) > MAX_INLINE && tag != IN_HEAP {
                context.report(place, wrong_tag(tag));
            }
        }
        _ => {}
    }
}

/// Returns the finding about a length byte that no string has.
pub(super) fn wrong_tag(tag: u8) -> String {
    format!("expected a length up to {MAX_INLINE}, or {IN_HEAP}, found {tag}")
}

fn integer(bytes: &[u8], at: u64, size_bytes: u64) -> u128 {
    match size_bytes {
        1 => bytes_at::<1>(bytes, at).map_or(0, |[byte]| byte.into()),
        2 => bytes_at(bytes, at).map_or(0, u16::from_ne_bytes).into(),
        4 => bytes_at(bytes, at).map_or(0, u32::from_ne_bytes).into(),
        8 => bytes_at(bytes, at).map_or(0, u64::from_ne_bytes).into(),
        _ => bytes_at(bytes, at).map_or(0, u128::from_ne_bytes),
    }
}
