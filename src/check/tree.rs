//! Checks trees: levels, lengths and neighbours must agree, and unused bytes must be zero. The
//! order of keys is not checked: only the program knows it.
//!
//! One step checks one leaf, with the inner nodes on the path to it.

use super::layout::{bytes_at, word};
use super::roles::{Items, NodeShape, Role, TreeShape};
use super::walk::{Liveness, Place, Range, Walk, Work};

/// The maximum level of a root.
const MAX_HEIGHT: u64 = 32;

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

impl<'a> Walk<'a> {
    pub(super) fn own_tree(&mut self, place: Place, shape: &TreeShape, word: impl Fn(u64) -> u64) {
        let [root, len, height] = [shape.root, shape.len, shape.height].map(word);
        let most = if root == 0 { 0 } else { MAX_HEIGHT };
        if (root == 0) != (len == 0) || height > most {
            let found = format!("root {root:#x}, length {len}, height {height}");
            let expected = format!("a root, a length and a height of at most {MAX_HEIGHT}");
            return self.bad(place, format!("expected {expected}, or zeros, found {found}"));
        }
        if root != 0 {
            let (shape, path, last) = (*shape, vec![], None);
            let nodes =
                Nodes { place, shape, root, height, len, seen: 0, path, last, is_whole: true };
            self.pending.push(Work::Nodes(Box::new(nodes)));
        }
    }

    /// Advances to the next leaf, or reports on the tree after the last one.
    pub(super) fn next_node(&mut self, mut nodes: Box<Nodes>) {
        let is_first = nodes.path.is_empty();
        while nodes.path.pop_if(|step| step.index + 1 >= step.len).is_some() {}
        let entries = match nodes.path.last_mut() {
            Some(step) => {
                step.index += 1;
                let (offset, level, index) = (step.offset, step.level, step.index);
                self.child(&mut nodes, offset, level, index)
            }
            None if is_first && nodes.root != 0 => {
                let (place, root, height) = (nodes.place, nodes.root, nodes.height);
                nodes.root = 0;
                self.descend(&mut nodes, place, root, height, None)
            }
            None => return self.expect_end(&nodes),
        };
        // Pushed below what the entries own, so a deep structure takes no extra space.
        self.pending.push(Work::Nodes(nodes));
        self.pending.extend(entries.into_iter().flatten().flatten().map(Work::Elements));
    }

    fn expect_end(&mut self, nodes: &Nodes) {
        let Nodes { place, len, seen, last, is_whole, .. } = *nodes;
        // After a damaged node, neither the length nor the last neighbour is known.
        if !is_whole {
            return;
        }
        if len != seen {
            self.bad(place, format!("expected {len} entries, found {seen} in the leaves"));
        }
        if let Some([leaf, next]) = last.filter(|[_, next]| *next != 0) {
            let place = Place { at: leaf, ..place };
            self.bad(place, format!("expected no leaf behind the last one, found {next:#x}"));
        }
    }

    /// Descends to the first leaf below a child; returns its entries.
    fn child(&mut self, nodes: &mut Nodes, offset: u64, level: u64, index: u64) -> Entries {
        let (number, inner) = self.node(nodes.shape.inner)?;
        let others = inner.others?;
        let at = offset + others.at + index * others.stride;
        let place = Place { owner: number, base: offset, at };
        let child = word(self.bytes(place, at, 8)?, 0);
        let key = offset + inner.keys.at + (index - 1) * inner.keys.stride;
        let separator = Place { owner: number, base: offset, at: key };
        let separator = Some(separator).filter(|_| inner.keys_own);
        self.descend(nodes, place, child, level - 1, separator)
    }

    /// Descends from the node at `offset`, to which `place` links, to the first leaf below it;
    /// returns its entries, or `None` if a node on the path is damaged.
    fn descend(
        &mut self,
        nodes: &mut Nodes,
        mut place: Place,
        mut offset: u64,
        height: u64,
        separator: Option<Place>,
    ) -> Entries {
        for level in (1..=height).rev() {
            let is_root = nodes.path.is_empty() && level == nodes.height;
            let found = self.own_inner(nodes, place, offset, level, if is_root { 2 } else { 1 });
            nodes.is_whole &= found.is_some();
            (place, offset) = found?;
        }
        let entries = self.own_leaf(nodes, place, offset, separator);
        nodes.is_whole &= entries.is_some();
        if entries.is_none() {
            nodes.last = None;
        }
        entries
    }

    fn node(&self, number: Option<u32>) -> Option<(u32, &'a NodeShape)> {
        let (layouts, number) = (self.layouts, number?);
        match &layouts.of(number)?.role {
            Role::Leaf(shape) | Role::Inner(shape) => Some((number, shape)),
            _ => None,
        }
    }

