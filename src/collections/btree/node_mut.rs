//! Changes single nodes: moves entries and children in, out and across.
//!
//! Every change first opens the node as a region, which validates that it is one
//! whole live node of its kind. Items that move away leave zeros.

use crate::error::Result;
use crate::persist::{Block, Persist};
use crate::store::{Region, WriteTx};

use super::layout::{Inner, LEN_AT, Leaf, NEXT_AT, PREV_AT};
use super::node::{InnerAt, LeafAt, damaged};
use super::value::Payload;

/// An array in a node.
#[derive(Clone, Copy)]
struct Row {
    region: Region,
    at: u64,
    item_bytes: u64,
}

impl Row {
    /// Returns the offset of item `index`.
    #[inline]
    fn item(self, index: u64) -> u64 {
        self.at + index * self.item_bytes
    }

    /// Moves the items from `index` up to `len` up by one place.
    #[inline]
    fn open_gap(self, tx: &mut WriteTx<'_>, index: u64, len: u64) -> Result<()> {
        let rest_bytes = len.saturating_sub(index) * self.item_bytes;
        let (from, to) = (self.item(index), self.item(index + 1));
        tx.copy_in((self.region, from), (self.region, to), rest_bytes)
    }

    /// Moves the items after `index` down by one place, over item `index`.
    #[inline]
    fn close_gap(self, tx: &mut WriteTx<'_>, index: u64, len: u64) -> Result<()> {
        let rest_bytes = len.saturating_sub(index + 1) * self.item_bytes;
        let (from, to) = (self.item(index + 1), self.item(index));
        tx.copy_in((self.region, from), (self.region, to), rest_bytes)?;
        self.clear(tx, len.saturating_sub(1), len)
    }

    fn clear(self, tx: &mut WriteTx<'_>, from: u64, to: u64) -> Result<()> {
        let len_bytes = to.saturating_sub(from) * self.item_bytes;
        if len_bytes > 0 {
            tx.bytes_in_mut(self.region, self.item(from), len_bytes)?.fill(0);
        }
        Ok(())
    }

    /// Moves the items from `from` up to `len` to the end of another array.
    fn hand_over(
        self,
        tx: &mut WriteTx<'_>,
        (from, len): (u64, u64),
        (to, to_len): (Self, u64),
    ) -> Result<()> {
        let len_bytes = len.saturating_sub(from) * self.item_bytes;
        tx.copy_in((self.region, self.item(from)), (to.region, to.item(to_len)), len_bytes)?;
        self.clear(tx, from, len)
    }
}

fn put_len(tx: &mut WriteTx<'_>, region: Region, len: u64) -> Result<()> {
    tx.put_in(region, LEN_AT, len as u32)
}

impl<K: Persist, P: Payload> LeafAt<K, P> {
    fn block(self) -> Block<Leaf<K, P>> {
        Block::new(self.offset, 1)
    }

    #[inline]
    pub(super) fn region(self, tx: &mut WriteTx<'_>) -> Result<Region> {
        tx.region_of_block(self.block())
    }

    #[inline]
    fn keys(region: Region) -> Row {
        Row { region, at: Leaf::<K, P>::key_at(0), item_bytes: size_of::<K>() as u64 }
    }

    #[inline]
    fn values(region: Region) -> Row {
        Row { region, at: Leaf::<K, P>::value_at(0), item_bytes: P::SIZE_BYTES }
    }

    /// Allocates an empty leaf, which the caller must fill.
    pub(super) fn alloc(tx: &mut WriteTx<'_>) -> Result<Self> {
        Ok(Self::new(tx.alloc_block::<Leaf<K, P>>()?.offset()))
    }

    pub(super) fn free(self, tx: &mut WriteTx<'_>) -> Result<()> {
        tx.free_block(self.block())
    }

    /// Writes an entry after the last one; the leaf must not be full.
    #[inline]
    pub(super) fn push(
        &mut self,
        tx: &mut WriteTx<'_>,
        region: Region,
        (key, value): (K, P),
    ) -> Result<()> {
        tx.put_in(region, Leaf::<K, P>::key_at(self.len), key)?;
        value.put(tx, region, Leaf::<K, P>::value_at(self.len))?;
        self.len += 1;
        put_len(tx, region, self.len)
    }

    /// Writes an entry before the one at `index`; the leaf must not be full.
    #[inline]
    pub(super) fn insert(
        &mut self,
        tx: &mut WriteTx<'_>,
        index: u64,
        (key, value): (K, P),
    ) -> Result<()> {
        let region = self.region(tx)?;
        Self::keys(region).open_gap(tx, index, self.len)?;
        Self::values(region).open_gap(tx, index, self.len)?;
        tx.put_in(region, Leaf::<K, P>::key_at(index), key)?;
        value.put(tx, region, Leaf::<K, P>::value_at(index))?;
        self.len += 1;
        put_len(tx, region, self.len)
    }

