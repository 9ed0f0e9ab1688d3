//! Allocations that collections lay out themselves, for the write transaction.
//!
//! A collection's blocks are found through numbers in the file. Before it
//! changes one it opens it as an [`Area`], which is tested once: one whole live
//! allocation of its kind. Every access lies within the area.

use crate::alloc::{self, Request};
use crate::error::{ErrorKind, Result};
use crate::persist::{Block, Blocks, Element, ElementRef, Link, Persist};

use super::WriteTx;

/// An allocation that was tested, to change parts of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    offset: u64,
    len_bytes: u64,
}

impl Area {
    /// Where `len_bytes` at `at` lie, if they are within.
    #[inline]
    fn place(self, at: u64, len_bytes: u64) -> Result<u64> {
        match at.checked_add(len_bytes) {
            Some(end) if end <= self.len_bytes => Ok(self.offset + at),
            _ => Err(self.outside(at, len_bytes)),
        }
    }

    #[cold]
    fn outside(self, at: u64, len_bytes: u64) -> crate::Error {
        let expected = format!("a part of the allocation's {} bytes", self.len_bytes);
        let found = format!("{len_bytes} bytes at {at} of it");
        ErrorKind::corrupt("collection", self.offset, expected, found)
    }
}

impl WriteTx<'_> {
    /// An array of `count` blocks; all bytes are zero.
    pub(crate) fn alloc_blocks<E: Element>(&mut self, count: u64) -> Result<Blocks<E>> {
        let offset = self.alloc_zeroed(&ElementRef::of::<E>(), Some(count))?;
        Ok(Blocks::new(offset, count))
    }

    /// A block; all bytes are zero.
    pub(crate) fn alloc_block<E: Element>(&mut self) -> Result<Block<E>> {
        Ok(Block::new(self.alloc_zeroed(&ElementRef::of::<E>(), None)?, 1))
    }

    fn alloc_zeroed(&mut self, element: &ElementRef, count: Option<u64>) -> Result<u64> {
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
        self.free_tested(offset, &request)
    }

    /// Frees an allocation that was tested.
    pub(super) fn free_tested(&mut self, offset: u64, request: &Request) -> Result<()> {
        self.tested.forget(offset);
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
    pub(crate) fn area_of<E: Element>(&mut self, blocks: Blocks<E>) -> Result<Area> {
        let element = ElementRef::of::<E>();
        let request = self.request_for(&element, Some(blocks.count()))?;
        if !self.tested.has(blocks.offset(), &request) {
            self.expect_element(&element, blocks.offset(), &request)?;
            self.tested.passed(blocks.offset(), &request);
        }
        Ok(Area { offset: blocks.offset(), len_bytes: blocks.len_bytes() })
    }

    /// The block's bytes, to change them.
    #[inline]
    pub(crate) fn area_of_block<E: Element>(&mut self, block: Block<E>) -> Result<Area> {
        let element = ElementRef::of::<E>();
        let request = self.request_for(&element, None)?;
        self.expect_element(&element, block.offset(), &request)?;
        Ok(Area { offset: block.offset(), len_bytes: E::SIZE_BYTES })
    }

    /// Moves a value to a place in the area, whatever was there.
    #[inline]
    pub(crate) fn put_in<T: Persist>(&mut self, area: Area, at: u64, value: T) -> Result<()> {
        let len_bytes = size_of::<T>() as u64;
        let offset = area.place(at, len_bytes)?;
        let workspace = self.workspace();
        workspace.mark(offset, len_bytes)?;
        workspace.image_mut().put(Link::from_parts(offset, 1), value)
    }

    /// A value in the area, to change it.
    #[inline]
    pub(crate) fn value_in_mut<T: Persist>(&mut self, area: Area, at: u64) -> Result<&mut T> {
        let len_bytes = size_of::<T>() as u64;
        let offset = area.place(at, len_bytes)?;
        let workspace = self.workspace();
        workspace.mark(offset, len_bytes)?;
        workspace.image_mut().at_mut(Link::<T>::from_parts(offset, 1))
    }

    /// Bytes of the area, to change them.
    #[inline]
    pub(crate) fn bytes_in_mut(
        &mut self,
        area: Area,
        at: u64,
        len_bytes: u64,
    ) -> Result<&mut [u8]> {
        let offset = area.place(at, len_bytes)?;
        self.workspace().bytes_mut("part of a collection", offset, len_bytes)
    }

    /// Copies bytes from one place to another, in the same area or two; as
    /// `copy_within`, overlapping or not.
    #[inline]
    pub(crate) fn copy_in(
        &mut self,
        (from, from_at): (Area, u64),
        (to, to_at): (Area, u64),
        len_bytes: u64,
    ) -> Result<()> {
        let from = from.place(from_at, len_bytes)?;
        let to = to.place(to_at, len_bytes)?;
        let workspace = self.workspace();
        workspace.mark(to, len_bytes)?;
        workspace.image_mut().copy(from, to, len_bytes)
    }
}
