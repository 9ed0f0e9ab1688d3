//! Iterates over entries in order, from both ends.
//!
//! Resolves one leaf at a time to slices. It follows the links between leaves, and
//! each leaf must name the one that the walk comes from. A leaf could therefore
//! come twice only if the walk returned to its first leaf, and the walk checks for
//! that.

use std::iter::Zip;
use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use std::slice::Iter as Slice;

use crate::error::Result;
use crate::image::{Image, ReadAhead};
use crate::persist::Persist;

use super::node::{InnerAt, LeafAt, SearchResult, Tree, damaged};
use super::value::Payload;
use crate::collections::key::OrdKey;

/// A range of keys: `a..b`, `a..=b`, `a..`, `..b`, `..=b`, `..`, a pair of [`Bound`]s, or
/// a [`prefix`](super::prefix()). The bounds are queries or references to them: `&5..&9`, `"a".."b"`.
///
/// A range whose start is after its end is empty.
pub trait KeyRange<Q: ?Sized> {
    /// Returns the start of the range.
    fn start(&self) -> Bound<&Q>;
    /// Returns the end of the range.
    fn end(&self) -> Bound<&Q>;
}

/// Implements `KeyRange` for a range type, with bounds by value and by reference.
macro_rules! key_range {
    ($([$($by:tt)*] $range:ty => |$self:ident| $start:expr, $end:expr;)*) => {$(
        #[allow(unused_variables, reason = "a side without a bound asks for nothing")]
        impl<$($by)*> KeyRange<Q> for $range {
            fn start(&self) -> Bound<&Q> {
                let $self = self;
                $start
            }
            fn end(&self) -> Bound<&Q> {
                let $self = self;
                $end
            }
        }
    )*};
}

key_range! {
    [Q: ?Sized] Range<&Q> => |x| Bound::Included(x.start), Bound::Excluded(x.end);
    [Q: ?Sized] RangeInclusive<&Q> => |x| Bound::Included(x.start()), Bound::Included(x.end());
    [Q: ?Sized] RangeFrom<&Q> => |x| Bound::Included(x.start), Bound::Unbounded;
    [Q: ?Sized] RangeTo<&Q> => |x| Bound::Unbounded, Bound::Excluded(x.end);
    [Q: ?Sized] RangeToInclusive<&Q> => |x| Bound::Unbounded, Bound::Included(x.end);
    [Q: ?Sized] (Bound<&Q>, Bound<&Q>) => |x| x.0, x.1;
    [Q: ?Sized] RangeFull => |_x| Bound::Unbounded, Bound::Unbounded;
    [Q] Range<Q> => |x| Bound::Included(&x.start), Bound::Excluded(&x.end);
    [Q] RangeInclusive<Q> => |x| Bound::Included(x.start()), Bound::Included(x.end());
    [Q] RangeFrom<Q> => |x| Bound::Included(&x.start), Bound::Unbounded;
    [Q] RangeTo<Q> => |x| Bound::Unbounded, Bound::Excluded(&x.end);
    [Q] RangeToInclusive<Q> => |x| Bound::Unbounded, Bound::Included(&x.end);
}

/// The leaves that neither end has reached yet.
struct Between {
    /// The leaf at which the front began, its current leaf, and the next one.
    first: u64,
    front: u64,
    next: u64,
    /// The same for the back.
    last: u64,
    back: u64,
    prev: u64,
}

impl Between {
    fn is_end(&self, leaf: u64) -> bool {
        leaf == self.first || leaf == self.last
    }
}

/// Iterator over entries in order, from both ends.
pub(super) struct Entries<'a, K, P> {
    tx: &'a Image,
    front: Zip<Slice<'a, K>, Slice<'a, P>>,
    back: Zip<Slice<'a, K>, Slice<'a, P>>,
    between: Option<Between>,
    read_ahead: ReadAhead,
}

/// One end of a range: a leaf and an index in it.
struct End<K, P> {
    leaf: LeafAt<K, P>,
    index: u64,
}

