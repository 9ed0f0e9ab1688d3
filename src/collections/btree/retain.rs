//! Removes entries throughout a tree, and frees the nodes of a tree whose entries
//! have moved. Both walk all nodes.

use crate::error::Result;
use crate::persist::Persist;
use crate::store::WriteTx;

use super::node::{InnerAt, LeafAt, Tree, damaged};
use super::rebalance::is_few;
use super::value::Payload;

/// A walk over all leaves in order.
///
/// Each leaf must name its predecessor. No leaf therefore comes twice, however
/// damaged the links between nodes are, and the walk ends.
struct Walk {
    /// The leaf visited last.
    last: u64,
    /// For each entry, whether it stays.
    answers: std::vec::IntoIter<bool>,
}

impl Walk {
    fn expect_next<K: Persist, P: Payload>(&self, leaf: LeafAt<K, P>) -> Result<()> {
        if leaf.prev == self.last {
            return Ok(());
        }
        let found = format!("prev: {:#x}", leaf.prev);
        Err(damaged(leaf.offset, format!("prev: {:#x}", self.last), found))
    }
}

impl<K: Persist, P: Payload> Tree<K, P> {
    /// Keeps the entries for which `keep` returns true, and releases the others. Asks about
    /// all entries before it removes any, so a panic in `keep` leaves the tree intact.
    pub(super) fn retain(
        &mut self,
        tx: &mut WriteTx<'_>,
        mut keep: impl FnMut(&mut WriteTx<'_>, LeafAt<K, P>, u64) -> Result<bool>,
    ) -> Result<()> {
        if self.root == 0 {
            return Ok(());
        }
        let mut answers = Vec::new();
        for offset in self.leaves(tx)? {
            let leaf = LeafAt::open(tx, offset)?;
            for index in 0..leaf.len {
                answers.push(keep(tx, leaf, index)?);
            }
        }
        let mut walk = Walk { last: 0, answers: answers.into_iter() };
        if self.retain_below(tx, (self.root, self.height), &mut walk)? > 0 {
            return self.lower(tx);
        }
        (self.root, self.height) = (0, 0);
        if self.len == 0 { Ok(()) } else { Err(self.miscounted("0, as no entry is left")) }
    }

    /// Does the work of `retain` at and below the node at an offset and a level. Returns
    /// how many entries or children are left in the node; if none are, the node was freed.
    fn retain_below(
        &mut self,
        tx: &mut WriteTx<'_>,
        (offset, level): (u64, u64),
        walk: &mut Walk,
    ) -> Result<u64> {
        if level == 0 {
            return self.retain_in_leaf(tx, LeafAt::open(tx, offset)?, walk);
        }
        let mut inner = InnerAt::<K, P>::open(tx, offset, level)?;
        let (mut index, mut before_len, mut is_same) = (0, 0, true);
        while index < inner.len {
            let len_before = self.len;
            let child = inner.child(tx, index)?;
            let child_len = self.retain_below(tx, (child, level - 1), walk)?;
            let is_child_same = self.len == len_before;
            if child_len == 0 {
                if inner.len == 1 {
                    inner.free(tx)?;
                    return Ok(0);
                }
                inner.remove(tx, index)?;
                continue;
            }
            if index > 0 && !is_child_same {
                self.renew_key(tx, inner, index)?;
            }
            let is_merged = index > 0
                && !(is_same && is_child_same)
                && is_few(before_len + child_len, Self::capacity(level - 1));
            if is_merged {
                let left = self.merge(tx, &mut inner, index)?;
                if level == 1 {
                    walk.last = left;
                }
                before_len += child_len;
                is_same = false;
                continue;
            }
            (before_len, is_same) = (child_len, is_child_same);
            index += 1;
        }
        Ok(inner.len)
    }

    fn retain_in_leaf(
        &mut self,
        tx: &mut WriteTx<'_>,
        mut leaf: LeafAt<K, P>,
        walk: &mut Walk,
    ) -> Result<u64> {
        walk.expect_next(leaf)?;
        let mut kept = 0;
        for index in 0..leaf.len {
            if walk.answers.next() == Some(false) {
                let (key, value) = leaf.take(tx, index)?;
                tx.release(key)?;
                value.release(tx)?;
                continue;
            }
            if kept < index {
                leaf.shift(tx, index, kept)?;
            }
            kept += 1;
        }
        self.less(leaf.len - kept)?;
        if kept == 0 {
            leaf.unlink(tx)?;
            return Ok(0);
        }
        if kept < leaf.len {
            leaf.truncate(tx, kept)?;
        }
        walk.last = leaf.offset;
        Ok(kept)
    }

    /// Frees all nodes, but nothing that entries own: the entries have moved.
    pub(super) fn free_nodes(self, tx: &mut WriteTx<'_>) -> Result<()> {
        if self.root == 0 {
            return Ok(());
        }
        // A node that damage makes come twice is no longer live the second time, so this ends.
        let mut nodes = vec![(self.root, self.height)];
        while let Some((offset, level)) = nodes.pop() {
            if level == 0 {
                LeafAt::<K, P>::open(tx, offset)?.free(tx)?;
                continue;
            }
            let inner = InnerAt::<K, P>::open(tx, offset, level)?;
            for index in 0..inner.len {
                nodes.push((inner.child(tx, index)?, level - 1));
            }
            inner.free(tx)?;
        }
        Ok(())
    }
}