    /// Checks the head and the unused bytes of a node; returns its length.
    fn open(
        &mut self,
        (number, shape): (u32, &NodeShape),
        place: Place,
        offset: u64,
        level: u64,
        lengths: std::ops::RangeInclusive<u64>,
    ) -> Option<(u64, &'a [u8])> {
        if !self.claim(place, "a node", offset, (Some(number), None)) {
            return None;
        }
        let place = Place { owner: number, base: offset, at: offset };
        let bytes = self.bytes(place, offset, self.layouts.of(number)?.size_bytes)?;
        let number = |at: u64| bytes_at(bytes, at).map_or(0, u32::from_ne_bytes);
        let [found, len] = [shape.level, shape.len].map(|at| u64::from(number(at)));
        if found != level || !lengths.contains(&len) {
            let (least, most) = (lengths.start(), lengths.end());
            let expected = format!("expected level {level}, and a length from {least} to {most}");
            self.bad(place, format!("{expected}, found level {found}, length {len}"));
            return None;
        }
        for gap in &shape.gaps {
            let inside = bytes.get(gap.start as usize..gap.end as usize).unwrap_or_default();
            self.expect_zeros(place.plus(gap.start), inside, "what no entry takes");
        }
        Some((len, bytes))
    }

    /// Reports nonzero bytes after the first `len` items.
    fn expect_unused(&mut self, place: Place, bytes: &[u8], items: Items, len: u64) {
        let (from, to) = (items.at + len * items.stride, items.at + items.count * items.stride);
        let unused = bytes.get(from as usize..to as usize).unwrap_or_default();
        self.expect_zeros(place.plus(from), unused, "an entry that is not in use");
    }

    /// Checks an inner node; returns the place of its first child, and the child.
    fn own_inner(
        &mut self,
        nodes: &mut Nodes,
        place: Place,
        offset: u64,
        level: u64,
        least: u64,
    ) -> Option<(Place, u64)> {
        let (number, shape) = self.node(nodes.shape.inner)?;
        let children = shape.others?;
        let lengths = least..=children.count;
        let (len, bytes) = self.open((number, shape), place, offset, level, lengths)?;
        let place = Place { owner: number, base: offset, at: offset };
        self.expect_unused(place, bytes, shape.keys, len - 1);
        self.expect_unused(place, bytes, children, len);
        if let Some(range) = range(shape.keys, number, offset, len - 1, Liveness::Copied) {
            (0..len - 1).for_each(|key| {
                let start = range.start + key * range.stride;
                self.scan(Range { start, ..range });
            });
        }
        nodes.path.push(Step { offset, level, len, index: 0 });
        Some((place.plus(children.at), word(bytes, children.at)))
    }

    fn own_leaf(
        &mut self,
        nodes: &mut Nodes,
        place: Place,
        offset: u64,
        separator: Option<Place>,
    ) -> Entries {
        let (number, shape) = self.node(nodes.shape.leaf)?;
        let lengths = 1..=shape.keys.count;
        let (len, bytes) = self.open((number, shape), place, offset, 0, lengths)?;
        let place = Place { owner: number, base: offset, at: offset };
        let [prev_at, next_at] = shape.neighbours?;
        let [prev, next] = [prev_at, next_at].map(|at| word(bytes, at));
        let [before, expects] = nodes.last.unwrap_or([0, offset]);
        // After a damaged node, the neighbours are unknown.
        if nodes.is_whole && prev != before {
            let what = format!("expected {before:#x}, the leaf before, found {prev:#x}");
            self.bad(place.plus(prev_at), what);
        }
        if nodes.is_whole && expects != offset {
            let what = format!("expected {offset:#x}, the leaf behind, found {expects:#x}");
            self.bad(Place { base: before, at: before + next_at, ..place }, what);
        }
        self.expect_unused(place, bytes, shape.keys, len);
        shape.others.into_iter().for_each(|values| self.expect_unused(place, bytes, values, len));
        if let Some(separator) = separator {
            self.expect_separator(separator, place, shape.keys);
        }
        nodes.last = Some([offset, next]);
        nodes.seen += len;
        let range = |items| range(items, number, offset, len, Liveness::Owned);
        Some([range(shape.keys), shape.others.and_then(range)])
    }

    /// Reports a key of an inner node that differs from the first key of the leaf below it. A key
    /// that owns memory is stored there as a copy.
    fn expect_separator(&mut self, separator: Place, leaf: Place, keys: Items) {
        let found = self.bytes(separator, separator.at, keys.stride);
        let expected = self.bytes(leaf, leaf.at + keys.at, keys.stride);
        if found != expected {
            let what = "expected the first key of the leaf behind it, found another";
            self.bad(separator, what.to_string());
        }
    }
}

/// The entries of a leaf, keys and values, where they have parts to check; `None` if a node is
/// damaged.
type Entries = Option<[Option<Range>; 2]>;

/// Returns the first `len` items of a node, if they have parts to check.
fn range(items: Items, owner: u32, base: u64, len: u64, liveness: Liveness) -> Option<Range> {
    let Items { at, stride, plan, .. } = items;
    let (start, plan) = (base + at, plan?);
    let end = start + len * stride;
    (len > 0).then_some(Range { start, end, stride, plan, owner, base: Some(base), liveness })
}
