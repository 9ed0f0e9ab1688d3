//! A type's description as text, which a file can keep.
//!
//! The store's registry holds the text of [`Schema`] for each type. A tool can then print objects
//! without the program, and a program with another layout is refused with an error that shows
//! both layouts.

use std::any::{TypeId, type_name};
use std::collections::HashSet;
use std::fmt;

use super::{Element, ElementRef, Persist};

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

/// Collects the descriptions of all types reachable from one.
///
/// A type that is met a second time is not entered again, so the walk ends for recursive types.
/// Types are told apart by identity and not by name: two types with the same name are both
/// described, and the store refuses them.
#[derive(Default)]
pub struct Reach {
    seen: HashSet<TypeId>,
    reached: Vec<Reached>,
}

/// A type that was reached.
pub(crate) struct Reached {
    pub(crate) id: TypeId,
    /// Its path in the program, for messages; not part of its identity in a file.
    pub(crate) path: &'static str,
    pub(crate) schema: Schema,
}

impl Reach {
    /// Returns all types reachable from `T`, including `T`.
    #[must_use]
    pub fn of<T: Persist>() -> Vec<Schema> {
        let reached = Self::of_element(&ElementRef::of::<T>());
        reached.into_iter().map(|reached| reached.schema).collect()
    }

    /// Like `of`, for elements of an allocation.
    pub(crate) fn of_element(element: &ElementRef) -> Vec<Reached> {
        let mut reach = Self::default();
        (element.reach)(&mut reach);
        reach.reached
    }

    /// Returns the description of `T` alone, without those of the types it leads to.
    #[must_use]
    pub fn schema_of<T: Persist>() -> Option<Schema> {
        let mut reached = Self::of_element(&ElementRef::of::<T>()).into_iter();
        reached.find(|reached| reached.id == TypeId::of::<T>()).map(|reached| reached.schema)
    }

    /// Like `enter` and `add`, for the elements of an allocation that no Rust struct describes.
    /// Returns whether they are new here.
    pub(crate) fn block<E: Element>(&mut self, fields: impl FnOnce() -> Vec<Field>) -> bool {
        if !self.seen.insert(TypeId::of::<E>()) {
            return false;
        }
        self.reached.push(Reached {
            id: TypeId::of::<E>(),
            path: type_name::<E>(),
            schema: Schema {
                name: E::element_name(),
                size_bytes: E::SIZE_BYTES as usize,
                align_bytes: E::ALIGN_BYTES as usize,
                shape: Shape::Struct(fields()),
            },
        });
        true
    }

    /// Adds a type whose name describes it fully.
    pub fn primitive<T: Persist>(&mut self) {
        if self.enter::<T>() {
            self.add::<T>(Shape::Primitive);
        }
    }

    /// Returns whether `T` is new here. If so, the caller adds it and visits its parts.
    pub fn enter<T: Persist>(&mut self) -> bool {
        self.seen.insert(TypeId::of::<T>())
    }

    /// Adds the description of `T`.
    pub fn add<T: Persist>(&mut self, shape: Shape) {
        self.reached.push(Reached {
            id: TypeId::of::<T>(),
            path: type_name::<T>(),
            schema: Schema {
                name: T::type_name(),
                size_bytes: size_of::<T>(),
                align_bytes: align_of::<T>(),
                shape,
            },
        });
    }
}