impl<'a, K: Persist, P: Payload> Entries<'a, K, P> {
    fn none(tx: &'a Image) -> Self {
        let none = || [].iter().zip(&[]);
        Self { tx, front: none(), back: none(), between: None, read_ahead: ReadAhead::default() }
    }

    fn new(tx: &'a Image, start: &End<K, P>, end: &End<K, P>) -> Result<Self> {
        let mut entries = Self::none(tx);
        if start.leaf.offset == end.leaf.offset {
            entries.front = Self::part(tx, start.leaf, start.index, end.index)?;
            return Ok(entries);
        }
        entries.front = Self::part(tx, start.leaf, start.index, start.leaf.len)?;
        entries.back = Self::part(tx, end.leaf, 0, end.index)?;
        let (first, last) = (start.leaf.offset, end.leaf.offset);
        let (next, prev) = (start.leaf.next, end.leaf.prev);
        if next != last {
            entries.between = Some(Between { first, front: first, next, last, back: last, prev });
        }
        Ok(entries)
    }

    #[inline]
    fn part(
        tx: &'a Image,
        leaf: LeafAt<K, P>,
        from: u64,
        to: u64,
    ) -> Result<Zip<Slice<'a, K>, Slice<'a, P>>> {
        let (keys, values) = leaf.entries(tx, from, to)?;
        Ok(keys.iter().zip(values))
    }

    #[inline(never)]
    fn next_leaf(&mut self) -> Option<Result<(&'a K, &'a P)>> {
        let Some(at) = self.between.take() else {
            std::mem::swap(&mut self.front, &mut self.back);
            return self.front.next().map(Ok);
        };
        self.read_ahead.reach(self.tx, at.next);
        match self.open(at.next, at.front, &at) {
            Ok((leaf, entries)) => {
                self.front = entries;
                if leaf.offset != at.prev {
                    self.between = Some(Between { front: leaf.offset, next: leaf.next, ..at });
                }
                self.front.next().map(Ok)
            }
            Err(error) => Some(Err(self.fail(error))),
        }
    }

    #[inline(never)]
    fn prev_leaf(&mut self) -> Option<Result<(&'a K, &'a P)>> {
        let Some(at) = self.between.take() else {
            std::mem::swap(&mut self.front, &mut self.back);
            return self.back.next_back().map(Ok);
        };
        match self.open_back(at.prev, at.back, &at) {
            Ok((leaf, entries)) => {
                self.back = entries;
                if leaf.offset != at.next {
                    self.between = Some(Between { back: leaf.offset, prev: leaf.prev, ..at });
                }
                self.back.next_back().map(Ok)
            }
            Err(error) => Some(Err(self.fail(error))),
        }
    }

    /// Opens the leaf at `offset`, whose predecessor must be `before`.
    #[allow(clippy::type_complexity, reason = "a private helper's result")]
    fn open(
        &self,
        offset: u64,
        before: u64,
        at: &Between,
    ) -> Result<(LeafAt<K, P>, Zip<Slice<'a, K>, Slice<'a, P>>)> {
        let leaf = LeafAt::open(self.tx, offset)?;
        if leaf.prev != before || at.is_end(offset) {
            let found = format!("prev: {:#x}", leaf.prev);
            return Err(damaged(offset, format!("prev: {before:#x}, and no circle"), found));
        }
        Ok((leaf, Self::part(self.tx, leaf, 0, leaf.len)?))
    }

    /// Opens the leaf at `offset`, whose successor must be `behind`.
    #[allow(clippy::type_complexity, reason = "a private helper's result")]
    fn open_back(
        &self,
        offset: u64,
        behind: u64,
        at: &Between,
    ) -> Result<(LeafAt<K, P>, Zip<Slice<'a, K>, Slice<'a, P>>)> {
        let leaf = LeafAt::open(self.tx, offset)?;
        if leaf.next != behind || at.is_end(offset) {
            let found = format!("next: {:#x}", leaf.next);
            return Err(damaged(offset, format!("next: {behind:#x}, and no circle"), found));
        }
        Ok((leaf, Self::part(self.tx, leaf, 0, leaf.len)?))
    }

