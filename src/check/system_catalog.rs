//! Checks registry and roots: their arrays, their texts and flagstone's other allocations.
//!
//! **Owns** the record of flagstone's own allocations, each of which one structure names. **Must
//! not know** what descriptions mean (`schema`), nor what roots lead to (`objects`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::alloc::{Request, expect_whole};
use crate::catalog::{list_roots, root_entries, schema_text};
use crate::format::heap::{
    ArrayRef, ROOT_SINGLE, RootEntry, TYPE_FIRST_USER, TYPE_SYSTEM, TypeEntry,
};
use crate::format::{PAGE_BYTES, checksum};
use crate::image::Image;

use super::report::Report;
use super::schema::grammar::TypeText;
use super::schema::layout::Layouts;
use super::schema::read::read_layouts;

/// Flagstone's own allocations that some structure names: offset, and the structure.
#[derive(Default)]
pub(super) struct SystemAllocs(HashMap<u64, String>);

impl SystemAllocs {
    pub(super) fn is_named(&self, offset: u64) -> bool {
        self.0.contains_key(&offset)
    }

    /// Notes that `what` names this allocation, which nothing else may name.
    pub(super) fn add(
        &mut self,
        image: &Image,
        report: &mut Report,
        (offset, len_bytes): (u64, u64),
        what: String,
    ) {
        let count = Some(len_bytes);
        let request = Request { type_number: TYPE_SYSTEM, size_bytes: 1, align_bytes: 1, count };
        if let Err(found) = expect_whole(image, offset, &request) {
            let expected = format!("an allocation of its own for {len_bytes} bytes");
            report.add_at(offset, format!("{what} leads to {found}, expected {expected}"));
        }
        match self.0.entry(offset) {
            Entry::Vacant(place) => drop(place.insert(what)),
            Entry::Occupied(other) => {
                report.add_at(offset, format!("{what} and {} are at one place", other.get()));
            }
        }
    }

    /// Notes an array that the heap header names.
    fn add_array(
        &mut self,
        image: &Image,
        report: &mut Report,
        (array, entry_bytes): (ArrayRef, u64),
        what: &str,
    ) {
        if array.offset() == 0 {
            return;
        }
        let room_bytes = u64::from(array.pages.get()) * PAGE_BYTES;
        let used_bytes = u64::from(array.len.get()) * entry_bytes;
        self.add(image, report, (array.offset(), room_bytes), what.to_string());
        let Some(rest_bytes) = room_bytes.checked_sub(used_bytes) else {
            let found = format!("{what} of {used_bytes} bytes in a run of {room_bytes}");
            return report.add_at(array.offset(), found);
        };
        let rest = image.bytes("array", array.offset() + used_bytes, rest_bytes);
        let rest = report.note(array.offset(), rest).unwrap_or_default();
        if let Some(at) = rest.iter().position(|byte| *byte != 0) {
            let what = format!("expected zeros behind the last entry of the {what}");
            report.add_at(array.offset() + used_bytes + at as u64, what);
        }
    }
}

/// Checks the registry and its type entries.
pub(super) fn check_types(
    image: &Image,
    report: &mut Report,
    system: &mut SystemAllocs,
) -> Layouts {
    let Some(registry) = report.note(0, image.registry()) else {
        return Layouts::default();
    };
    system.add_array(image, report, (registry, size_of::<TypeEntry>() as u64), "registry of types");
    let place = |number| registry.offset() + number * size_of::<TypeEntry>() as u64;
    let mut texts = vec![TypeText::default()];
    // Descriptions do not overlap, so together they are no longer than the heap.
    let mut left_bytes = image.heap_bytes();
    for number in 0..registry.len.get() {
        let at = place(u64::from(number));
        let Some(entry) = report.note(at, image.pod::<TypeEntry>("type entry", at)) else {
            break;
        };
        check_entry(report, at, number, entry);
        if number < TYPE_FIRST_USER {
            continue;
        }
        texts.push(TypeText::default());
        let text_bytes = u64::from(entry.schema_bytes.get());
        if text_bytes > left_bytes {
            report.add_at(at, format!("type {number}: descriptions longer than the heap"));
            continue;
        }
        left_bytes -= text_bytes;
        let Some(text) = report.note(at, schema_text(image, number)) else {
            continue;
        };
        let what = format!("the description of type {number}");
        system.add(image, report, (entry.schema_offset.get(), text_bytes), what);
        if checksum::plain(text.as_bytes()) != entry.sum.get() {
            report.add_at(at, format!("type {number}: its description does not match its sum"));
        }
        let (size_bytes, align_bytes) = (entry.size_bytes.get(), entry.align_bytes.get());
        texts[number as usize] =
            TypeText { size_bytes: size_bytes.into(), align_bytes: align_bytes.into(), text };
    }
    read_layouts(texts, |number, why| {
        report.add_at(place(number as u64), format!("type {number}: {why}"));
    })
}

