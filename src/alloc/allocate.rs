//! Allocates, frees and validates: each request in a slab, or in a run of its own.

use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::heap::{
    ARRAY_CLASSES, MAX_SLOT_BYTES, PageDescriptor, PageKind, RUN_OBJECT, SLAB_ARRAYS, TypeEntry,
};
use crate::image::{Allocation, Image};
use crate::workspace::Workspace;

use super::request::{Place, Request};
use super::slabs::Slab;
use super::{pages, slabs};

/// Allocates and returns the offset; the bytes keep their old contents. Constant time, except for
/// zeroing pages that are taken into use.
pub(crate) fn allocate(workspace: &mut Workspace, request: &Request) -> Result<u64> {
    match home_of(workspace, request)? {
        Home::Slabs(slabs) => slabs::allocate(workspace, &slabs),
        Home::Run { pages } => {
            let mut head = PageDescriptor::of(PageKind::Run);
            head.flags = if request.count.is_none() { RUN_OBJECT } else { 0 };
            head.owner.set(request.type_number);
            head.object_bytes.set(request.len_bytes()?);
            pages::allocate_run(workspace, pages, head)
        }
    }
}

/// Frees an allocation that `allocate` returned for the same request.
pub(crate) fn free(workspace: &mut Workspace, offset: u64, request: &Request) -> Result<()> {
    if let Err(found) = expect_whole(workspace, offset, request) {
        return Err(ErrorKind::corrupt("allocation to free", offset, "a live one", found));
    }
    match home_of(workspace, request)? {
        Home::Slabs(slabs) => slabs::free(workspace, offset, &slabs),
        Home::Run { pages } => pages::free_run(workspace, offset / PAGE_BYTES, pages),
    }
}

/// Where an allocation lies.
enum Home {
    /// In a slot of one of the slabs with these properties.
    Slabs(Slab),
    /// In a run of its own.
    Run { pages: u64 },
}

#[inline]
fn home_of(image: &Image, request: &Request) -> Result<Home> {
    let type_number = request.type_number;
    let (slot_bytes, flags, list) = match request.place()? {
        Place::Object { slot_bytes } => (slot_bytes, 0, objects_list(image, type_number)?),
        Place::Array { class } => {
            let list = arrays_list(image, type_number, class)?;
            (u64::from(ARRAY_CLASSES[class]), SLAB_ARRAYS, list)
        }
        Place::Run { pages } => return Ok(Home::Run { pages }),
    };
    Ok(Home::Slabs(Slab { type_number, slot_bytes, flags, list }))
}

/// Checks that exactly one allocation, made for such a request, begins at `offset`; describes the
/// actual contents otherwise.
pub(crate) fn expect_whole(
    image: &Image,
    offset: u64,
    request: &Request,
) -> std::result::Result<(), String> {
    let found = image.allocation(offset)?;
    if found.owner != request.type_number {
        return Err(format!("an allocation of type number {}", found.owner));
    }
    let len_bytes = request.len_bytes().map_err(|error| error.to_string())?;
    // Fast path: a collection checks its large block at each change.
    let is_array = request.count.is_some();
    let is_run = found.is_run && found.len_bytes > MAX_SLOT_BYTES && found.is_array == is_array;
    if is_run && found.offset == offset && found.len_bytes == len_bytes {
        return Ok(());
    }
    let place = request.place().map_err(|error| error.to_string())?;
    let is_right = found.is_array == is_array && matches_place(&found, place, len_bytes);
    if found.offset != offset || !is_right {
        let (at, bytes) = (found.offset, found.len_bytes);
        let what = if found.is_array { "array" } else { "object" };
        return Err(format!("an {what} of {bytes} bytes at {at:#x}"));
    }
    Ok(())
}

fn matches_place(found: &Allocation, place: Place, len_bytes: u64) -> bool {
    let in_slab = |slot_bytes| !found.is_run && found.len_bytes == slot_bytes;
    match place {
        Place::Object { slot_bytes } => in_slab(slot_bytes),
        Place::Array { class } => in_slab(u64::from(ARRAY_CLASSES[class])),
        Place::Run { .. } => found.is_run && found.len_bytes == len_bytes,
    }
}

/// Returns the offset of a type's registry entry.
pub(crate) fn type_entry_offset(image: &Image, type_number: u32) -> Result<u64> {
    let registry = image.registry()?;
    let len = registry.len.get();
    if type_number >= len {
        let expected = format!("one of {len}");
        return Err(ErrorKind::corrupt("type number", registry.offset(), expected, type_number));
    }
    Ok(registry.offset() + u64::from(type_number) * size_of::<TypeEntry>() as u64)
}

/// Returns the properties of the slab at `page`, or `None` if there is none.
pub(super) fn slabs_of(image: &Image, page: u64) -> Result<Option<Slab>> {
    let found = *image.descriptor(page)?;
    if found.kind() != Some(PageKind::Slab) {
        return Ok(None);
    }
    let (type_number, slot_bytes) = (found.owner.get(), found.slot_bytes.get());
    if !(1..=MAX_SLOT_BYTES).contains(&slot_bytes.into()) {
        return Ok(None);
    }
    let flags = found.flags;
    let list = match flags & SLAB_ARRAYS {
        0 => objects_list(image, type_number)?,
        _ => {
            let class =
                ARRAY_CLASSES.iter().position(|bytes| u64::from(*bytes) == slot_bytes.into());
            let Some(class) = class else { return Ok(None) };
            arrays_list(image, type_number, class)?
        }
    };
    Ok(Some(Slab { type_number, slot_bytes: slot_bytes.into(), flags, list }))
}

fn objects_list(image: &Image, type_number: u32) -> Result<u64> {
    let entry = type_entry_offset(image, type_number)?;
    Ok(entry + std::mem::offset_of!(TypeEntry, objects) as u64)
}

fn arrays_list(image: &Image, type_number: u32, class: usize) -> Result<u64> {
    let entry = type_entry_offset(image, type_number)?;
    Ok(entry + std::mem::offset_of!(TypeEntry, arrays) as u64 + 4 * class as u64)
}
