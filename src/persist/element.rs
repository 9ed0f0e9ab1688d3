//! What the elements of an allocation are: a persisted type, or bytes that a
//! collection lays out itself.
//!
//! A node of a tree or the entry of a table, generic over key and value, cannot
//! be a persisted struct: some keys and values would leave padding. Such a
//! block has a name, a size and a description in the registry all the same, and
//! its parts are reached one by one, each as a persisted type of its own.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use super::link::Raw;
use super::{Owned, Persist, Reach};

/// Names a kind of element.
pub(crate) trait Element: 'static {
    /// Bytes from one element to the next.
    const SIZE_BYTES: u64;
    /// The alignment of each, in bytes.
    const ALIGN_BYTES: u64;

    /// The name in the registry.
    fn element_name() -> String;

    /// Tells `reach` its description and those behind it.
    fn element_reach(reach: &mut Reach);

    /// Tells `owned` what `bytes`, some of these elements, own.
    fn element_owned(bytes: &[u8], owned: &mut Owned);

    /// Whether they can own anything.
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

/// An element's kind as a value.
#[derive(Clone, Copy)]
pub(crate) struct ElementRef {
    pub(crate) id: TypeId,
    pub(crate) size_bytes: u64,
    pub(crate) align_bytes: u64,
    pub(crate) name: fn() -> String,
    pub(crate) reach: fn(&mut Reach),
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

/// A link to blocks, as it lies in the file; null is offset 0.
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

    /// Blocks: 1 for a link to one.
    #[inline]
    pub(crate) fn count(self) -> u64 {
        self.raw.count()
    }

    /// The bytes of all blocks; no number of a file makes it overflow.
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
// `Copy`. P5: integers alone.
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
