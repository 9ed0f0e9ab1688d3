//! Changes a tree: an insertion splits nodes on the way up, a removal merges them.

use crate::error::{ErrorKind, Result};
use crate::persist::Persist;
use crate::store::WriteTx;

use super::layout::{Inner, Leaf, MAX_LEVELS};
use super::node::{InnerAt, LeafAt, Path, Tree, damaged};
use super::value::Payload;

/// Two neighbours merge if they fill at most three quarters of one node; otherwise
/// the next insertions would split it again at once.
pub(super) const fn is_few(len: u64, capacity: u64) -> bool {
    len <= capacity - capacity / 4
}

/// Where to split a full node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Keys come in descending order: the new entry's node keeps its free space in front.
    First,
    Half,
    /// Keys come in ascending order: the full node stays full.
    Last,
}

impl<K: Persist, P: Payload> Tree<K, P> {
    fn one_more(&mut self) -> Result<()> {
        self.len = self.len.checked_add(1).ok_or_else(|| self.miscounted("fewer entries"))?;
        Ok(())
    }

    pub(super) fn less(&mut self, entries: u64) -> Result<()> {
        let len = self.len.checked_sub(entries);
        self.len = len.ok_or_else(|| self.miscounted("more entries"))?;
        Ok(())
    }

    #[cold]
    pub(super) fn miscounted(&self, expected: &str) -> crate::error::Error {
        ErrorKind::corrupt("length of a B-tree (its root)", self.root, expected, self.len)
    }

    /// Inserts an entry where `path` found its key missing. Returns the location of the
    /// value.
    #[inline]
    pub(super) fn insert_at(
        &mut self,
        tx: &mut WriteTx<'_>,
        path: Option<Path<K, P>>,
        entry: (K, P),
    ) -> Result<(LeafAt<K, P>, u64)> {
        self.one_more()?;
        let Some(mut path) = path else {
            let mut leaf = LeafAt::alloc(tx)?;
            let region = leaf.region(tx)?;
            leaf.push(tx, region, entry)?;
            self.root = leaf.offset;
            return Ok((leaf, 0));
        };
        if path.leaf.len == Leaf::<K, P>::CAPACITY {
            return self.split_at(tx, path, entry);
        }
        path.leaf.insert(tx, path.index, entry)?;
        self.renew_keys(tx, &path, path.index == 0)?;
        Ok((path.leaf, path.index))
    }

    fn split_at(
        &mut self,
        tx: &mut WriteTx<'_>,
        path: Path<K, P>,
        entry: (K, P),
    ) -> Result<(LeafAt<K, P>, u64)> {
        let (mut left, index) = (path.leaf, path.index);
        let cut = match index {
            0 if left.prev == 0 => Cut::First,
            end if end == left.len && left.next == 0 => Cut::Last,
            _ => Cut::Half,
        };
        let at = match cut {
            Cut::First => 0,
            Cut::Half => left.len / 2,
            Cut::Last => left.len,
        };
        let mut right = left.split(tx, at)?;
        let is_left = cut != Cut::Last && index <= at;
        let place = if is_left { index } else { index - at };
        let leaf = if is_left { &mut left } else { &mut right };
        leaf.insert(tx, place, entry)?;
        let found = (*leaf, place);
        let between = tx.value(right.key_link(0))?;
        self.add_child(tx, &path, cut, (between, right.offset))?;
        self.renew_keys(tx, &path, index == 0)?;
        Ok(found)
    }

