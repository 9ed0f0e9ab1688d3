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

use crate::format::collections::bytes::{IN_HEAP, LEN, OFFSET, TAG};

use super::grammar::TypeText;
use super::shapes::{Collection, Role};

/// Maximum nesting depth of structs and arrays.
pub(super) const MAX_LEVELS: usize = 128;

/// Types by number, with the parts of their values.
#[derive(Default)]
pub(in crate::check) struct Layouts {
    pub(in crate::check) types: Vec<Layout>,
    pub(in crate::check) plans: Vec<Plan>,
    pub(in crate::check) collections: Vec<Collection>,
    /// The source texts of the types, for the names of fields.
    pub(super) texts: Vec<TypeText>,
    pub(in crate::check) numbers: HashMap<String, usize>,
}

/// A type.
#[derive(Default)]
pub(in crate::check) struct Layout {
    pub(in crate::check) name: String,
    pub(in crate::check) size_bytes: u64,
    pub(in crate::check) align_bytes: u64,
    /// The plan of a value, if it has parts to check.
    pub(in crate::check) plan: Option<usize>,
    /// The type's role among flagstone's own types.
    pub(in crate::check) role: Role,
    /// The sorted values of an enum's variants.
    pub(in crate::check) variants: Vec<u128>,
}

/// The parts of a value.
pub(in crate::check) struct Plan {
    pub(in crate::check) pieces: Vec<Piece>,
    /// The nesting depth of plans, this one included.
    pub(in crate::check) levels: usize,
    /// Whether a part is a link or contains one.
    pub(in crate::check) has_links: bool,
    /// Whether a part owns memory.
    pub(in crate::check) owns: bool,
}

#[derive(Clone, Copy)]
pub(in crate::check) struct Piece {
    /// The offset in bytes from the start of the plan's value.
    pub(in crate::check) offset: u64,
    pub(in crate::check) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum What {
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
pub(in crate::check) struct Found {
    pub(in crate::check) target: u64,
    /// The length in bytes that the link claims for its target.
    pub(in crate::check) len_bytes: u64,
}

impl Layouts {
    /// Returns a type, if its description could be read far enough.
    pub(in crate::check) fn of(&self, number: u32) -> Option<&Layout> {
        self.types.get(number as usize).filter(|layout| layout.size_bytes != 0)
    }

    /// Calls `part` for each part to check in a value, with its offset in bytes. Expands every
    /// `Repeat`.
    pub(in crate::check) fn parts(&self, plan: usize, part: &mut impl FnMut(u64, What)) {
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
    pub(in crate::check) fn link(self, bytes: &[u8], at: u64) -> Option<Found> {
        let [first, second] = [0, 8].map(|field| word(bytes, at + field));
        let (target, len_bytes) = match self {
            Self::Link { target_bytes } => (first, target_bytes),
            Self::Slice { element_bytes } => (first, second.saturating_mul(element_bytes)),
            Self::Bytes { .. } if bytes_at(bytes, at + TAG as u64) == Some([IN_HEAP]) => {
                let raw = bytes.get(at as usize..).unwrap_or_default();
                string_in_heap(raw).into()
            }
            _ => return None,
        };
        (target != 0).then_some(Found { target, len_bytes })
    }

    /// Returns whether the part is, may be or contains a link.
    pub(in crate::check) fn has_links(self, plans: &[Plan]) -> bool {
        match self {
            Self::Bool | Self::Enum(_) => false,
            Self::Repeat { plan, .. } => plans[plan].has_links,
            _ => true,
        }
    }

    /// Returns whether the part owns or may own memory.
    pub(in crate::check) fn owns(self, plans: &[Plan]) -> bool {
        match self {
            Self::Bytes { .. } | Self::Collection(_) => true,
            Self::Repeat { plan, .. } => plans[plan].owns,
            _ => false,
        }
    }
}

/// Returns offset and length of a string in the heap. Unlike other words, those of a string are
/// little-endian on every machine.
pub(in crate::check) fn string_in_heap(raw: &[u8]) -> [u64; 2] {
    [OFFSET, LEN].map(|field| u64::from_le(word(raw, field.start as u64)))
}

/// Returns the word at `at`, or 0 past the end.
pub(in crate::check) fn word(bytes: &[u8], at: u64) -> u64 {
    bytes_at(bytes, at).map_or(0, u64::from_ne_bytes)
}

pub(in crate::check) fn bytes_at<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    bytes.get(usize::try_from(at).ok()?..)?.first_chunk().copied()
}
