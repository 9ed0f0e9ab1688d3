//! Walks all objects from the roots.
//!
//! **Owns** the work that remains, and the record of what was visited. **Must not know** the
//! program's types: the descriptor of its page determines the type of an allocation, whatever the
//! type of a link to it.
//!
//! The walk terminates on any bytes, in time proportional to the length of the heap: it visits an
//! element once for all links to it and once more for the collection that owns it, and together
//! the elements are no longer than the heap. It takes 4 bytes of memory per 128 bytes reached,
//! plus the pending work. Elements whose size is not a multiple of 8 take another eighth of their
//! length.
//!
//! A link into an array may be stale: a program may keep a link to an element that was removed.
//! The walk therefore checks ownership only for objects that are certainly live, and for elements
//! that a collection has in use.

use std::collections::HashSet;

use crate::alloc::{Request, expect_whole};
use crate::format::heap::TYPE_FIRST_USER;
use crate::image::{Allocation, Image};

use super::bitmap::Bitmap;
use super::hash::{Shards, Slots};
use super::layout::{BYTES_VALUE, Found, IN_HEAP, Layout, Layouts, What, bytes_at};
use super::path::WorkLimit;
use super::reach::{Dangling, DanglingList};
use super::report::{Finding, Report};
use super::tree::Nodes;

pub(super) struct Walk<'a> {
    pub(super) image: &'a Image,
    pub(super) layouts: &'a Layouts,
    pub(super) report: &'a mut Report,
    pub(super) pending: Vec<Work>,
    /// The first byte of each allocation that was reached. No two begin within the same 16 bytes.
    reached: Bitmap,
    /// The same for allocations that a collection owns.
    claimed: Bitmap,
    /// Visited elements whose size is a multiple of 8.
    scanned: Bitmap,
    /// Visited elements of other sizes.
    scanned_bytes: Bitmap,
    dangling: DanglingList,
    /// Values that were already reported.
    told: HashSet<u64>,
    names: WorkLimit,
    /// Bytes that the walk may still visit: elements that links lead to, and elements that
    /// collections own. Neither kind overlaps itself.
    left_bytes: [u64; 2],
    /// Bytes of keys that may still be hashed; no two keys share bytes.
    left_key_bytes: u64,
    /// Whether the walk stayed within those limits.
    is_whole: bool,
}

/// Work that remains.
pub(super) enum Work {
    Elements(Range),
    // Boxed, because the stack of pending work may be as deep as the structure.
    Shards(Box<Shards>),
    Slots(Box<Slots>),
    Nodes(Box<Nodes>),
}

/// Adjacent elements.
#[derive(Clone, Copy)]
pub(super) struct Range {
    /// The start of the first element.
    pub(super) start: u64,
    /// The end of the last element.
    pub(super) end: u64,
    /// The distance in bytes from one element to the next.
    pub(super) stride: u64,
    pub(super) plan: usize,
    /// The number of the type that names their parts.
    pub(super) owner: u32,
    /// The start of the value of that type, if it is not each element.
    pub(super) base: Option<u64>,
    pub(super) liveness: Liveness,
}

/// What is known about an element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It is an object.
    Object,
    /// A collection has it in use.
    Owned,
    /// A link points to it.
    Linked,
    /// It is a copy of a value stored elsewhere.
    Copied,
}

/// A part of a value, for reporting its position.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The number of the value's type.
    pub(super) owner: u32,
    /// The start of the value.
    pub(super) base: u64,
    /// The start of the part.
    pub(super) at: u64,
}

