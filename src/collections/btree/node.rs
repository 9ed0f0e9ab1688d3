//! Reads nodes; trusts nothing in a node before validating it.

use std::cmp::Ordering;
use std::marker::PhantomData;

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Link, Persist};

use super::layout::{Inner, Leaf, MAX_LEVELS, NODE_BYTES, PREV_AT};
use super::value::Payload;

/// The index of a key in a sorted array, or where it would be inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SearchResult {
    Found(u64),
    Missing(u64),
}

/// An open leaf; it has from 1 entry up to its capacity.
pub(super) struct LeafAt<K, P> {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) prev: u64,
    pub(super) next: u64,
    kind: PhantomData<fn() -> (K, P)>,
}

/// An open inner node; it has from 1 child up to its capacity.
pub(super) struct InnerAt<K, P> {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// 1 directly above the leaves.
    pub(super) level: u64,
    kind: PhantomData<fn() -> (K, P)>,
}

impl<K, P> Clone for LeafAt<K, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, P> Copy for LeafAt<K, P> {}

impl<K, P> Clone for InnerAt<K, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, P> Copy for InnerAt<K, P> {}

/// Validates that the node is at `level`, and returns its length.
#[inline]
fn open(tx: &Image, offset: u64, level: u64, capacity: u64) -> Result<u64> {
    let [found, len] = tx.read(Link::<[u32; 2]>::from_parts(offset, 1))?;
    let (found, len) = (u64::from(found), u64::from(len));
    if found == level && len.wrapping_sub(1) < capacity {
        return Ok(len);
    }
    let expected = format!("level {level}, and a length from 1 to {capacity}");
    Err(damaged(offset, expected, format!("level {found}, length {len}")))
}

