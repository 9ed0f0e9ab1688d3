//! Flagstone's own arrays and texts: the registry, the roots, their names.

use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::heap::{
    ArrayRef, HeapHeader, MAX_ENTRIES, PageDescriptor, PageKind, TYPE_SYSTEM,
};
use crate::image::{Allocation, Image};
use crate::workspace::Workspace;

use super::allocate::{allocate, free};
use super::pages;
use super::request::Request;

/// An array referenced by the heap header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemArray {
    /// Offset of its `ArrayRef` in the heap header.
    place: usize,
    /// Bytes of an element.
    element_bytes: u64,
}

impl SystemArray {
    /// The type registry.
    pub(crate) const REGISTRY: Self =
        Self { place: std::mem::offset_of!(HeapHeader, registry), element_bytes: 128 };

    /// The named roots.
    pub(crate) const ROOTS: Self =
        Self { place: std::mem::offset_of!(HeapHeader, roots), element_bytes: 32 };
}

const _: () = assert!(MAX_ENTRIES == 65536);

/// Appends a zero element to an array; returns its index. A full array moves to a run twice as
/// long.
pub(crate) fn grow_array(workspace: &mut Workspace, array: SystemArray) -> Result<u64> {
    let old: ArrayRef = *workspace.pod("array of the heap header", array.place as u64)?;
    let (len, old_pages) = (u64::from(old.len.get()), u64::from(old.pages.get()));
    if len >= u64::from(MAX_ENTRIES) {
        let (count, size_bytes) = (len + 1, array.element_bytes);
        let why = "a store has at most 65536 types, and as many roots";
        return Err(ErrorKind::TooLarge { count, size_bytes, why }.into());
    }
    expect_array(workspace, &old, len * array.element_bytes)?;
    let mut new = ArrayRef::new(u64::from(old.page.get()), old_pages, len + 1);
    if (len + 1) * array.element_bytes > old_pages * PAGE_BYTES {
        let pages = (old_pages * 2).max(1);
        let mut head = PageDescriptor::of(PageKind::Run);
        head.owner.set(TYPE_SYSTEM);
        head.object_bytes.set(pages * PAGE_BYTES);
        let offset = pages::allocate_run(workspace, pages, head)?;
        if len > 0 {
            let bytes = len * array.element_bytes;
            let copy = workspace.bytes("array", old.offset(), bytes)?.to_vec();
            workspace.bytes_mut("array", offset, bytes)?.copy_from_slice(&copy);
            pages::free_run(workspace, u64::from(old.page.get()), old_pages)?;
        }
        new = ArrayRef::new(offset / PAGE_BYTES, pages, len + 1);
    }
    *workspace.header_mut(array.place)? = new;
    let element = new.offset() + len * array.element_bytes;
    workspace.bytes_mut("array", element, array.element_bytes)?.fill(0);
    Ok(len)
}

/// Refuses an array that is not one system run large enough for its elements: the caller is about
/// to copy and free it.
fn expect_array(image: &Image, array: &ArrayRef, used_bytes: u64) -> Result<()> {
    if (array.page.get(), array.pages.get(), used_bytes) == (0, 0, 0) {
        return Ok(());
    }
    let bytes = u64::from(array.pages.get()) * PAGE_BYTES;
    let is_whole = |found: Allocation| {
        found.is_run
            && found.owner == TYPE_SYSTEM
            && (found.offset, found.len_bytes) == (array.offset(), bytes)
    };
    if used_bytes <= bytes && image.allocation(array.offset()).is_ok_and(is_whole) {
        return Ok(());
    }
    let expected = "a run that holds all elements and nothing else";
    Err(ErrorKind::corrupt(
        "array of the heap header",
        array.offset(),
        expected,
        format!("{array:?}"),
    ))
}

fn text(len_bytes: u64) -> Request {
    Request { type_number: TYPE_SYSTEM, size_bytes: 1, align_bytes: 1, count: Some(len_bytes) }
}

/// Stores a system text; returns its offset.
pub(crate) fn store_bytes(workspace: &mut Workspace, bytes: &[u8]) -> Result<u64> {
    let len_bytes = bytes.len() as u64;
    let offset = allocate(workspace, &text(len_bytes))?;
    workspace.bytes_mut("text", offset, len_bytes)?.copy_from_slice(bytes);
    Ok(offset)
}

/// Frees a system text.
pub(crate) fn free_bytes(workspace: &mut Workspace, offset: u64, len_bytes: u64) -> Result<()> {
    free(workspace, offset, &text(len_bytes))
}
