//! Checks vectors, deques and strings: the memory they own must exist, be intact and have a
//! single owner.
//!
//! **Owns** what the fields of these structs mean. **Must not know** how the walk reached them.

use crate::check::schema::layout::{bytes_at, string_in_heap};
use crate::format::collections::bytes::{IN_HEAP, LEN, MAX_INLINE, SIZE_BYTES, TAG};

use super::context::Context;
use super::elements::{Liveness, Place, Range};
use super::values::wrong_tag;

/// A vector, as its fields say.
pub(super) struct Vector {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) capacity: u64,
    /// The type of its elements.
    pub(super) element: Option<u32>,
}

/// A deque, as its fields say.
pub(super) struct Deque {
    pub(super) offset: u64,
    pub(super) slots: u64,
    pub(super) head: u64,
    pub(super) len: u64,
    /// The type of its elements.
    pub(super) element: Option<u32>,
}

impl Vector {
    /// Checks the vector at `place`; returns its elements, if they have parts to check.
    pub(super) fn check(&self, context: &mut Context<'_>, place: Place) -> Option<Range> {
        let Self { offset, len, capacity, element } = *self;
        if (offset == 0) != (capacity == 0) || (offset != 0 && len > capacity) {
            let found = format!("{len} elements of {capacity} at {offset:#x}");
            context.report(place, format!("expected no more elements than room, found {found}"));
            return None;
        }
        if offset == 0 || !context.claim(place, "items", offset, (element, Some(capacity))) {
            return None;
        }
        owned(context, element, offset, len)
    }
}

impl Deque {
    /// Checks the deque at `place`; returns its elements, if they have parts to check.
    pub(super) fn check(&self, context: &mut Context<'_>, place: Place) -> [Option<Range>; 2] {
        self.check_slots(context, place).unwrap_or_default()
    }

    fn check_slots(&self, context: &mut Context<'_>, place: Place) -> Option<[Option<Range>; 2]> {
        let Self { offset, slots, head, len, element } = *self;
        let is_sound = match offset {
            0 => head == 0 && len == 0,
            _ => head < slots && len <= slots,
        };
        if !is_sound {
            let found = format!("{len} elements from slot {head} of {slots} on, at {offset:#x}");
            let expected = "expected no more elements than slots, from one of them on";
            context.report(place, format!("{expected}, found {found}"));
            return None;
        }
        if offset == 0 || !context.claim(place, "slots", offset, (element, Some(slots))) {
            return None;
        }
        let stride = context.layouts.of(element?)?.size_bytes;
        let bytes = context.bytes(place, offset, slots.saturating_mul(stride))?;
        // The deque wraps around: from its head to the last slot, then from the first slot.
        let behind = len.min(slots - head);
        let before = len - behind;
        for (from, to) in [(before, head), (head + behind, slots)] {
            let unused = &bytes[(from * stride) as usize..(to.max(from) * stride) as usize];
            if let Some(at) = unused.iter().position(|byte| *byte != 0) {
                let at = offset + from * stride + at as u64;
                let slot = (at - offset) / stride;
                let what = format!("expected zeros in slot {slot}, which is not in use");
                context.report(Place { owner: element?, base: offset + slot * stride, at }, what);
            }
        }
        let behind_at = offset + head * stride;
        let owned = |start, count| owned(context, element, start, count);
        Some([owned(offset, before), owned(behind_at, behind)])
    }
}

/// Returns the `count` elements that a collection has in use, if they have parts to check.
fn owned(context: &Context<'_>, element: Option<u32>, start: u64, count: u64) -> Option<Range> {
    let owner = element?;
    let layout = context.layouts.of(owner)?;
    let (stride, plan) = (layout.size_bytes, layout.plan?);
    let end = start + count * stride;
    Some(Range { start, end, stride, plan, owner, base: None, liveness: Liveness::Owned })
}

/// Checks the string of bytes at `place`, which begins `at` bytes into `bytes`.
pub(super) fn check_string(
    context: &mut Context<'_>,
    place: Place,
    bytes: &[u8],
    at: u64,
    is_text: bool,
) {
    let raw: [u8; SIZE_BYTES] = bytes_at(bytes, at).unwrap_or_default();
    let tag = raw[TAG];
    let rest = match usize::from(tag) {
        len @ ..=MAX_INLINE => {
            expect_text(context, place, &raw[..len], is_text);
            len..TAG
        }
        _ if tag == IN_HEAP => {
            check_string_in_heap(context, place, string_in_heap(&raw), is_text);
            LEN.end..TAG
        }
        _ => return context.report(place, wrong_tag(tag)),
    };
    context.expect_zeros(place.plus(rest.start as u64), &raw[rest], "the rest of a string");
}

fn check_string_in_heap(
    context: &mut Context<'_>,
    place: Place,
    [offset, len]: [u64; 2],
    is_text: bool,
) {
    let min_len = MAX_INLINE as u64 + 1;
    if len < min_len {
        let expected = format!("expected {min_len} bytes or more in the heap");
        return context.report(place, format!("{expected}, found {len}"));
    }
    if !context.claim(place, "its bytes", offset, (context.byte_type(), Some(len))) {
        return;
    }
    if let Some(bytes) = context.bytes(place, offset, len) {
        expect_text(context, place, bytes, is_text);
    }
}

fn expect_text(context: &mut Context<'_>, place: Place, bytes: &[u8], is_text: bool) {
    if is_text && let Err(error) = std::str::from_utf8(bytes) {
        context.report(place, format!("expected UTF-8, found {error}"));
    }
}
