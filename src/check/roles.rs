//! Recognizes flagstone's own types in a registry, and finds their fields (FORMAT.md, "How values
//! lie").
//!
//! **Owns** the reading of their descriptions. **Must not know** which values of the fields are
//! correct.

use std::ops::Range;

use super::description::{Described, FieldLine, Reading, TypeRef, shown};
use super::reader::Reader;

/// The prefix of the names of flagstone's own types.
const OWN: &str = "flagstone::";
/// Maximum number of parts in a key: pairs may nest.
const MAX_PARTS: usize = 64;

/// A struct that owns arrays or nodes.
pub(super) struct Collection {
    pub(super) owner: Owner,
    /// The plan of its fields, as for any other struct.
    pub(super) plain: Option<usize>,
}

/// The offsets of a collection's fields, and the numbers of the types that it owns. A type is
/// `None` if the registry does not have it, because nothing of it was ever allocated.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    Vec { items: u64, capacity: u64, element: Option<u32> },
    Deque { slots: u64, head: u64, len: u64, element: Option<u32> },
    Table(TableShape),
    Tree(TreeShape),
}

#[derive(Clone, Copy)]
pub(super) struct TableShape {
    pub(super) directory: u64,
    pub(super) shards: u64,
    pub(super) len: u64,
    pub(super) segment: Option<u32>,
    pub(super) shard: Option<u32>,
    pub(super) entry: Option<u32>,
}

#[derive(Clone, Copy)]
pub(super) struct TreeShape {
    pub(super) root: u64,
    pub(super) len: u64,
    pub(super) height: u64,
    pub(super) leaf: Option<u32>,
    pub(super) inner: Option<u32>,
}

/// The meaning of a struct beyond its fields.
pub(super) enum Shape {
    Text,
    Owner(Owner),
}

/// The role of a type in the collections.
#[derive(Default)]
pub(super) enum Role {
    #[default]
    Other,
    /// The offset of its link to shards.
    Segment(u64),
    /// The offsets of its link to tags and of its links to slots.
    Shard(u64, u64),
    Entry(EntryShape),
    /// The declared target of links that may point to either kind of node.
    Node,
    Leaf(NodeShape),
    Inner(NodeShape),
}

pub(super) struct EntryShape {
    /// The hashed parts of its key; `None` if only the program knows how to hash it.
    pub(super) key: Option<Vec<KeyPart>>,
    pub(super) gaps: Vec<Range<u64>>,
}

/// A part of a key's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPart {
    /// Bytes stored in the key.
    Fixed { at: u64, len: u64 },
    /// A string of bytes.
    Bytes { at: u64 },
}

pub(super) struct NodeShape {
    pub(super) level: u64,
    pub(super) len: u64,
    /// In a leaf, the offsets of its links to its neighbours.
    pub(super) neighbours: Option<[u64; 2]>,
    pub(super) keys: Items,
    /// The values of a map's leaf, or the children of an inner node.
    pub(super) others: Option<Items>,
    pub(super) gaps: Vec<Range<u64>>,
    /// Whether keys own memory.
    pub(super) keys_own: bool,
}

/// An array in a node.
#[derive(Clone, Copy)]
pub(super) struct Items {
    pub(super) at: u64,
    pub(super) count: u64,
    pub(super) stride: u64,
    /// The plan of each item, if it has parts to check.
    pub(super) plan: Option<usize>,
}

impl Role {
    /// Returns whether values of this type are walked from the collection that owns them, which
    /// alone knows how many are in use.
    pub(super) fn is_internal(&self) -> bool {
        !matches!(self, Self::Other)
    }

    pub(super) fn of<'a>(reader: &mut Reader<'a>, described: Described<'a>) -> Reading<Self> {
        let Some((kind, _)) = own(described) else { return Ok(Self::Other) };
        let fields = match kind {
            "HashSegment" | "HashShard" | "HashEntry" | "BTreeLeaf" | "BTreeInner" => {
                Fields::read(described)?
            }
            "BTreeNode" => return Ok(Self::Node),
            _ => return Ok(Self::Other),
        };
        Ok(match kind {
            "HashSegment" => Self::Segment(fields.at("shards")?),
            "HashShard" => Self::Shard(fields.at("tags")?, fields.at("slots")?),
            "HashEntry" => {
                let key = fields.of("key")?;
                let parts = key_parts(reader, key.type_name)?;
                let key = parts.map(|parts| moved(parts, key.offset).collect());
                let gaps = fields.gaps(reader, described.size_bytes)?;
                Self::Entry(EntryShape { key, gaps })
            }
            "BTreeLeaf" => Self::Leaf(fields.node(reader, true)?),
            _ => Self::Inner(fields.node(reader, false)?),
        })
    }
}

