//! Finds allocations that no root reaches, and links whose target is gone.
//!
//! **Owns** the lists of both. **Must not know** how objects are walked (`walk`).

use crate::catalog::root_entries;
use crate::format::PAGE_BYTES;
use crate::format::heap::{MAX_SLOTS, PageKind, ROOT_SINGLE, TYPE_FIRST_USER};
use crate::image::{Allocation, Image};

use super::chunks::Chunks;
use super::layout::{Layout, Layouts};
use super::report::Report;
use super::system_catalog::SystemAllocs;
use super::walk::Walk;

/// Maximum number of entries in each list of a report.
const MAX_LISTED: usize = 100;

/// An allocation that no root reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreachable {
    /// Offset from the start of the heap.
    pub offset: u64,
    /// Length in bytes. For a small array, the length of its slot, which may exceed the requested
    /// length: only the slot's length is stored.
    pub len_bytes: u64,
    /// The name of its type, in brackets for an array.
    pub type_name: String,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { offset, len_bytes, type_name } = self;
        write!(
            f,
            "heap offset {offset:#x}: {type_name} of {len_bytes} bytes, which no root reaches"
        )
    }
}

/// The allocations that no root reaches.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct UnreachableList {
    /// The first 100 allocations.
    pub listed: Vec<Unreachable>,
    /// The number of allocations.
    pub allocations: u64,
    /// Their total length in bytes.
    pub len_bytes: u64,
}

/// A link to no live allocation, or past the end of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dangling {
    /// The position of the link: offset from the start of the heap.
    pub offset: u64,
    /// The type of the value that contains the link.
    pub type_name: String,
    /// The part of that value that is the link, such as `next`; empty if the link is the whole
    /// value.
    pub field: String,
    /// The target: offset from the start of the heap.
    pub target: u64,
    /// What was found at the target.
    pub found: &'static str,
}

impl std::fmt::Display for Dangling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { offset, type_name, field, target, found } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(
            f,
            "heap offset {offset:#x}, {type_name}{colon}{field}: a link to {target:#x}, which is {found}"
        )
    }
}

/// The links to no live allocation, or past the end of one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DanglingList {
    /// The first 100 links, in the order of the walk.
    pub listed: Vec<Dangling>,
    /// The number of links.
    pub links: u64,
}

impl DanglingList {
    /// Counts a link; calls `describe` only if the link is listed.
    pub(super) fn add(&mut self, describe: impl FnOnce() -> Dangling) {
        self.links += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(describe());
        }
    }
}

/// Walks from the roots, then lists the allocations that were not reached. Flagstone's own
/// allocations are named by its own structures instead.
pub(super) fn check(
    image: &Image,
    report: &mut Report,
    chunks: &Chunks,
    layouts: &Layouts,
    system: &SystemAllocs,
) {
    let Some(roots) = report.note(0, root_entries(image)) else {
        return;
    };
    let mut walk = Walk::new(image, layouts, report);
    // The pass over the roots has already reported a list of roots that ends too early.
    for root in roots.map_while(Result::ok).filter(|root| root.offset.get() != 0) {
        let layout = layouts.of(root.type_number.get());
        let count = if root.count.get() == ROOT_SINGLE { 1 } else { root.count.get() };
        let len_bytes = layout.map_or(0, |layout| count.saturating_mul(layout.size_bytes));
        walk.begin_at(root.offset.get(), len_bytes);
    }
    let (reached, dangling, is_whole) = walk.end();
    report.dangling = dangling;
    let mut list = UnreachableList::default();
    each_allocation(image, chunks, |found| {
        if found.owner < TYPE_FIRST_USER {
            if !system.is_named(found.offset) {
                report.find(found.offset, "memory of flagstone's own that nothing names");
            }
        } else if !reached.is_set(found.offset) {
            list.add(&found, layouts.of(found.owner));
        }
    });
    match is_whole {
        true => report.unreachable = list,
        false => report.find(0, "objects lie over each other: what no root reaches is unknown"),
    }
}

/// Calls `each` for every live allocation.
fn each_allocation(image: &Image, chunks: &Chunks, mut each: impl FnMut(Allocation)) {
    for page in chunks.described().take_while(|page| *page < image.heap_pages()) {
        let Ok(descriptor) = image.descriptor(page) else {
            continue;
        };
        let slot_bytes = match descriptor.kind() {
            Some(PageKind::Slab) => u64::from(descriptor.slot_bytes.get()),
            Some(PageKind::Run) => PAGE_BYTES,
            _ => continue,
        };
        let slots = PAGE_BYTES.checked_div(slot_bytes).unwrap_or(0).min(MAX_SLOTS);
        for slot in 0..slots {
            // A free slot is not an allocation.
            let Ok(found) = image.allocation(page * PAGE_BYTES + slot * slot_bytes) else {
                continue;
            };
            each(found);
        }
    }
}

impl UnreachableList {
    fn add(&mut self, found: &Allocation, layout: Option<&Layout>) {
        self.allocations += 1;
        self.len_bytes = self.len_bytes.saturating_add(found.len_bytes);
        if self.listed.len() >= MAX_LISTED {
            return;
        }
        let type_name = match layout {
            Some(layout) if !found.is_array => layout.name.clone(),
            Some(layout) => format!("[{}]", layout.name),
            None => format!("type {}", found.owner),
        };
        let (offset, len_bytes) = (found.offset, found.len_bytes);
        self.listed.push(Unreachable { offset, len_bytes, type_name });
    }
}
