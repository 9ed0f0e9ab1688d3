//! The arguments of the attribute: `#[persist(name = "…", crate = path)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Path, Result, Token};

/// The attribute's arguments.
pub(crate) struct Options {
    /// The name that replaces the type's own in the store's registry.
    pub(crate) name: Option<String>,
    /// The path at which the emitted code finds flagstone.
    pub(crate) flagstone: Path,
}

impl Options {
    /// Returns the path to the module for emitted code, for an expression at `place`.
    pub(crate) fn derived(&self, place: Span) -> TokenStream {
        let flagstone = located_at(place, self.flagstone.to_token_stream());
        quote_spanned!(place=> #flagstone::persist::derived)
    }
}

/// Moves the tokens of a path to another place in the source without changing their meaning, so
/// that an error of the expression that begins with them is shown there.
pub(crate) fn located_at(place: Span, path: TokenStream) -> TokenStream {
    let moved = path.into_iter().map(|mut token| {
        token.set_span(token.span().located_at(place));
        token
    });
    moved.collect()
}

impl Default for Options {
    fn default() -> Self {
        let flagstone = syn::parse_quote!(::flagstone);
        Self { name: None, flagstone }
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut name = None;
        let mut flagstone = None;
        while !input.is_empty() {
            // `crate` is a keyword, which the parser of identifiers refuses.
            let option = Ident::parse_any(input)?;
            if option == "name" {
                set(&mut name, &option, input, parse_name)?;
            } else if option == "crate" {
                set(&mut flagstone, &option, input, Path::parse_mod_style)?;
            } else {
                return Err(unknown(&option));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let flagstone = flagstone.unwrap_or_else(|| Self::default().flagstone);
        Ok(Self { name, flagstone })
    }
}

/// Reads `= value` into `slot`. Fails if the option was already given.
fn set<T>(
    slot: &mut Option<T>,
    option: &Ident,
    input: ParseStream<'_>,
    parse: fn(ParseStream<'_>) -> Result<T>,
) -> Result<()> {
    if slot.is_some() {
        return Err(Error::new(option.span(), format!("`{option}` is given twice")));
    }
    input.parse::<Token![=]>()?;
    *slot = Some(parse(input)?);
    Ok(())
}

/// Parses a name, which must not break the lines, or the brackets, of a schema's text.
fn parse_name(input: ParseStream<'_>) -> Result<String> {
    let literal = input.parse::<LitStr>()?;
    let name = literal.value();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.' | '-');
    if name.is_empty() || !name.chars().all(fits) {
        return Err(Error::new(
            literal.span(),
            "a type's name in a store is made of letters, digits, `_`, `:`, `.` and `-`; \
             parameters are appended to it by themselves",
        ));
    }
    if name.starts_with("flagstone::") {
        return Err(Error::new(
            literal.span(),
            "names that begin with `flagstone::` are those of flagstone's own types, and `check` \
             would take this one for one of them; choose another",
        ));
    }
    Ok(name)
}

fn unknown(option: &Ident) -> Error {
    Error::new(
        option.span(),
        format!(
            "unknown option `{option}`; the options are `name = \"…\"` (the type's name in the \
             store) and `crate = path` (where flagstone is)"
        ),
    )
}
