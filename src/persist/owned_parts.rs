//! Adds to what a value owns: its parts, and the allocations that it links to.

use super::owned::{Owned, Piece};
use super::reach::ElementRef;
use super::{Block, Blocks, Element, Persist};

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
        self.push(Piece {
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
        self.push(Piece {
            offset: block.offset(),
            element: ElementRef::of::<E>(),
            count: None,
            used_bytes: if E::ELEMENT_OWNS { E::SIZE_BYTES } else { 0 },
            look: E::element_owned,
            is_begun: false,
        });
    }
}
