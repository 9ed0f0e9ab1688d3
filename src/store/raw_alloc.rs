//! Allocations whose layout a collection manages, for the write transaction.
//!
//! A collection finds its blocks through numbers in the file. Before it changes a block it opens
//! it as a [`Region`], which validates once that the block is one whole live allocation of its
//! kind. Every access is then checked to lie within the region.

use crate::alloc::{self, Request};
use crate::error::{ErrorKind, Result};
use crate::persist::{Block, Blocks, Element, ElementRef, Link, Owned, Persist, Piece, bytes_of};

use super::write::{WriteTx, WriterGuard, request};

/// A validated allocation, to change parts of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    offset: u64,
    len_bytes: u64,
}

impl Region {
    /// Returns the heap offset of `len_bytes` at `at`, if they lie within the region.
    #[inline]
    fn place(self, at: u64, len_bytes: u64) -> Result<u64> {
        match at.checked_add(len_bytes) {
            Some(end) if end <= self.len_bytes => Ok(self.offset + at),
            _ => Err(self.outside(at, len_bytes)),
        }
    }

    #[cold]
    fn outside(self, at: u64, len_bytes: u64) -> crate::error::Error {
        let expected = format!("a part of the allocation's {} bytes", self.len_bytes);
        let found = format!("{len_bytes} bytes at {at} of it");
        ErrorKind::corrupt("collection", self.offset, expected, found)
    }
}

