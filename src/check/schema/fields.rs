//! Recognizes flagstone's own structs in a registry, and finds their fields.
//!
//! **Owns** the names of these structs and of their fields. **Must not know** how values are laid
//! out (`plans`).

use super::grammar::{Described, FieldLine, Reading, TypeRef, shown};
use super::shapes::{Owner, Shape, TableShape, TreeShape};

/// The prefix of the names of flagstone's own types.
const OWN: &str = "flagstone::";

/// Returns what a struct means beyond its fields. `known` finds the number of a type by its name.
pub(super) fn shape_of<'a>(
    described: Described<'a>,
    known: impl Fn(&str) -> Option<u32>,
) -> Reading<Option<Shape>> {
    let Some((kind, _)) = kind_of(described) else { return Ok(None) };
    let fields = match kind {
        "Text" => return Ok(Some(Shape::Text)),
        "Vec" | "Deque" | "HashTable" | "BTreeMap" | "BTreeSet" => Fields::read(described)?,
        _ => return Ok(None),
    };
    Ok(Some(Shape::Owner(match kind {
        "Vec" => Owner::Vec {
            items: fields.at("items")?,
            capacity: fields.at("capacity")?,
            element: known(fields.slice("items")?),
        },
        "Deque" => Owner::Deque {
            slots: fields.at("slots")?,
            head: fields.at("head")?,
            len: fields.at("len")?,
            element: known(fields.slice("slots")?),
        },
        "HashTable" => {
            let arguments = arguments(fields.slice("directory")?, "HashSegment")?;
            let part = |kind| known(&format!("{OWN}{kind}{arguments}"));
            Owner::Table(TableShape {
                directory: fields.at("directory")?,
                shards: fields.at("shards")?,
                len: fields.at("len")?,
                segment: part("HashSegment"),
                shard: part("HashShard"),
                entry: part("HashEntry"),
            })
        }
        _ => {
            let arguments = arguments(fields.link("root")?, "BTreeNode")?;
            let part = |kind| known(&format!("{OWN}{kind}{arguments}"));
            Owner::Tree(TreeShape {
                root: fields.at("root")?,
                len: fields.at("len")?,
                height: fields.at("height")?,
                leaf: part("BTreeLeaf"),
                inner: part("BTreeInner"),
            })
        }
    })))
}

/// Returns whether the name is that of a flagstone type that programs use directly.
pub(super) fn is_collection(name: &str) -> bool {
    const KINDS: [&str; 8] =
        ["Vec", "Deque", "Text", "Bytes", "HashMap", "HashSet", "BTreeMap", "BTreeSet"];
    let kind = name.strip_prefix(OWN).map(|name| name.split('<').next().unwrap_or_default());
    kind.is_some_and(|kind| KINDS.contains(&kind))
}

/// Splits the name of one of flagstone's structs into its kind and its arguments.
pub(super) fn kind_of<'a>(described: Described<'a>) -> Option<(&'a str, &'a str)> {
    let name = described.name.strip_prefix(OWN)?;
    Some(name.split_at(name.find('<').unwrap_or(name.len())))
}

/// Returns the arguments after the name of one of flagstone's structs.
fn arguments<'a>(name: &'a str, kind: &str) -> Reading<&'a str> {
    let rest = name.strip_prefix(OWN).and_then(|name| name.strip_prefix(kind));
    rest.ok_or_else(|| format!("expected a link to {OWN}{kind}, found {}", shown(name)))
}

/// The fields of a struct.
pub(super) struct Fields<'a> {
    pub(super) fields: Vec<FieldLine<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn read(described: Described<'a>) -> Reading<Self> {
        Ok(Self { fields: described.fields().collect::<Reading<_>>()? })
    }

    pub(super) fn of(&self, name: &str) -> Reading<FieldLine<'a>> {
        let field = self.fields.iter().find(|field| field.name == name).copied();
        field.ok_or_else(|| format!("expected a field {name}, found none"))
    }

    pub(super) fn at(&self, name: &str) -> Reading<u64> {
        Ok(self.of(name)?.offset)
    }

    /// Returns the element type of a field that links to an array.
    pub(super) fn slice(&self, name: &str) -> Reading<&'a str> {
        match TypeRef::read(self.of(name)?.type_name)? {
            TypeRef::Slice(element) => Ok(element),
            _ => Err(format!("expected {name} to be a link to an array")),
        }
    }

    /// Returns the target type of a field that links to one value.
    pub(super) fn link(&self, name: &str) -> Reading<&'a str> {
        match TypeRef::read(self.of(name)?.type_name)? {
            TypeRef::Link(target) => Ok(target),
            _ => Err(format!("expected {name} to be a link to one value")),
        }
    }
}