    /// Overwrites the value at `index` without releasing it.
    pub(super) fn put_value(self, tx: &mut WriteTx<'_>, index: u64, value: P) -> Result<()> {
        let region = self.region(tx)?;
        value.put(tx, region, Leaf::<K, P>::value_at(index))
    }

    /// Returns a copy of the entry at `index`.
    #[inline]
    pub(super) fn take(self, tx: &WriteTx<'_>, index: u64) -> Result<(K, P)> {
        Ok((tx.value(self.key_link(index))?, P::take(tx, self.value_offset(index))?))
    }

    /// Removes the entry at `index`; may leave the leaf empty.
    #[inline]
    pub(super) fn remove(&mut self, tx: &mut WriteTx<'_>, index: u64) -> Result<(K, P)> {
        let region = self.region(tx)?;
        let entry = self.take(tx, index)?;
        Self::keys(region).close_gap(tx, index, self.len)?;
        Self::values(region).close_gap(tx, index, self.len)?;
        self.len -= 1;
        put_len(tx, region, self.len)?;
        Ok(entry)
    }

    /// Moves the entry at `from` down to `to`.
    pub(super) fn shift(self, tx: &mut WriteTx<'_>, from: u64, to: u64) -> Result<()> {
        let region = self.region(tx)?;
        for row in [Self::keys(region), Self::values(region)] {
            tx.copy_in((region, row.item(from)), (region, row.item(to)), row.item_bytes)?;
        }
        Ok(())
    }

    /// Removes the entries from `len` on without releasing them.
    pub(super) fn truncate(&mut self, tx: &mut WriteTx<'_>, len: u64) -> Result<()> {
        let region = self.region(tx)?;
        Self::keys(region).clear(tx, len, self.len)?;
        Self::values(region).clear(tx, len, self.len)?;
        self.len = len;
        put_len(tx, region, len)
    }

    /// Moves the entries from `at` on to a new leaf after this one.
    pub(super) fn split(&mut self, tx: &mut WriteTx<'_>, at: u64) -> Result<Self> {
        let mut right = Self::alloc(tx)?;
        let (from, to) = (self.region(tx)?, right.region(tx)?);
        Self::keys(from).hand_over(tx, (at, self.len), (Self::keys(to), 0))?;
        Self::values(from).hand_over(tx, (at, self.len), (Self::values(to), 0))?;
        right.len = self.len - at;
        self.len = at;
        put_len(tx, from, self.len)?;
        put_len(tx, to, right.len)?;
        right.tie(tx, self.offset, self.next)?;
        self.tie(tx, self.prev, right.offset)?;
        right.tell_next(tx, self.offset)?;
        Ok(right)
    }

    /// Takes over all entries of the next leaf, `right`, and frees it. All of them must
    /// fit.
    pub(super) fn absorb(&mut self, tx: &mut WriteTx<'_>, right: Self) -> Result<()> {
        let are_neighbours = self.next == right.offset && right.prev == self.offset;
        if !are_neighbours || self.offset == right.offset {
            let expected = format!("the neighbour of the leaf at {:#x}", self.offset);
            return Err(damaged(right.offset, expected, format!("one of {:#x}", right.prev)));
        }
        let (to, from) = (self.region(tx)?, right.region(tx)?);
        let all = (0, right.len);
        Self::keys(from).hand_over(tx, all, (Self::keys(to), self.len))?;
        Self::values(from).hand_over(tx, all, (Self::values(to), self.len))?;
        self.len += right.len;
        put_len(tx, to, self.len)?;
        self.tie(tx, self.prev, right.next)?;
        self.tell_next(tx, right.offset)?;
        right.free(tx)
    }

    /// Unlinks this leaf, which must be empty, from its neighbours and frees it.
    pub(super) fn unlink(self, tx: &mut WriteTx<'_>) -> Result<()> {
        if self.prev != 0 {
            let mut before = Self::open(tx, self.prev)?;
            if before.next != self.offset || before.offset == self.offset {
                let found = format!("{:#x}", before.next);
                return Err(damaged(before.offset, format!("next: {:#x}", self.offset), found));
            }
            before.tie(tx, before.prev, self.next)?;
        }
        if self.next != 0 {
            self.tell(tx, self.next, (self.offset, self.prev))?;
        }
        self.free(tx)
    }

    /// Sets the links to both neighbours.
    pub(super) fn tie(&mut self, tx: &mut WriteTx<'_>, prev: u64, next: u64) -> Result<()> {
        let region = self.region(tx)?;
        if prev != self.prev {
            tx.put_in(region, PREV_AT, prev)?;
        }
        if next != self.next {
            tx.put_in(region, NEXT_AT, next)?;
        }
        (self.prev, self.next) = (prev, next);
        Ok(())
    }

    /// Makes the next leaf, whose predecessor must be `before`, name this one instead.
    fn tell_next(self, tx: &mut WriteTx<'_>, before: u64) -> Result<()> {
        if self.next == 0 { Ok(()) } else { self.tell(tx, self.next, (before, self.offset)) }
    }

