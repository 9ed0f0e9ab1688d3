//! The arguments of the attribute: `#[persist(name = "…", crate = path)]`.

use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Path, Result, Token};

/// What the attribute's arguments say.
pub(crate) struct Options {
    /// The name that stands for the type's own in the store's registry.
    pub(crate) name: Option<String>,
    /// The path at which the emitted code finds flagstone.
    pub(crate) flagstone: Path,
    /// A function that tells what a value owns besides what its fields own, for
    /// flagstone's own collections.
    pub(crate) owner: Option<Path>,
    /// What stands in place of the list of fields, for those of flagstone's own
    /// types whose bytes mean more than their fields say.
    pub(crate) shape: Option<Path>,
}

impl Default for Options {
    fn default() -> Self {
        let flagstone = syn::parse_quote!(::flagstone);
        Self { name: None, flagstone, owner: None, shape: None }
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut name = None;
        let mut flagstone = None;
        let mut owner = None;
        let mut shape = None;
        while !input.is_empty() {
            // `crate` is a keyword, which an identifier's own parser refuses.
            let option = Ident::parse_any(input)?;
            if option == "name" {
                set(&mut name, &option, input, parse_name)?;
            } else if option == "crate" {
                set(&mut flagstone, &option, input, Path::parse_mod_style)?;
            } else if option == "shape" {
                set(&mut shape, &option, input, Path::parse)?;
            } else if option == "owner" {
                set(&mut owner, &option, input, Path::parse)?;
            } else {
                return Err(unknown(&option));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let flagstone = flagstone.unwrap_or_else(|| Self::default().flagstone);
        Ok(Self { name, flagstone, owner, shape })
    }
}

/// Reads `= value` into `slot`, which an option may fill once.
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

/// A name must not break the lines, and the brackets, of a written schema.
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
