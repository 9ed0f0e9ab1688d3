//! Typed offsets, which replace pointers where the address may change.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use super::{Persist, Reach};

/// The types that a [`Link`] can point at: a `T` or a slice `[T]` of persisted values.
///
/// The trait is sealed; it exists so that one `Link` type serves both.
#[diagnostic::on_unimplemented(
    message = "no `Link` can lead to `{Self}`",
    label = "neither `Persist` nor a slice of what is",
    note = "a struct or a C-like enum gets `Persist` from `#[flagstone::persist]`",
    note = "a type parameter needs the bound `T: Persist`",
    note = "instead of `Link<str>`, `Link<String>` or `Link<Vec<T>>` use `Link<[u8]>` or `Link<[T]>`; instead of `Link<usize>` use `Link<u64>`; instead of `Link<Option<T>>` use `Link<T>`, where null is none"
)]
pub trait Pointee: sealed::Sealed + 'static {
    /// The value type: `T` for both `T` and `[T]`.
    type Item: Persist;

    /// The stored form of the link: an offset, or an offset and a count.
    #[doc(hidden)]
    type Raw: Raw;

    /// Converts a slice of `count` items into a reference to `Self`.
    #[doc(hidden)]
    fn from_items(items: &[Self::Item]) -> &Self;

    /// Like `from_items`, exclusively.
    #[doc(hidden)]
    fn from_items_mut(items: &mut [Self::Item]) -> &mut Self;

    /// Returns the name of the target in a schema: `Node` or `[Node]`.
    #[doc(hidden)]
    fn target_name() -> String;
}

mod sealed {
    pub trait Sealed {}
    impl<T: super::Persist> Sealed for T {}
    impl<T: super::Persist> Sealed for [T] {}
}

/// The stored form of a link.
#[doc(hidden)]
pub trait Raw: Persist + Copy + Ord + Hash + fmt::Debug {
    fn new(offset: u64, count: u64) -> Self;
    fn offset(self) -> u64;
    fn count(self) -> u64;
}

impl Raw for u64 {
    fn new(offset: u64, _count: u64) -> Self {
        offset
    }
    fn offset(self) -> u64 {
        self
    }
    fn count(self) -> u64 {
        1
    }
}

impl Raw for [u64; 2] {
    fn new(offset: u64, count: u64) -> Self {
        [offset, count]
    }
    fn offset(self) -> u64 {
        self[0]
    }
    fn count(self) -> u64 {
        self[1]
    }
}

impl<T: Persist> Pointee for T {
    type Item = T;
    type Raw = u64;

    #[inline]
    fn from_items(items: &[T]) -> &T {
        &items[0]
    }

    #[inline]
    fn from_items_mut(items: &mut [T]) -> &mut T {
        &mut items[0]
    }

    fn target_name() -> String {
        T::type_name()
    }
}

impl<T: Persist> Pointee for [T] {
    type Item = T;
    type Raw = [u64; 2];

    #[inline]
    fn from_items(items: &[T]) -> &[T] {
        items
    }

    #[inline]
    fn from_items_mut(items: &mut [T]) -> &mut [T] {
        items
    }

    fn target_name() -> String {
        format!("[{}]", T::type_name())
    }
}

/// A typed link: the offset of a `P` from the start of the heap.
///
/// `Link<T>` is one `u64`; `Link<[T]>` is an offset and an element count.
/// Offset 0 is null, and `Link::default()` is null. A link is plain data: it
/// is `Copy`, it does not own what it points at, and nothing is checked until
/// a transaction follows it. Then bounds, alignment and bit validity are
/// checked, so that a damaged link is an error and never undefined behaviour.
///
/// The compiler warns when a link is dropped: an object that no link leads to keeps its
/// memory. `let _ =` states that another link leads there.
///
/// ```
/// use flagstone::Link;
///
/// let link = Link::<u64>::null();
/// assert!(link.is_null());
/// assert_eq!(size_of::<Link<u64>>(), 8);
/// assert_eq!(size_of::<Link<[u64]>>(), 16);
/// ```
///
/// Links are ordered by where they lead: null first, then by offset, of slices then by count. That is the
/// order of neither age nor values, and it makes a link a key of an ordered map or set, alone or in a
/// [`Pair`](crate::Pair):
///
/// ```
/// use flagstone::collections::BTreeSet;
/// use flagstone::{Link, Pair, Store};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let (ada, grace) = (tx.alloc(36u64)?, tx.alloc(45u64)?);
/// let by_age = tx.alloc(BTreeSet::<Pair<u64, Link<u64>>>::new())?;
/// for person in [grace, ada] {
///     let age = tx.read(person)?;
///     by_age.insert(&mut tx, &(&age, &person))?;
/// }
/// let youngest = tx.at(by_age)?.first(&tx)?.expect("two people").second;
/// assert_eq!(youngest, ada);
/// # Ok(()) }
/// ```
#[must_use = "an object that no link leads to is lost, and keeps its memory: store the link, make it a root, or free it"]
#[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable)]
#[repr(transparent)]
pub struct Link<P: Pointee + ?Sized> {
    raw: P::Raw,
    target: PhantomData<fn() -> P>,
}

