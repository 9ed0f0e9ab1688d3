//! Ranges of the keys that begin alike.

use std::borrow::Borrow;
use std::ops::Bound;

use super::iter::KeyRange;

/// The range of the keys that begin with a text or with bytes, as [`prefix`] makes it.
#[derive(Clone, Debug)]
#[must_use = "it is a range of keys: pass it to `range`"]
pub struct Prefix<'a, Q: ToOwned + ?Sized> {
    start: &'a Q,
    /// The least query above all that begin with `start`; `None` if there is none.
    end: Option<Q::Owned>,
}

/// Returns the range of the keys that begin with `start`, for `range` of a
/// [`BTreeMap`](super::BTreeMap) or [`BTreeSet`](super::BTreeSet) whose keys are
/// [`Text`](crate::Text) or [`Bytes`](crate::Bytes). Every key begins with nothing (`""`).
///
/// ```
/// use flagstone::collections::{BTreeMap, prefix};
/// use flagstone::{Store, Text};
///
/// # fn main() -> Result<(), flagstone::Error> {
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let sizes = tx.alloc(BTreeMap::<Text, u64>::new())?;
/// sizes.extend(&mut tx, [("bash", 7), ("libc", 13), ("libz", 1), ("lynx", 2)])?;
/// let mut libraries = 0;
/// for entry in tx.at(sizes)?.range(&tx, prefix("lib"))? {
///     libraries += entry?.1;
/// }
/// assert_eq!(libraries, 14);
/// # Ok(()) }
/// ```
pub fn prefix<S: AsPrefix + ?Sized>(start: &S) -> Prefix<'_, S::Query> {
    let (start, end) = start.ends();
    Prefix { start, end }
}

/// What [`prefix`] takes: text and bytes, owned or not. There are no others.
pub trait AsPrefix: sealed::Sealed {
    /// What keys are looked up by: `str` or `[u8]`.
    type Query: ToOwned + ?Sized;

    /// Returns the least query that begins with this one, and the least above all of them.
    #[doc(hidden)]
    fn ends(&self) -> (&Self::Query, Option<<Self::Query as ToOwned>::Owned>);
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for [u8] {}
    impl Sealed for Vec<u8> {}
    impl<const N: usize> Sealed for [u8; N] {}
}

impl<Q: ToOwned + ?Sized> KeyRange<Q> for Prefix<'_, Q> {
    fn start(&self) -> Bound<&Q> {
        Bound::Included(self.start)
    }

    fn end(&self) -> Bound<&Q> {
        self.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(end.borrow()))
    }
}

impl AsPrefix for str {
    type Query = str;

    fn ends(&self) -> (&str, Option<String>) {
        (self, above_text(self))
    }
}

impl AsPrefix for String {
    type Query = str;

    fn ends(&self) -> (&str, Option<String>) {
        self.as_str().ends()
    }
}

impl AsPrefix for [u8] {
    type Query = [u8];

    fn ends(&self) -> (&[u8], Option<Vec<u8>>) {
        (self, above_bytes(self))
    }
}

impl AsPrefix for Vec<u8> {
    type Query = [u8];

    fn ends(&self) -> (&[u8], Option<Vec<u8>>) {
        self.as_slice().ends()
    }
}

impl<const N: usize> AsPrefix for [u8; N] {
    type Query = [u8];

    fn ends(&self) -> (&[u8], Option<Vec<u8>>) {
        self.as_slice().ends()
    }
}

/// Returns the least text above all that begin with `prefix`: its last character but for those that
/// have none above them, replaced by the next one. The order of texts is that of their characters.
fn above_text(prefix: &str) -> Option<String> {
    let next = |c: char| (c..=char::MAX).nth(1);
    let (at, next) = prefix.char_indices().rev().find_map(|(at, c)| Some((at, next(c)?)))?;
    let mut above = prefix[..at].to_string();
    above.push(next);
    Some(above)
}

/// Returns the least bytes above all that begin with `prefix`.
fn above_bytes(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut above = prefix[..=last].to_vec();
    above[last] += 1;
    Some(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_least_above_it() {
        assert_eq!(above_bytes(b"lib").as_deref(), Some(&b"lic"[..]));
        assert_eq!(above_bytes(&[1, 255, 255]).as_deref(), Some(&[2][..]));
        assert_eq!(above_bytes(&[254]).as_deref(), Some(&[255][..]));
        for none in [&[][..], &[255], &[255, 255]] {
            assert_eq!(above_bytes(none), None);
        }
        assert_eq!(above_text("lib").as_deref(), Some("lic"));
        assert_eq!(above_text("a\u{d7ff}").as_deref(), Some("a\u{e000}"), "over the surrogates");
        assert_eq!(above_text("a\u{7f}").as_deref(), Some("a\u{80}"), "to two bytes");
        assert_eq!(above_text("a\u{10ffff}\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(above_text(""), None);
        assert_eq!(above_text("\u{10ffff}"), None);
    }
}
