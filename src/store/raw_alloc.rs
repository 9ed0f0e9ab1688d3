//! Allocations that collections lay out themselves, for the write transaction.
//!
//! A collection's blocks are found through numbers in the file. Before it
//! changes one it opens it as an [`Region`], which is tested once: one whole live
//! allocation of its kind. Every access lies within the area.

use crate::alloc::{self, Request};
use crate::error::{ErrorKind, Result};
use crate::persist::{Block, Blocks, Element, ElementRef, Link, Owned, Persist, Piece, bytes_of};

use super::WriteTx;
use super::write::{WriterGuard, request};

/// An allocation that was tested, to change parts of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    offset: u64,
    len_bytes: u64,
}

impl Region {
    /// Where `len_bytes` at `at` lie, if they are within.
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
    /// An array of `count` blocks; all bytes are zero.
    pub(crate) fn alloc_blocks<E: Element>(&mut self, count: u64) -> Result<Blocks<E>> {
        let offset = self.alloc_zeros(&ElementRef::of::<E>(), Some(count))?;
        Ok(Blocks::new(offset, count))
    }

    /// A block; all bytes are zero.
    pub(crate) fn alloc_block<E: Element>(&mut self) -> Result<Block<E>> {
        Ok(Block::new(self.alloc_zeros(&ElementRef::of::<E>(), None)?, 1))
    }

    /// An allocation of zeros, not tested to be values.
    pub(super) fn alloc_zeros(&mut self, element: &ElementRef, count: Option<u64>) -> Result<u64> {
        let request = self.request_for(element, count)?;
        let offset = alloc::allocate(self.workspace(), &request)?;
        // The pages of a run are zero when they are taken into use.
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
    pub(super) fn free_element(
        &mut self,
        element: &ElementRef,
        offset: u64,
        count: Option<u64>,
    ) -> Result<()> {
        let request = self.request_for(element, count)?;
        self.expect_element(element, offset, &request)?;
        self.free_validated(offset, &request)
    }

    /// Frees an allocation that was tested.
    pub(super) fn free_validated(&mut self, offset: u64, request: &Request) -> Result<()> {
        self.validated.forget(offset);
        alloc::free(self.workspace(), offset, request)
    }

    /// Refuses what is not one whole live allocation of that kind.
    #[inline]
    pub(super) fn expect_element(
        &self,
        element: &ElementRef,
        offset: u64,
        request: &Request,
    ) -> Result<()> {
        let Err(found) = alloc::expect_whole(self, offset, request) else {
            return Ok(());
        };
        let type_name = (element.name)();
        Err(ErrorKind::LinkNotWhole { type_name, offset, found }.into())
    }

    /// The array's bytes, to change them.
    #[inline]
    pub(crate) fn region_of<E: Element>(&mut self, blocks: Blocks<E>) -> Result<Region> {
        let element = ElementRef::of::<E>();
        let request = self.request_for(&element, Some(blocks.count()))?;
        if !self.validated.has(blocks.offset(), &request) {
            self.expect_element(&element, blocks.offset(), &request)?;
            self.validated.passed(blocks.offset(), &request);
        }
        Ok(Region { offset: blocks.offset(), len_bytes: blocks.len_bytes() })
    }

    /// The block's bytes, to change them.
    #[inline]
    pub(crate) fn region_of_block<E: Element>(&mut self, block: Block<E>) -> Result<Region> {
        let element = ElementRef::of::<E>();
        let request = self.request_for(&element, None)?;
        self.expect_element(&element, block.offset(), &request)?;
        Ok(Region { offset: block.offset(), len_bytes: E::SIZE_BYTES })
    }

    /// Refuses a value that owns what is not there: of a transaction that was rolled back, of
    /// another store, or one that was released. Asked when a value comes in, so that it is found
    /// out before somebody reads it. Constant time for each part that can own.
    #[inline]
    pub(crate) fn expect_owned<T: Persist>(&mut self, value: &T) -> Result<()> {
        if !T::OWNS {
            return Ok(());
        }
        T::owned(bytes_of(value), &mut self.owned);
        if self.owned.is_empty() { Ok(()) } else { self.expect_pieces() }
    }

    /// The same of a value that was made where it lies.
    pub(super) fn expect_owned_at<T: Persist>(&mut self, link: Link<T>) -> Result<()> {
        let mut owned = std::mem::take(&mut self.owned);
        T::owned(bytes_of(self.at(link)?), &mut owned);
        self.owned = owned;
        self.expect_pieces()
    }

    /// Leaves none of them behind.
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
        // As a rule it was made by this transaction, which has written to it then.
        if self.validated.has(*offset, &request) {
            return Ok(());
        }
        let Err(found) = alloc::expect_whole(self, *offset, &request) else { return Ok(()) };
        Err(not_there(piece, found))
    }

    /// Replaces the header of a collection by one that it has made itself.
    #[inline]
    pub(crate) fn put_header<T: Persist>(&mut self, link: Link<T>, header: T) -> Result<()> {
        self.put_unowned(link, header)
    }

    /// Moves a value to a place in the area, whatever was there.
    #[inline]
    pub(crate) fn put_in<T: Persist>(&mut self, region: Region, at: u64, value: T) -> Result<()> {
        let len_bytes = size_of::<T>() as u64;
        let offset = region.place(at, len_bytes)?;
        let workspace = self.workspace();
        workspace.mark_dirty(offset, len_bytes)?;
        workspace.image_mut().put(Link::from_parts(offset, 1), value)
    }

    /// A value in the area, to change it.
    #[inline]
    pub(crate) fn value_in_mut<T: Persist>(&mut self, region: Region, at: u64) -> Result<&mut T> {
        let len_bytes = size_of::<T>() as u64;
        let offset = region.place(at, len_bytes)?;
        let workspace = self.workspace();
        workspace.mark_dirty(offset, len_bytes)?;
        workspace.image_mut().at_mut(Link::<T>::from_parts(offset, 1))
    }

    /// Bytes of the area, to change them.
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

    /// Copies bytes from one place to another, in the same area or two; as
    /// `copy_within`, overlapping or not.
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
