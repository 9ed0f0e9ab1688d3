//! A type's description as text, which a file can keep.
//!
//! The store's registry holds the text of [`Schema`] for each type. A tool can then print objects
//! without the program, and a program with another layout is refused with an error that shows
//! both layouts.

use std::fmt;

/// The registry's description of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The type's name with its parameters.
    pub name: String,
    /// `size_of` the type, in bytes.
    pub size_bytes: usize,
    /// `align_of` the type, in bytes.
    pub align_bytes: usize,
    /// The parts of the type.
    pub shape: Shape,
}

/// The parts of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An integer, a float, `bool`, or an array; its name describes it fully.
    Primitive,
    /// A struct's fields in order of offset.
    Struct(Vec<Field>),
    /// A C-like enum's variants with their values.
    Enum(Vec<(String, i128)>),
    /// 24 bytes that either hold a short byte string or link to a long one; FORMAT.md
    /// specifies the layout.
    Bytes,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; the index for a tuple struct.
    pub name: String,
    /// Bytes from the start of the struct.
    pub offset_bytes: usize,
    /// The name of its type: `u32`, `[u8; 4]`, `Link<Node>`, `Point`.
    pub type_name: String,
}

/// The text of a schema, as FORMAT.md specifies it: a line for the type, then
/// one for each field or variant.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.shape {
            Shape::Primitive => "primitive",
            Shape::Struct(_) => "struct",
            Shape::Enum(_) => "enum",
            Shape::Bytes => "bytes",
        };
        writeln!(f, "{word} {} size {} align {}", self.name, self.size_bytes, self.align_bytes)?;
        match &self.shape {
            Shape::Primitive | Shape::Bytes => Ok(()),
            Shape::Struct(fields) => fields
                .iter()
                .try_for_each(|x| writeln!(f, "{} {}: {}", x.offset_bytes, x.name, x.type_name)),
            Shape::Enum(variants) => {
                variants.iter().try_for_each(|(name, value)| writeln!(f, "{value} {name}"))
            }
        }
    }
}
