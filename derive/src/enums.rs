//! `#[persist]` on a C-like enum: an integer with a fixed set of valid values.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Fields, Result, Variant};

use crate::implementation::{Parts, emit};
use crate::options::Options;
use crate::{refusal, repr};

/// Returns the enum with its implementation of `Persist`.
pub(crate) fn expand(
    options: &Options,
    item: &DeriveInput,
    data: &DataEnum,
) -> Result<TokenStream> {
    refuse(item, data)?;
    let (integer, missing) = repr::of_enum(&item.attrs)?;
    let variants = data.variants.iter().map(|variant| &variant.ident);
    let parts = Parts {
        implementing: quote!(__persist_enum),
        consists_of: quote!(variants [#(#variants)*]),
        diagnosis: TokenStream::new(),
        repr: missing.then_some(integer),
    };
    Ok(emit(options, item, parts))
}

/// Refuses mistakes that the syntax shows.
fn refuse(item: &DeriveInput, data: &DataEnum) -> Result<()> {
    let payloads = data.variants.iter().filter_map(refusal_of_payload);
    let conditions = data.variants.iter().flat_map(|variant| refusal::of_cfg(&variant.attrs));
    let empty = data.variants.is_empty().then(|| {
        let message = "an enum without variants has no values, so there is nothing to store; give \
                       it a variant";
        Error::new(item.ident.span(), message)
    });
    let lifetimes = refusal::of_lifetimes(&item.generics);
    refusal::all(lifetimes.chain(payloads).chain(conditions).chain(empty))
}

fn refusal_of_payload(variant: &Variant) -> Option<Error> {
    if matches!(variant.fields, Fields::Unit) {
        return None;
    }
    let message = format!(
        "variant `{}` has fields, and the bytes of the shorter variants would be undefined; use a \
         struct with a C-like enum as a tag and the fields of all variants, or links to them",
        variant.ident
    );
    Some(Error::new_spanned(&variant.fields, message))
}
