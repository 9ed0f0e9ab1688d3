//! `#[persist]` on a C-like enum: an integer of which some values are allowed.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Fields, Ident, Result, Variant};

use crate::implementation::{Parts, emit, plain_name};
use crate::options::Options;
use crate::{refusal, repr};

/// The enum with its implementation of `Persist`.
pub(crate) fn expand(
    options: &Options,
    item: &DeriveInput,
    data: &DataEnum,
) -> Result<TokenStream> {
    refuse(item, data)?;
    let (integer, missing) = repr::of_enum(&item.attrs)?;
    let variants = Vec::from_iter(data.variants.iter().map(|variant| &variant.ident));
    let parts = Parts {
        any_bits: quote!(false),
        check: check(&item.ident, &integer, &variants),
        is_valid: is_valid(&integer, &variants),
        shape: shape(options, &integer, &variants),
        onward: TokenStream::new(),
        owns: quote!(false),
        owned: quote!(let _ = (bytes, owned);),
        repr: missing.then_some(integer),
    };
    Ok(emit(options, item, parts))
}

/// Refuses what the syntax shows to be wrong.
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

/// Statements that prove P1, and that the enum has these variants and no other.
///
/// An attribute macro below this one could still add a variant, or widen it.
fn check(ident: &Ident, integer: &Ident, variants: &[&Ident]) -> TokenStream {
    let padding = format!("`{ident}` is larger than its `repr({integer})`");
    quote! {
        let _: fn(&Self) = |value| match value {
            #(Self::#variants)|* => (),
        };
        ::core::assert!(
            ::core::mem::size_of::<Self>() == ::core::mem::size_of::<::core::primitive::#integer>(),
            #padding
        );
    }
}

fn is_valid(integer: &Ident, variants: &[&Ident]) -> TokenStream {
    quote! {
        <[::core::primitive::u8; ::core::mem::size_of::<::core::primitive::#integer>()]
            as ::core::convert::TryFrom<&[::core::primitive::u8]>>::try_from(bytes)
            .is_ok_and(|bytes| {
                let value = ::core::primitive::#integer::from_ne_bytes(bytes);
                #(value == Self::#variants as ::core::primitive::#integer)||*
            })
    }
}

fn shape(options: &Options, integer: &Ident, variants: &[&Ident]) -> TokenStream {
    let flagstone = &options.flagstone;
    let names = variants.iter().map(|variant| plain_name(variant));
    quote! {
        #flagstone::persist::Shape::Enum(::std::vec![
            #((
                ::std::borrow::ToOwned::to_owned(#names),
                Self::#variants as ::core::primitive::#integer as ::core::primitive::i128,
            )),*
        ])
    }
}
