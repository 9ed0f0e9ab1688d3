//! `#[persist]` on a struct: a value is valid if each of its fields is, and
//! has no padding if the fields lie next to each other.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DataStruct, DeriveInput, Error, Index, Member, Result, Type};

use crate::implementation::{Parts, emit, emitted_at, plain_name};
use crate::options::Options;
use crate::{field_type, refusal, repr};

/// A field, as the emitted code refers to it.
struct Field<'a> {
    member: Member,
    /// Its name in messages; the index for a tuple struct.
    name: String,
    ty: &'a Type,
    /// Its place in the source, for code that the macro wrote.
    span: Span,
}

impl Field<'_> {
    /// Returns the access from which flagstone infers the field's type and, in a second use,
    /// the properties of that type.
    ///
    /// The tokens have the span of the type in the source, so a type that is not `Persist`
    /// causes one error there, and not one for each use.
    fn get(&self) -> TokenStream {
        let (start, end) = ends(self.ty);
        let member = match &self.member {
            Member::Named(ident) => {
                let mut moved = ident.clone();
                // Its own edition decides whether it is a keyword.
                moved.set_span(ident.span().located_at(end));
                Member::Named(moved)
            }
            Member::Unnamed(index) => Member::Unnamed(Index { index: index.index, span: end }),
        };
        let get = quote_spanned!(start=> |__flagstone_value: &Self| &raw const __flagstone_value.);
        quote_spanned!(start=> (#get #member))
    }

    /// Returns the expression for the properties of the field's type.
    fn part(&self, options: &Options) -> TokenStream {
        let (span, _) = ends(self.ty);
        let (derived, get) = (options.derived(span), self.get());
        quote_spanned!(span=> #derived::part #get)
    }

    /// Returns the syntax of explicit padding next to this field.
    fn pad(&self) -> &'static str {
        match self.member {
            Member::Named(_) => "_pad: [u8; N]",
            Member::Unnamed(_) => "[u8; N]",
        }
    }
}

/// Returns the first and the last span of a type in the source, for code that the macro wrote.
fn ends(ty: &Type) -> (Span, Span) {
    let mut spans = ty.to_token_stream().into_iter().map(|token| token.span());
    let start = spans.next().unwrap_or_else(Span::call_site);
    (emitted_at(start), emitted_at(spans.last().unwrap_or(start)))
}

/// Returns the struct with its implementation of `Persist`.
pub(crate) fn expand(
    options: &Options,
    item: &DeriveInput,
    data: &DataStruct,
) -> Result<TokenStream> {
    let fields = fields(data);
    refuse(item, data, &fields)?;
    let gets = fields.iter().map(Field::get);
    let parts = fields.iter().map(|field| field.part(options));
    let parts = Parts {
        repr: repr::missing_for_struct(&item.attrs)?,
        implementing: quote!(__persist_struct),
        consists_of: quote!(fields [#(#gets is #parts;)*]),
        diagnosis: diagnosis(options, &fields),
    };
    Ok(emit(options, item, parts))
}

fn fields(data: &DataStruct) -> Vec<Field<'_>> {
    let numbered = data.fields.iter().enumerate();
    numbered
        .map(|(index, field)| match &field.ident {
            Some(ident) => Field {
                member: ident.clone().into(),
                name: plain_name(ident),
                ty: &field.ty,
                span: emitted_at(ident.span()),
            },
            None => Field {
                member: Index::from(index).into(),
                name: index.to_string(),
                ty: &field.ty,
                span: emitted_at(field.ty.span()),
            },
        })
        .collect()
}

/// Refuses mistakes that the syntax shows.
fn refuse(item: &DeriveInput, data: &DataStruct, fields: &[Field<'_>]) -> Result<()> {
    let types = fields.iter().filter_map(|field| field_type::refusal(&field.name, field.ty));
    let conditions = data.fields.iter().flat_map(|field| refusal::of_cfg(&field.attrs));
    let empty = fields.is_empty().then(|| {
        let message = "a struct without fields has no bytes, so there is nothing to store; give \
                       it a field";
        Error::new(item.ident.span(), message)
    });
    let lifetimes = refusal::of_lifetimes(&item.generics);
    refusal::all(lifetimes.chain(types).chain(conditions).chain(empty))
}

/// Returns statements that fail, at the wrong field, where P1 does not hold.
fn diagnosis(options: &Options, fields: &[Field<'_>]) -> TokenStream {
    let steps = fields.iter().map(|field| field_diagnosis(options, field));
    let end = end_diagnosis(options, fields);
    quote! {
        let __flagstone_end = 0;
        #(#steps)*
        #end
    }
}

fn field_diagnosis(options: &Options, field: &Field<'_>) -> TokenStream {
    let (part, member, name) = (field.part(options), &field.member, &field.name);
    let derived = options.derived(field.span);
    let padding = format!(
        "there is padding before field `{name}`; order the fields by falling alignment, or put \
         `{}` before it",
        field.pad()
    );
    quote_spanned! {field.span=>
        let __flagstone_end = #derived::expect_adjacent(
            &#part,
            #derived::offset_of!(Self, #member),
            __flagstone_end,
            #padding,
        );
    }
}

fn end_diagnosis(options: &Options, fields: &[Field<'_>]) -> Option<TokenStream> {
    let last = fields.last()?;
    let derived = options.derived(last.span);
    let padding = format!(
        "there is padding after the last field, `{}`; put `{}` behind it",
        last.name,
        last.pad()
    );
    Some(quote_spanned!(last.span=> #derived::expect_end::<Self>(__flagstone_end, #padding);))
}