impl Place {
    /// Returns the part that begins `bytes` after this one.
    pub(super) fn plus(self, bytes: u64) -> Self {
        Self { at: self.at.saturating_add(bytes), ..self }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(image: &'a Image, layouts: &'a Layouts, report: &'a mut Report) -> Self {
        let bitmap = |bytes_per_bit| Bitmap::new(image.heap_bytes(), bytes_per_bit);
        Self {
            image,
            layouts,
            report,
            pending: vec![],
            reached: bitmap(16),
            claimed: bitmap(16),
            scanned: bitmap(8),
            scanned_bytes: bitmap(1),
            dangling: DanglingList::default(),
            told: HashSet::new(),
            names: WorkLimit::default(),
            left_bytes: [image.heap_bytes(); 2],
            left_key_bytes: image.heap_bytes(),
            is_whole: true,
        }
    }

    /// Returns what was reached, and whether the walk was complete.
    pub(super) fn end(self) -> (Bitmap, DanglingList, bool) {
        (self.reached, self.dangling, self.is_whole)
    }

    /// Walks everything that a root reaches.
    pub(super) fn begin_at(&mut self, target: u64, len_bytes: u64) {
        // `check_roots` reports a root that may not lead there.
        let _ = self.follow(Found { target, len_bytes }, Liveness::Object);
        while let Some(work) = self.pending.pop() {
            if !self.is_whole {
                return self.pending.clear();
            }
            match work {
                Work::Elements(range) => self.go_on(range),
                Work::Shards(shards) => self.next_shard(shards),
                Work::Slots(slots) => self.next_slot(slots),
                Work::Nodes(nodes) => self.next_node(nodes),
            }
        }
    }

    /// Notes what a link reaches; an error describes what is there instead, even in part.
    /// `elements` is the liveness of the array's elements.
    fn follow(&mut self, link: Found, elements: Liveness) -> Result<(), &'static str> {
        let Found { target, len_bytes } = link;
        let found = self.image.allocation(target)?;
        if found.owner < TYPE_FIRST_USER {
            return Err("an allocation of flagstone's own");
        }
        let layout = self.layouts.of(found.owner);
        let (first, room) = (target.saturating_sub(found.offset), used_bytes(&found, layout));
        // An empty array may link to the end of an allocation.
        if first > room || (first == room && len_bytes != 0) {
            return Err("the space behind an object");
        }
        self.reached.set(found.offset, found.offset + 1);
        let end = first.saturating_add(len_bytes);
        if let Some(layout @ &Layout { size_bytes: stride, plan: Some(plan), .. }) = layout {
            let whole = room - room % stride;
            let start = found.offset + first / stride * stride;
            let end = found.offset + end.min(whole).next_multiple_of(stride).min(whole);
            let end = end.min(self.image.heap_bytes());
            let liveness = match layout.role.is_internal() {
                true => Liveness::Linked,
                false if !found.is_array => Liveness::Object,
                false => elements,
            };
            if len_bytes != 0 && self.scanned_bitmap(stride).next_clear(start) < end {
                let (owner, base) = (found.owner, None);
                let range = Range { start, end, stride, plan, owner, base, liveness };
                self.pending.push(Work::Elements(range));
            }
        }
        if end > room { Err("an object that ends before the link does") } else { Ok(()) }
    }

    fn scanned_bitmap(&mut self, stride: u64) -> &mut Bitmap {
        if stride.is_multiple_of(8) { &mut self.scanned } else { &mut self.scanned_bytes }
    }

    /// Visits the first element that has not been visited.
    fn go_on(&mut self, mut range: Range) {
        let stride = range.stride;
        if range.liveness != Liveness::Owned {
            let start = range.start;
            let skipped = (self.scanned_bitmap(stride).next_clear(start) - start) / stride;
            range.start += skipped * stride;
        }
        let next = range.start + stride;
        if next > range.end {
            return;
        }
        // Pushed before the element's links are followed, so a long list takes no space.
        if next < range.end {
            self.pending.push(Work::Elements(Range { start: next, ..range }));
        }
        if range.liveness == Liveness::Owned || self.spend(0, stride) {
            self.scan(range);
        }
    }

    /// Spends `bytes` of one of the limits; returns whether they were left.
    fn spend(&mut self, which: usize, bytes: u64) -> bool {
        match self.left_bytes[which].checked_sub(bytes) {
            Some(left) => self.left_bytes[which] = left,
            None => self.is_whole = false,
        }
        self.is_whole
    }

