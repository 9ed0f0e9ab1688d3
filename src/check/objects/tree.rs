//! Checks trees: levels, lengths and neighbours must agree, and unused bytes must be zero. The
//! order of keys is not checked: only the program knows it.
//!
//! **Owns** the steps: one checks one leaf, with the inner nodes on the path to it. **Must not
//! know** what entries own.

use crate::check::schema::layout::{bytes_at, word};
use crate::check::schema::shapes::{Items, NodeShape, Role, TreeShape};
use crate::format::collections::btree::MAX_LEVELS;

use super::context::Context;
use super::elements::{Liveness, Place, Range};
use super::values;

/// A tree with leaves that are still to be checked.
pub(super) struct Nodes {
    /// The tree.
    place: Place,
    shape: TreeShape,
    root: u64,
    height: u64,
    /// The number of entries that the tree claims, and the number in the leaves so far.
    len: u64,
    seen: u64,
    /// The inner nodes above the last leaf, from the root down.
    path: Vec<Step>,
    /// The last leaf, and the leaf that it claims to precede.
    last: Option<[u64; 2]>,
    /// Whether all nodes so far were intact.
    is_whole: bool,
}

/// An inner node, and the index of the child that was entered.
struct Step {
    offset: u64,
    level: u64,
    len: u64,
    index: u64,
}

/// The entries of a leaf, keys and values, where they have parts to check.
type Entries = [Option<Range>; 2];

impl Nodes {
    /// Checks the tree at `place`, whose fields `word` reads; returns its nodes, if it has any.
    pub(super) fn begin(
        context: &mut Context<'_>,
        place: Place,
        shape: &TreeShape,
        word: impl Fn(u64) -> u64,
    ) -> Option<Self> {
        let [root, len, height] = [shape.root, shape.len, shape.height].map(word);
        let max_height = if root == 0 { 0 } else { MAX_LEVELS as u64 };
        if (root == 0) != (len == 0) || height > max_height {
            let found = format!("root {root:#x}, length {len}, height {height}");
            let expected = format!("a root, a length and a height of at most {MAX_LEVELS}");
            context.report(place, format!("expected {expected}, or zeros, found {found}"));
            return None;
        }
        let (shape, path, last) = (*shape, vec![], None);
        let nodes = Self { place, shape, root, height, len, seen: 0, path, last, is_whole: true };
        (root != 0).then_some(nodes)
    }

    /// Checks the next leaf, or the whole tree after the last one. Returns the leaf's entries, no
    /// entries if a node on the way is damaged, or `None` if there is no leaf left to check.
    pub(super) fn check_next(&mut self, context: &mut Context<'_>) -> Option<Entries> {
        let is_first = self.path.is_empty();
        while self.path.pop_if(|step| step.index + 1 >= step.len).is_some() {}
        let entries = match self.path.last_mut() {
            Some(step) => {
                step.index += 1;
                let (offset, level, index) = (step.offset, step.level, step.index);
                self.enter_child(context, offset, level, index)
            }
            None if is_first && self.root != 0 => {
                let (place, root, height) = (self.place, self.root, self.height);
                self.root = 0;
                self.descend(context, place, root, height, None)
            }
            None => {
                self.expect_end(context);
                return None;
            }
        };
        Some(entries.unwrap_or_default())
    }

    fn expect_end(&self, context: &mut Context<'_>) {
        let Self { place, len, seen, last, is_whole, .. } = *self;
        // After a damaged node, neither the length nor the last neighbour is known.
        if !is_whole {
            return;
        }
        if len != seen {
            context.report(place, format!("expected {len} entries, found {seen} in the leaves"));
        }
        if let Some([leaf, next]) = last.filter(|[_, next]| *next != 0) {
            let place = Place { at: leaf, ..place };
            context.report(place, format!("expected no leaf behind the last one, found {next:#x}"));
        }
    }

    /// Descends to the first leaf below a child; returns its entries.
    fn enter_child(
        &mut self,
        context: &mut Context<'_>,
        offset: u64,
        level: u64,
        index: u64,
    ) -> Option<Entries> {
        let (number, inner) = node(context, self.shape.inner)?;
        let others = inner.others?;
        let at = offset + others.at + index * others.stride;
        let place = Place { owner: number, base: offset, at };
        let child = word(context.bytes(place, at, 8)?, 0);
        let key = offset + inner.keys.at + (index - 1) * inner.keys.stride;
        let separator = Place { owner: number, base: offset, at: key };
        let separator = Some(separator).filter(|_| inner.keys_own);
        self.descend(context, place, child, level - 1, separator)
    }

    /// Descends from the node at `offset`, to which `place` links, to the first leaf below it;
    /// returns its entries, or `None` if a node on the path is damaged.
    fn descend(
        &mut self,
        context: &mut Context<'_>,
        mut place: Place,
        mut offset: u64,
        height: u64,
        separator: Option<Place>,
    ) -> Option<Entries> {
        for level in (1..=height).rev() {
            let is_root = self.path.is_empty() && level == self.height;
            let found =
                self.check_inner(context, place, offset, level, if is_root { 2 } else { 1 });
            self.is_whole &= found.is_some();
            (place, offset) = found?;
        }
        let entries = self.check_leaf(context, place, offset, separator);
        self.is_whole &= entries.is_some();
        if entries.is_none() {
            self.last = None;
        }
        entries
    }

