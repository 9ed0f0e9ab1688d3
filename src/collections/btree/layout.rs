//! Layout of nodes in the heap: leaves, inner nodes, and what each of them owns.
//!
//! A leaf holds an array of keys and an array of values, and links to both
//! neighbours. An inner node holds links to its children and a key between each two
//! of them. That separator is a bitwise copy of the first key below the right
//! child, and owns nothing. Unused slots are zero.

use std::marker::PhantomData;

use crate::format::collections::btree::{HEAD_BYTES, LEAF_HEAD_BYTES, LEVEL_AT, LINK_BYTES};
use crate::format::{LINE_BYTES, PAGE_BYTES};
use crate::persist::{Block, Element, Field, Owned, Persist, Reach};

use super::value::Payload;

pub(super) use crate::format::collections::btree::{
    LEN_AT, MAX_LEVELS, NEXT_AT, NODE_BYTES, PREV_AT,
};

/// Minimum capacity of a node, in entries or children.
const MIN_CAPACITY: u64 = 4;

/// Positions of the two arrays of a node.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Number of entries or children.
    pub(super) capacity: u64,
    /// Offset of the keys.
    pub(super) keys_at: u64,
    /// Offset of the values or the links.
    pub(super) others_at: u64,
    pub(super) size_bytes: u64,
    pub(super) align_bytes: u64,
}

/// Size and alignment.
type Shape = (u64, u64);

