//! The `unsafe impl Persist` around what structs and enums differ in.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{DeriveInput, Error, GenericParam, Generics, Ident, Result};

use crate::options::Options;

/// The parts of an implementation that depend on the kind of type.
pub(crate) struct Parts {
    /// The `repr` that the item lacks.
    pub(crate) repr: Option<Ident>,
    /// The value of `ANY_BITS`.
    pub(crate) any_bits: TokenStream,
    /// Statements of `CHECK` that prove P1.
    pub(crate) check: TokenStream,
    /// The body of `is_valid`, over `bytes`.
    pub(crate) is_valid: TokenStream,
    /// The `Shape` that describes the type.
    pub(crate) shape: TokenStream,
    /// Statements that tell `reach` of the types behind this one.
    pub(crate) onward: TokenStream,
    /// The value of `OWNS`.
    pub(crate) owns: TokenStream,
    /// The body of `owned`, over `bytes` and `owned`.
    pub(crate) owned: TokenStream,
}

/// The item and its implementation of `Persist`.
pub(crate) fn emit(options: &Options, item: &DeriveInput, parts: Parts) -> TokenStream {
    let Parts { repr, any_bits, check, is_valid, shape, onward, owns, owned } = parts;
    let flagstone = &options.flagstone;
    let ident = &item.ident;
    let repr = repr.map(|repr| quote!(#[repr(#repr)]));
    let general = general_check(options, ident);
    let type_name = type_name(options, item);
    let eager_check = eager_check(options, item);
    let generics = bounded(options, &item.generics);
    let (impl_generics, arguments, bounds) = generics.split_for_impl();
    quote! {
        #repr
        #item

        // SAFETY: P1 and P4 are what `CHECK` proves, and whoever makes a value
        // of bytes evaluates it. P2 and P3: the whole is a value exactly if
        // its parts are, `is_valid` and `ANY_BITS` ask each part, and `CHECK`
        // holds the type to the parts that are known here. P5: every part is
        // `Persist`, or the type is an integer by another name.
        #[automatically_derived]
        // Bounds and field types stand here a second time, as they were written.
        #[allow(deprecated, clippy::trait_duplication_in_bounds, clippy::use_self)]
        unsafe impl #impl_generics #flagstone::Persist for #ident #arguments #bounds {
            const ANY_BITS: ::core::primitive::bool = #any_bits;
            const CHECK: () = {
                #check
                #general
            };

            #[inline]
            fn is_valid(bytes: &[::core::primitive::u8]) -> ::core::primitive::bool {
                #is_valid
            }

            fn type_name() -> ::std::string::String {
                #type_name
            }

            fn reach(reach: &mut #flagstone::persist::Reach) {
                if reach.enter::<Self>() {
                    reach.add::<Self>(#shape);
                    #onward
                }
            }

            const OWNS: ::core::primitive::bool = #owns;

            fn owned(bytes: &[::core::primitive::u8], owned: &mut #flagstone::persist::Owned) {
                #owned
            }
        }

        #eager_check
    }
}

/// The item with an error and with an implementation that says nothing.
///
/// Without one, every use of the type would be an error too, and hide the one
/// that matters.
pub(crate) fn stand_in(options: &Options, item: &DeriveInput, error: Error) -> TokenStream {
    let error = error.into_compile_error();
    if item.generics.lifetimes().next().is_some() {
        // `Persist` asks for `'static`.
        return quote!(#item #error);
    }
    let flagstone = &options.flagstone;
    let ident = &item.ident;
    let generics = bounded(options, &item.generics);
    let (impl_generics, arguments, bounds) = generics.split_for_impl();
    quote! {
        #item
        #error

        // SAFETY: the error above keeps all three from ever being relied on.
        #[automatically_derived]
        #[allow(deprecated)]
        unsafe impl #impl_generics #flagstone::Persist for #ident #arguments #bounds {
            const ANY_BITS: ::core::primitive::bool = false;
            const CHECK: () = ();

            fn is_valid(_: &[::core::primitive::u8]) -> ::core::primitive::bool {
                false
            }

            fn type_name() -> ::std::string::String {
                ::std::string::String::new()
            }

            fn reach(_: &mut #flagstone::persist::Reach) {}
        }
        unsafe impl #impl_generics ::core::marker::Send for #ident #arguments #bounds {}
        unsafe impl #impl_generics ::core::marker::Sync for #ident #arguments #bounds {}
    }
}

/// A span that shows errors at `place`, and yet marks code that the user did
/// not write, so that the user's lints leave it alone.
pub(crate) fn emitted_at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// An identifier as the store knows it: `r#type` is `type`.
pub(crate) fn plain_name(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// Statements of `CHECK` that prove P4.
fn general_check(options: &Options, ident: &Ident) -> TokenStream {
    let flagstone = &options.flagstone;
    let no_size = format!("`{ident}` has no bytes, so there is nothing to store; give it a field");
    let align = format!(
        "`{ident}` asks for more than 4096 bytes of alignment, which is a page's and the most \
         that a store gives; ask for less"
    );
    let drop = format!(
        "`{ident}` implements `Drop`, and a value in a store is never dropped; release what it \
         owns in a method that takes the transaction"
    );
    quote_spanned! {emitted_at(ident.span())=>
        ::core::assert!(::core::mem::size_of::<Self>() != 0, #no_size);
        ::core::assert!(
            ::core::mem::align_of::<Self>() <= #flagstone::persist::MAX_ALIGN_BYTES,
            #align
        );
        ::core::assert!(!::core::mem::needs_drop::<Self>(), #drop);
    }
}

/// The type's parameters, with each type bound by `Persist`.
fn bounded(options: &Options, generics: &Generics) -> Generics {
    let flagstone = &options.flagstone;
    let mut bounded = generics.clone();
    let bounds = bounded.make_where_clause();
    for parameter in generics.type_params() {
        let ident = &parameter.ident;
        bounds.predicates.push(syn::parse_quote!(#ident: #flagstone::Persist));
    }
    bounded
}

/// Refuses a name that stands for something else wherever types are described: whoever has
/// the file alone could not tell the two apart.
pub(crate) fn expect_own_name(options: &Options, item: &DeriveInput) -> Result<()> {
    let base = options.name.clone().unwrap_or_else(|| plain_name(&item.ident));
    let is_lifetime = |parameter: &GenericParam| matches!(parameter, GenericParam::Lifetime(_));
    let is_taken = match item.generics.params.iter().all(is_lifetime) {
        true => is_primitive(&base),
        false => matches!(&*base, "Link" | "Phantom"),
    };
    if !is_taken {
        return Ok(());
    }
    let why = format!(
        "`{base}` has a meaning of its own in a store's descriptions of types; give this type \
         another name there: #[persist(name = \"…\")]"
    );
    Err(Error::new(item.ident.span(), why))
}

/// Whether flagstone has a primitive type of this name.
fn is_primitive(name: &str) -> bool {
    let number = name.strip_suffix("le").or_else(|| name.strip_suffix("be")).unwrap_or(name);
    let bits = number.strip_prefix(['u', 'i', 'f']);
    name == "bool" || bits.is_some_and(|bits| matches!(bits, "8" | "16" | "32" | "64" | "128"))
}

/// The expression for the type's name with its parameters: `Node<i64, 4>`.
fn type_name(options: &Options, item: &DeriveInput) -> TokenStream {
    let flagstone = &options.flagstone;
    let base = options.name.clone().unwrap_or_else(|| plain_name(&item.ident));
    let parameters = item.generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Type(parameter) => {
            let ident = &parameter.ident;
            Some(("{}", quote!(<#ident as #flagstone::Persist>::type_name())))
        }
        GenericParam::Const(parameter) => {
            let ident = &parameter.ident;
            // As it is written in a program: a `char` may be one that ends a line.
            Some(("{:?}", quote!(#ident)))
        }
        GenericParam::Lifetime(_) => None,
    });
    let (places, parameters): (Vec<_>, Vec<_>) = parameters.unzip();
    if parameters.is_empty() {
        return quote!(::std::borrow::ToOwned::to_owned(#base));
    }
    let format = format!("{base}<{}>", places.join(", "));
    quote!(::std::format!(#format, #(#parameters),*))
}

/// Evaluates `CHECK` at the definition, which only a type without parameters
/// allows; the others are checked where they are used.
fn eager_check(options: &Options, item: &DeriveInput) -> Option<TokenStream> {
    let flagstone = &options.flagstone;
    let ident = &item.ident;
    let generic = !item.generics.params.is_empty();
    (!generic).then(|| {
        quote! {
            #[allow(deprecated)]
            const _: () = <#ident as #flagstone::Persist>::CHECK;
        }
    })
}
