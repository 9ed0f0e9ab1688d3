//! Finds what a value owns, from its bytes.
//!
//! A collection owns its allocations, and their contents may own more. The bytes of each type
//! tell what it owns directly. The code that releases a value repeats this for each allocation,
//! from a list and not by recursion, so that a damaged cycle cannot overflow the stack.

use super::{Block, Blocks, Element, ElementRef, Persist};

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
    /// Adds what the part of type `T` at `offset_bytes` of a value owns.
    #[inline]
    pub(crate) fn part<T: Persist>(&mut self, bytes: &[u8], offset_bytes: usize) {
        if !T::OWNS {
            return;
        }
        let part = offset_bytes.checked_add(size_of::<T>()).map(|end| offset_bytes..end);
        if let Some(bytes) = part.and_then(|part| bytes.get(part)) {
            T::owned(bytes, self);
        }
    }

    /// Adds what adjacent values of `T` own.
    pub(crate) fn each<T: Persist>(&mut self, bytes: &[u8]) {
        if T::OWNS && size_of::<T>() != 0 {
            bytes.chunks_exact(size_of::<T>()).for_each(|bytes| T::owned(bytes, self));
        }
    }

    /// Adds an array whose first `used` elements may own more.
    pub(crate) fn array<E: Element>(&mut self, blocks: Blocks<E>, used: u64) {
        if blocks.is_null() {
            return;
        }
        let used = if E::ELEMENT_OWNS { used.min(blocks.count()) } else { 0 };
        self.pieces.push(Piece {
            offset: blocks.offset(),
            element: ElementRef::of::<E>(),
            count: Some(blocks.count()),
            used_bytes: used.saturating_mul(E::SIZE_BYTES),
            look: E::element_owned,
            is_begun: false,
        });
    }

    /// Adds a single block.
    pub(crate) fn block<E: Element>(&mut self, block: Block<E>) {
        if block.is_null() {
            return;
        }
        self.pieces.push(Piece {
            offset: block.offset(),
            element: ElementRef::of::<E>(),
            count: None,
            used_bytes: if E::ELEMENT_OWNS { E::SIZE_BYTES } else { 0 },
            look: E::element_owned,
            is_begun: false,
        });
    }

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
