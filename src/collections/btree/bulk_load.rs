//! Builds a tree from entries in ascending order; fills every node.

use std::cmp::Ordering;

use crate::error::{ErrorKind, Result};
use crate::persist::Persist;
use crate::store::{Region, WriteTx};

use super::layout::{Inner, Leaf, MAX_LEVELS};
use super::node::{InnerAt, LeafAt, Tree};
use super::value::Payload;
use crate::collections::key::OrdKey;

/// A tree under construction: the last node of each level is open.
pub(super) struct Builder<K, P> {
    pub(super) tree: Tree<K, P>,
    /// The open leaf and its region.
    leaf: Option<(LeafAt<K, P>, Region)>,
    /// The open inner nodes, from level 1 up.
    inner: std::vec::Vec<InnerAt<K, P>>,
}

impl<K: Persist, P: Payload> Builder<K, P> {
    pub(super) fn new() -> Self {
        Self { tree: Tree::empty(), leaf: None, inner: std::vec::Vec::new() }
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, tx: &mut WriteTx<'_>, entry: (K, P)) -> Result<()> {
        self.tree.len += 1;
        if let Some((leaf, region)) = &mut self.leaf
            && leaf.len < Leaf::<K, P>::CAPACITY
        {
            return leaf.push(tx, *region, entry);
        }
        let mut next = LeafAt::alloc(tx)?;
        let region = next.region(tx)?;
        next.push(tx, region, entry)?;
        match &mut self.leaf {
            None => self.tree.root = next.offset,
            Some((leaf, _)) => {
                leaf.tie(tx, leaf.prev, next.offset)?;
                next.tie(tx, leaf.offset, 0)?;
                let first = tx.value(next.key_link(0))?;
                self.add_child(tx, (first, next.offset))?;
            }
        }
        self.leaf = Some((next, region));
        Ok(())
    }

    fn add_child(&mut self, tx: &mut WriteTx<'_>, mut child: (K, u64)) -> Result<()> {
        for (level, inner) in (1..).zip(&mut self.inner) {
            if inner.len < Inner::<K, P>::CAPACITY {
                return inner.insert(tx, inner.len, child);
            }
            *inner = InnerAt::alloc(tx, level, child.1)?;
            child.1 = inner.offset;
        }
        let level = self.inner.len() + 1;
        if level > MAX_LEVELS {
            let (count, size_bytes) = (self.tree.len, size_of::<K>() as u64);
            let why = "a B-tree has at most 32 levels";
            return Err(ErrorKind::TooLarge { count, size_bytes, why }.into());
        }
        let mut root = InnerAt::alloc(tx, level as u64, self.tree.root)?;
        root.insert(tx, 1, child)?;
        (self.tree.root, self.tree.height) = (root.offset, level as u64);
        self.inner.push(root);
        Ok(())
    }

    /// Compares the last key with `query`; returns `Less` if there is no key yet.
    fn order_of_last<Q: ?Sized>(&self, tx: &WriteTx<'_>, query: &Q) -> Result<Ordering>
    where
        K: OrdKey<Q>,
    {
        match &self.leaf {
            Some((leaf, _)) => tx.at(leaf.key_link(leaf.len - 1))?.order(tx, query),
            None => Ok(Ordering::Less),
        }
    }
}

/// Builds a tree from entries with ascending keys. The first key that does not
/// ascend is an error; all entries so far and all remaining values are then
/// released.
pub(super) fn from_sorted<K, P, Q: ?Sized, B>(
    tx: &mut WriteTx<'_>,
    entries: impl IntoIterator<Item = (B, P)>,
) -> Result<Tree<K, P>>
where
    K: OrdKey<Q>,
    P: Payload,
    B: std::borrow::Borrow<Q>,
{
    let mut builder = Builder::<K, P>::new();
    let mut entries = entries.into_iter();
    while let Some((query, value)) = entries.next() {
        let query = query.borrow();
        if builder.order_of_last(tx, query)? != Ordering::Less {
            let index = builder.tree.len;
            value.release(tx)?;
            if P::OWNS {
                entries.try_for_each(|(_, value)| value.release(tx))?;
            }
            builder.tree.release(tx)?;
            return Err(ErrorKind::NotAscending { type_name: K::type_name(), index }.into());
        }
        let key = K::store(tx, query)?;
        builder.push(tx, (key, value))?;
    }
    Ok(builder.tree)
}