#[cold]
pub(super) fn damaged(
    offset: u64,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> crate::error::Error {
    ErrorKind::corrupt("node of a B-tree", offset, expected, found)
}

impl<K: Persist, P: Payload> LeafAt<K, P> {
    #[inline]
    pub(super) fn open(tx: &Image, offset: u64) -> Result<Self> {
        let len = open(tx, offset, 0, Leaf::<K, P>::CAPACITY)?;
        // The head was within the heap, so no sum below overflows.
        let [prev, next] = tx.read(Link::<[u64; 2]>::from_parts(offset + PREV_AT, 1))?;
        Ok(Self { offset, len, prev, next, kind: PhantomData })
    }

    /// Describes a new leaf, which may still be empty.
    pub(super) fn new(offset: u64) -> Self {
        Self { offset, len: 0, prev: 0, next: 0, kind: PhantomData }
    }

    #[inline]
    pub(super) fn key_link(self, index: u64) -> Link<K> {
        Link::from_parts(self.offset + Leaf::<K, P>::key_at(index), 1)
    }

    #[inline]
    pub(super) fn value_offset(self, index: u64) -> u64 {
        self.offset + Leaf::<K, P>::value_at(index)
    }

    /// Returns keys and values from `from` up to `to`, which must be within the length.
    #[inline]
    pub(super) fn entries(self, tx: &Image, from: u64, to: u64) -> Result<(&[K], &[P])> {
        let count = to.saturating_sub(from);
        if count == 0 {
            return Ok((&[], &[]));
        }
        let keys = tx.at(Link::<[K]>::from_parts(self.key_link(from).offset(), count))?;
        Ok((keys, P::items(tx, self.value_offset(from), count)?))
    }

    #[inline]
    pub(super) fn search(
        self,
        tx: &Image,
        order: &impl Fn(&Image, &K) -> Result<Ordering>,
    ) -> Result<SearchResult> {
        search(tx, self.key_link(0), self.len, order)
    }
}

impl<K: Persist, P: Payload> InnerAt<K, P> {
    #[inline]
    pub(super) fn open(tx: &Image, offset: u64, level: u64) -> Result<Self> {
        let len = open(tx, offset, level, Inner::<K, P>::CAPACITY)?;
        Ok(Self { offset, len, level, kind: PhantomData })
    }

    /// Describes a new inner node, which may still be empty.
    pub(super) fn new(offset: u64, level: u64) -> Self {
        Self { offset, len: 0, level, kind: PhantomData }
    }

    #[inline]
    pub(super) fn key_link(self, index: u64) -> Link<K> {
        Link::from_parts(self.offset + Inner::<K, P>::key_at(index), 1)
    }

    /// Returns the offset of child `index`.
    #[inline]
    pub(super) fn child(self, tx: &Image, index: u64) -> Result<u64> {
        let at = self.offset + Inner::<K, P>::child_at(index.min(self.len - 1));
        tx.read(Link::<u64>::from_parts(at, 1))
    }

    /// Returns the index of the child that a key belongs to.
    #[inline]
    pub(super) fn search(
        self,
        tx: &Image,
        order: &impl Fn(&Image, &K) -> Result<Ordering>,
    ) -> Result<u64> {
        Ok(match search(tx, self.key_link(0), self.len - 1, order)? {
            SearchResult::Found(index) => index + 1,
            SearchResult::Missing(index) => index,
        })
    }
}

/// Finds a key among `len` sorted ones. `order` compares a stored key with it.
///
/// The loop takes the same number of steps whatever `order` returns, and for
/// numbers it has no branch that the processor could mispredict.
#[inline]
fn search<K: Persist>(
    tx: &Image,
    keys: Link<K>,
    len: u64,
    order: &impl Fn(&Image, &K) -> Result<Ordering>,
) -> Result<SearchResult> {
    if K::ANY_BITS && len > 0 {
        let keys = tx.at(Link::<[K]>::from_parts(keys.offset(), len))?;
        if size_of::<K>() <= LINE_BYTES / 4 {
            return count(keys, LINE_BYTES / size_of::<K>(), |key| order(tx, key));
        }
        return narrow(len, |index| order(tx, &keys[index as usize]));
    }
    // Not every bit pattern is a key: validates only the keys that it compares.
    let step = size_of::<K>() as u64;
    narrow(len, |index| order(tx, tx.at(Link::from_parts(keys.offset() + index * step, 1))?))
}

/// Bytes in a cache line.
const LINE_BYTES: usize = 64;

/// Counts the short keys below the wanted one: whole cache lines first, by the last
/// key of each, then the keys of one line. The loads of all these lines overlap,
/// where a binary search waits for each to choose the next.
#[inline]
fn count<K>(
    keys: &[K],
    line: usize,
    mut order: impl FnMut(&K) -> Result<Ordering>,
) -> Result<SearchResult> {
    let mut lines = 0;
    for last in keys.iter().skip(line - 1).step_by(line) {
        lines += usize::from(order(last)? == Ordering::Less);
    }
    let mut below = lines * line;
    for key in keys.iter().skip(lines * line).take(line) {
        below += usize::from(order(key)? == Ordering::Less);
    }
    let is_found = match keys.get(below) {
        Some(key) => order(key)? == Ordering::Equal,
        None => false,
    };
    let below = below as u64;
    Ok(if is_found { SearchResult::Found(below) } else { SearchResult::Missing(below) })
}

#[inline]
fn narrow(len: u64, mut order: impl FnMut(u64) -> Result<Ordering>) -> Result<SearchResult> {
    if len == 0 {
        return Ok(SearchResult::Missing(0));
    }
    // The last key that is not above the wanted one, if any, is in `base..base + size`.
    let (mut base, mut size) = (0, len);
    while size > 1 {
        let half = size / 2;
        let middle = base + half;
        base = if order(middle)? == Ordering::Greater { base } else { middle };
        size -= half;
    }
    Ok(match order(base)? {
        Ordering::Equal => SearchResult::Found(base),
        Ordering::Less => SearchResult::Missing(base + 1),
        Ordering::Greater => SearchResult::Missing(base),
    })
}

/// A tree, as the header of a map or a set describes it.
pub(super) struct Tree<K, P> {
    pub(super) root: u64,
    pub(super) len: u64,
    /// Level of the root.
    pub(super) height: u64,
    pub(super) kind: PhantomData<fn() -> (K, P)>,
}

/// A node on the path down, and the index of the child taken.
#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) offset: u64,
    pub(super) index: u64,
}

/// The path from the root to a leaf, and an index in the leaf.
pub(super) struct Path<K, P> {
    /// Step `i` is the inner node at level `i + 1`.
    pub(super) steps: [Step; MAX_LEVELS],
    pub(super) leaf: LeafAt<K, P>,
    pub(super) index: u64,
}

impl<K, P> Clone for Tree<K, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, P> Copy for Tree<K, P> {}