    /// Makes the iterator yield nothing more after an error.
    #[cold]
    fn fail(&mut self, error: crate::error::Error) -> crate::error::Error {
        *self = Self::none(self.tx);
        error
    }
}

impl<'a, K: Persist, P: Payload> Iterator for Entries<'a, K, P> {
    type Item = Result<(&'a K, &'a P)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.front.next() {
            Some(entry) => Some(Ok(entry)),
            None => self.next_leaf(),
        }
    }
}

impl<K: Persist, P: Payload> DoubleEndedIterator for Entries<'_, K, P> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self.back.next_back() {
            Some(entry) => Some(Ok(entry)),
            None => self.prev_leaf(),
        }
    }
}

impl<K: Persist, P: Payload> Clone for Entries<'_, K, P> {
    fn clone(&self) -> Self {
        let between = self.between.as_ref().map(|at| Between { ..*at });
        let (front, back) = (self.front.clone(), self.back.clone());
        Self { tx: self.tx, front, back, between, read_ahead: self.read_ahead }
    }
}

impl<K: Persist, P: Payload> Tree<K, P> {
    /// Returns all entries.
    pub(super) fn entries<'a>(&self, tx: &'a Image) -> Result<Entries<'a, K, P>> {
        if self.root == 0 {
            return Ok(Entries::none(tx));
        }
        let first = self.leaf(tx, |_| Ok(0))?;
        let last = self.leaf(tx, |inner| Ok(inner.len - 1))?;
        let (start, end) = (End { leaf: first, index: 0 }, End { leaf: last, index: last.len });
        Entries::new(tx, &start, &end)
    }

    /// Returns the entries of a range.
    pub(super) fn range<'a, Q: ?Sized>(
        &self,
        tx: &'a Image,
        range: &impl KeyRange<Q>,
    ) -> Result<Entries<'a, K, P>>
    where
        K: OrdKey<Q>,
    {
        if self.root == 0 {
            return Ok(Entries::none(tx));
        }
        let (start, end) = (range.start(), range.end());
        // As long as both ends lie below the same child, one descent serves both. Where they
        // part, the start must lie below an earlier child than the end, or the range is empty.
        let (mut from, mut to) = (self.root, self.root);
        for level in (1..=self.height).rev() {
            let inner = InnerAt::<K, P>::open(tx, from, level)?;
            let first = match start {
                Bound::Unbounded => 0,
                Bound::Included(query) | Bound::Excluded(query) => {
                    inner.search(tx, &|tx, key| key.order(tx, query))?
                }
            };
            let is_together = from == to;
            let other = if is_together { inner } else { InnerAt::open(tx, to, level)? };
            let last = match end {
                Bound::Unbounded => other.len - 1,
                Bound::Included(query) | Bound::Excluded(query) => {
                    other.search(tx, &|tx, key| key.order(tx, query))?
                }
            };
            if is_together && first > last {
                return Ok(Entries::none(tx));
            }
            (from, to) = (inner.child(tx, first)?, other.child(tx, last)?);
        }
        let leaf = LeafAt::open(tx, from)?;
        let start = End { leaf, index: place(tx, leaf, start, true)? };
        let leaf = if from == to { leaf } else { LeafAt::open(tx, to)? };
        let end = End { leaf, index: place(tx, leaf, end, false)? };
        Entries::new(tx, &start, &end)
    }
}

/// Returns how many entries of a leaf lie before a bound.
fn place<Q: ?Sized, K: OrdKey<Q>, P: Payload>(
    tx: &Image,
    leaf: LeafAt<K, P>,
    bound: Bound<&Q>,
    is_start: bool,
) -> Result<u64> {
    let (query, is_included) = match bound {
        Bound::Unbounded => return Ok(if is_start { 0 } else { leaf.len }),
        Bound::Included(query) => (query, true),
        Bound::Excluded(query) => (query, false),
    };
    Ok(match leaf.search(tx, &|tx, key| key.order(tx, query))? {
        // The key itself lies after an included start and after an excluded end.
        SearchResult::Found(index) if is_start == is_included => index,
        SearchResult::Found(index) => index + 1,
        SearchResult::Missing(index) => index,
    })
}