    /// Returns whether a key of this length may still be hashed. Keys own their bytes, but in a
    /// forged file all keys could name the same bytes, which are hashed before their owner is
    /// known.
    pub(super) fn spend_key(&mut self, place: Place, bytes: u64) -> bool {
        if let Some(left) = self.left_key_bytes.checked_sub(bytes) {
            self.left_key_bytes = left;
            return true;
        }
        if self.left_key_bytes > 0 {
            self.left_key_bytes = 0;
            let what = "the keys up to this one are together longer than the heap";
            self.bad(place, what.to_string());
        }
        false
    }

    /// Checks each part of the first element.
    pub(super) fn scan(&mut self, range: Range) {
        let Range { start, stride, plan, owner, base, liveness, .. } = range;
        // Only a run that crosses the log can fail here, and the pass over the pages has reported
        // it.
        let (image, layouts) = (self.image, self.layouts);
        let Ok(bytes) = image.bytes("object", start, stride) else {
            return;
        };
        let were_links_followed =
            liveness == Liveness::Copied || self.scanned_bitmap(stride).is_set(start);
        if liveness != Liveness::Copied {
            self.scanned_bitmap(stride).set(start, start + stride);
        }
        let is_internal = layouts.of(owner).is_some_and(|layout| layout.role.is_internal());
        let element = Element {
            bytes,
            place: Place { owner, base: base.unwrap_or(start), at: start },
            liveness,
            // An array's unused part is zero, which may be an invalid value. For a node or an
            // entry, its collection decides which parts are in use.
            has_values: liveness != Liveness::Linked
                || !is_internal && bytes.iter().any(|byte| *byte != 0),
            has_links: !were_links_followed,
        };
        self.scan_parts(&element, plan);
    }

    fn scan_parts(&mut self, element: &Element<'a>, plan: usize) {
        let layouts = self.layouts;
        layouts.parts(plan, &mut |at, what| {
            let is_sure = matches!(element.liveness, Liveness::Object | Liveness::Owned);
            match what {
                What::Bool | What::Enum(_) => self.expect_value(element, at, what),
                What::Bytes { is_text } if is_sure => self.own_bytes(element, at, is_text),
                What::Collection(index) if is_sure => self.own(element, at, index),
                What::Collection(_) if element.liveness == Liveness::Copied => {}
                // Its links are followed in any case. Plans of collections contain no
                // collections.
                What::Collection(index) => {
                    let plain = layouts.collections.get(index).and_then(|owner| owner.plain);
                    plain.into_iter().for_each(|plan| {
                        layouts.parts(plan, &mut |inner, what| {
                            self.follow_part(element, at + inner, what);
                        });
                    });
                }
                What::Bytes { .. } => {
                    self.expect_value(element, at, what);
                    self.follow_part(element, at, what);
                }
                _ => self.follow_part(element, at, what),
            }
        });
    }

    fn follow_part(&mut self, element: &Element<'_>, at: u64, what: What) {
        let link = what.link(element.bytes, at).filter(|_| element.has_links);
        let Some(link) = link else { return };
        let Err(found) = self.follow(link, Liveness::Linked) else { return };
        let (place, target) = (element.place.plus(at), link.target);
        let (layouts, names) = (self.layouts, &self.names);
        self.dangling.add(|| {
            let (type_name, field) = name(layouts, names, place);
            Dangling { offset: place.at, type_name, field, target, found }
        });
    }

    /// Reports bytes that are not a valid value.
    fn expect_value(&mut self, element: &Element<'_>, at: u64, what: What) {
        let byte = |at| bytes_at::<1>(element.bytes, at).map_or(0, |[byte]| byte);
        let place = element.place.plus(at);
        match what {
            _ if !element.has_values => {}
            What::Bool if byte(at) > 1 => {
                self.bad(place, format!("expected a bool, 0 or 1, found {}", byte(at)));
            }
            What::Enum(number) => {
                let layout = &self.layouts.types[number];
                let value = integer(element.bytes, at, layout.size_bytes);
                if layout.variants.binary_search(&value).is_err() {
                    let expected = format!("expected a variant of {}", layout.name);
                    self.bad(place, format!("{expected}, found {value}"));
                }
            }
            What::Bytes { .. } => {
                let tag = byte(at + BYTES_VALUE - 1);
                if tag >= BYTES_VALUE as u8 && tag != IN_HEAP {
                    self.bad(place, format!("expected a length up to 23, or 255, found {tag}"));
                }
            }
            _ => {}
        }
    }

