//! Finds out which part a type plays in the collections: segment, shard, entry or node.
//!
//! **Owns** the reading of these descriptions, and which parts of a key are hashed. **Must not
//! know** which values of the fields are correct (`objects`).

use std::collections::HashMap;
use std::ops::Range;

use super::fields::{Fields, kind_of};
use super::grammar::{Described, FieldLine, Reading, TypeRef};
use super::plans::Planner;
use super::shapes::{EntryShape, Items, KeyPart, NodeShape, Role};

/// Maximum number of parts in a key: pairs may nest.
const MAX_PARTS: usize = 64;

/// Reads roles, and remembers what several of them need.
#[derive(Default)]
pub(super) struct RoleReader<'a> {
    /// The parts of the keys that were requested, by the names of their types.
    keys: HashMap<&'a str, Option<Vec<KeyPart>>>,
}

impl<'a> RoleReader<'a> {
    /// Returns the role of a type whose plan was built.
    pub(super) fn role_of(
        &mut self,
        planner: &mut Planner<'a>,
        described: Described<'a>,
    ) -> Reading<Role> {
        let Some((kind, _)) = kind_of(described) else { return Ok(Role::Other) };
        let fields = match kind {
            "HashSegment" | "HashShard" | "HashEntry" | "BTreeLeaf" | "BTreeInner" => {
                Fields::read(described)?
            }
            "BTreeNode" => return Ok(Role::Node),
            _ => return Ok(Role::Other),
        };
        Ok(match kind {
            "HashSegment" => Role::Segment(fields.at("shards")?),
            "HashShard" => Role::Shard(fields.at("tags")?, fields.at("slots")?),
            "HashEntry" => {
                let key = fields.of("key")?;
                let parts = self.key_parts(planner, key.type_name)?;
                let key = parts.map(|parts| moved(parts, key.offset).collect());
                let gaps = gaps(planner, &fields, described.size_bytes)?;
                Role::Entry(EntryShape { key, gaps })
            }
            "BTreeLeaf" => Role::Leaf(self.node(planner, &fields, true)?),
            _ => Role::Inner(self.node(planner, &fields, false)?),
        })
    }

    fn node(
        &mut self,
        planner: &mut Planner<'a>,
        fields: &Fields<'a>,
        is_leaf: bool,
    ) -> Reading<NodeShape> {
        let gap = |field: &&FieldLine<'_>| matches!(field.name, "gap" | "gap2" | "rest");
        let gaps = fields.fields.iter().filter(gap).map(|field| {
            let bytes = match TypeRef::read(field.type_name)? {
                TypeRef::Array("u8", bytes) => bytes,
                _ => return Err(format!("expected {} to be bytes", field.name)),
            };
            Ok(field.offset..field.offset.saturating_add(bytes))
        });
        let gaps = gaps.collect::<Reading<_>>()?;
        let neighbours = [fields.at("prev"), fields.at("next")];
        let others = if is_leaf { fields.of("values").ok() } else { Some(fields.of("children")?) };
        let keys = fields.of("keys")?;
        let parts = match TypeRef::read(keys.type_name)? {
            TypeRef::Array(key, _) => self.key_parts(planner, key)?,
            _ => None,
        };
        let keys = items(planner, keys)?;
        let others = others.map(|others| items(planner, others)).transpose()?;
        // A node's length counts the items in use of both arrays, so the shorter array limits it.
        let is_even = others.is_none_or(|others| match is_leaf {
            true => others.count == keys.count,
            false => others.count.checked_sub(1) == Some(keys.count) && others.stride == 8,
        });
        if !is_even {
            return Err("expected as many values as keys, and one link more".to_string());
        }
        Ok(NodeShape {
            level: fields.at("level")?,
            len: fields.at("len")?,
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

    /// Returns the parts of a key, by its type's name, or `None` for a struct that owns memory,
    /// which only its program can hash. The plan of the containing type was built first, so no
    /// pair contains itself, and each type is read once.
    fn key_parts(
        &mut self,
        planner: &mut Planner<'a>,
        name: &'a str,
    ) -> Reading<Option<Vec<KeyPart>>> {
        if let Some(parts) = self.keys.get(name) {
            return Ok(parts.clone());
        }
        let described = planner.known(name).and_then(|number| planner.described(number as usize));
        let parts = match (described, described.and_then(kind_of)) {
            (Some(described), Some(("Pair", _))) => {
                let fields = Fields::read(described)?;
                let halves = [fields.of("first")?, fields.of("second")?];
                let mut parts = Some(vec![]);
                for half in halves {
                    let more = self.key_parts(planner, half.type_name)?;
                    let more = more.map(|more| moved(more, half.offset));
                    parts = parts.zip(more).map(|(mut parts, more)| {
                        parts.extend(more);
                        parts
                    });
                }
                parts
            }
            (_, Some(("Text" | "Bytes", _))) => Some(vec![KeyPart::Bytes { at: 0 }]),
            _ if planner.owns(name)? => None,
            _ => Some(vec![KeyPart::Fixed { at: 0, len: planner.size(name)? }]),
        };
        if parts.as_ref().is_some_and(|parts| parts.len() > MAX_PARTS) {
            return Err(format!("expected a key of at most {MAX_PARTS} parts"));
        }
        self.keys.insert(name, parts.clone());
        Ok(parts)
    }
}

/// Returns the bytes that no field covers. The fields are known to be in order.
fn gaps<'a>(
    planner: &mut Planner<'a>,
    fields: &Fields<'a>,
    size_bytes: u64,
) -> Reading<Vec<Range<u64>>> {
    let (mut gaps, mut end) = (vec![], 0);
    for field in &fields.fields {
        gaps.push(end..field.offset);
        end = field.offset.saturating_add(planner.size(field.type_name)?);
    }
    gaps.push(end..size_bytes);
    gaps.retain(|gap| !gap.is_empty());
    Ok(gaps)
}

fn items<'a>(planner: &mut Planner<'a>, field: FieldLine<'a>) -> Reading<Items> {
    let TypeRef::Array(element, count) = TypeRef::read(field.type_name)? else {
        return Err(format!("expected {} to be an array", field.name));
    };
    let (plan, stride) = planner.elements(element)?;
    Ok(Items { at: field.offset, count, stride, plan })
}

fn moved(parts: Vec<KeyPart>, by: u64) -> impl Iterator<Item = KeyPart> {
    parts.into_iter().map(move |part| match part {
        KeyPart::Fixed { at, len } => KeyPart::Fixed { at: at.saturating_add(by), len },
        KeyPart::Bytes { at } => KeyPart::Bytes { at: at.saturating_add(by) },
    })
}