impl<K: Persist, P: Payload> Tree<K, P> {
    /// Returns an error if the header's numbers contradict each other.
    #[inline]
    pub(super) fn new(root: u64, len: u64, height: u64) -> Result<Self> {
        let is_good =
            (root == 0) == (len == 0) && height <= if root == 0 { 0 } else { MAX_LEVELS as u64 };
        if is_good {
            return Ok(Self { root, len, height, kind: PhantomData });
        }
        let expected =
            format!("a root, a length and a height of at most {MAX_LEVELS}, or three zeros");
        let found = format!("root {root:#x}, length {len}, height {height}");
        Err(ErrorKind::corrupt("header of a B-tree (its root)", root, expected, found))
    }

    pub(super) fn empty() -> Self {
        Self { root: 0, len: 0, height: 0, kind: PhantomData }
    }

    /// Descends to a leaf; `choose` picks a child of each inner node. The tree must have a
    /// root.
    #[inline]
    pub(super) fn leaf(
        &self,
        tx: &Image,
        choose: impl FnMut(InnerAt<K, P>) -> Result<u64>,
    ) -> Result<LeafAt<K, P>> {
        LeafAt::open(tx, self.leaf_offset(tx, choose)?)
    }

    #[inline]
    fn leaf_offset(
        &self,
        tx: &Image,
        mut choose: impl FnMut(InnerAt<K, P>) -> Result<u64>,
    ) -> Result<u64> {
        let mut offset = self.root;
        for level in (1..=self.height).rev() {
            let inner = InnerAt::open(tx, offset, level)?;
            offset = inner.child(tx, choose(inner)?)?;
        }
        Ok(offset)
    }

    /// Descends like `leaf`, and records the path. The index is still 0.
    #[inline]
    pub(super) fn path(
        &self,
        tx: &Image,
        mut choose: impl FnMut(InnerAt<K, P>) -> Result<u64>,
    ) -> Result<Path<K, P>> {
        let mut steps = [Step::default(); MAX_LEVELS];
        let offset = self.leaf_offset(tx, |inner| {
            let index = choose(inner)?;
            steps[inner.level as usize - 1] = Step { offset: inner.offset, index };
            Ok(index)
        })?;
        // Most paths lead to a change, which moves half of the leaf: prefetch all of it.
        tx.fetch(offset, Leaf::<K, P>::PLAN.size_bytes.min(NODE_BYTES));
        Ok(Path { steps, leaf: LeafAt::open(tx, offset)?, index: 0 })
    }

    /// Finds the entry for which `order` returns `Equal`: its leaf and index.
    #[inline]
    pub(super) fn find(
        &self,
        tx: &Image,
        order: &impl Fn(&Image, &K) -> Result<Ordering>,
    ) -> Result<Option<(LeafAt<K, P>, u64)>> {
        if self.root == 0 {
            return Ok(None);
        }
        let leaf = self.leaf(tx, |inner| inner.search(tx, order))?;
        Ok(match leaf.search(tx, order)? {
            SearchResult::Found(index) => Some((leaf, index)),
            SearchResult::Missing(_) => None,
        })
    }

    /// Returns the path to an entry, or to where it would be inserted, and whether the
    /// entry exists; `None` for an empty tree.
    #[inline]
    pub(super) fn locate(
        &self,
        tx: &Image,
        order: &impl Fn(&Image, &K) -> Result<Ordering>,
    ) -> Result<Option<(Path<K, P>, bool)>> {
        if self.root == 0 {
            return Ok(None);
        }
        let mut path = self.path(tx, |inner| inner.search(tx, order))?;
        let place = path.leaf.search(tx, order)?;
        let (SearchResult::Found(index) | SearchResult::Missing(index)) = place;
        path.index = index;
        Ok(Some((path, matches!(place, SearchResult::Found(_)))))
    }

    /// Returns the path to the first or the last entry.
    pub(super) fn end(&self, tx: &Image, is_last: bool) -> Result<Option<Path<K, P>>> {
        if self.root == 0 {
            return Ok(None);
        }
        let mut path = self.path(tx, |inner| Ok(if is_last { inner.len - 1 } else { 0 }))?;
        path.index = if is_last { path.leaf.len - 1 } else { 0 };
        Ok(Some(path))
    }
}
