//! Parses the registry's texts: type descriptions and type names.
//!
//! **Owns** the grammar of FORMAT.md, "Types". **Must not know** what the names in a description
//! stand for.

/// Maximum number of characters of a text from the file that a message quotes.
const MAX_SHOWN: usize = 500;

pub(super) type Reading<T> = Result<T, String>;

/// A type's description, as the registry stores it.
#[derive(Default)]
pub(in crate::check) struct TypeText {
    pub(in crate::check) size_bytes: u64,
    pub(in crate::check) align_bytes: u64,
    /// Empty if the text could not be read.
    pub(in crate::check) text: String,
}

/// The meaning of a type name.
pub(super) enum TypeRef<'a> {
    /// Any bit pattern, of this many bytes.
    Plain(u64),
    Bool,
    Link(&'a str),
    Slice(&'a str),
    Array(&'a str, u64),
    /// A type with its own description.
    Own(&'a str),
}

/// Returns a text from the file, shortened for messages.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

pub(super) fn number(text: &str, what: &str) -> Reading<u64> {
    text.parse().map_err(|_| format!("expected {what}, found {:?}", shown(text)))
}

/// A description, split into its parts.
#[derive(Clone, Copy)]
pub(super) struct Described<'a> {
    pub(super) word: &'a str,
    pub(super) name: &'a str,
    pub(super) size_bytes: u64,
    /// The remaining lines: fields of a struct, variants of an enum.
    lines: &'a str,
}

/// A field of a struct.
#[derive(Clone, Copy)]
pub(super) struct FieldLine<'a> {
    pub(super) offset: u64,
    pub(super) name: &'a str,
    pub(super) type_name: &'a str,
}

impl<'a> Described<'a> {
    pub(super) fn read(entry: &'a TypeText) -> Reading<Self> {
        let (line, lines) = entry.text.split_once('\n').unwrap_or((&entry.text, ""));
        let parts = line.split_once(' ').and_then(|(word, rest)| {
            let (name, rest) = rest.rsplit_once(" size ")?;
            let (size, align) = rest.split_once(" align ")?;
            Some((word, name, size, align))
        });
        let Some((word, name, size, align)) = parts else {
            return Err(format!(
                "expected a line `word name size n align n`, found {:?}",
                shown(line)
            ));
        };
        let (size_bytes, align_bytes) =
            (number(size, "a size in bytes")?, number(align, "an alignment in bytes")?);
        for (what, found, expected) in [
            ("a size", size_bytes, entry.size_bytes),
            ("an alignment", align_bytes, entry.align_bytes),
        ] {
            if found != expected {
                let why = format!("expected {what} of {expected} bytes as in its entry");
                return Err(format!("{why}, found {found} in its description"));
            }
        }
        Ok(Self { word, name, size_bytes, lines })
    }

    pub(super) fn fields(self) -> impl Iterator<Item = Reading<FieldLine<'a>>> {
        self.lines.lines().map(|line| {
            let parts = line.split_once(' ').and_then(|(offset, rest)| {
                rest.split_once(": ").map(|(name, type_name)| (offset, name, type_name))
            });
            let Some((offset, name, type_name)) = parts else {
                return Err(format!(
                    "expected a line `offset field: type`, found {:?}",
                    shown(line)
                ));
            };
            Ok(FieldLine { offset: number(offset, "a field's offset")?, name, type_name })
        })
    }

    /// Returns the values of an enum's variants, as stored in its bytes, sorted.
    pub(super) fn variants(self) -> Reading<Vec<u128>> {
        if !matches!(self.size_bytes, 1 | 2 | 4 | 8 | 16) {
            return Err(format!("expected an integer's size, found {} bytes", self.size_bytes));
        }
        let mask = u128::MAX >> (128 - 8 * self.size_bytes);
        let value = |line: &str| {
            let value = line.split_once(' ').map_or(line, |(value, _)| value);
            // The largest `u128` values do not fit into an `i128`.
            let bits = value.parse::<i128>().map(|value| value as u128);
            let bits = bits.or_else(|_| value.parse::<u128>());
            let bits =
                bits.map_err(|_| format!("expected `value variant`, found {:?}", shown(line)));
            bits.map(|bits| bits & mask)
        };
        let mut variants = self.lines.lines().map(value).collect::<Reading<Vec<_>>>()?;
        variants.sort_unstable();
        Ok(variants)
    }
}

impl<'a> TypeRef<'a> {
    pub(super) fn read(name: &'a str) -> Reading<Self> {
        let within = |open, close| name.strip_prefix(open)?.strip_suffix(close);
        if name == "bool" {
            return Ok(Self::Bool);
        }
        if let Some(size_bytes) = number_bytes(name) {
            return Ok(Self::Plain(size_bytes));
        }
        if within("Phantom<", ">").is_some() {
            return Ok(Self::Plain(0));
        }
        if let Some(target) = within("Link<", ">") {
            let element = target.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            return Ok(match element.filter(|inside| array(inside).is_none()) {
                Some(element) => Self::Slice(element),
                None => Self::Link(target),
            });
        }
        if let Some(inside) = within("[", "]") {
            let (element, count) = array(inside)
                .ok_or_else(|| format!("expected `[type; count]`, found {:?}", shown(name)))?;
            return Ok(Self::Array(element, number(count, "a count of elements")?));
        }
        Ok(Self::Own(name))
    }
}

/// Splits `element; count`, given without the brackets.
fn array(inside: &str) -> Option<(&str, &str)> {
    let is_count = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    inside.rsplit_once("; ").filter(|(_, count)| is_count(count))
}

/// Returns the size of a number type in bytes.
fn number_bytes(name: &str) -> Option<u64> {
    let plain = name.strip_suffix("le").or_else(|| name.strip_suffix("be")).unwrap_or(name);
    Some(match plain {
        "u8" | "i8" if plain == name => 1,
        "u16" | "i16" => 2,
        "u32" | "i32" | "f32" => 4,
        "u64" | "i64" | "f64" => 8,
        "u128" | "i128" => 16,
        _ => return None,
    })
}
