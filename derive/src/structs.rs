//! `#[persist]` on a struct: a value is valid if each of its fields is, and
//! has no padding if they lie side by side.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DataStruct, DeriveInput, Error, Ident, Index, Member, Result, Type};

use crate::implementation::{Parts, emit, emitted_at, plain_name};
use crate::options::Options;
use crate::{field_type, refusal, repr};

/// A field as the emitted code speaks of it.
struct Field<'a> {
    member: Member,
    /// Its name in the description; the index for a tuple struct.
    name: String,
    ty: &'a Type,
    /// Its place in the source, for code that the macro wrote.
    span: Span,
}

impl Field<'_> {
    /// `<F as Persist>::item` for the field's type `F`.
    ///
    /// All of it stands at the type in the source, so that a type that is not
    /// `Persist` is one error there and not one for each use.
    fn of_type(&self, options: &Options, item: &str) -> TokenStream {
        let flagstone = &options.flagstone;
        let ty = self.ty;
        let span = emitted_at(ty.span());
        let item = Ident::new(item, span);
        quote_spanned!(span=> <#ty as #flagstone::Persist>::#item)
    }

    /// How padding beside this field is written out.
    fn pad(&self) -> &'static str {
        match self.member {
            Member::Named(_) => "_pad: [u8; N]",
            Member::Unnamed(_) => "[u8; N]",
        }
    }
}

/// The struct with its implementation of `Persist`.
pub(crate) fn expand(
    options: &Options,
    item: &DeriveInput,
    data: &DataStruct,
) -> Result<TokenStream> {
    let fields = fields(data);
    refuse(item, data, &fields)?;
    let parts = Parts {
        repr: repr::missing_for_struct(&item.attrs)?,
        any_bits: any_bits(options, &fields),
        check: check(options, &fields),
        is_valid: is_valid(options, &fields),
        shape: shape(options, &fields),
        onward: onward(options, &fields),
        owns: owns(options, &fields),
        owned: owned(options, &fields),
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

/// Refuses what the syntax shows to be wrong.
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

fn any_bits(options: &Options, fields: &[Field<'_>]) -> TokenStream {
    let each = fields.iter().map(|field| field.of_type(options, "ANY_BITS"));
    quote!(#(#each)&&*)
}

/// Whether a value can own allocations: whether a field can.
fn owns(options: &Options, fields: &[Field<'_>]) -> TokenStream {
    let each = fields.iter().map(|field| field.of_type(options, "OWNS"));
    let itself = options.owner.is_some();
    quote!(#itself #(|| #each)*)
}

/// Statements that tell `owned` what the fields own.
fn owned(options: &Options, fields: &[Field<'_>]) -> TokenStream {
    let each = fields.iter().map(|field| {
        let (member, ty) = (&field.member, field.ty);
        let (owns, part) = (field.of_type(options, "OWNS"), field.of_type(options, "owned"));
        quote! {
            let start = ::core::mem::offset_of!(Self, #member);
            let end = start + ::core::mem::size_of::<#ty>();
            if let (true, ::core::option::Option::Some(bytes)) = (#owns, bytes.get(start..end)) {
                #part(bytes, owned);
            }
        }
    });
    let itself = options.owner.iter().map(|owner| quote!(#owner(bytes, owned);));
    quote!(#(#each)* #(#itself)*)
}

/// Statements that prove P1, and that the struct has these fields and no other.
fn check(options: &Options, fields: &[Field<'_>]) -> TokenStream {
    let same_fields = same_fields(fields);
    let steps = fields.iter().map(|field| field_check(options, field));
    let end = end_check(fields);
    quote! {
        #same_fields
        let end = 0;
        #(#steps)*
        #end
    }
}

/// A statement that compiles only for a struct of exactly these fields.
///
/// An attribute macro below this one could still add a field, or change one's type: the types
/// are compared as arguments of the same type, where a reference is not followed to what it
/// refers to, as it would be in an expression of its own.
fn same_fields(fields: &[Field<'_>]) -> TokenStream {
    let members = fields.iter().map(|field| &field.member);
    let types = fields.iter().map(|field| field.ty);
    let names = Vec::from_iter((0..fields.len()).map(|index| format_ident!("field{index}")));
    quote! {
        fn same_type<T>(_: *const T) {}
        let _ = |Self { #(#members: #names),* }: &Self| {
            #(same_type::<#types>(&raw const *#names);)*
        };
    }
}

/// Proves that `field` starts at `end`, and moves `end` behind it.
fn field_check(options: &Options, field: &Field<'_>) -> TokenStream {
    let (member, name, ty) = (&field.member, &field.name, field.ty);
    let check = field.of_type(options, "CHECK");
    let padding = format!(
        "there is padding before field `{name}`; order the fields by falling alignment, or put \
         `{}` before it",
        field.pad()
    );
    let proof = quote_spanned! {field.span=>
        // A field of size 0 may lie anywhere in a transparent struct.
        ::core::assert!(
            ::core::mem::size_of::<#ty>() == 0 || ::core::mem::offset_of!(Self, #member) == end,
            #padding
        );
    };
    quote! {
        let () = #check;
        #proof
        let end = end + ::core::mem::size_of::<#ty>();
    }
}

/// Proves that the struct ends where its last field does.
fn end_check(fields: &[Field<'_>]) -> Option<TokenStream> {
    let last = fields.last()?;
    let padding = format!(
        "there is padding after the last field, `{}`; put `{}` behind it",
        last.name,
        last.pad()
    );
    Some(quote_spanned! {last.span=>
        ::core::assert!(end == ::core::mem::size_of::<Self>(), #padding);
    })
}

fn is_valid(options: &Options, fields: &[Field<'_>]) -> TokenStream {
    let flagstone = &options.flagstone;
    let each = fields.iter().map(|field| {
        let (member, ty) = (&field.member, field.ty);
        let is_valid = field.of_type(options, "is_valid");
        // Called in a closure: of a function that is passed on, the compiler
        // reports a missing `Persist` once more, at the attribute.
        quote! {
            bytes
                .get(
                    ::core::mem::offset_of!(Self, #member)
                        ..::core::mem::offset_of!(Self, #member) + ::core::mem::size_of::<#ty>(),
                )
                .is_some_and(|bytes| #is_valid(bytes))
        }
    });
    quote!(<Self as #flagstone::Persist>::ANY_BITS || (#(#each)&&*))
}

fn shape(options: &Options, fields: &[Field<'_>]) -> TokenStream {
    if let Some(shape) = &options.shape {
        return quote!(#shape);
    }
    let flagstone = &options.flagstone;
    let each = fields.iter().map(|field| {
        let (member, name) = (&field.member, &field.name);
        let type_name = field.of_type(options, "type_name");
        quote! {
            #flagstone::persist::Field {
                name: ::std::borrow::ToOwned::to_owned(#name),
                offset_bytes: ::core::mem::offset_of!(Self, #member),
                type_name: #type_name(),
            }
        }
    });
    quote!(#flagstone::persist::Shape::Struct(::std::vec![#(#each),*]))
}

fn onward(options: &Options, fields: &[Field<'_>]) -> TokenStream {
    let each = fields.iter().map(|field| field.of_type(options, "reach"));
    quote!(#(#each(reach);)*)
}
