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

use crate::check::bitmap::Bitmap;
use crate::check::report::{Dangling, DanglingList, Report};
use crate::check::schema::layout::{Found, Layout, Layouts, What, word};
use crate::check::schema::shapes::Owner;
use crate::format::heap::TYPE_FIRST_USER;
use crate::image::{Allocation, Image};

use super::context::Context;
use super::elements::{Liveness, Place, Range};
use super::hash::{Shards, Slots};
use super::sequences::{self, Deque, Vector};
use super::tree::Nodes;
use super::values;

pub(super) struct Walk<'a> {
    context: Context<'a>,
    pending: Vec<Work>,
    /// Visited elements whose size is a multiple of 8.
    scanned: Bitmap,
    /// Visited elements of other sizes.
    scanned_bytes: Bitmap,
    dangling: DanglingList,
}

/// Work that remains.
enum Work {
    Elements(Range),
    // Boxed, because the stack of pending work may be as deep as the structure.
    Shards(Box<Shards>),
    Slots(Box<Slots>),
    Nodes(Box<Nodes>),
}

/// The element under inspection.
struct Element<'a> {
    bytes: &'a [u8],
    place: Place,
    liveness: Liveness,
    /// Whether each part must be a valid value.
    has_values: bool,
    /// Whether its links are to be followed.
    has_links: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(image: &'a Image, layouts: &'a Layouts, report: &'a mut Report) -> Self {
        Self {
            context: Context::new(image, layouts, report),
            pending: vec![],
            scanned: Bitmap::new(image.heap_bytes(), 8),
            scanned_bytes: Bitmap::new(image.heap_bytes(), 1),
            dangling: DanglingList::default(),
        }
    }

    /// Returns what was reached, and whether the walk was complete.
    pub(super) fn end(self) -> (Bitmap, DanglingList, bool) {
        let is_whole = self.context.is_whole();
        (self.context.into_reached(), self.dangling, is_whole)
    }

    /// Walks everything that a root reaches.
    pub(super) fn walk_from(&mut self, target: u64, len_bytes: u64) {
        // `check_roots` reports a root that may not lead there.
        let _ = self.follow(Found { target, len_bytes }, Liveness::Object);
        while let Some(work) = self.pending.pop() {
            if !self.context.is_whole() {
                return self.pending.clear();
            }
            self.take_step(work);
        }
    }

    /// Takes one step. What remains of a collection is pushed below what the step found there, so
    /// a deep structure takes no extra space.
    fn take_step(&mut self, work: Work) {
        match work {
            Work::Elements(range) => self.visit_first(range),
            Work::Shards(mut shards) => {
                let Some(slots) = shards.check_next(&mut self.context) else { return };
                self.pending.push(Work::Shards(shards));
                self.pending.extend(slots.map(|slots| Work::Slots(Box::new(slots))));
            }
            Work::Slots(mut slots) => {
                let Some(entry) = slots.check_next(&mut self.context) else { return };
                self.pending.push(Work::Slots(slots));
                self.push(entry);
            }
            Work::Nodes(mut nodes) => {
                let Some(entries) = nodes.check_next(&mut self.context) else { return };
                self.pending.push(Work::Nodes(nodes));
                self.push(entries.into_iter().flatten());
            }
        }
    }

    fn push(&mut self, elements: impl IntoIterator<Item = Range>) {
        self.pending.extend(elements.into_iter().map(Work::Elements));
    }

    /// Notes what a link reaches; an error describes what is there instead, even in part.
    /// `elements` is the liveness of the array's elements.
    fn follow(&mut self, link: Found, elements: Liveness) -> Result<(), &'static str> {
        let Found { target, len_bytes } = link;
        let (image, layouts) = (self.context.image, self.context.layouts);
        let found = image.allocation(target)?;
        if found.owner < TYPE_FIRST_USER {
            return Err("an allocation of flagstone's own");
        }
        let layout = layouts.of(found.owner);
        let (first, room) = (target.saturating_sub(found.offset), used_bytes(&found, layout));
        // An empty array may link to the end of an allocation.
        if first > room || (first == room && len_bytes != 0) {
            return Err("the space behind an object");
        }
        self.context.reach(found.offset);
        let end = first.saturating_add(len_bytes);
        if let Some(layout @ &Layout { size_bytes: stride, plan: Some(plan), .. }) = layout {
            let whole = room - room % stride;
            let start = found.offset + first / stride * stride;
            let end = found.offset + end.min(whole).next_multiple_of(stride).min(whole);
            let end = end.min(image.heap_bytes());
            let liveness = match layout.role.is_internal() {
                true => Liveness::Linked,
                false if !found.is_array => Liveness::Object,
                false => elements,
            };
            if len_bytes != 0 && self.scanned_bitmap(stride).next_clear(start) < end {
                let (owner, base) = (found.owner, None);
                self.push([Range { start, end, stride, plan, owner, base, liveness }]);
            }
        }
        if end > room { Err("an object that ends before the link does") } else { Ok(()) }
    }

    fn scanned_bitmap(&mut self, stride: u64) -> &mut Bitmap {
        if stride.is_multiple_of(8) { &mut self.scanned } else { &mut self.scanned_bytes }
    }

    /// Visits the first element that has not been visited.
    fn visit_first(&mut self, mut range: Range) {
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
            self.push([Range { start: next, ..range }]);
        }
        if range.liveness == Liveness::Owned || self.context.spend_linked(stride) {
            self.scan(range);
        }
    }

    /// Checks each part of the first element.
    fn scan(&mut self, range: Range) {
        let Range { start, stride, plan, owner, base, liveness, .. } = range;
        // Only a run that crosses the log can fail here, and the pass over the pages has reported
        // it.
        let Ok(bytes) = self.context.image.bytes("object", start, stride) else {
            return;
        };
        let scanned = self.scanned_bitmap(stride);
        let were_links_followed = scanned.is_set(start);
        scanned.set(start, start + stride);
        let layout = self.context.layouts.of(owner);
        let is_internal = layout.is_some_and(|layout| layout.role.is_internal());
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
        let layouts = self.context.layouts;
        let is_live = element.liveness != Liveness::Linked;
        layouts.parts(plan, &mut |at, what| match what {
            What::Bool | What::Enum(_) => self.expect_value(element, at, what),
            What::Bytes { is_text } if is_live => {
                let place = element.place.plus(at);
                sequences::check_string(&mut self.context, place, element.bytes, at, is_text);
            }
            What::Bytes { .. } => {
                self.expect_value(element, at, what);
                self.follow_part(element, at, what);
            }
            What::Collection(index) if is_live => self.check_collection(element, at, index),
            // Its links are followed in any case. Plans of collections contain no collections.
            What::Collection(index) => {
                let plain = layouts.collections.get(index).and_then(|owner| owner.plain);
                plain.into_iter().for_each(|plan| {
                    layouts.parts(plan, &mut |inner, what| {
                        self.follow_part(element, at + inner, what);
                    });
                });
            }
            _ => self.follow_part(element, at, what),
        });
    }

    fn expect_value(&mut self, element: &Element<'_>, at: u64, what: What) {
        if element.has_values {
            values::check_part(&mut self.context, element.bytes, element.place, (at, what));
        }
    }

    fn follow_part(&mut self, element: &Element<'_>, at: u64, what: What) {
        let link = what.link(element.bytes, at).filter(|_| element.has_links);
        let Some(link) = link else { return };
        let Err(found) = self.follow(link, Liveness::Linked) else { return };
        let (place, target) = (element.place.plus(at), link.target);
        let context = &self.context;
        self.dangling.add(|| {
            let (type_name, field) = context.name(place);
            Dangling { offset: place.at, type_name, field, target, found }
        });
    }

    /// Checks a collection `at` bytes into an element, and queues what it owns.
    fn check_collection(&mut self, element: &Element<'a>, at: u64, index: usize) {
        let context = &mut self.context;
        let Some(collection) = context.layouts.collections.get(index) else { return };
        let (place, bytes) = (element.place.plus(at), element.bytes);
        let word = |field: u64| word(bytes, at + field);
        match collection.owner {
            Owner::Vec { items, capacity, element } => {
                let (offset, len) = (word(items), word(items + 8));
                let vector = Vector { offset, len, capacity: word(capacity), element };
                let elements = vector.check(context, place);
                self.push(elements);
            }
            Owner::Deque { slots, head, len, element } => {
                let (offset, slots) = (word(slots), word(slots + 8));
                let deque = Deque { offset, slots, head: word(head), len: word(len), element };
                let elements = deque.check(context, place);
                self.push(elements.into_iter().flatten());
            }
            Owner::Table(shape) => {
                let shards = Shards::begin(context, place, &shape, word);
                self.pending.extend(shards.map(|shards| Work::Shards(Box::new(shards))));
            }
            Owner::Tree(shape) => {
                let nodes = Nodes::begin(context, place, &shape, word);
                self.pending.extend(nodes.map(|nodes| Work::Nodes(Box::new(nodes))));
            }
        }
    }
}

/// Returns how many bytes of an allocation its object or array can take up.
fn used_bytes(found: &Allocation, layout: Option<&Layout>) -> u64 {
    match layout {
        Some(layout) if !found.is_array => found.len_bytes.min(layout.size_bytes),
        _ => found.len_bytes,
    }
}
