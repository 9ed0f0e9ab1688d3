//! Slabs: pages of slots of one type and size.

use crate::error::Result;
use crate::format::PAGE_BYTES;
use crate::format::heap::{MAX_SLOTS, PageDescriptor, PageKind};
use crate::image::Image;
use crate::workspace::Workspace;
use zerocopy::little_endian::U32;

use super::descriptors::{bad_page, set_descriptor, set_u32};
use super::pages;

/// Properties that all slabs of one list share.
pub(super) struct Slab {
    pub(super) type_number: u32,
    pub(super) slot_bytes: u64,
    pub(super) flags: u8,
    /// Offset of the list's head: the first slab with a free slot.
    pub(super) list: u64,
}

impl Slab {
    fn slots(&self) -> u64 {
        (PAGE_BYTES / self.slot_bytes).min(MAX_SLOTS)
    }

    fn empty(&self) -> PageDescriptor {
        let mut slab = PageDescriptor::of(PageKind::Slab);
        slab.flags = self.flags;
        slab.owner.set(self.type_number);
        slab.slot_bytes.set(self.slot_bytes as u16);
        slab.slots.set(self.slots() as u16);
        slab
    }

    /// Returns the descriptor of one of these slabs, validated.
    fn descriptor(&self, image: &Image, page: u64) -> Result<PageDescriptor> {
        let found = *image.descriptor(page)?;
        let is_ours = found.kind() == Some(PageKind::Slab)
            && found.flags == self.flags
            && found.owner.get() == self.type_number
            && u64::from(found.slot_bytes.get()) == self.slot_bytes
            && u64::from(found.slots.get()) == self.slots()
            && u64::from(found.used.get()) == found.slots_in_bitmap();
        if is_ours {
            return Ok(found);
        }
        Err(bad_page(page, "a slab of its list's type and slot size", format!("{found:?}")))
    }

    fn head(&self, image: &Image) -> Result<u64> {
        let head: &U32 = image.pod("list of slabs", self.list)?;
        Ok(u64::from(head.get()))
    }

    fn set_head(&self, workspace: &mut Workspace, page: u64) -> Result<()> {
        set_u32(workspace, "list of slabs", self.list, page)
    }
}

/// Allocates a slot in the first slab that has one free, or in a new slab. Constant time.
pub(super) fn allocate(workspace: &mut Workspace, slab: &Slab) -> Result<u64> {
    let mut page = slab.head(workspace)?;
    if page == 0 {
        page = pages::take(workspace, 1)?;
        set_descriptor(workspace, page, slab.empty())?;
        slab.set_head(workspace, page)?;
    }
    let mut found = slab.descriptor(workspace, page)?;
    let Some(slot) = found.free_slot() else {
        return Err(bad_page(page, "a slab with a free slot", "a full one"));
    };
    found.set_slot(slot, true);
    found.used.set(found.used.get().saturating_add(1));
    if found.used == found.slots {
        unlink(workspace, slab, page, &mut found)?;
    }
    set_descriptor(workspace, page, found)?;
    Ok(page * PAGE_BYTES + slot * slab.slot_bytes)
}

/// Frees a slot. Frees its page too, if the slot was the last one in use there and other slabs of
/// the list have free slots.
pub(super) fn free(workspace: &mut Workspace, offset: u64, slab: &Slab) -> Result<()> {
    let page = offset / PAGE_BYTES;
    let mut found = slab.descriptor(workspace, page)?;
    let was_full = found.used == found.slots;
    let Some(used) = found.used.get().checked_sub(1) else {
        return Err(bad_page(page, "a slab with slots in use", "none"));
    };
    found.used.set(used);
    found.set_slot(offset % PAGE_BYTES / slab.slot_bytes, false);
    if was_full {
        link(workspace, slab, page, &mut found)?;
    }
    let is_alone = found.next.get() == 0 && found.prev.get() == 0;
    if used == 0 && !is_alone {
        unlink(workspace, slab, page, &mut found)?;
        return pages::free_pages(workspace, page, 1);
    }
    set_descriptor(workspace, page, found)
}

/// Frees a slab without used slots. Returns whether it was one.
pub(super) fn free_if_empty(workspace: &mut Workspace, page: u64, slab: &Slab) -> Result<bool> {
    let mut found = slab.descriptor(workspace, page)?;
    if found.used.get() != 0 {
        return Ok(false);
    }
    unlink(workspace, slab, page, &mut found)?;
    pages::free_pages(workspace, page, 1)?;
    Ok(true)
}

/// Links a slab at the head of its list.
fn link(
    workspace: &mut Workspace,
    slab: &Slab,
    page: u64,
    descriptor: &mut PageDescriptor,
) -> Result<()> {
    let head = slab.head(workspace)?;
    if head != 0 {
        let mut next = slab.descriptor(workspace, head)?;
        next.prev.set(page as u32);
        set_descriptor(workspace, head, next)?;
    }
    descriptor.next.set(head as u32);
    descriptor.prev.set(0);
    slab.set_head(workspace, page)
}

/// Unlinks a slab from its list.
fn unlink(
    workspace: &mut Workspace,
    slab: &Slab,
    page: u64,
    descriptor: &mut PageDescriptor,
) -> Result<()> {
    let (next, prev) = (u64::from(descriptor.next.get()), u64::from(descriptor.prev.get()));
    if prev == 0 {
        let head = slab.head(workspace)?;
        if head != page {
            return Err(bad_page(page, "the first slab of its list", head));
        }
        slab.set_head(workspace, next)?;
    } else {
        let mut before = slab.descriptor(workspace, prev)?;
        before.next.set(next as u32);
        set_descriptor(workspace, prev, before)?;
    }
    if next != 0 {
        let mut after = slab.descriptor(workspace, next)?;
        after.prev.set(prev as u32);
        set_descriptor(workspace, next, after)?;
    }
    descriptor.next.set(0);
    descriptor.prev.set(0);
    Ok(())
}