impl Shape {
    pub(super) fn of<'a>(reader: &Reader<'a>, described: Described<'a>) -> Reading<Option<Self>> {
        let Some((kind, _)) = own(described) else { return Ok(None) };
        let fields = match kind {
            "Text" => return Ok(Some(Self::Text)),
            "Vec" | "Deque" | "HashTable" | "BTreeMap" | "BTreeSet" => Fields::read(described)?,
            _ => return Ok(None),
        };
        Ok(Some(Self::Owner(match kind {
            "Vec" => Owner::Vec {
                items: fields.at("items")?,
                capacity: fields.at("capacity")?,
                element: reader.known(fields.slice("items")?),
            },
            "Deque" => Owner::Deque {
                slots: fields.at("slots")?,
                head: fields.at("head")?,
                len: fields.at("len")?,
                element: reader.known(fields.slice("slots")?),
            },
            "HashTable" => {
                let arguments = arguments(fields.slice("directory")?, "HashSegment")?;
                let part = |kind| reader.known(&format!("{OWN}{kind}{arguments}"));
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
                let part = |kind| reader.known(&format!("{OWN}{kind}{arguments}"));
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
}

/// Returns whether the name is that of a flagstone type that programs use directly.
pub(super) fn is_collection(name: &str) -> bool {
    const KINDS: [&str; 8] =
        ["Vec", "Deque", "Text", "Bytes", "HashMap", "HashSet", "BTreeMap", "BTreeSet"];
    let kind = name.strip_prefix(OWN).map(|name| name.split('<').next().unwrap_or_default());
    kind.is_some_and(|kind| KINDS.contains(&kind))
}

/// Splits the name of one of flagstone's structs into its base and its arguments.
fn own<'a>(described: Described<'a>) -> Option<(&'a str, &'a str)> {
    let name = described.name.strip_prefix(OWN)?;
    Some(name.split_at(name.find('<').unwrap_or(name.len())))
}

/// Returns the arguments after the name of one of flagstone's structs.
fn arguments<'a>(name: &'a str, kind: &str) -> Reading<&'a str> {
    let rest = name.strip_prefix(OWN).and_then(|name| name.strip_prefix(kind));
    rest.ok_or_else(|| format!("expected a link to {OWN}{kind}, found {}", shown(name)))
}

/// The fields of a struct.
struct Fields<'a> {
    fields: Vec<FieldLine<'a>>,
}

impl<'a> Fields<'a> {
    fn read(described: Described<'a>) -> Reading<Self> {
        Ok(Self { fields: described.fields().collect::<Reading<_>>()? })
    }

    fn of(&self, name: &str) -> Reading<FieldLine<'a>> {
        let field = self.fields.iter().find(|field| field.name == name).copied();
        field.ok_or_else(|| format!("expected a field {name}, found none"))
    }

    fn at(&self, name: &str) -> Reading<u64> {
        Ok(self.of(name)?.offset)
    }

