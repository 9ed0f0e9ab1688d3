//! Emits the call that implements `Persist`, from the parts that differ for structs and enums.

use std::iter;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{
    BoundLifetimes, ConstParam, DeriveInput, Error, GenericParam, Ident, PredicateType, Result,
    TraitBound, TraitBoundModifier, TypeParam, TypeParamBound, WherePredicate,
};

use crate::options::{Options, located_at};

/// The parts of an implementation that depend on the kind of type.
pub(crate) struct Parts {
    /// The `repr` that the item lacks.
    pub(crate) repr: Option<Ident>,
    /// The flagstone macro that implements `Persist`.
    pub(crate) implementing: TokenStream,
    /// The fields or variants, in the syntax of that macro.
    pub(crate) consists_of: TokenStream,
    /// Statements that fail where P1 does not hold.
    pub(crate) diagnosis: TokenStream,
}

/// Returns the item, and the call that implements `Persist` for it.
pub(crate) fn emit(options: &Options, item: &DeriveInput, parts: Parts) -> TokenStream {
    let Parts { repr, implementing, consists_of, diagnosis } = parts;
    let flagstone = &options.flagstone;
    let head = head(item);
    let repr = repr.map(|repr| quote!(#[repr(#repr)]));
    let known = name(options, item);
    let general = general_diagnosis(options, &item.ident);
    quote! {
        #repr
        #item

        #flagstone::#implementing! {
            #head
            named #known
            #consists_of
            diagnosis { #diagnosis #general }
        }
    }
}

/// Returns the item with its errors and with a placeholder implementation.
///
/// Without one, every use of the type would be an error too, and hide the one
/// that matters.
pub(crate) fn stand_in(options: &Options, item: &DeriveInput, error: Error) -> TokenStream {
    if item.generics.lifetimes().next().is_some() {
        // `Persist` requires `'static`.
        let error = error.into_compile_error();
        return quote!(#item #error);
    }
    let head = head(item);
    let heads = iter::once(head).chain(iter::repeat(TokenStream::new()));
    let errors = error.into_iter().zip(heads).map(|(error, head)| {
        let message = error.to_string();
        // An error's own text spans the mistake, from its first token to its last.
        let own = Vec::from_iter(error.into_compile_error());
        let start = emitted_at(own.first().map_or_else(Span::call_site, TokenTree::span));
        let mut body = Group::new(Delimiter::Brace, quote!(#message #head));
        body.set_span(emitted_at(own.last().map_or(start, TokenTree::span)));
        let flagstone = located_at(start, options.flagstone.to_token_stream());
        quote_spanned!(start=> #flagstone::__persist_refused! #body)
    });
    quote!(#item #(#errors)*)
}

/// Returns the type's name, parameters and bounds, in pieces of one macro fragment each.
fn head(item: &DeriveInput) -> TokenStream {
    let ident = &item.ident;
    let parameters = item.generics.params.iter().map(|parameter| match parameter {
        GenericParam::Type(TypeParam { ident, .. }) => quote!((type #ident)),
        GenericParam::Const(ConstParam { ident, ty, .. }) => quote!((const #ident: #ty)),
        GenericParam::Lifetime(_) => TokenStream::new(),
    });
    let inline = item.generics.type_params().flat_map(|parameter| {
        let ident = &parameter.ident;
        parameter.bounds.iter().filter_map(move |it| bound(None, ident, it))
    });
    let predicates = item.generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    let apart = predicates.flat_map(|predicate| match predicate {
        WherePredicate::Type(PredicateType { lifetimes, bounded_ty, bounds, .. }) => {
            Vec::from_iter(bounds.iter().filter_map(|it| bound(lifetimes.as_ref(), bounded_ty, it)))
        }
        _ => Vec::new(),
    });
    quote!(#ident [#(#parameters)*] where [#(#inline)* #(#apart)*])
}

/// Returns one bound of a type. Omits `?Sized`, since every stored type has a size.
fn bound(
    outer: Option<&BoundLifetimes>,
    bounded: &impl ToTokens,
    bound: &TypeParamBound,
) -> Option<TokenStream> {
    match bound {
        TypeParamBound::Lifetime(lifetime) => Some(quote!((<> #bounded: lifetime #lifetime))),
        TypeParamBound::Trait(TraitBound { modifier: TraitBoundModifier::Maybe(_), .. }) => None,
        TypeParamBound::Trait(TraitBound { lifetimes: inner, path, .. }) => {
            let all = outer.into_iter().chain(inner).flat_map(|lifetimes| &lifetimes.lifetimes);
            Some(quote!((<#(#all),*> #bounded: path #path)))
        }
        _ => None,
    }
}

/// Returns a span that shows errors at `place`, but marks code that the user did not write, so
/// that the user's lints leave it alone.
pub(crate) fn emitted_at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// Returns an identifier as the store knows it: `r#type` is `type`.
pub(crate) fn plain_name(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// Returns a statement that fails, at the type's name, where P4 does not hold.
fn general_diagnosis(options: &Options, ident: &Ident) -> TokenStream {
    let span = emitted_at(ident.span());
    let derived = options.derived(span);
    let no_size = format!("`{ident}` has no bytes, so there is nothing to store; give it a field");
    let align = format!(
        "`{ident}` asks for more than 4096 bytes of alignment, which is a page's and the most \
         that a store gives; ask for less"
    );
    let drop = format!(
        "`{ident}` implements `Drop`, and a value in a store is never dropped; release what it \
         owns in a method that takes the transaction"
    );
    quote_spanned! {span=>
        #derived::expect_storable::<Self>(#no_size, #align, #drop);
    }
}

/// Returns the type's name in a store, without its parameters.
fn name(options: &Options, item: &DeriveInput) -> String {
    options.name.clone().unwrap_or_else(|| plain_name(&item.ident))
}

/// Refuses a name that means something else in descriptions of types: a reader that has only the
/// file could not tell the two apart.
pub(crate) fn expect_own_name(options: &Options, item: &DeriveInput) -> Result<()> {
    let base = name(options, item);
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

/// Returns whether flagstone has a primitive type of this name.
fn is_primitive(name: &str) -> bool {
    let number = name.strip_suffix("le").or_else(|| name.strip_suffix("be")).unwrap_or(name);
    let bits = number.strip_prefix(['u', 'i', 'f']);
    name == "bool" || bits.is_some_and(|bits| matches!(bits, "8" | "16" | "32" | "64" | "128"))
}
