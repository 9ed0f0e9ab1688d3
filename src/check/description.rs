//! The texts of the registry: a type's description, and what a type's name
//! says.
//!
//! **Owns** the grammar of FORMAT.md, "Types". **Must not know** what the names
//! in a description stand for.

/// Characters of a text from the file that go into a message.
const MOST_SHOWN: usize = 500;

pub(super) type Reading<T> = Result<T, String>;

/// The description of a type, as the registry has it.
#[derive(Default)]
pub(super) struct TypeText {
    pub(super) size_bytes: u64,
    /// Empty if it could not be read.
    pub(super) text: String,
}

/// What a type's name says.
pub(super) enum Named<'a> {
    /// No links in so many bytes.
    Plain(u64),
    Link(&'a str),
    Slice(&'a str),
    Array(&'a str, u64),
    /// A description of its own says it.
    Own(&'a str),
}

/// A text from the file, for messages.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

pub(super) fn number(text: &str, what: &str) -> Reading<u64> {
    text.parse().map_err(|_| format!("expected {what}, found {:?}", shown(text)))
}

/// A description, cut into its parts.
#[derive(Clone, Copy)]
pub(super) struct Described<'a> {
    pub(super) word: &'a str,
    pub(super) name: &'a str,
    pub(super) size_bytes: u64,
    /// Of a struct, the lines of its fields.
    pub(super) fields: &'a str,
}

impl<'a> Described<'a> {
    pub(super) fn read(entry: &'a TypeText) -> Reading<Self> {
        let (line, fields) = entry.text.split_once('\n').unwrap_or((&entry.text, ""));
        let parts = line.split_once(' ').and_then(|(word, rest)| {
            let (name, rest) = rest.rsplit_once(" size ")?;
            Some((word, name, rest.split_once(" align ")?.0))
        });
        let Some((word, name, size)) = parts else {
            return Err(format!(
                "expected a line `word name size n align n`, found {:?}",
                shown(line)
            ));
        };
        let (size_bytes, expected) = (number(size, "a size in bytes")?, entry.size_bytes);
        if size_bytes != expected {
            let why = format!("expected a size of {expected} bytes as in its entry");
            return Err(format!("{why}, found {size_bytes} in its description"));
        }
        Ok(Self { word, name, size_bytes, fields })
    }
}

impl<'a> Named<'a> {
    pub(super) fn read(name: &'a str) -> Reading<Self> {
        let within = |open, close| name.strip_prefix(open)?.strip_suffix(close);
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

/// The parts of `[element; count]`, without the brackets.
fn array(inside: &str) -> Option<(&str, &str)> {
    let is_count = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    inside.rsplit_once("; ").filter(|(_, count)| is_count(count))
}

/// Bytes of a number type or a `bool`.
fn number_bytes(name: &str) -> Option<u64> {
    let plain = name.strip_suffix("le").or_else(|| name.strip_suffix("be")).unwrap_or(name);
    Some(match plain {
        "bool" | "u8" | "i8" if plain == name => 1,
        "u16" | "i16" => 2,
        "u32" | "i32" | "f32" => 4,
        "u64" | "i64" | "f64" => 8,
        "u128" | "i128" => 16,
        _ => return None,
    })
}