    /// Makes the collection at `place` the owner of an allocation; returns whether that is
    /// possible. `what` names the link to it.
    pub(super) fn claim(
        &mut self,
        place: Place,
        what: &str,
        offset: u64,
        (type_number, count): (Option<u32>, Option<u64>),
    ) -> bool {
        let layout = type_number.and_then(|number| self.layouts.of(number));
        let (Some(layout), Some(type_number)) = (layout, type_number) else {
            self.bad(place, format!("{what} leads to a type that the store does not know"));
            return false;
        };
        let Layout { size_bytes, align_bytes, .. } = *layout;
        let request = Request { type_number, size_bytes, align_bytes, count };
        if let Err(found) = expect_whole(self.image, offset, &request) {
            let elements = count.map_or(String::new(), |count| format!("{count} times "));
            let expected = format!("an allocation for {elements}{}", layout.name);
            self.bad(place, format!("{what} leads to {found}, expected {expected}"));
            return false;
        }
        if self.claimed.is_set(offset) {
            self.bad(place, format!("{what} leads to memory that something else owns"));
            return false;
        }
        self.claimed.set(offset, offset + 1);
        self.reached.set(offset, offset + 1);
        self.spend(1, size_bytes.saturating_mul(count.unwrap_or(1)))
    }

    /// Returns the bytes of a claimed allocation.
    pub(super) fn bytes(&mut self, place: Place, offset: u64, len_bytes: u64) -> Option<&'a [u8]> {
        let bytes = self.image.bytes("allocation", offset, len_bytes);
        bytes.map_err(|error| self.bad(place, error.to_string())).ok()
    }

    /// Reports a damaged value, only once however often the walk meets it.
    pub(super) fn bad(&mut self, place: Place, what: String) {
        // An unlisted finding needs neither a name nor an entry in `told`.
        if !self.report.is_full() && self.told.insert(place.at) {
            let (type_name, field) = name(self.layouts, &self.names, place);
            self.report.add(Finding { type_name, field, what, ..Finding::in_heap(place.at) });
        }
    }

    /// Reports bytes that are not zero.
    pub(super) fn expect_zeros(&mut self, place: Place, bytes: &[u8], whose: &str) {
        if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
            let found = bytes[at];
            self.bad(
                place.plus(at as u64),
                format!("expected zeros in {whose}, found {found:#04x}"),
            );
        }
    }
}

/// The element under inspection.
pub(super) struct Element<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) place: Place,
    liveness: Liveness,
    /// Whether each part must be a valid value.
    has_values: bool,
    /// Whether its links are to be followed.
    has_links: bool,
}

fn name(layouts: &Layouts, names: &WorkLimit, place: Place) -> (String, String) {
    let type_name = match layouts.of(place.owner) {
        Some(layout) => layout.name.clone(),
        None => format!("type {}", place.owner),
    };
    (type_name, layouts.path(place.owner, place.at.saturating_sub(place.base), names))
}

fn integer(bytes: &[u8], at: u64, size_bytes: u64) -> u128 {
    match size_bytes {
        1 => bytes_at::<1>(bytes, at).map_or(0, |[byte]| byte.into()),
        2 => bytes_at(bytes, at).map_or(0, u16::from_ne_bytes).into(),
        4 => bytes_at(bytes, at).map_or(0, u32::from_ne_bytes).into(),
        8 => bytes_at(bytes, at).map_or(0, u64::from_ne_bytes).into(),
        _ => bytes_at(bytes, at).map_or(0, u128::from_ne_bytes),
    }
}

/// Returns how many bytes of an allocation its object or array can take up.
fn used_bytes(found: &Allocation, layout: Option<&Layout>) -> u64 {
    match layout {
        Some(layout) if !found.is_array => found.len_bytes.min(layout.size_bytes),
        _ => found.len_bytes,
    }
}
