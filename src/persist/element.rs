//! The elements of an allocation: a persisted type, or bytes that a collection lays out itself.
//!
//! A tree node or a table entry, generic over key and value, cannot be a persisted struct: some
//! keys and values would leave padding. Such a block still has a name, a size and a description
//! in the registry. Its parts are accessed one at a time, each as a separate persisted type.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use super::Persist;
use super::link::Raw;
use super::owned::Owned;
use super::reach::{ElementRef, Reach};

/// A kind of element.
pub(crate) trait Element: 'static {
    /// Bytes from one element to the next.
    const SIZE_BYTES: u64;
    /// The alignment of each element, in bytes.
    const ALIGN_BYTES: u64;

    /// Returns the name in the registry.
    fn element_name() -> String;

    /// Adds its description, and those of the types it leads to, to `reach`.
    fn element_reach(reach: &mut Reach);

    /// Adds to `owned` what these elements own. `bytes` are one or more of them.
    fn element_owned(bytes: &[u8], owned: &mut Owned);

    /// Whether these elements can own anything.
    const ELEMENT_OWNS: bool;
}

impl<T: Persist> Element for T {
    const SIZE_BYTES: u64 = size_of::<T>() as u64;
    const ALIGN_BYTES: u64 = align_of::<T>() as u64;

    fn element_name() -> String {
        T::type_name()
    }

    fn element_reach(reach: &mut Reach) {
        T::reach(reach);
    }

    fn element_owned(bytes: &[u8], owned: &mut Owned) {
        owned.each::<T>(bytes);
    }

    const ELEMENT_OWNS: bool = T::OWNS;
}

impl ElementRef {
    #[inline]
    pub(crate) fn of<E: Element>() -> Self {
        Self {
            id: TypeId::of::<E>(),
            size_bytes: E::SIZE_BYTES,
            align_bytes: E::ALIGN_BYTES,
            name: E::element_name,
            reach: E::element_reach,
        }
    }
}

/// A link to blocks, in its stored form; null is offset 0.
#[repr(transparent)]
pub(crate) struct BlockLink<E, R: Raw> {
    raw: R,
    kind: PhantomData<fn() -> E>,
}

/// A link to one block.
pub(crate) type Block<E> = BlockLink<E, u64>;
/// A link to an array of blocks.
pub(crate) type Blocks<E> = BlockLink<E, [u64; 2]>;

impl<E: Element, R: Raw> BlockLink<E, R> {
    #[inline]
    pub(crate) fn new(offset: u64, count: u64) -> Self {
        Self { raw: R::new(offset, count), kind: PhantomData }
    }

    #[inline]
    pub(crate) fn null() -> Self {
        Self::new(0, 0)
    }

    #[inline]
    pub(crate) fn is_null(self) -> bool {
        self.raw.offset() == 0
    }

    #[inline]
    pub(crate) fn offset(self) -> u64 {
        self.raw.offset()
    }

    /// Returns the number of blocks: 1 for a link to one.
    #[inline]
    pub(crate) fn count(self) -> u64 {
        self.raw.count()
    }

    /// Returns the bytes of all blocks. Saturates, so no number from a file can overflow it.
    #[inline]
    pub(crate) fn len_bytes(self) -> u64 {
        self.count().saturating_mul(E::SIZE_BYTES)
    }
}

impl<E, R: Raw> Clone for BlockLink<E, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, R: Raw> Copy for BlockLink<E, R> {}

impl<E, R: Raw> PartialEq for BlockLink<E, R> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl<E, R: Raw> Eq for BlockLink<E, R> {}

impl<E, R: Raw> fmt::Debug for BlockLink<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockLink({:#x} x {})", self.raw.offset(), self.raw.count())
    }
}

// SAFETY: P1: `repr(transparent)` over `u64` or `[u64; 2]`, with a `PhantomData`
// of size 0. P2, P3: every bit pattern of those is a value. P4: 8 or 16 bytes,
// `Copy`. P5: only integers.
unsafe impl<E: Element, R: Raw> Persist for BlockLink<E, R> {
    const ANY_BITS: bool = true;
    const CHECK: () = ();

    #[inline]
    fn is_valid(_bytes: &[u8]) -> bool {
        true
    }

    fn type_name() -> String {
        let name = E::element_name();
        if size_of::<R>() == 16 { format!("Link<[{name}]>") } else { format!("Link<{name}>") }
    }

    fn reach(reach: &mut Reach) {
        E::element_reach(reach);
    }
}
