//! Interprets a value's bytes, using only the registry's descriptions.
//!
//! **Owns** plans: the positions of links in a value, and of bytes that have invalid bit
//! patterns. **Must not know** the program's types, nor where values lie.
//!
//! A plan is at most as long as the description, whatever counts and sizes the description
//! claims: an array is stored as its element's plan and a count. Walking a plan takes as many
//! steps as the value's bytes can hold parts: fields do not overlap, parts without information
//! are dropped, and a part with a single piece is merged into the part around it.

use std::collections::HashMap;

use super::description::TypeText;
use super::roles::{Collection, Role};

/// Maximum nesting depth of structs and arrays.
pub(super) const MAX_LEVELS: usize = 128;
/// Size in bytes of a value with the shape `bytes`.
pub(super) const BYTES_VALUE: u64 = 24;
/// The last byte of such a value if the string is stored elsewhere.
pub(super) const IN_HEAP: u8 = 255;

/// Types by number, with the parts of their values.
#[derive(Default)]
pub(super) struct Layouts {
    pub(super) types: Vec<Layout>,
    pub(super) plans: Vec<Plan>,
    pub(super) collections: Vec<Collection>,
    /// The source texts of the types, for the names of fields.
    pub(super) texts: Vec<TypeText>,
    pub(super) numbers: HashMap<String, usize>,
}

/// A type.
#[derive(Default)]
pub(super) struct Layout {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) align_bytes: u64,
    /// The plan of a value, if it has parts to check.
    pub(super) plan: Option<usize>,
    /// The type's role among flagstone's own types.
    pub(super) role: Role,
    /// The sorted values of an enum's variants.
    pub(super) variants: Vec<u128>,
}

/// The parts of a value.
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
    /// The nesting depth of plans, this one included.
    pub(super) levels: usize,
    /// Whether a part is a link or contains one.
    pub(super) has_links: bool,
    /// Whether a part owns memory.
    pub(super) owns: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// The offset in bytes from the start of the plan's value.
    pub(super) offset: u64,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Link {
        target_bytes: u64,
    },
    Slice {
        element_bytes: u64,
    },
    Bool,
    /// An enum; the number is its type's.
    Enum(usize),
    /// A string of bytes or of UTF-8.
    Bytes {
        is_text: bool,
    },
    /// A collection, which owns arrays or nodes.
    Collection(usize),
    Repeat {
        plan: usize,
        count: u64,
        stride: u64,
    },
}

/// A link that is not null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) target: u64,
    /// The length in bytes that the link claims for its target.
    pub(super) len_bytes: u64,
}

impl Layouts {
    /// Returns a type, if its description could be read far enough.
    pub(super) fn of(&self, number: u32) -> Option<&Layout> {
        self.types.get(number as usize).filter(|layout| layout.size_bytes != 0)
    }

    /// Calls `part` for each part to check in a value, with its offset in bytes. Expands every
    /// `Repeat`.
    pub(super) fn parts(&self, plan: usize, part: &mut impl FnMut(u64, What)) {
        self.parts_from(plan, 0, part);
    }

    // Plans nest no deeper than `MAX_LEVELS`, so neither does this recursion.
    fn parts_from(&self, plan: usize, start: u64, part: &mut impl FnMut(u64, What)) {
        for piece in self.plans.get(plan).iter().flat_map(|plan| &plan.pieces) {
            let at = start + piece.offset;
            match piece.what {
                What::Repeat { plan, count, stride } => {
                    for index in 0..count {
                        self.parts_from(plan, at + index * stride, part);
                    }
                }
                what => part(at, what),
            }
        }
    }
}

impl What {
    /// Returns the link in this part of a value that consists of `bytes`.
    pub(super) fn link(self, bytes: &[u8], at: u64) -> Option<Found> {
        let [first, second] = [0, 8].map(|field| word(bytes, at + field));
        let (target, len_bytes) = match self {
            Self::Link { target_bytes } => (first, target_bytes),
            Self::Slice { element_bytes } => (first, second.saturating_mul(element_bytes)),
            Self::Bytes { .. } if bytes_at(bytes, at + BYTES_VALUE - 1) == Some([IN_HEAP]) => {
                // Links are little-endian on every machine.
                (u64::from_le(first), u64::from_le(second))
            }
            _ => return None,
        };
        (target != 0).then_some(Found { target, len_bytes })
    }

    /// Returns whether the part is, may be or contains a link.
    pub(super) fn has_links(self, plans: &[Plan]) -> bool {
        match self {
            Self::Bool | Self::Enum(_) => false,
            Self::Repeat { plan, .. } => plans[plan].has_links,
            _ => true,
        }
    }

    /// Returns whether the part owns or may own memory.
    pub(super) fn owns(self, plans: &[Plan]) -> bool {
        match self {
            Self::Bytes { .. } | Self::Collection(_) => true,
            Self::Repeat { plan, .. } => plans[plan].owns,
            _ => false,
        }
    }
}

/// Returns the word at `at`, or 0 past the end.
pub(super) fn word(bytes: &[u8], at: u64) -> u64 {
    bytes_at(bytes, at).map_or(0, u64::from_ne_bytes)
}

pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    bytes.get(usize::try_from(at).ok()?..)?.first_chunk().copied()
}