impl<P: Pointee + ?Sized> Link<P> {
    /// Returns the null link.
    #[inline]
    pub fn null() -> Self {
        Self::from_parts(0, 0)
    }

    /// Returns whether this link is null.
    #[inline]
    #[must_use]
    pub fn is_null(self) -> bool {
        self.raw.offset() == 0
    }

    /// Returns the bytes from the start of the heap to the target; 0 for null.
    #[inline]
    #[must_use]
    pub fn offset(self) -> u64 {
        self.raw.offset()
    }

    /// Makes a link from numbers, for tools and tests. It is checked like any other link when
    /// it is followed, so a wrong one is an error there.
    #[inline]
    pub fn from_parts(offset: u64, count: u64) -> Self {
        Self { raw: P::Raw::new(offset, count), target: PhantomData }
    }

    /// Returns the number of elements that the link spans: 1 for `Link<T>`.
    #[inline]
    pub(crate) fn count(self) -> u64 {
        self.raw.count()
    }
}

impl<T: Persist> Link<[T]> {
    /// Returns the number of elements.
    #[inline]
    #[must_use]
    pub fn len(self) -> u64 {
        self.raw.count()
    }

    /// Returns whether there are no elements.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the link to element `index`, or `None` at or past the end.
    #[inline]
    #[must_use]
    pub fn index(self, index: u64) -> Option<Link<T>> {
        if index >= self.len() {
            return None;
        }
        let bytes = index.checked_mul(size_of::<T>() as u64)?;
        Some(Link::from_parts(self.offset().checked_add(bytes)?, 1))
    }

    /// Returns the link to the first `count` elements, or `None` if there are fewer.
    #[inline]
    #[must_use]
    pub fn prefix(self, count: u64) -> Option<Link<[T]>> {
        (count <= self.len()).then(|| Link::from_parts(self.offset(), count))
    }
}

impl<P: Pointee + ?Sized> Clone for Link<P> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Pointee + ?Sized> Copy for Link<P> {}

impl<P: Pointee + ?Sized> Default for Link<P> {
    fn default() -> Self {
        Self::null()
    }
}

impl<P: Pointee + ?Sized> PartialEq for Link<P> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl<P: Pointee + ?Sized> Eq for Link<P> {}

impl<P: Pointee + ?Sized> PartialOrd for Link<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By offset, then by count; null is first.
impl<P: Pointee + ?Sized> Ord for Link<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.raw.cmp(&other.raw)
    }
}

impl<P: Pointee + ?Sized> Hash for Link<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

impl<P: Pointee + ?Sized> fmt::Debug for Link<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_null() {
            return f.write_str("Link(null)");
        }
        write!(f, "Link({:#x}", self.offset())?;
        if size_of::<P::Raw>() == 16 {
            write!(f, " x {}", self.count())?;
        }
        f.write_str(")")
    }
}

// SAFETY: P1: `repr(transparent)` over `u64` or `[u64; 2]`, which have no
// padding, and a `PhantomData` of size 0. P2, P3: every bit pattern of those
// is a value. P4: 8 or 16 bytes, alignment 8, `Copy`. P5: only integers.
unsafe impl<P: Pointee + ?Sized> Persist for Link<P> {
    const ANY_BITS: bool = true;
    const CHECK: () = ();

    #[inline]
    fn is_valid(_bytes: &[u8]) -> bool {
        true
    }

    fn type_name() -> String {
        format!("Link<{}>", P::target_name())
    }

    fn reach(reach: &mut Reach) {
        <P::Item as Persist>::reach(reach);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_ordered_by_offset_then_by_count_and_null_is_first() {
        let at = |offset| Link::<u64>::from_parts(offset, 1);
        assert!(Link::null() < at(8) && at(8) < at(u64::MAX));
        assert_eq!(at(8).cmp(&at(8)), Ordering::Equal);
        let slice = |offset, count| Link::<[u8]>::from_parts(offset, count);
        let mut links = [slice(16, 0), slice(8, 9), slice(8, 2), Link::null()];
        links.sort();
        assert_eq!(links, [Link::null(), slice(8, 2), slice(8, 9), slice(16, 0)]);
        assert_eq!(at(8).partial_cmp(&at(16)), Some(Ordering::Less));
    }
}
