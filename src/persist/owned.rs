//! Finds what a value owns, from its bytes.
//!
//! A collection owns its allocations, and their contents may own more. The bytes of each type
//! tell what it owns directly. The code that releases a value repeats this for each allocation,
//! from a list and not by recursion, so that a damaged cycle cannot overflow the stack.

use super::reach::ElementRef;

/// A list of owned allocations.
#[derive(Default)]
pub struct Owned {
    pieces: Vec<Piece>,
}

/// An owned allocation.
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) element: ElementRef,
    /// The number of elements it was allocated for; `None` for a single one.
    pub(crate) count: Option<u64>,
    /// The number of its bytes that may own more.
    pub(crate) used_bytes: u64,
    /// Adds what elements own, given the bytes of one or more of them.
    pub(crate) look: fn(&[u8], &mut Owned),
    /// Whether a part of it has been processed already.
    pub(crate) is_begun: bool,
}

impl Owned {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Piece> {
        self.pieces.pop()
    }

    pub(crate) fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }
}

/// Returns the first words of a value's bytes, which need not be valid.
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        let bytes = bytes.get(index * 8..index * 8 + 8)?;
        *word = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}