    /// Adds a node after the leaf of `path` to the levels above.
    fn add_child(
        &mut self,
        tx: &mut WriteTx<'_>,
        path: &Path<K, P>,
        cut: Cut,
        mut child: (K, u64),
    ) -> Result<()> {
        for level in 1..=self.height {
            let step = path.steps[level as usize - 1];
            let mut left = InnerAt::<K, P>::open(tx, step.offset, level)?;
            let index = step.index + 1;
            if left.len < Inner::<K, P>::CAPACITY {
                return left.insert(tx, index, child);
            }
            if cut == Cut::Last && index == left.len {
                // The new node has only this child, so the child's separator goes up unchanged.
                child.1 = InnerAt::<K, P>::alloc(tx, level, child.1)?.offset;
                continue;
            }
            let at = if cut == Cut::First { 1 } else { left.len / 2 };
            let (between, mut right) = left.split(tx, at)?;
            if index <= at {
                left.insert(tx, index, child)?;
            } else {
                right.insert(tx, index - at, child)?;
            }
            child = (between, right.offset);
        }
        self.add_level(tx, child)
    }

    fn add_level(&mut self, tx: &mut WriteTx<'_>, child: (K, u64)) -> Result<()> {
        if self.height == MAX_LEVELS as u64 {
            let why = "a B-tree has at most 32 levels";
            let size_bytes = size_of::<K>() as u64;
            return Err(ErrorKind::TooLarge { count: self.len, size_bytes, why }.into());
        }
        self.height += 1;
        let mut root = InnerAt::<K, P>::alloc(tx, self.height, self.root)?;
        root.insert(tx, 1, child)?;
        self.root = root.offset;
        Ok(())
    }

    /// Renews the separator after the first key of a leaf was replaced: it is a copy of
    /// that key and must not outlive it.
    fn renew_keys(&self, tx: &mut WriteTx<'_>, path: &Path<K, P>, is_due: bool) -> Result<()> {
        if !K::OWNS || !is_due {
            return Ok(());
        }
        for level in 1..=self.height {
            let step = path.steps[level as usize - 1];
            if step.index > 0 {
                let inner = InnerAt::open(tx, step.offset, level)?;
                return self.renew_key(tx, inner, step.index);
            }
        }
        Ok(())
    }

    /// Copies the first key below child `index`, which must not be the first child, to the
    /// separator before that child.
    pub(super) fn renew_key(
        &self,
        tx: &mut WriteTx<'_>,
        inner: InnerAt<K, P>,
        index: u64,
    ) -> Result<()> {
        if !K::OWNS {
            return Ok(());
        }
        let below = Self { root: inner.child(tx, index)?, height: inner.level - 1, ..*self };
        let first = below.leaf(tx, |_| Ok(0))?;
        let key = tx.value(first.key_link(0))?;
        inner.set_key(tx, index - 1, key)
    }

    /// Removes the entry that `path` leads to.
    pub(super) fn remove_at(
        &mut self,
        tx: &mut WriteTx<'_>,
        mut path: Path<K, P>,
    ) -> Result<(K, P)> {
        self.less(1)?;
        let entry = path.leaf.remove(tx, path.index)?;
        self.after_removal(tx, &mut path)?;
        Ok(entry)
    }

    /// Restores the invariants after entries were removed from the leaf of `path`. Index 0
    /// means that the leaf's first key was among them.
    fn after_removal(&mut self, tx: &mut WriteTx<'_>, path: &mut Path<K, P>) -> Result<()> {
        if path.leaf.len == 0 {
            return self.remove_leaf(tx, path);
        }
        self.renew_keys(tx, path, path.index == 0)?;
        if path.leaf.len > Leaf::<K, P>::CAPACITY / 2 {
            return Ok(());
        }
        self.merge_up(tx, path, 0, path.leaf.len)
    }

    /// Removes the empty leaf of `path`, and the nodes above that become empty.
    fn remove_leaf(&mut self, tx: &mut WriteTx<'_>, path: &Path<K, P>) -> Result<()> {
        path.leaf.unlink(tx)?;
        for level in 1..=self.height {
            let step = path.steps[level as usize - 1];
            let mut inner = InnerAt::<K, P>::open(tx, step.offset, level)?;
            if inner.len == 1 {
                inner.free(tx)?;
                continue;
            }
            inner.remove(tx, step.index)?;
            // After the first child was removed, the levels above still hold a copy of its first
            // key.
            if step.index == 0 {
                self.renew_above(tx, path, level)?;
            }
            return self.merge_up(tx, path, level, inner.len);
        }
        (self.root, self.height) = (0, 0);
        if self.len == 0 { Ok(()) } else { Err(self.miscounted("0, as no entry is left")) }
    }

