//! Moves many entries from one tree to another.

use std::cmp::Ordering;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Owned, Persist};
use crate::store::WriteTx;

use super::bulk_load::Builder;
use super::layout::own_node;
use super::node::{LeafAt, Tree, damaged};
use super::value::Payload;
use crate::collections::key::SortedKey;

/// A walk over the leaves from one on, in order. Each leaf must name its
/// predecessor and the first must not come again, so no leaf comes twice.
struct Leaves {
    first: u64,
    before: u64,
    next: u64,
}

impl Leaves {
    fn next<K: Persist, P: Payload>(&mut self, tx: &Image) -> Result<Option<LeafAt<K, P>>> {
        if self.next == 0 {
            return Ok(None);
        }
        let leaf = LeafAt::<K, P>::open(tx, self.next)?;
        if leaf.prev != self.before || leaf.offset == self.first {
            let expected = format!("prev: {:#x}, and no circle", self.before);
            return Err(damaged(leaf.offset, expected, format!("prev: {:#x}", leaf.prev)));
        }
        (self.before, self.next) = (leaf.offset, leaf.next);
        Ok(Some(leaf))
    }
}

impl<K: Persist, P: Payload> Tree<K, P> {
    /// Frees all nodes and everything that their entries own.
    pub(super) fn release(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let mut owned = Owned::default();
        own_node::<K, P>(self.root, self.height, &mut owned);
        tx.release_all(owned)
    }

    /// Removes the first or the last entry.
    pub(super) fn pop(&mut self, tx: &mut WriteTx<'_>, is_last: bool) -> Result<Option<(K, P)>> {
        match self.end(tx, is_last)? {
            Some(path) => self.remove_at(tx, path).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the offsets of all leaves in order, collected before any of them changes. If
    /// damage links a leaf to another tree, the walk must not grow while that tree takes
    /// entries.
    pub(super) fn leaves(&self, tx: &Image) -> Result<Vec<u64>> {
        let first = self.leaf(tx, |_| Ok(0))?;
        let mut leaves = Leaves { first: first.offset, before: first.offset, next: first.next };
        let mut offsets = vec![first.offset];
        while let Some(leaf) = leaves.next::<K, P>(tx)? {
            offsets.push(leaf.offset);
        }
        Ok(offsets)
    }

    /// Takes over all entries of `more`, and frees its nodes.
    pub(super) fn append(&mut self, tx: &mut WriteTx<'_>, more: Self) -> Result<()>
    where
        K: SortedKey,
    {
        if self.root == 0 || more.root == 0 {
            *self = if self.root == 0 { more } else { *self };
            return Ok(());
        }
        if self.root == more.root {
            return Err(damaged(self.root, "a root of one tree", "one of two"));
        }
        for offset in more.leaves(tx)? {
            let leaf = LeafAt::<K, P>::open(tx, offset)?;
            for index in 0..leaf.len {
                let entry = leaf.take(tx, index)?;
                self.adopt(tx, entry)?;
            }
        }
        more.free_nodes(tx)
    }

    /// Inserts an entry whose key is already stored.
    fn adopt(&mut self, tx: &mut WriteTx<'_>, (key, value): (K, P)) -> Result<()>
    where
        K: SortedKey,
    {
        let path = match self.locate(tx, &|tx, stored: &K| stored.compare(tx, &key))? {
            Some((path, true)) => {
                let (_, old) = path.leaf.take(tx, path.index)?;
                path.leaf.put_value(tx, path.index, value)?;
                old.release(tx)?;
                return tx.release(key);
            }
            place => place.map(|(path, _)| path),
        };
        self.insert_at(tx, path, (key, value)).map(|_| ())
    }

    /// Moves the entries that are not below the key of `order` to a new tree.
    pub(super) fn split_off(
        &mut self,
        tx: &mut WriteTx<'_>,
        order: &impl Fn(&Image, &K) -> Result<Ordering>,
    ) -> Result<Self> {
        let Some((path, _)) = self.locate(tx, order)? else { return Ok(Self::empty()) };
        let mut builder = Builder::new();
        let (offset, next) = (path.leaf.offset, path.leaf.next);
        let mut leaves = Leaves { first: offset, before: offset, next };
        let (mut at, mut from) = (Some(path.leaf), path.index);
        while let Some(leaf) = at {
            for index in from..leaf.len {
                let entry = leaf.take(tx, index)?;
                builder.push(tx, entry)?;
            }
            (at, from) = (leaves.next(tx)?, 0);
        }
        let right = builder.tree;
        for _ in 0..right.len {
            self.pop(tx, true)?;
        }
        Ok(right)
    }
}
