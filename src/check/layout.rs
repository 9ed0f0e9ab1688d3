//! What a value's bytes mean, by the registry's descriptions alone.
//!
//! **Owns** plans: where in a value links lie, and bytes that not every value can
//! be. **Must not know** the program's types, nor where values lie.
//!
//! A plan is as long as the description at most, whatever counts and sizes that
//! gives: an array is its element's plan and a count. Going through one takes
//! steps by the number of parts that the value's bytes have room for: fields do
//! not overlap, parts that say nothing are left out, and a part with one piece only
//! becomes part of what is around it.

use std::collections::HashMap;

use super::description::TypeText;
use super::roles::{Collection, Role};

/// Structs and arrays within each other that are followed.
pub(super) const MAX_LEVELS: usize = 128;
/// Bytes of a value with the shape `bytes`.
pub(super) const BYTES_VALUE: u64 = 24;
/// The last of them, of a string that lies elsewhere.
pub(super) const IN_HEAP: u8 = 255;

/// Types by number, with the parts of their values.
#[derive(Default)]
pub(super) struct Layouts {
    pub(super) types: Vec<Layout>,
    pub(super) plans: Vec<Plan>,
    pub(super) collections: Vec<Collection>,
    /// What the types were read from, for the names of fields.
    pub(super) texts: Vec<TypeText>,
    pub(super) numbers: HashMap<String, usize>,
}

/// A type.
#[derive(Default)]
pub(super) struct Layout {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) align_bytes: u64,
    /// The plan of a value, if some part of it says something.
    pub(super) plan: Option<usize>,
    /// What it is among flagstone's own types.
    pub(super) role: Role,
    /// Of an enum, the values of its variants, sorted.
    pub(super) variants: Vec<u128>,
}

/// The parts of a value.
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
    /// Plans within each other, this one among them.
    pub(super) levels: usize,
    /// Whether a part is a link, or has one.
    pub(super) has_links: bool,
    /// Whether a part owns memory.
    pub(super) owns: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Bytes from the start of the plan's value.
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
    /// Of the type with this number.
    Enum(usize),
    /// A string of bytes, or of UTF-8.
    Bytes {
        is_text: bool,
    },
    /// What owns arrays or nodes.
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
    /// Bytes of what it says to lead to.
    pub(super) len_bytes: u64,
}

impl Layouts {
    /// A type, if its description could be read that far.
    pub(super) fn of(&self, number: u32) -> Option<&Layout> {
        self.types.get(number as usize).filter(|layout| layout.size_bytes != 0)
    }

    /// Tells `part` each part of a value that says something, and how many bytes
    /// lie before it; nothing of it is a `Repeat`.
    pub(super) fn parts(&self, plan: usize, part: &mut impl FnMut(u64, What)) {
        self.parts_from(plan, 0, part);
    }

    // Not deeper than `MAX_LEVELS`, because plans are not.
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
    /// The link in a part of a value that consists of `bytes`.
    pub(super) fn link(self, bytes: &[u8], at: u64) -> Option<Found> {
        let [first, second] = [0, 8].map(|field| word(bytes, at + field));
        let (target, len_bytes) = match self {
            Self::Link { target_bytes } => (first, target_bytes),
            Self::Slice { element_bytes } => (first, second.saturating_mul(element_bytes)),
            Self::Bytes { .. } if bytes_at(bytes, at + BYTES_VALUE - 1) == Some([IN_HEAP]) => {
                // Little-endian on every machine.
                (u64::from_le(first), u64::from_le(second))
            }
            _ => return None,
        };
        (target != 0).then_some(Found { target, len_bytes })
    }

    /// Whether it is a link, or may be one, or has one.
    pub(super) fn has_links(self, plans: &[Plan]) -> bool {
        match self {
            Self::Bool | Self::Enum(_) => false,
            Self::Repeat { plan, .. } => plans[plan].has_links,
            _ => true,
        }
    }

    /// Whether it owns memory, or may.
    pub(super) fn owns(self, plans: &[Plan]) -> bool {
        match self {
            Self::Bytes { .. } | Self::Collection(_) => true,
            Self::Repeat { plan, .. } => plans[plan].owns,
            _ => false,
        }
    }
}

/// The word at `at`; 0 where there is none.
pub(super) fn word(bytes: &[u8], at: u64) -> u64 {
    bytes_at(bytes, at).map_or(0, u64::from_ne_bytes)
}

pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    bytes.get(usize::try_from(at).ok()?..)?.first_chunk().copied()
}