    /// Checks an inner node; returns the place of its first child, and the child.
    fn check_inner(
        &mut self,
        context: &mut Context<'_>,
        place: Place,
        offset: u64,
        level: u64,
        min_len: u64,
    ) -> Option<(Place, u64)> {
        let (number, shape) = node(context, self.shape.inner)?;
        let children = shape.others?;
        let lengths = min_len..=children.count;
        let (len, bytes) = open_node(context, (number, shape), place, offset, level, lengths)?;
        let place = Place::whole(number, offset);
        expect_unused(context, place, bytes, shape.keys, len - 1);
        expect_unused(context, place, bytes, children, len);
        (0..len - 1).for_each(|index| check_copy(context, bytes, place, shape.keys, index));
        self.path.push(Step { offset, level, len, index: 0 });
        Some((place.plus(children.at), word(bytes, children.at)))
    }

    fn check_leaf(
        &mut self,
        context: &mut Context<'_>,
        place: Place,
        offset: u64,
        separator: Option<Place>,
    ) -> Option<Entries> {
        let (number, shape) = node(context, self.shape.leaf)?;
        let lengths = 1..=shape.keys.count;
        let (len, bytes) = open_node(context, (number, shape), place, offset, 0, lengths)?;
        let place = Place::whole(number, offset);
        let [prev_at, next_at] = shape.neighbours?;
        let [prev, next] = [prev_at, next_at].map(|at| word(bytes, at));
        let [before, expects] = self.last.unwrap_or([0, offset]);
        // After a damaged node, the neighbours are unknown.
        if self.is_whole && prev != before {
            let what = format!("expected {before:#x}, the leaf before, found {prev:#x}");
            context.report(place.plus(prev_at), what);
        }
        if self.is_whole && expects != offset {
            let what = format!("expected {offset:#x}, the leaf behind, found {expects:#x}");
            context.report(Place { base: before, at: before + next_at, ..place }, what);
        }
        expect_unused(context, place, bytes, shape.keys, len);
        shape
            .others
            .into_iter()
            .for_each(|values| expect_unused(context, place, bytes, values, len));
        if let Some(separator) = separator {
            expect_separator(context, separator, place, shape.keys);
        }
        self.last = Some([offset, next]);
        self.seen += len;
        let entries = |items| entries(items, number, offset, len);
        Some([entries(shape.keys), shape.others.and_then(entries)])
    }
}

fn node<'a>(context: &Context<'a>, number: Option<u32>) -> Option<(u32, &'a NodeShape)> {
    let (layouts, number) = (context.layouts, number?);
    match &layouts.of(number)?.role {
        Role::Leaf(shape) | Role::Inner(shape) => Some((number, shape)),
        _ => None,
    }
}

/// Checks the head and the unused bytes of a node; returns its length.
fn open_node<'a>(
    context: &mut Context<'a>,
    (number, shape): (u32, &NodeShape),
    place: Place,
    offset: u64,
    level: u64,
    lengths: std::ops::RangeInclusive<u64>,
) -> Option<(u64, &'a [u8])> {
    if !context.claim(place, "a node", offset, (Some(number), None)) {
        return None;
    }
    let place = Place::whole(number, offset);
    let bytes = context.bytes(place, offset, context.layouts.of(number)?.size_bytes)?;
    let number = |at: u64| bytes_at(bytes, at).map_or(0, u32::from_ne_bytes);
    let [found, len] = [shape.level, shape.len].map(|at| u64::from(number(at)));
    if found != level || !lengths.contains(&len) {
        let (min, max) = (lengths.start(), lengths.end());
        let expected = format!("expected level {level}, and a length from {min} to {max}");
        context.report(place, format!("{expected}, found level {found}, length {len}"));
        return None;
    }
    for gap in &shape.gaps {
        let inside = bytes.get(gap.start as usize..gap.end as usize).unwrap_or_default();
        context.expect_zeros(place.plus(gap.start), inside, "what no entry takes");
    }
    Some((len, bytes))
}

/// Checks a key of an inner node. It is a copy, so it owns nothing, and its links are those of the
/// key that it copies.
fn check_copy(context: &mut Context<'_>, node: &[u8], place: Place, keys: Items, index: u64) {
    let at = keys.at + index * keys.stride;
    let key = node.get(at as usize..(at + keys.stride) as usize);
    if let (Some(key), Some(plan)) = (key, keys.plan) {
        values::check_parts(context, key, place.plus(at), plan);
    }
}

/// Reports nonzero bytes after the first `len` items.
fn expect_unused(context: &mut Context<'_>, place: Place, bytes: &[u8], items: Items, len: u64) {
    let (from, to) = (items.at + len * items.stride, items.at + items.count * items.stride);
    let unused = bytes.get(from as usize..to as usize).unwrap_or_default();
    context.expect_zeros(place.plus(from), unused, "an entry that is not in use");
}

/// Reports a key of an inner node that differs from the first key of the leaf below it. A key
/// that owns memory is stored there as a copy.
fn expect_separator(context: &mut Context<'_>, separator: Place, leaf: Place, keys: Items) {
    let found = context.bytes(separator, separator.at, keys.stride);
    let expected = context.bytes(leaf, leaf.at + keys.at, keys.stride);
    if found != expected {
        let what = "expected the first key of the leaf behind it, found another";
        context.report(separator, what.to_string());
    }
}

/// Returns the first `len` items of a node, if they have parts to check.
fn entries(items: Items, owner: u32, base: u64, len: u64) -> Option<Range> {
    let Items { at, stride, plan, .. } = items;
    let (start, plan) = (base + at, plan?);
    let end = start + len * stride;
    let (base, liveness) = (Some(base), Liveness::Owned);
    (len > 0).then_some(Range { start, end, stride, plan, owner, base, liveness })
}