/// Checks an entry on its own.
fn check_entry(report: &mut Report, at: u64, number: u32, entry: &TypeEntry) {
    if entry.has_unknown_bits() {
        report.add_at(at, format!("type {number}: bits that this version does not know"));
    }
    let (size, align) = (entry.size_bytes.get(), entry.align_bytes.get());
    if number < TYPE_FIRST_USER {
        let is_zero = (entry.sum.get(), entry.schema_bytes.get(), size, align) == (0, 0, 0, 0);
        if !is_zero || entry.objects.get() != 0 {
            report.add_at(at, "type 0, which is flagstone's own, is described");
        }
        return;
    }
    let is_sound = align.is_power_of_two() && align <= PAGE_BYTES as u32;
    if !is_sound || !size.is_multiple_of(align) || size == 0 {
        report.add_at(at, format!("type {number}: {size} bytes, with an alignment of {align}"));
    }
}

/// Checks the roots: their names must be sorted, and each must lead to an allocation made for it.
pub(super) fn check_roots(
    image: &Image,
    report: &mut Report,
    system: &mut SystemAllocs,
    layouts: &Layouts,
) {
    let (Some(array), Some(roots)) =
        (report.note(0, image.roots()), report.note(0, list_roots(image)))
    else {
        return;
    };
    let entry_bytes = size_of::<RootEntry>() as u64;
    system.add_array(image, report, (array, entry_bytes), "directory of roots");
    for pair in roots.windows(2) {
        if pair[0].name >= pair[1].name {
            let what = format!("roots {:?} and {:?}: not sorted", pair[0].name, pair[1].name);
            report.add_at(array.offset(), what);
        }
    }
    let Some(entries) = report.note(0, root_entries(image)) else { return };
    for (index, (entry, root)) in (0..).zip(entries.zip(&roots)) {
        let at = array.offset() + index * entry_bytes;
        let Some(entry) = report.note(at, entry) else { return };
        let (name_offset, name_bytes) = (entry.name_offset.get(), entry.name_bytes.get());
        let what = format!("the name of root {:?}", root.name);
        system.add(image, report, (name_offset, name_bytes.into()), what);
        let name = image.bytes("root's name", name_offset, name_bytes.into());
        if name.is_ok_and(|name| std::str::from_utf8(name).is_err()) {
            report.add_at(name_offset, format!("root {:?}: its name is no UTF-8", root.name));
        }
        if let Err(found) = expect_target(image, layouts, entry) {
            report.add_at(at, format!("root {:?} leads to {found}", root.name));
        }
    }
}

/// Reports a root that is neither null nor exactly one allocation of its type.
fn expect_target(image: &Image, layouts: &Layouts, entry: &RootEntry) -> Result<(), String> {
    let (type_number, offset, count) =
        (entry.type_number.get(), entry.offset.get(), entry.count.get());
    let layout = layouts.of(type_number).filter(|_| type_number >= TYPE_FIRST_USER);
    let Some(layout) = layout else {
        return Err(format!("a type that the store does not know, number {type_number}"));
    };
    if offset == 0 {
        return match count {
            0 | ROOT_SINGLE => Ok(()),
            _ => Err(format!("{count} elements, and none is there")),
        };
    }
    let count = Some(count).filter(|count| *count != ROOT_SINGLE);
    let (size_bytes, align_bytes) = (layout.size_bytes, layout.align_bytes);
    expect_whole(image, offset, &Request { type_number, size_bytes, align_bytes, count })
}
