//! `#[repr(…)]`: which ones fix a layout, and which one to add.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Ident, Result};

/// The integer types that can represent a C-like enum in a file.
const ENUM_REPRS: [&str; 8] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"];

/// Returns the `repr` to add to a struct if its own leaves the layout to the compiler.
pub(crate) fn missing_for_struct(attributes: &[Attribute]) -> Result<Option<Ident>> {
    let mut fixed = false;
    for_each_repr(attributes, |repr| {
        if repr.path.is_ident("C") || repr.path.is_ident("transparent") {
            fixed = true;
        } else if repr.path.is_ident("packed") {
            return Err(repr.error(
                "`packed` puts fields at addresses to which no reference may point; order the \
                 fields by falling alignment, or use zerocopy's byte-order types, which need none",
            ));
        } else if !repr.path.is_ident("align") {
            return Err(repr.error(
                "a struct in a store has `repr(C)` or `repr(transparent)`; leave it out, and \
                 `#[persist]` adds `repr(C)`",
            ));
        }
        Ok(())
    })?;
    Ok((!fixed).then(|| Ident::new("C", Span::call_site())))
}

/// Returns the integer type of a C-like enum, and whether its `repr` must be added.
pub(crate) fn of_enum(attributes: &[Attribute]) -> Result<(Ident, bool)> {
    let mut own = None;
    for_each_repr(attributes, |repr| {
        let integer = repr.path.get_ident();
        let integer = integer.filter(|name| ENUM_REPRS.contains(&name.to_string().as_str()));
        let Some(integer) = integer else {
            return Err(repr.error(
                "an enum in a store is an integer of 8 to 64 bits, the same on every machine; use \
                 `repr(u8)` to `repr(i64)`, or leave it out, and `#[persist]` adds `repr(u8)`",
            ));
        };
        // The compiler reports two of them as an error.
        own = Some(integer.clone());
        Ok(())
    })?;
    let missing = own.is_none();
    let integer = own.unwrap_or_else(|| Ident::new("u8", Span::call_site()));
    Ok((integer, missing))
}

/// Calls `f` with each word in the parentheses of each `#[repr(…)]`.
fn for_each_repr(
    attributes: &[Attribute],
    mut f: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    for attribute in attributes {
        if attribute.path().is_ident("repr") {
            attribute.parse_nested_meta(|repr| {
                f(&repr)?;
                skip_argument(&repr)
            })?;
        }
    }
    Ok(())
}

/// Skips the number in `align(8)`, which the compiler reads.
fn skip_argument(repr: &ParseNestedMeta<'_>) -> Result<()> {
    if repr.input.peek(syn::token::Paren) {
        let argument;
        syn::parenthesized!(argument in repr.input);
        argument.parse::<proc_macro2::TokenStream>()?;
    }
    Ok(())
}
