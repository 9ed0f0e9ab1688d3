//! Checks vectors, deques and strings: the memory they own must exist, be intact and have a
//! single owner.

use super::layout::{BYTES_VALUE, IN_HEAP, bytes_at, word};
use super::roles::Owner;
use super::walk::{Element, Liveness, Place, Range, Walk, Work};

impl<'a> Walk<'a> {
    /// Checks a collection `at` bytes into an element, and queues what it owns.
    pub(super) fn own(&mut self, element: &Element<'a>, at: u64, index: usize) {
        let layouts = self.layouts;
        let Some(collection) = layouts.collections.get(index) else { return };
        let (place, bytes) = (element.place.plus(at), element.bytes);
        let word = |field: u64| word(bytes, at + field);
        match collection.owner {
            Owner::Vec { items, capacity, element } => {
                let (offset, len) = (word(items), word(items + 8));
                self.own_vec(place, [offset, len, word(capacity)], element);
            }
            Owner::Deque { slots, head, len, element } => {
                let numbers = [word(slots), word(slots + 8), word(head), word(len)];
                self.own_deque(place, numbers, element);
            }
            Owner::Table(shape) => self.own_table(place, &shape, word),
            Owner::Tree(shape) => self.own_tree(place, &shape, word),
        }
    }

    fn own_vec(&mut self, place: Place, [offset, len, capacity]: [u64; 3], element: Option<u32>) {
        if (offset == 0) != (capacity == 0) || (offset != 0 && len > capacity) {
            let found = format!("{len} elements of {capacity} at {offset:#x}");
            return self.bad(place, format!("expected no more elements than room, found {found}"));
        }
        if offset != 0 && self.claim(place, "items", offset, (element, Some(capacity))) {
            self.push_owned(element, offset, len);
        }
    }

    fn own_deque(
        &mut self,
        place: Place,
        [offset, slots, head, len]: [u64; 4],
        element: Option<u32>,
    ) {
        let is_sound = match offset {
            0 => head == 0 && len == 0,
            _ => head < slots && len <= slots,
        };
        if !is_sound {
            let found = format!("{len} elements from slot {head} of {slots} on, at {offset:#x}");
            let expected = "expected no more elements than slots, from one of them on";
            return self.bad(place, format!("{expected}, found {found}"));
        }
        if offset == 0 || !self.claim(place, "slots", offset, (element, Some(slots))) {
            return;
        }
        let Some(layout) = element.and_then(|number| self.layouts.of(number)) else { return };
        let stride = layout.size_bytes;
        let Some(bytes) = self.bytes(place, offset, slots.saturating_mul(stride)) else { return };
        // The deque wraps around: from its head to the last slot, then from the first slot.
        let behind = len.min(slots - head);
        let before = len - behind;
        for (from, to) in [(before, head), (head + behind, slots)] {
            let unused = &bytes[(from * stride) as usize..(to.max(from) * stride) as usize];
            if let Some(at) = unused.iter().position(|byte| *byte != 0) {
                let at = offset + from * stride + at as u64;
                let slot = (at - offset) / stride;
                let owner = element.unwrap_or_default();
                let what = format!("expected zeros in slot {slot}, which is not in use");
                self.bad(Place { owner, base: offset + slot * stride, at }, what);
            }
        }
        self.push_owned(element, offset, before);
        self.push_owned(element, offset + head * stride, behind);
    }

    /// Queues the `count` elements that a collection has in use.
    fn push_owned(&mut self, element: Option<u32>, start: u64, count: u64) {
        let Some(owner) = element else { return };
        let Some(layout) = self.layouts.of(owner) else { return };
        let (stride, Some(plan)) = (layout.size_bytes, layout.plan) else { return };
        let end = start + count * stride;
        let range =
            Range { start, end, stride, plan, owner, base: None, liveness: Liveness::Owned };
        self.pending.push(Work::Elements(range));
    }

    /// Checks a string of bytes `at` bytes into an element.
    pub(super) fn own_bytes(&mut self, element: &Element<'a>, at: u64, is_text: bool) {
        let place = element.place.plus(at);
        let raw: [u8; BYTES_VALUE as usize] = bytes_at(element.bytes, at).unwrap_or_default();
        let tag = raw[BYTES_VALUE as usize - 1];
        let rest = match tag {
            IN_HEAP => {
                let [offset, len] = [0, 8].map(|field| u64::from_le(word(&raw, field)));
                self.own_long_bytes(place, offset, len, is_text);
                16..23
            }
            0..24 => {
                self.expect_text(place, &raw[..tag.into()], is_text);
                usize::from(tag)..23
            }
            _ => {
                return self.bad(place, format!("expected a length up to 23, or 255, found {tag}"));
            }
        };
        self.expect_zeros(place.plus(rest.start as u64), &raw[rest], "the rest of a string");
    }

    fn own_long_bytes(&mut self, place: Place, offset: u64, len: u64, is_text: bool) {
        if len < BYTES_VALUE {
            let expected = format!("expected {BYTES_VALUE} bytes or more in the heap");
            return self.bad(place, format!("{expected}, found {len}"));
        }
        let number = self.layouts.numbers.get("u8").map(|number| *number as u32);
        if !self.claim(place, "its bytes", offset, (number, Some(len))) {
            return;
        }
        if let Some(bytes) = self.bytes(place, offset, len) {
            self.expect_text(place, bytes, is_text);
        }
    }

    fn expect_text(&mut self, place: Place, bytes: &[u8], is_text: bool) {
        if is_text && let Err(error) = std::str::from_utf8(bytes) {
            self.bad(place, format!("expected UTF-8, found {error}"));
        }
    }
}
