//! The allocator: typed slabs and runs of pages.
//!
//! **Owns** the page descriptors, the free runs, the slabs, and the heap's length. **Must not
//! know** Rust types: it works with registry numbers, sizes and alignments.
//!
//! All its structures are plain structs in the heap, changed in the transaction that allocates. An
//! allocation is thus atomic with the data that uses it, and a crash needs no separate recovery.
//!
//! # Invariants
//!
//! `A1` Every page below the heap's end has a descriptor, and the first page of a run or a free
//! run records its length. `A2` Two free runs never touch. `A3` The list of a type and slot size
//! holds exactly the slabs that have a free slot. `A4` Every value from the file is validated
//! before use: a damaged structure is an error, never an endless loop or a write to another
//! allocation's page.

#![forbid(unsafe_code)]

mod free_runs;
mod pages;
mod segments;
mod slabs;
mod system;

use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::heap::{
    ARRAY_CLASSES, MAX_PAGES, MAX_SLOT_BYTES, PageDescriptor, PageKind, RUN_OBJECT, SLAB_ARRAYS,
    TypeEntry,
};
use crate::image::{Allocation, Image};
use crate::workspace::Workspace;

pub(crate) use pages::{allocate_log_region, free_log_region};
pub(crate) use system::{SystemArray, free_bytes, grow_array, store_bytes};

use zerocopy::little_endian::U32;

/// The parameters of an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// The type's registry number.
    pub(crate) type_number: u32,
    /// Bytes of one value.
    pub(crate) size_bytes: u64,
    pub(crate) align_bytes: u64,
    /// Elements of an array, or `None` for a single object.
    pub(crate) count: Option<u64>,
}

/// Where an allocation of a given size goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A slab of single objects.
    Object { slot_bytes: u64 },
    /// A slab of small arrays, of this size class.
    Array { class: usize },
    /// A run of pages.
    Run { pages: u64 },
}

impl Request {
    /// Returns the bytes of the value, or of all elements.
    pub(crate) fn len_bytes(&self) -> Result<u64> {
        let count = self.count.unwrap_or(1);
        let len = self.size_bytes.checked_mul(count).filter(|len| len / PAGE_BYTES < MAX_PAGES);
        len.ok_or_else(|| self.too_large())
    }

    #[cold]
    fn too_large(&self) -> crate::error::Error {
        let (count, size_bytes) = (self.count.unwrap_or(1), self.size_bytes);
        ErrorKind::TooLarge { count, size_bytes, why: "a heap holds at most 1 TiB" }.into()
    }

    /// Returns whether the allocation gets its own run of pages.
    pub(crate) fn is_run(&self) -> Result<bool> {
        Ok(matches!(self.place()?, Place::Run { .. }))
    }

    fn place(&self) -> Result<Place> {
        let len_bytes = self.len_bytes()?;
        if self.count.is_none() && len_bytes <= MAX_SLOT_BYTES {
            return Ok(Place::Object { slot_bytes: len_bytes.max(16) });
        }
        let fits = |class: &u16| {
            u64::from(*class) >= len_bytes && u64::from(*class).is_multiple_of(self.align_bytes)
        };
        let class = ARRAY_CLASSES.iter().position(fits).filter(|_| self.count.is_some());
        Ok(match class {
            Some(class) => Place::Array { class },
            // An empty array takes a page too, which makes its link non-null.
            None => Place::Run { pages: len_bytes.div_ceil(PAGE_BYTES).max(1) },
        })
    }

    /// Returns the slab parameters for this request.
    fn slab(&self, slot_bytes: u64, flags: u8, list: u64) -> slabs::Slab {
        slabs::Slab { type_number: self.type_number, slot_bytes, flags, list }
    }
}

/// Allocates and returns the offset; the bytes keep their old contents. Constant time, except for
/// zeroing pages that are taken into use.
pub(crate) fn allocate(workspace: &mut Workspace, request: &Request) -> Result<u64> {
    match request.place()? {
        Place::Object { slot_bytes } => {
            let list = objects_list(workspace, request.type_number)?;
            slabs::allocate(workspace, &request.slab(slot_bytes, 0, list))
        }
        Place::Array { class } => {
            let list = arrays_list(workspace, request.type_number, class)?;
            let slot_bytes = u64::from(ARRAY_CLASSES[class]);
            slabs::allocate(workspace, &request.slab(slot_bytes, SLAB_ARRAYS, list))
        }
        Place::Run { pages } => {
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
    match request.place()? {
        Place::Object { slot_bytes } => {
            let list = objects_list(workspace, request.type_number)?;
            slabs::free(workspace, offset, &request.slab(slot_bytes, 0, list))
        }
        Place::Array { class } => {
            let list = arrays_list(workspace, request.type_number, class)?;
            let slot_bytes = u64::from(ARRAY_CLASSES[class]);
            slabs::free(workspace, offset, &request.slab(slot_bytes, SLAB_ARRAYS, list))
        }
        Place::Run { pages } => pages::free_run(workspace, offset / PAGE_BYTES, pages),
    }
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

fn objects_list(image: &Image, type_number: u32) -> Result<u64> {
    let entry = type_entry_offset(image, type_number)?;
    Ok(entry + std::mem::offset_of!(TypeEntry, objects) as u64)
}

fn arrays_list(image: &Image, type_number: u32, class: usize) -> Result<u64> {
    let entry = type_entry_offset(image, type_number)?;
    Ok(entry + std::mem::offset_of!(TypeEntry, arrays) as u64 + 4 * class as u64)
}

fn set_descriptor(workspace: &mut Workspace, page: u64, new: PageDescriptor) -> Result<()> {
    let offset = workspace.descriptor_offset(page)?;
    *workspace.pod_mut("page descriptor", offset)? = new;
    Ok(())
}

fn set_u32(workspace: &mut Workspace, what: &'static str, offset: u64, value: u64) -> Result<()> {
    *workspace.pod_mut(what, offset)? = U32::new(value as u32);
    Ok(())
}

fn set_in_header(workspace: &mut Workspace, offset: usize, value: u64) -> Result<()> {
    *workspace.header_mut(offset)? = U32::new(value as u32);
    Ok(())
}

#[cold]
fn bad_page(page: u64, expected: &str, found: impl std::fmt::Display) -> crate::error::Error {
    ErrorKind::corrupt("page descriptor (page's offset)", page * PAGE_BYTES, expected, found)
}
