//! Refusals that structs and enums share, and how errors are combined.
//!
//! Each check yields errors instead of stopping at the first, so that a build
//! reports all mistakes of a type at once.

use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Generics, Meta, Result, Token};

/// Returns an error for each lifetime: a stored value outlives every borrow.
pub(crate) fn of_lifetimes(generics: &Generics) -> impl Iterator<Item = Error> {
    generics.lifetimes().map(|parameter| {
        let lifetime = &parameter.lifetime;
        Error::new(
            lifetime.span(),
            format!(
                "a type in a store outlives every borrow, so it has no `{lifetime}`; use `Link<T>` \
                 instead of a reference"
            ),
        )
    })
}

/// Returns an error for each `#[cfg]` on a field or variant: the file outlives the build.
///
/// Such an attribute is also not evaluated yet when the macro sees it, so the
/// macro could not tell which parts exist.
pub(crate) fn of_cfg(attributes: &[Attribute]) -> impl Iterator<Item = Error> {
    let conditional = attributes.iter().filter(|x| is_cfg(&x.meta));
    conditional.map(|attribute| {
        Error::new_spanned(
            attribute,
            "the layout of a stored type must not depend on how the program was built; make two \
             types, or keep this part in every build",
        )
    })
}

/// Returns whether this is `cfg`, or a `cfg_attr` that may become one.
fn is_cfg(attribute: &Meta) -> bool {
    if attribute.path().is_ident("cfg") {
        return true;
    }
    let Meta::List(list) = attribute else { return false };
    let parse = Punctuated::<Meta, Token![,]>::parse_terminated;
    let parts = list.path.is_ident("cfg_attr").then(|| parse.parse2(list.tokens.clone()).ok());
    parts.flatten().is_some_and(|parts| parts.iter().skip(1).any(is_cfg))
}

/// Returns success if there are no errors, otherwise one error that holds them all.
pub(crate) fn all(errors: impl Iterator<Item = Error>) -> Result<()> {
    let combined = errors.reduce(|mut all, error| {
        all.combine(error);
        all
    });
    combined.map_or(Ok(()), Err)
}
