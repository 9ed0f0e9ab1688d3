//! Finds allocations that no root reaches.
//!
//! **Owns** the comparison of live allocations with what a walk from the roots reached. **Must
//! not know** how objects are walked (`walk`).

use crate::catalog::root_entries;
use crate::check::pages::chunks::Chunks;
use crate::check::report::{Report, Unreachable, UnreachableList};
use crate::check::schema::layout::{Layout, Layouts};
use crate::check::system_catalog::SystemAllocs;
use crate::format::PAGE_BYTES;
use crate::format::heap::{MAX_SLOTS, PageKind, ROOT_SINGLE, TYPE_FIRST_USER};
use crate::image::{Allocation, Image};

use super::walk::Walk;

/// Walks from the roots, then lists the allocations that were not reached. Flagstone's own
/// allocations are named by its own structures instead.
pub(in crate::check) fn check(
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
        walk.walk_from(root.offset.get(), len_bytes);
    }
    let (reached, dangling, is_whole) = walk.end();
    report.dangling = dangling;
    let mut list = UnreachableList::default();
    each_allocation(image, chunks, |found| {
        if found.owner < TYPE_FIRST_USER {
            if !system.is_named(found.offset) {
                report.add_at(found.offset, "memory of flagstone's own that nothing names");
            }
        } else if !reached.is_set(found.offset) {
            list.add(found.len_bytes, || describe(&found, layouts.of(found.owner)));
        }
    });
    match is_whole {
        true => report.unreachable = list,
        false => report.add_at(0, "objects lie over each other: what no root reaches is unknown"),
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

fn describe(found: &Allocation, layout: Option<&Layout>) -> Unreachable {
    let type_name = match layout {
        Some(layout) if !found.is_array => layout.name.clone(),
        Some(layout) => format!("[{}]", layout.name),
        None => format!("type {}", found.owner),
    };
    Unreachable { offset: found.offset, len_bytes: found.len_bytes, type_name }
}