const fn larger(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

impl Plan {
    /// Plans a node whose first array has `missing` keys fewer than the second has items.
    const fn new(head_bytes: u64, missing: u64, key: Shape, other: Shape) -> Self {
        let align_bytes = larger(8, larger(key.1, other.1));
        let keys_at = head_bytes.next_multiple_of(key.1);
        let mut plan = Self { capacity: 0, keys_at, others_at: 0, size_bytes: 0, align_bytes };
        let min_bytes = plan.with(MIN_CAPACITY, missing, key, other).size_bytes;
        let is_slot = min_bytes <= NODE_BYTES && align_bytes <= NODE_BYTES;
        let room = if is_slot { NODE_BYTES } else { min_bytes.next_multiple_of(PAGE_BYTES) };
        let mut capacity = (room - keys_at) / (key.0 + other.0) + missing;
        plan = plan.with(capacity, missing, key, other);
        while plan.size_bytes > room {
            capacity -= 1;
            plan = plan.with(capacity, missing, key, other);
        }
        // Nodes are whole lines, so that a change to one touches no line of another.
        let whole = if is_slot { larger(LINE_BYTES, align_bytes) } else { PAGE_BYTES };
        plan.size_bytes = plan.size_bytes.next_multiple_of(whole);
        plan
    }

    const fn with(self, capacity: u64, missing: u64, key: Shape, other: Shape) -> Self {
        let keys_end = self.keys_at + (capacity - missing) * key.0;
        let others_at = keys_end.next_multiple_of(other.1);
        Self { capacity, others_at, size_bytes: others_at + capacity * other.0, ..self }
    }
}

const fn shape<T>() -> Shape {
    (size_of::<T>() as u64, align_of::<T>() as u64)
}

/// A node at level 0, the lowest: entries, and links to both neighbouring leaves.
pub(super) struct Leaf<K, P>(PhantomData<fn() -> (K, P)>);

/// A node above the leaves.
pub(super) struct Inner<K, P>(PhantomData<fn() -> (K, P)>);

/// The head that both kinds have in common. Links to a node of either kind are
/// declared as links to this type.
pub(super) struct Node<K, P>(PhantomData<fn() -> (K, P)>);

impl<K: Persist, P: Payload> Leaf<K, P> {
    pub(super) const PLAN: Plan =
        Plan::new(LEAF_HEAD_BYTES, 0, shape::<K>(), (P::SIZE_BYTES, P::ALIGN_BYTES));
    pub(super) const CAPACITY: u64 = Self::PLAN.capacity;

    /// Returns the offset of key `index`.
    #[inline]
    pub(super) const fn key_at(index: u64) -> u64 {
        Self::PLAN.keys_at + index * size_of::<K>() as u64
    }

    /// Returns the offset of value `index`.
    #[inline]
    pub(super) const fn value_at(index: u64) -> u64 {
        Self::PLAN.others_at + index * P::SIZE_BYTES
    }
}

impl<K: Persist, P: Payload> Inner<K, P> {
    pub(super) const PLAN: Plan = Plan::new(HEAD_BYTES, 1, shape::<K>(), (LINK_BYTES, LINK_BYTES));
    pub(super) const CAPACITY: u64 = Self::PLAN.capacity;

    /// Returns the offset of the key that separates child `index` from the next.
    #[inline]
    pub(super) const fn key_at(index: u64) -> u64 {
        Self::PLAN.keys_at + index * size_of::<K>() as u64
    }

    /// Returns the offset of the link to child `index`.
    #[inline]
    pub(super) const fn child_at(index: u64) -> u64 {
        Self::PLAN.others_at + index * LINK_BYTES
    }
}

/// Reads `level` and `len` of a node from its bytes.
fn head(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |at: u64| {
        let at = at as usize;
        bytes.get(at..at + 4)?.try_into().map(u32::from_ne_bytes).ok()
    };
    Some((word(LEVEL_AT)?, word(LEN_AT)?))
}

/// Returns the first `len` items of an array in a node.
fn items(bytes: &[u8], at: u64, len: u64, size_bytes: u64) -> &[u8] {
    let (start, end) = (at as usize, (at + len * size_bytes) as usize);
    bytes.get(start..end).unwrap_or_default()
}

/// Adds the node at `offset` and `level`, with everything that it owns, to `owned`.
pub(super) fn own_node<K: Persist, P: Payload>(offset: u64, level: u64, owned: &mut Owned) {
    if level == 0 {
        owned.block(Block::<Leaf<K, P>>::new(offset, 1));
    } else {
        owned.block(Block::<Inner<K, P>>::new(offset, 1));
    }
}

fn name<K: Persist, P: Payload>(kind: &str) -> String {
    format!("flagstone::BTree{kind}<{}{}>", K::type_name(), P::argument())
}

fn field(name: &str, offset_bytes: u64, type_name: String) -> Field {
    Field { name: name.to_string(), offset_bytes: offset_bytes as usize, type_name }
}

fn array(item: &str, count: u64) -> String {
    format!("[{item}; {count}]")
}

/// Adds the bytes between two parts of a node as a field; they are zero.
fn gap(fields: &mut Vec<Field>, name: &str, from: u64, to: u64) {
    if from < to {
        fields.push(field(name, from, array("u8", to - from)));
    }
}

fn head_fields() -> Vec<Field> {
    vec![field("level", LEVEL_AT, "u32".to_string()), field("len", LEN_AT, "u32".to_string())]
}

impl<K: Persist, P: Payload> Element for Leaf<K, P> {
    const SIZE_BYTES: u64 = Self::PLAN.size_bytes;
    const ALIGN_BYTES: u64 = Self::PLAN.align_bytes;
    const ELEMENT_OWNS: bool = K::OWNS || P::OWNS;

    fn element_name() -> String {
        name::<K, P>("Leaf")
    }

    fn element_reach(reach: &mut Reach) {
        let fields = || {
            let plan = Self::PLAN;
            let mut fields = head_fields();
            let neighbour = format!("Link<{}>", Self::element_name());
            fields.push(field("prev", PREV_AT, neighbour.clone()));
            fields.push(field("next", NEXT_AT, neighbour));
            gap(&mut fields, "gap", LEAF_HEAD_BYTES, plan.keys_at);
            fields.push(field("keys", plan.keys_at, array(&K::type_name(), plan.capacity)));
            let mut end = Self::key_at(plan.capacity);
            if P::SIZE_BYTES > 0 {
                gap(&mut fields, "gap2", end, plan.others_at);
                fields.push(field("values", plan.others_at, array(&P::name(), plan.capacity)));
                end = Self::value_at(plan.capacity);
            }
            gap(&mut fields, "rest", end, plan.size_bytes);
            fields
        };
        if reach.block::<Self>(fields) {
            K::reach(reach);
            P::reach(reach);
        }
    }

    fn element_owned(bytes: &[u8], owned: &mut Owned) {
        for bytes in bytes.chunks_exact(Self::SIZE_BYTES as usize) {
            let len = head(bytes).map_or(0, |(_, len)| u64::from(len).min(Self::CAPACITY));
            owned.each::<K>(items(bytes, Self::key_at(0), len, size_of::<K>() as u64));
            P::owned(items(bytes, Self::value_at(0), len, P::SIZE_BYTES), owned);
        }
    }
}

impl<K: Persist, P: Payload> Element for Inner<K, P> {
    const SIZE_BYTES: u64 = Self::PLAN.size_bytes;
    const ALIGN_BYTES: u64 = Self::PLAN.align_bytes;
    const ELEMENT_OWNS: bool = true;

    fn element_name() -> String {
        name::<K, P>("Inner")
    }

    fn element_reach(reach: &mut Reach) {
        let fields = || {
            let plan = Self::PLAN;
            let mut fields = head_fields();
            let child = format!("Link<{}>", Node::<K, P>::element_name());
            gap(&mut fields, "gap", HEAD_BYTES, plan.keys_at);
            fields.push(field("keys", plan.keys_at, array(&K::type_name(), plan.capacity - 1)));
            gap(&mut fields, "gap2", Self::key_at(plan.capacity - 1), plan.others_at);
            fields.push(field("children", plan.others_at, array(&child, plan.capacity)));
            gap(&mut fields, "rest", Self::child_at(plan.capacity), plan.size_bytes);
            fields
        };
        if reach.block::<Self>(fields) {
            K::reach(reach);
            Node::<K, P>::element_reach(reach);
        }
    }

    fn element_owned(bytes: &[u8], owned: &mut Owned) {
        for bytes in bytes.chunks_exact(Self::SIZE_BYTES as usize) {
            // A node whose level is that of a leaf has no children to add.
            let Some((level @ 1.., len)) = head(bytes) else { continue };
            let len = u64::from(len).min(Self::CAPACITY);
            for link in items(bytes, Self::child_at(0), len, LINK_BYTES).chunks_exact(8) {
                let offset = link.try_into().map_or(0, u64::from_ne_bytes);
                own_node::<K, P>(offset, u64::from(level) - 1, owned);
            }
        }
    }
}

impl<K: Persist, P: Payload> Element for Node<K, P> {
    const SIZE_BYTES: u64 = HEAD_BYTES;
    const ALIGN_BYTES: u64 = 8;
    const ELEMENT_OWNS: bool = false;

    fn element_name() -> String {
        name::<K, P>("Node")
    }

    fn element_reach(reach: &mut Reach) {
        if reach.block::<Self>(head_fields) {
            Leaf::<K, P>::element_reach(reach);
            Inner::<K, P>::element_reach(reach);
        }
    }

    fn element_owned(_bytes: &[u8], _owned: &mut Owned) {}
}
