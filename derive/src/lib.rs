//! The `#[persist]` attribute of flagstone, a persistent heap.
//!
//! Depend on `flagstone`, which exports the attribute; this crate exists
//! because a procedural macro needs a separate crate.
//!
//! **Owns** the syntax that the attribute accepts, and the text of the
//! `Persist` implementations that it emits. **Must not know** how a
//! store keeps values: an implementation promises P1 to P5 of
//! `flagstone::persist`, and the emitted code argues for nothing else.
//!
//! `options` reads the attribute's arguments and `repr` the layout's;
//! `refusal` and `field_type` refuse mistakes that the syntax alone shows;
//! `structs` and `enums` write the part of an implementation that differs
//! between the two, and `implementation` the part that does not.

mod enums;
mod field_type;
mod implementation;
mod options;
mod refusal;
mod repr;
mod structs;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Result};

use crate::options::Options;

/// Allows a struct or a C-like enum to be stored in a flagstone store.
///
/// The attribute fixes the type's layout (`#[repr(C)]` for a struct,
/// `#[repr(u8)]` for an enum, unless the type already has a suitable `repr`) and
/// implements `flagstone::Persist` for it. Write it **above** `#[derive(…)]`,
/// so that the derives see the layout.
///
/// ```
/// use flagstone::{Link, Persist, persist};
///
/// #[persist]
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// enum Kind {
///     Leaf,
///     Inner,
/// }
///
/// #[persist]
/// struct Node<T: Persist> {
///     value: T,
///     next: Link<Node<T>>,
///     kind: Kind,
///     _pad: [u8; 7],
/// }
///
/// assert_eq!(Node::<i64>::type_name(), "Node<i64>");
/// assert!(Kind::is_valid(&[1]) && !Kind::is_valid(&[2]));
/// ```
///
/// # Allowed field types
///
/// Fixed-width integers, floats, `bool`, arrays, `Link`s, zerocopy's
/// byte-order types, and types that have `#[persist]` themselves. A type
/// parameter stands for one of these, so the implementation adds a `Persist` bound
/// to each. A type may hold links to itself.
///
/// Everything else is an error that names the remedy, including `usize`
/// (`u64`), references and boxes (`Link<T>`), `String` (`flagstone::Text`),
/// `std::vec::Vec<T>` (`flagstone::collections::Vec<T>`), `char` (`u32`) and
/// `Option` (a null link, or a flag next to the value). The attribute recognises these
/// names by their spelling: if a type of your own is called `Option`, refer to it by a
/// path, such as `my::Option`.
///
/// # Compile-time checks
///
/// There is no padding, so each byte of a value is defined: order the fields by
/// descending alignment, or write the padding as a field. The size is
/// not 0, the alignment is at most 4096 bytes, and nothing implements `Drop`.
/// For a generic type this is checked for each set of parameters in use.
///
/// ```compile_fail
/// #[flagstone::persist]
/// struct Padded {
///     small: u8,
///     large: u64, // seven bytes of padding before this field
/// }
/// ```
///
/// # Checks on read
///
/// The bytes must be a value of the type: a `bool` is 0 or 1, an enum has one of
/// the listed discriminants. The store does not know invariants that the type's own
/// methods keep, such as `low <= high`, and the bytes of a damaged file may break
/// them.
///
/// # Options
///
/// - `#[persist(name = "…")]`: the type's name in the store, instead of the one in the
///   source. The parameters are appended to it. It keeps a store readable after a
///   rename in the source, and tells two types with the same name apart. Reserved
///   names are `bool`, the names of number types, `Link` and `Phantom` with
///   parameters, and names that begin with `flagstone::`.
/// - `#[persist(crate = path)]`: the path of flagstone, if not `::flagstone`.
///
/// ```
/// mod storage {
///     pub use flagstone::*;
/// }
///
/// #[storage::persist(crate = storage, name = "geometry::Point")]
/// struct P<T: storage::Persist> {
///     x: T,
///     y: T,
/// }
///
/// assert_eq!(<P<f64> as storage::Persist>::type_name(), "geometry::Point<f64>");
/// ```
#[proc_macro_attribute]
pub fn persist(options: TokenStream, item: TokenStream) -> TokenStream {
    match syn::parse::<DeriveInput>(item.clone()) {
        Ok(item) => expand(options, &item).into(),
        // For example a function, which stays so that its callers still compile.
        Err(error) => [item, error.into_compile_error().into()].into_iter().collect(),
    }
}

fn expand(options: TokenStream, item: &DeriveInput) -> proc_macro2::TokenStream {
    match syn::parse::<Options>(options) {
        Ok(options) => implement(&options, item)
            .unwrap_or_else(|error| implementation::stand_in(&options, item, error)),
        // The path of flagstone may be the part that failed to parse.
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#item #error)
        }
    }
}

fn implement(options: &Options, item: &DeriveInput) -> Result<proc_macro2::TokenStream> {
    implementation::expect_own_name(options, item)?;
    match &item.data {
        Data::Struct(data) => structs::expand(options, item, data),
        Data::Enum(data) => enums::expand(options, item, data),
        Data::Union(data) => Err(Error::new(
            data.union_token.span,
            "a union does not say which of its fields is alive; use a struct that holds each \
             of them, or bytes that you read by a tag",
        )),
    }
}