    fn tell(self, tx: &mut WriteTx<'_>, leaf: u64, (old, new): (u64, u64)) -> Result<()> {
        let mut leaf = Self::open(tx, leaf)?;
        if leaf.prev != old {
            let found = format!("{:#x}", leaf.prev);
            return Err(damaged(leaf.offset, format!("prev: {old:#x}"), found));
        }
        leaf.tie(tx, new, leaf.next)
    }
}

impl<K: Persist, P: Payload> InnerAt<K, P> {
    fn block(self) -> Block<Inner<K, P>> {
        Block::new(self.offset, 1)
    }

    fn region(self, tx: &mut WriteTx<'_>) -> Result<Region> {
        tx.region_of_block(self.block())
    }

    fn keys(region: Region) -> Row {
        Row { region, at: Inner::<K, P>::key_at(0), item_bytes: size_of::<K>() as u64 }
    }

    fn children(region: Region) -> Row {
        Row { region, at: Inner::<K, P>::child_at(0), item_bytes: 8 }
    }

    /// Allocates an inner node with one child.
    pub(super) fn alloc(tx: &mut WriteTx<'_>, level: u64, child: u64) -> Result<Self> {
        let mut inner = Self::new(tx.alloc_block::<Inner<K, P>>()?.offset(), level);
        let region = inner.region(tx)?;
        tx.put_in(region, 0, level as u32)?;
        tx.put_in(region, Inner::<K, P>::child_at(0), child)?;
        inner.len = 1;
        put_len(tx, region, 1)?;
        Ok(inner)
    }

    pub(super) fn free(self, tx: &mut WriteTx<'_>) -> Result<()> {
        tx.free_block(self.block())
    }

    /// Writes a child before the one at `index`, which must not be 0, and the key that
    /// separates it from the child before. The node must not be full.
    pub(super) fn insert(
        &mut self,
        tx: &mut WriteTx<'_>,
        index: u64,
        (key, child): (K, u64),
    ) -> Result<()> {
        let region = self.region(tx)?;
        Self::keys(region).open_gap(tx, index - 1, self.len - 1)?;
        Self::children(region).open_gap(tx, index, self.len)?;
        tx.put_in(region, Inner::<K, P>::key_at(index - 1), key)?;
        tx.put_in(region, Inner::<K, P>::child_at(index), child)?;
        self.len += 1;
        put_len(tx, region, self.len)
    }

    /// Removes the link to child `index` and the key before it (for the first child, the
    /// key after it). May leave the node empty.
    pub(super) fn remove(&mut self, tx: &mut WriteTx<'_>, index: u64) -> Result<()> {
        let region = self.region(tx)?;
        Self::keys(region).close_gap(tx, index.saturating_sub(1), self.len - 1)?;
        Self::children(region).close_gap(tx, index, self.len)?;
        self.len -= 1;
        put_len(tx, region, self.len)
    }

    pub(super) fn set_key(self, tx: &mut WriteTx<'_>, index: u64, key: K) -> Result<()> {
        let region = self.region(tx)?;
        tx.put_in(region, Inner::<K, P>::key_at(index), key)
    }

    /// Moves the children from `at` on to a new node; returns the node, and the key that
    /// separates the two. `at` must be neither 0 nor the end.
    pub(super) fn split(&mut self, tx: &mut WriteTx<'_>, at: u64) -> Result<(K, Self)> {
        let first = self.child(tx, at)?;
        let mut right = Self::alloc(tx, self.level, first)?;
        let between = tx.value(self.key_link(at - 1))?;
        let (from, to) = (self.region(tx)?, right.region(tx)?);
        Self::keys(from).hand_over(tx, (at, self.len - 1), (Self::keys(to), 0))?;
        Self::keys(from).clear(tx, at - 1, at)?;
        Self::children(from).hand_over(tx, (at, self.len), (Self::children(to), 0))?;
        right.len = self.len - at;
        self.len = at;
        put_len(tx, from, self.len)?;
        put_len(tx, to, right.len)?;
        Ok((between, right))
    }

    /// Takes over all children of the next node, `right`, and frees it. `between` separates
    /// the two; all children must fit.
    pub(super) fn absorb(&mut self, tx: &mut WriteTx<'_>, between: K, right: Self) -> Result<()> {
        if self.offset == right.offset {
            return Err(damaged(right.offset, "two different children side by side", "one twice"));
        }
        let (to, from) = (self.region(tx)?, right.region(tx)?);
        tx.put_in(to, Inner::<K, P>::key_at(self.len - 1), between)?;
        let separators = (0, right.len - 1);
        Self::keys(from).hand_over(tx, separators, (Self::keys(to), self.len))?;
        Self::children(from).hand_over(tx, (0, right.len), (Self::children(to), self.len))?;
        self.len += right.len;
        put_len(tx, to, self.len)?;
        right.free(tx)
    }
}
