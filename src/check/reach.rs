//! What no root reaches, and what links lead to that is gone.
//!
//! **Owns** the walk from the roots along all links, and what comes of it.
//! **Must not know** the program's types: what lies in an allocation is what
//! its page's descriptor says, whatever a link's type is.
//!
//! The walk ends on any bytes and takes time by the heap's length: an element
//! is gone through once, and together they are as long as the heap at most.
//! Memory is 3 bytes for each 128 that were reached, and what is on the way.

use crate::catalog::root_targets;
use crate::format::PAGE_BYTES;
use crate::format::heap::{MAX_SLOTS, PageKind, TYPE_FIRST_USER};
use crate::image::{Allocation, Image};

use super::Report;
use super::layout::{Found, Layout, Layouts};
use super::marks::Marks;

/// Entries that a list of a report has at most.
const MOST_LISTED: usize = 100;

/// An allocation that no root reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreachable {
    /// Offset from the start of the heap.
    pub offset: u64,
    /// Its length in bytes. A small array's is that of its slot, which may be
    /// more than was asked for: only the slot's length is stored.
    pub len_bytes: u64,
    /// The name of its type, in brackets for an array. An array of one element
    /// that has pages of its own cannot be told from a single object.
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
    /// The first 100 of them.
    pub listed: Vec<Unreachable>,
    /// How many there are.
    pub allocations: u64,
    /// What they take, in bytes.
    pub len_bytes: u64,
}

/// A link that leads to no live allocation, or past the end of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dangling {
    /// Where the link lies: offset from the start of the heap.
    pub offset: u64,
    /// Where it leads: likewise.
    pub target: u64,
    /// What was found there.
    pub found: &'static str,
}

impl std::fmt::Display for Dangling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { offset, target, found } = self;
        write!(f, "heap offset {offset:#x}: a link to {target:#x}, which is {found}")
    }
}

/// The links that lead to no live allocation, or past the end of one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DanglingList {
    /// The first 100 that the walk met.
    pub listed: Vec<Dangling>,
    /// How many there are.
    pub links: u64,
}

/// Walks from the roots, then lists what was not reached.
pub(super) fn check(image: &Image, report: &mut Report, layouts: &Layouts) {
    let mut walk = Walk {
        image,
        layouts,
        reached: Marks::new(image.heap_bytes(), 16),
        scanned: Marks::new(image.heap_bytes(), 8),
        pending: vec![],
        dangling: DanglingList::default(),
        left_bytes: image.heap_bytes(),
    };
    let Some(targets) = report.note(0, root_targets(image)) else {
        return;
    };
    let mut is_whole = true;
    for target in targets {
        let Some((offset, count, number)) = report.note(0, target) else {
            break;
        };
        let element_bytes = layouts.of(number).map_or(0, |layout| layout.size_bytes);
        if offset != 0 {
            // Whether a root may lead there is asked elsewhere.
            let _ = walk.follow(offset, count.saturating_mul(element_bytes));
            is_whole &= walk.go();
        }
    }
    report.dangling = walk.dangling;
    match is_whole {
        true => report.unreachable = unreached(image, layouts, &walk.reached),
        false => report.find(0, "objects lie over each other: what no root reaches is unknown"),
    }
}

/// Elements still to go through.
struct Range {
    /// Where the first of them begins.
    start: u64,
    /// Where the last one ends.
    end: u64,
    /// Their type's number.
    owner: u32,
}

struct Walk<'a> {
    image: &'a Image,
    layouts: &'a Layouts,
    /// The first byte of each allocation that was reached. No two begin within
    /// the same 16 bytes.
    reached: Marks,
    /// Elements that were gone through. Where links lie, they are multiples of 8.
    scanned: Marks,
    pending: Vec<Range>,
    dangling: DanglingList,
    /// Bytes of elements that are still to be expected: they do not overlap.
    left_bytes: u64,
}

