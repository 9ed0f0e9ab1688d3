//! What the check of every object needs: the heap, the types, the report, and a record of which
//! allocations were reached and which have an owner.
//!
//! **Owns** that record, the limits that let a walk end on any bytes, and the rule that a damaged
//! value is reported once. **Must not know** what any type means, nor what is visited next.

use std::collections::HashSet;

use crate::alloc::{Request, expect_whole};
use crate::check::bitmap::Bitmap;
use crate::check::report::{Finding, Report};
use crate::check::schema::field_path::{WorkLimit, field_path};
use crate::check::schema::layout::{Layout, Layouts};
use crate::image::Image;

use super::elements::Place;

pub(super) struct Context<'a> {
    pub(super) image: &'a Image,
    pub(super) layouts: &'a Layouts,
    findings: &'a mut Report,
    /// The first byte of each allocation that was reached. No two begin within the same 16 bytes.
    reached: Bitmap,
    /// The same for allocations that a collection owns.
    claimed: Bitmap,
    /// Values that were already reported.
    reported: HashSet<u64>,
    names: WorkLimit,
    /// Bytes of elements that links may still lead to. No two such elements share bytes.
    left_linked_bytes: u64,
    /// Bytes of elements that collections may still own. No two such elements share bytes.
    left_owned_bytes: u64,
    /// Bytes of keys that may still be hashed; no two keys share bytes.
    left_key_bytes: u64,
    /// Whether the walk stayed within the limits of elements.
    is_whole: bool,
}

impl<'a> Context<'a> {
    pub(super) fn new(image: &'a Image, layouts: &'a Layouts, findings: &'a mut Report) -> Self {
        let heap_bytes = image.heap_bytes();
        Self {
            image,
            layouts,
            findings,
            reached: Bitmap::new(heap_bytes, 16),
            claimed: Bitmap::new(heap_bytes, 16),
            reported: HashSet::new(),
            names: WorkLimit::default(),
            left_linked_bytes: heap_bytes,
            left_owned_bytes: heap_bytes,
            left_key_bytes: heap_bytes,
            is_whole: true,
        }
    }

    /// Returns the allocations that were reached.
    pub(super) fn into_reached(self) -> Bitmap {
        self.reached
    }

    /// Returns whether the walk stayed within its limits. A walk that did not must stop: in a
    /// forged file it could go on for longer than the heap is long.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Notes that the allocation at `offset` was reached.
    pub(super) fn reach(&mut self, offset: u64) {
        self.reached.set(offset, offset + 1);
    }

    /// Spends bytes of an element that a link leads to; returns whether the walk is still whole.
    pub(super) fn spend_linked(&mut self, bytes: u64) -> bool {
        self.is_whole &= spend(&mut self.left_linked_bytes, bytes);
        self.is_whole
    }

    fn spend_owned(&mut self, bytes: u64) -> bool {
        self.is_whole &= spend(&mut self.left_owned_bytes, bytes);
        self.is_whole
    }

    /// Returns whether a key of this length may still be hashed. Keys own their bytes, but in a
    /// forged file all keys could name the same bytes, which are hashed before their owner is
    /// known.
    pub(super) fn spend_key(&mut self, place: Place, bytes: u64) -> bool {
        if spend(&mut self.left_key_bytes, bytes) {
            return true;
        }
        if self.left_key_bytes > 0 {
            self.left_key_bytes = 0;
            let what = "the keys up to this one are together longer than the heap";
            self.report(place, what.to_string());
        }
        false
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
            self.report(place, format!("{what} leads to a type that the store does not know"));
            return false;
        };
        let Layout { size_bytes, align_bytes, .. } = *layout;
        let request = Request { type_number, size_bytes, align_bytes, count };
        if let Err(found) = expect_whole(self.image, offset, &request) {
            let elements = count.map_or(String::new(), |count| format!("{count} times "));
            let expected = format!("an allocation for {elements}{}", layout.name);
            self.report(place, format!("{what} leads to {found}, expected {expected}"));
            return false;
        }
        if self.claimed.is_set(offset) {
            self.report(place, format!("{what} leads to memory that something else owns"));
            return false;
        }
        self.claimed.set(offset, offset + 1);
        self.reach(offset);
        self.spend_owned(size_bytes.saturating_mul(count.unwrap_or(1)))
    }

    /// Returns the bytes of a claimed allocation.
    pub(super) fn bytes(&mut self, place: Place, offset: u64, len_bytes: u64) -> Option<&'a [u8]> {
        let bytes = self.image.bytes("allocation", offset, len_bytes);
        bytes.map_err(|error| self.report(place, error.to_string())).ok()
    }

    /// Returns the size in bytes of a type, or 0 for one that is not known.
    pub(super) fn size_of(&self, number: Option<u32>) -> u64 {
        let layout = number.and_then(|number| self.layouts.of(number));
        layout.map_or(0, |layout| layout.size_bytes)
    }

    /// Returns the number of the type `u8`, of which strings and tags are arrays.
    pub(super) fn byte_type(&self) -> Option<u32> {
        self.layouts.numbers.get("u8").map(|number| *number as u32)
    }

    /// Reports a damaged value, only once however often the walk meets it.
    pub(super) fn report(&mut self, place: Place, what: String) {
        // An unlisted finding needs neither a name nor an entry in `reported`.
        if !self.findings.is_full() && self.reported.insert(place.at) {
            let (type_name, field) = self.name(place);
            self.findings.add(Finding { type_name, field, what, ..Finding::in_heap(place.at) });
        }
    }

    /// Reports bytes that are not zero.
    pub(super) fn expect_zeros(&mut self, place: Place, bytes: &[u8], whose: &str) {
        if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
            let found = bytes[at];
            self.report(
                place.plus(at as u64),
                format!("expected zeros in {whose}, found {found:#04x}"),
            );
        }
    }

    /// Returns the name of a value's type, and of the part.
    pub(super) fn name(&self, place: Place) -> (String, String) {
        let type_name = match self.layouts.of(place.owner) {
            Some(layout) => layout.name.clone(),
            None => format!("type {}", place.owner),
        };
        let at = place.at.saturating_sub(place.base);
        (type_name, field_path(self.layouts, place.owner, at, &self.names))
    }
}

/// Spends `bytes` of a limit; returns whether they were left.
fn spend(left_bytes: &mut u64, bytes: u64) -> bool {
    let left = left_bytes.checked_sub(bytes);
    *left_bytes = left.unwrap_or(*left_bytes);
    left.is_some()
}