impl WriteTx<'_> {
    /// Allocates an array of `count` blocks of zero bytes.
    pub(crate) fn alloc_blocks<E: Element>(&mut self, count: u64) -> Result<Blocks<E>> {
        let offset = self.alloc_zeros(&ElementRef::of::<E>(), Some(count))?;
        Ok(Blocks::new(offset, count))
    }

    /// Allocates a block of zero bytes.
    pub(crate) fn alloc_block<E: Element>(&mut self) -> Result<Block<E>> {
        Ok(Block::new(self.alloc_zeros(&ElementRef::of::<E>(), None)?, 1))
    }

    /// Allocates zeros without checking that they are a valid value.
    pub(super) fn alloc_zeros(&mut self, element: &ElementRef, count: Option<u64>) -> Result<u64> {
        let request = self.request_for(element, count)?;
        let offset = alloc::allocate(self.workspace(), &request)?;
        // The pages of a run are zeroed when they are taken into use.
        if !request.is_run()? {
            let len_bytes = request.len_bytes()?;
            self.workspace().bytes_mut("new block", offset, len_bytes)?.fill(0);
        }
        Ok(offset)
    }

    pub(crate) fn free_blocks<E: Element>(&mut self, blocks: Blocks<E>) -> Result<()> {
        self.free_element(&ElementRef::of::<E>(), blocks.offset(), Some(blocks.count()))
    }

    pub(crate) fn free_block<E: Element>(&mut self, block: Block<E>) -> Result<()> {
        self.free_element(&ElementRef::of::<E>(), block.offset(), None)
    }

    /// Frees one whole live allocation of that kind; null is an error.
    fn free_element(
        &mut self,
        element: &ElementRef,
        offset: u64,
        count: Option<u64>,
    ) -> Result<()> {
        let request = self.request_for(element, count)?;
        self.expect_whole(element.name, offset, &request)?;
        self.free_validated(offset, &request)
    }

    /// Frees an allocation that was validated.
    pub(super) fn free_validated(&mut self, offset: u64, request: &Request) -> Result<()> {
        self.validated.remove(offset);
        alloc::free(self.workspace(), offset, request)
    }

    /// Refuses anything but one whole live allocation, made for such a request. `type_name` is for
    /// the message.
    #[inline]
    pub(super) fn expect_whole(
        &self,
        type_name: fn() -> String,
        offset: u64,
        request: &Request,
    ) -> Result<()> {
        let Err(found) = alloc::expect_whole(self, offset, request) else {
            return Ok(());
        };
        Err(ErrorKind::LinkNotWhole { type_name: type_name(), offset, found }.into())
    }

    /// Opens the array's bytes to change them.
    #[inline]
    pub(crate) fn region_of<E: Element>(&mut self, blocks: Blocks<E>) -> Result<Region> {
        let element = ElementRef::of::<E>();
        let request = self.request_for(&element, Some(blocks.count()))?;
        if !self.validated.contains(blocks.offset(), &request) {
            self.expect_whole(element.name, blocks.offset(), &request)?;
            self.validated.insert(blocks.offset(), &request);
        }
        Ok(Region { offset: blocks.offset(), len_bytes: blocks.len_bytes() })
    }

    /// Opens the block's bytes to change them.
    #[inline]
    pub(crate) fn region_of_block<E: Element>(&mut self, block: Block<E>) -> Result<Region> {
        let element = ElementRef::of::<E>();
        let request = self.request_for(&element, None)?;
        self.expect_whole(element.name, block.offset(), &request)?;
        Ok(Region { offset: block.offset(), len_bytes: E::SIZE_BYTES })
    }

    /// Refuses a value that owns an allocation which is not live: made in a transaction that was
    /// rolled back, made in another store, or released. Checked when a value is stored, before a
    /// reader can trip over it. Constant time for each part that can own an allocation.
    #[inline]
    pub(crate) fn expect_owned<T: Persist>(&mut self, value: &T) -> Result<()> {
        if !T::OWNS {
            return Ok(());
        }
        T::owned(bytes_of(value), &mut self.owned);
        if self.owned.is_empty() { Ok(()) } else { self.expect_pieces() }
    }

    /// Checks the same for a value that was created in the heap.
    pub(super) fn expect_owned_at<T: Persist>(&mut self, link: Link<T>) -> Result<()> {
        let mut owned = std::mem::take(&mut self.owned);
        T::owned(bytes_of(self.at(link)?), &mut owned);
        self.owned = owned;
        self.expect_pieces()
    }

    /// Checks all collected pieces, and leaves `owned` empty in any case.
    fn expect_pieces(&mut self) -> Result<()> {
        while let Some(piece) = self.owned.pop() {
            if let Err(error) = self.expect_piece(&piece) {
                self.owned = Owned::default();
                return Err(error);
            }
        }
        Ok(())
    }

    fn expect_piece(&mut self, piece: &Piece) -> Result<()> {
        let Piece { element, offset, count, .. } = piece;
        let WriterGuard { writer, numbers, .. } = &mut self.writer;
        let type_number = numbers.number_if_known(&writer.workspace, &self.store.types, element)?;
        let request = request(element, type_number, *count);
        // This transaction usually made the allocation, and so has written to it.
        if self.validated.contains(*offset, &request) {
            return Ok(());
        }
        let Err(found) = alloc::expect_whole(self, *offset, &request) else { return Ok(()) };
        Err(not_there(piece, found))
    }

    /// Replaces the target as `put` does, without checking what the value owns: for the header of a
    /// collection, which the collection made itself.
    #[inline]
    pub(crate) fn put_header<T: Persist>(&mut self, link: Link<T>, value: T) -> Result<()> {
        if link.is_null() {
            return Err(ErrorKind::LinkNull { type_name: T::type_name() }.into());
        }
        let workspace = self.workspace();
        workspace.expect_place(link)?;
        workspace.expect_live(link)?;
        workspace.mark_dirty(link.offset(), size_of::<T>() as u64)?;
        workspace.image_mut().put(link, value)
    }

    /// Moves a value into the region, over whatever bytes were there.
    #[inline]
    pub(crate) fn put_in<T: Persist>(&mut self, region: Region, at: u64, value: T) -> Result<()> {
        let len_bytes = size_of::<T>() as u64;
        let offset = region.place(at, len_bytes)?;
        let workspace = self.workspace();
        workspace.mark_dirty(offset, len_bytes)?;
        workspace.image_mut().put(Link::from_parts(offset, 1), value)
    }

    /// Returns a value in the region, to change it.
    #[inline]
    pub(crate) fn value_in_mut<T: Persist>(&mut self, region: Region, at: u64) -> Result<&mut T> {
        let len_bytes = size_of::<T>() as u64;
        let offset = region.place(at, len_bytes)?;
        let workspace = self.workspace();
        workspace.mark_dirty(offset, len_bytes)?;
        workspace.image_mut().at_mut(Link::<T>::from_parts(offset, 1))
    }

    /// Returns bytes of the region, to change them.
    #[inline]
    pub(crate) fn bytes_in_mut(
        &mut self,
        region: Region,
        at: u64,
        len_bytes: u64,
    ) -> Result<&mut [u8]> {
        let offset = region.place(at, len_bytes)?;
        self.workspace().bytes_mut("part of a collection", offset, len_bytes)
    }

    /// Copies bytes within a region or between two, with the semantics of `copy_within` for
    /// overlaps.
    #[inline]
    pub(crate) fn copy_in(
        &mut self,
        (from, from_at): (Region, u64),
        (to, to_at): (Region, u64),
        len_bytes: u64,
    ) -> Result<()> {
        let from = from.place(from_at, len_bytes)?;
        let to = to.place(to_at, len_bytes)?;
        let workspace = self.workspace();
        workspace.mark_dirty(to, len_bytes)?;
        workspace.image_mut().copy(from, to, len_bytes)
    }
}

#[cold]
fn not_there(piece: &Piece, found: String) -> crate::error::Error {
    let (type_name, offset) = ((piece.element.name)(), piece.offset);
    ErrorKind::OwnedNotLive { type_name, offset, found }.into()
}
