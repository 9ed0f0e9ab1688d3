//! The structs of flagstone's collections, as the registry describes them: where their fields lie,
//! and which types they own (FORMAT.md, "How values lie").
//!
//! **Owns** these types. **Must not know** how descriptions are read (`fields`, `roles`), nor which
//! values of the fields are correct (`objects`).

use std::ops::Range;

/// A struct that owns arrays or nodes.
pub(in crate::check) struct Collection {
    pub(in crate::check) owner: Owner,
    /// The plan of its fields, as for any other struct.
    pub(in crate::check) plain: Option<usize>,
}

/// The offsets of a collection's fields, and the numbers of the types that it owns. A type is
/// `None` if the registry does not have it, because nothing of it was ever allocated.
#[derive(Clone, Copy)]
pub(in crate::check) enum Owner {
    Vec { items: u64, capacity: u64, element: Option<u32> },
    Deque { slots: u64, head: u64, len: u64, element: Option<u32> },
    Table(TableShape),
    Tree(TreeShape),
}

#[derive(Clone, Copy)]
pub(in crate::check) struct TableShape {
    pub(in crate::check) directory: u64,
    pub(in crate::check) shards: u64,
    pub(in crate::check) len: u64,
    pub(in crate::check) segment: Option<u32>,
    pub(in crate::check) shard: Option<u32>,
    pub(in crate::check) entry: Option<u32>,
}

#[derive(Clone, Copy)]
pub(in crate::check) struct TreeShape {
    pub(in crate::check) root: u64,
    pub(in crate::check) len: u64,
    pub(in crate::check) height: u64,
    pub(in crate::check) leaf: Option<u32>,
    pub(in crate::check) inner: Option<u32>,
}

/// The meaning of a struct beyond its fields.
pub(in crate::check) enum Shape {
    Text,
    Owner(Owner),
}

/// The role of a type in the collections.
#[derive(Default)]
pub(in crate::check) enum Role {
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

pub(in crate::check) struct EntryShape {
    /// The hashed parts of its key; `None` if only the program knows how to hash it.
    pub(in crate::check) key: Option<Vec<KeyPart>>,
    pub(in crate::check) gaps: Vec<Range<u64>>,
}

/// A part of a key's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum KeyPart {
    /// Bytes stored in the key.
    Fixed { at: u64, len: u64 },
    /// A string of bytes.
    Bytes { at: u64 },
}

pub(in crate::check) struct NodeShape {
    pub(in crate::check) level: u64,
    pub(in crate::check) len: u64,
    /// In a leaf, the offsets of its links to its neighbours.
    pub(in crate::check) neighbours: Option<[u64; 2]>,
    pub(in crate::check) keys: Items,
    /// The values of a map's leaf, or the children of an inner node.
    pub(in crate::check) others: Option<Items>,
    pub(in crate::check) gaps: Vec<Range<u64>>,
    /// Whether keys own memory.
    pub(in crate::check) keys_own: bool,
}

/// An array in a node.
#[derive(Clone, Copy)]
pub(in crate::check) struct Items {
    pub(in crate::check) at: u64,
    pub(in crate::check) count: u64,
    pub(in crate::check) stride: u64,
    /// The plan of each item, if it has parts to check.
    pub(in crate::check) plan: Option<usize>,
}

impl Role {
    /// Returns whether values of this type are walked from the collection that owns them, which
    /// alone knows how many are in use.
    pub(in crate::check) fn is_internal(&self) -> bool {
        !matches!(self, Self::Other)
    }
}