    /// Renews the separator like `renew_keys`, for the steps above `level`.
    fn renew_above(&self, tx: &mut WriteTx<'_>, path: &Path<K, P>, level: u64) -> Result<()> {
        let mut above = Path { ..*path };
        for step in above.steps.iter_mut().take(level as usize) {
            step.index = 0;
        }
        self.renew_keys(tx, &above, true)
    }

    /// Merges the node of `path` at `level`, which was left with `len` entries or children,
    /// and continues upwards as long as nodes merge.
    fn merge_up(
        &mut self,
        tx: &mut WriteTx<'_>,
        path: &Path<K, P>,
        mut level: u64,
        mut len: u64,
    ) -> Result<()> {
        while level < self.height {
            let step = path.steps[level as usize];
            let mut parent = InnerAt::open(tx, step.offset, level + 1)?;
            if !self.merge_beside(tx, &mut parent, step.index, len)? {
                return Ok(());
            }
            (level, len) = (level + 1, parent.len);
        }
        self.lower(tx)
    }

    /// Replaces a root that has a single child by that child.
    pub(super) fn lower(&mut self, tx: &mut WriteTx<'_>) -> Result<()> {
        while self.height > 0 {
            let root = InnerAt::<K, P>::open(tx, self.root, self.height)?;
            if root.len > 1 {
                return Ok(());
            }
            let child = root.child(tx, 0)?;
            if child == 0 {
                return Err(damaged(root.offset, "a link to a child", "null"));
            }
            (self.root, self.height) = (child, self.height - 1);
            root.free(tx)?;
        }
        Ok(())
    }

    /// Merges the children before and at `index` of `parent`, which then has one child
    /// less. All of their items must fit. Returns the node that stays.
    pub(super) fn merge(
        &mut self,
        tx: &mut WriteTx<'_>,
        parent: &mut InnerAt<K, P>,
        index: u64,
    ) -> Result<u64> {
        let (left, right) = (parent.child(tx, index - 1)?, parent.child(tx, index)?);
        if parent.level == 1 {
            LeafAt::<K, P>::open(tx, left)?.absorb(tx, LeafAt::open(tx, right)?)?;
        } else {
            let level = parent.level - 1;
            let between = tx.value(parent.key_link(index - 1))?;
            let right = InnerAt::open(tx, right, level)?;
            InnerAt::<K, P>::open(tx, left, level)?.absorb(tx, between, right)?;
        }
        parent.remove(tx, index)?;
        Ok(left)
    }

    /// Returns the length of a node at a level.
    fn len_of(tx: &WriteTx<'_>, offset: u64, level: u64) -> Result<u64> {
        if level == 0 {
            return Ok(LeafAt::<K, P>::open(tx, offset)?.len);
        }
        Ok(InnerAt::<K, P>::open(tx, offset, level)?.len)
    }

    /// Merges child `index` of `parent`, which shrank to `len`, with a neighbour if both
    /// are small enough; returns whether it did.
    fn merge_beside(
        &mut self,
        tx: &mut WriteTx<'_>,
        parent: &mut InnerAt<K, P>,
        index: u64,
        len: u64,
    ) -> Result<bool> {
        let capacity = Self::capacity(parent.level - 1);
        if len > capacity / 2 {
            return Ok(false);
        }
        for (right, other) in [(index + 1, index + 1), (index, index.wrapping_sub(1))] {
            if right == 0 || right >= parent.len {
                continue;
            }
            let other = Self::len_of(tx, parent.child(tx, other)?, parent.level - 1)?;
            if is_few(len + other, capacity) {
                self.merge(tx, parent, right)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the capacity of a node at a level, in entries or children.
    pub(super) fn capacity(level: u64) -> u64 {
        if level == 0 { Leaf::<K, P>::CAPACITY } else { Inner::<K, P>::CAPACITY }
    }
}