    /// Returns the element type of a field that links to an array.
    fn slice(&self, name: &str) -> Reading<&'a str> {
        match TypeRef::read(self.of(name)?.type_name)? {
            TypeRef::Slice(element) => Ok(element),
            _ => Err(format!("expected {name} to be a link to an array")),
        }
    }

    /// Returns the target type of a field that links to one value.
    fn link(&self, name: &str) -> Reading<&'a str> {
        match TypeRef::read(self.of(name)?.type_name)? {
            TypeRef::Link(target) => Ok(target),
            _ => Err(format!("expected {name} to be a link to one value")),
        }
    }

    /// Returns the bytes that no field covers. The fields are known to be in order.
    fn gaps(&self, reader: &mut Reader<'a>, size_bytes: u64) -> Reading<Vec<Range<u64>>> {
        let (mut gaps, mut end) = (vec![], 0);
        for field in &self.fields {
            gaps.push(end..field.offset);
            end = field.offset.saturating_add(reader.size(field.type_name)?);
        }
        gaps.push(end..size_bytes);
        gaps.retain(|gap| !gap.is_empty());
        Ok(gaps)
    }

    fn node(&self, reader: &mut Reader<'a>, is_leaf: bool) -> Reading<NodeShape> {
        let gap = |field: &&FieldLine<'_>| matches!(field.name, "gap" | "gap2" | "rest");
        let gaps = self.fields.iter().filter(gap).map(|field| {
            let bytes = match TypeRef::read(field.type_name)? {
                TypeRef::Array("u8", bytes) => bytes,
                _ => return Err(format!("expected {} to be bytes", field.name)),
            };
            Ok(field.offset..field.offset.saturating_add(bytes))
        });
        let gaps = gaps.collect::<Reading<_>>()?;
        let neighbours = [self.at("prev"), self.at("next")];
        let others = if is_leaf { self.of("values").ok() } else { Some(self.of("children")?) };
        let keys = self.of("keys")?;
        let parts = match TypeRef::read(keys.type_name)? {
            TypeRef::Array(key, _) => key_parts(reader, key)?,
            _ => None,
        };
        let keys = items(reader, keys)?;
        let others = others.map(|others| items(reader, others)).transpose()?;
        // A node's length counts the items in use of both arrays, so the shorter array limits it.
        let is_even = others.is_none_or(|others| match is_leaf {
            true => others.count == keys.count,
            false => others.count.checked_sub(1) == Some(keys.count) && others.stride == 8,
        });
        if !is_even {
            return Err("expected as many values as keys, and one link more".to_string());
        }
        Ok(NodeShape {
            level: self.at("level")?,
            len: self.at("len")?,
            neighbours: match neighbours {
                [prev, next] if is_leaf => Some([prev?, next?]),
                _ => None,
            },
            keys,
            others,
            gaps,
            keys_own: parts.is_some_and(|parts| {
                parts.iter().any(|part| matches!(part, KeyPart::Bytes { .. }))
            }),
        })
    }
}

fn items<'a>(reader: &mut Reader<'a>, field: FieldLine<'a>) -> Reading<Items> {
    let TypeRef::Array(element, count) = TypeRef::read(field.type_name)? else {
        return Err(format!("expected {} to be an array", field.name));
    };
    let (plan, stride) = reader.elements(element)?;
    Ok(Items { at: field.offset, count, stride, plan })
}

/// Returns the parts of a key, by its type's name, or `None` for a struct that owns memory, which
/// only its program can hash. The plan of the containing type was built first, so no pair
/// contains itself, and each type is read once.
fn key_parts<'a>(reader: &mut Reader<'a>, name: &'a str) -> Reading<Option<Vec<KeyPart>>> {
    if let Some(parts) = reader.keys.get(name) {
        return Ok(parts.clone());
    }
    let described = reader.known(name).and_then(|number| reader.described(number));
    let parts = match (described, described.and_then(own)) {
        (Some(described), Some(("Pair", _))) => {
            let fields = Fields::read(described)?;
            let halves = [fields.of("first")?, fields.of("second")?];
            let mut parts = Some(vec![]);
            for half in halves {
                let more = key_parts(reader, half.type_name)?;
                let more = more.map(|more| moved(more, half.offset));
                parts = parts.zip(more).map(|(mut parts, more)| {
                    parts.extend(more);
                    parts
                });
            }
            parts
        }
        (_, Some(("Text" | "Bytes", _))) => Some(vec![KeyPart::Bytes { at: 0 }]),
        _ if reader.owns(name)? => None,
        _ => Some(vec![KeyPart::Fixed { at: 0, len: reader.size(name)? }]),
    };
    if parts.as_ref().is_some_and(|parts| parts.len() > MAX_PARTS) {
        return Err(format!("expected a key of at most {MAX_PARTS} parts"));
    }
    reader.keys.insert(name, parts.clone());
    Ok(parts)
}

fn moved(parts: Vec<KeyPart>, by: u64) -> impl Iterator<Item = KeyPart> {
    parts.into_iter().map(move |part| match part {
        KeyPart::Fixed { at, len } => KeyPart::Fixed { at: at.saturating_add(by), len },
        KeyPart::Bytes { at } => KeyPart::Bytes { at: at.saturating_add(by) },
    })
}