impl Walk<'_> {
    /// Notes what a link of that length reaches; an error says what it leads to
    /// instead, wholly or in part.
    fn follow(&mut self, target: u64, len_bytes: u64) -> Result<(), &'static str> {
        let found = self.image.allocation(target)?;
        if found.owner < TYPE_FIRST_USER {
            return Err("an allocation of flagstone's own");
        }
        let layout = self.layouts.of(found.owner);
        let (first, room) = (target.saturating_sub(found.offset), used_bytes(&found, layout));
        // An empty array has nothing, and its link leads there all the same.
        if first > room || (first == room && len_bytes != 0) {
            return Err("the space behind an object");
        }
        self.reached.set(found.offset, found.offset + 1);
        let end = first.saturating_add(len_bytes);
        if let Some(&Layout { size_bytes, plan: Some(_), .. }) = layout {
            let whole = room - room % size_bytes;
            let start = found.offset + first / size_bytes * size_bytes;
            let end = found.offset + end.min(whole).next_multiple_of(size_bytes).min(whole);
            let end = end.min(self.image.heap_bytes());
            if len_bytes != 0 && self.scanned.next_clear(start) < end {
                self.pending.push(Range { start, end, owner: found.owner });
            }
        }
        if end > room { Err("an object that ends before the link does") } else { Ok(()) }
    }

    /// Goes through all that is pending; false if that is more than there can be.
    fn go(&mut self) -> bool {
        while let Some(range) = self.pending.pop() {
            let Range { start, end, owner } = range;
            let Some(&Layout { size_bytes: element_bytes, plan: Some(plan), .. }) =
                self.layouts.of(owner)
            else {
                continue;
            };
            let skipped = (self.scanned.next_clear(start) - start) / element_bytes;
            let start = start + skipped * element_bytes;
            if start >= end {
                continue;
            }
            let next = start + element_bytes;
            // Before its links are followed, so that a long list takes no space.
            if next < end {
                self.pending.push(Range { start: next, ..range });
            }
            let Some(left_bytes) = self.left_bytes.checked_sub(element_bytes) else {
                self.pending.clear();
                return false;
            };
            self.left_bytes = left_bytes;
            self.scanned.set(start, next);
            self.scan(start, element_bytes, plan);
        }
        true
    }

    fn scan(&mut self, start: u64, element_bytes: u64, plan: usize) {
        let (image, layouts) = (self.image, self.layouts);
        // Only a run that goes through the log can be refused, and the pass over
        // the pages has found that.
        let Ok(bytes) = image.bytes("object", start, element_bytes) else {
            return;
        };
        layouts.links(plan, bytes, &mut |Found { at, target, len_bytes }| {
            let Err(found) = self.follow(target, len_bytes) else {
                return;
            };
            self.dangling.links += 1;
            if self.dangling.listed.len() < MOST_LISTED {
                self.dangling.listed.push(Dangling { offset: start + at, target, found });
            }
        });
    }
}

/// Bytes of an allocation that its object or array can take up.
fn used_bytes(found: &Allocation, layout: Option<&Layout>) -> u64 {
    match layout {
        Some(layout) if is_single(found, layout) => found.len_bytes.min(layout.size_bytes),
        _ => found.len_bytes,
    }
}

/// Whether it holds one object, as far as that can be told.
fn is_single(found: &Allocation, layout: &Layout) -> bool {
    match found.is_run {
        true => found.len_bytes == layout.size_bytes,
        false => !found.is_array_slot,
    }
}

fn unreached(image: &Image, layouts: &Layouts, reached: &Marks) -> UnreachableList {
    let mut list = UnreachableList::default();
    for page in 0..image.heap_pages() {
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
            // A free slot is none.
            let Ok(found) = image.allocation(page * PAGE_BYTES + slot * slot_bytes) else {
                continue;
            };
            if found.owner >= TYPE_FIRST_USER && !reached.is_set(found.offset) {
                list.add(&found, layouts.of(found.owner));
            }
        }
    }
    list
}

impl UnreachableList {
    fn add(&mut self, found: &Allocation, layout: Option<&Layout>) {
        self.allocations += 1;
        self.len_bytes = self.len_bytes.saturating_add(found.len_bytes);
        if self.listed.len() >= MOST_LISTED {
            return;
        }
        let type_name = match layout {
            Some(layout) if is_single(found, layout) => layout.name.clone(),
            Some(layout) => format!("[{}]", layout.name),
            None => format!("type {}", found.owner),
        };
        let (offset, len_bytes) = (found.offset, found.len_bytes);
        self.listed.push(Unreachable { offset, len_bytes, type_name });
    }
}
