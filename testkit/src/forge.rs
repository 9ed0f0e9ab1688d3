//! Changes a store's file as its own author could: with checksums that match the changed content.
//! FORMAT.md gives the positions.

use std::ops::Range;
use std::path::Path;

use flagstone::Store;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::TestResult;

/// Length of a page.
pub const PAGE: usize = 4096;
/// The start of the heap in the file.
pub const HEAP: usize = 256 << 10;
/// Pages before the heap.
pub const HEAD_PAGES: usize = HEAP / PAGE;
/// The starts of both superblocks in the file.
pub const SLOTS: [usize; 2] = [0, 64 << 10];
/// The start of the coordination page in the file.
pub const COORDINATION: usize = 128 << 10;
/// Bytes of a record before its body.
pub const RECORD_HEADER: usize = 48;

/// Returns the little-endian number at `at`.
pub fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Returns the 4-byte number at `at`.
pub fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

pub fn set_number(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

pub fn set_number32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// Closes a store, and returns the content of its file.
pub fn closed(store: Store, path: &Path) -> TestResult<Vec<u8>> {
    store.close()?;
    Ok(std::fs::read(path)?)
}

/// Changes both superblocks.
pub fn superblocks(bytes: &mut [u8], change: impl Fn(&mut [u8])) {
    SLOTS.into_iter().for_each(|at| superblock(&mut bytes[at..at + PAGE], &change));
}

/// Changes one superblock.
pub fn superblock(block: &mut [u8], change: impl FnOnce(&mut [u8])) {
    change(block);
    let sum = xxh3_64(&block[..504]);
    set_number(block, 504, sum);
}

/// Returns the offset of the newest superblock that is whole.
pub fn newest(bytes: &[u8]) -> usize {
    let age = |at: usize| (is_whole_superblock(&bytes[at..]), number(bytes, at + 64));
    let [first, second] = SLOTS;
    if age(second) > age(first) { second } else { first }
}

/// Returns whether both superblocks have the right checksum.
pub fn are_superblocks_whole(bytes: &[u8]) -> bool {
    SLOTS.into_iter().all(|at| is_whole_superblock(&bytes[at..]))
}

/// Returns whether the superblock at the start of a page has the right checksum.
pub fn is_whole_superblock(block: &[u8]) -> bool {
    xxh3_64(&block[..504]) == number(block, 504)
}

/// Returns the first of two images of one cut with a superblock that has words of both, or `None` if
/// their superblocks are the same.
pub fn with_torn_superblock(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let generation = |at: usize| at + 64..at + 72;
    let differs = |at: &usize| one[generation(*at)] != other[generation(*at)];
    let at = generation(SLOTS.into_iter().find(differs)?);
    let mut torn = one.to_vec();
    torn[at.clone()].copy_from_slice(&other[at]);
    Some(torn)
}

/// Changes a bit of the last commit in the log, which no later record vouches for. Returns whether
/// there is one.
pub fn damage_last_commit(bytes: &mut [u8]) -> bool {
    let records = records(bytes);
    let Some(last) = records.iter().rfind(|record| bytes[record.start + 3] == 1) else {
        return false;
    };
    bytes[last.end - 1] ^= 1;
    true
}

/// Returns the log's records from the newest superblock's position on: for each, the bytes of the
/// file that its checksum covers. Stops at the first bytes that are not a record.
pub fn records(bytes: &[u8]) -> Vec<Range<usize>> {
    let [log, log_bytes, base, mut position] =
        [80, 88, 96, 104].map(|field| number(bytes, newest(bytes) + field));
    let mut records = Vec::new();
    let most = log_bytes / RECORD_HEADER as u64;
    while (records.len() as u64) < most.min(bytes.len() as u64) {
        let at = log.wrapping_add(position.wrapping_sub(base) % log_bytes) as usize;
        let header = bytes.get(at..).and_then(|rest| rest.get(..RECORD_HEADER));
        let Some(header) = header else { return records };
        let len = number(header, 0) >> 32;
        let is_record = &header[..3] == b"flr" && number(header, 8) == position;
        if !is_record || len < RECORD_HEADER as u64 || len > (bytes.len() - at) as u64 {
            return records;
        }
        let is_skip = header[3] == 2;
        records.push(at..at + if is_skip { RECORD_HEADER } else { len as usize });
        position = position.wrapping_add(len);
    }
    records
}

/// Recomputes the checksums of all records.
pub fn reseal(bytes: &mut [u8], records: &[Range<usize>]) {
    let [epoch, mut chain] = [72, 112].map(|field| number(bytes, newest(bytes) + field));
    for record in records {
        set_number(bytes, record.start + 16, 0);
        set_number(bytes, record.start + 24, chain);
        chain = xxh3_64_with_seed(&bytes[record.clone()], epoch);
        set_number(bytes, record.start + 16, chain);
    }
}

/// Replaces all records with one commit of these entries, at the newest superblock's position.
/// Its header claims the length `len_bytes` and a heap of `heap_bytes`.
pub fn only_record(bytes: &mut [u8], entries: &[u64], len_bytes: u32, heap_bytes: u64) {
    let record = log_of(bytes, &[(1, entries.to_vec())], heap_bytes).remove(0);
    let record = record.start..record.start + RECORD_HEADER + 8 * entries.len();
    set_number32(bytes, record.start + 4, len_bytes);
    reseal(bytes, std::slice::from_ref(&record));
}

/// Replaces all records with records of these kinds and bodies, at the newest superblock's
/// position, over a heap of `heap_bytes`. Returns where each lies.
pub fn log_of(bytes: &mut [u8], records: &[(u8, Vec<u64>)], heap_bytes: u64) -> Vec<Range<usize>> {
    let [log, log_bytes, base, mut position] =
        [80, 88, 96, 104].map(|field| number(bytes, newest(bytes) + field));
    let mut ranges = Vec::new();
    for (kind, body) in records {
        let mut len = RECORD_HEADER + 8 * body.len();
        // The space after a record holds at least a header, or is padded away.
        let rest = (position as usize + len).next_multiple_of(PAGE) - (position as usize + len);
        len += if rest < RECORD_HEADER { rest } else { 0 };
        let at = (log + (position - base) % log_bytes) as usize;
        let record = &mut bytes[at..at + len];
        record.fill(0);
        record[..4].copy_from_slice(&[b'f', b'l', b'r', *kind]);
        set_number32(record, 4, len as u32);
        set_number(record, 8, position);
        set_number(record, 40, heap_bytes);
        (0..).zip(body).for_each(|(i, word)| set_number(record, RECORD_HEADER + 8 * i, *word));
        ranges.push(at..at + len);
        position += len as u64;
    }
    reseal(bytes, &ranges);
    ranges
}

/// Extends the heap to `pages` pages, in a file that was closed.
pub fn lengthen_heap(bytes: &mut [u8], pages: u32) {
    superblocks(bytes, |block| set_number(block, 120, u64::from(pages) * PAGE as u64));
    set_number32(bytes, HEAP, pages);
}

/// Appends an array of `len` times `entry` to the heap, and makes `field` of the heap header name
/// it.
pub fn system_array(bytes: &mut Vec<u8>, field: usize, entry: &[u64], len: u32) {
    bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    let page = bytes.len() / PAGE - HEAD_PAGES;
    for _ in 0..len {
        entry.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    }
    bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    let pages = bytes.len() / PAGE - HEAD_PAGES - page;
    set_number(bytes, HEAP + field, (pages as u64) << 32 | page as u64);
    set_number(bytes, HEAP + field + 8, u64::from(len));
}

/// Returns where the descriptor of a page of the heap lies, if the file has it.
pub fn descriptor(bytes: &[u8], page: usize) -> Option<usize> {
    let word = |at: usize| bytes.get(at..at + 4).map(|_| number32(bytes, at) as usize);
    let (segment, index) = (page / 512, page % 512);
    let directory = word(HEAP + 656 + 4 * (segment / 1024))?;
    let chunk = word(HEAP + directory * PAGE + 4 * (segment % 1024))?;
    let place = HEAP + chunk * PAGE + 64 * index;
    (chunk != 0 && place + 64 <= bytes.len()).then_some(place)
}

/// Returns where the checksum of a page with this descriptor lies: behind the descriptors of its
/// segment.
fn sum_place(descriptor: usize, page: usize) -> usize {
    descriptor + 8 * PAGE - (64 - 8) * (page % 512)
}

/// Returns the checksum of a page of the heap with this content.
pub fn page_sum(page: usize, content: &[u8]) -> u64 {
    let line_sum = |(index, line): (usize, &[u8])| match line == [0; 64] {
        true => 0,
        false => xxh3_64_with_seed(line, (64 * page + index) as u64),
    };
    content.chunks(64).enumerate().map(line_sum).fold(0, u64::wrapping_add)
}

/// Recomputes the checksum of a page. Pages without a checksum have 0 in its place, and keep it.
pub fn reseal_page(bytes: &mut [u8], page: usize) {
    let place = descriptor(bytes, page).map(|descriptor| sum_place(descriptor, page));
    let has_sum = |place: &usize| place + 8 <= bytes.len() && number(bytes, *place) != 0;
    let Some(place) = place.filter(has_sum) else { return };
    if let Some(content) = bytes.get(HEAP + page * PAGE..HEAP + (page + 1) * PAGE) {
        let sum = page_sum(page, content);
        set_number(bytes, place, sum);
    }
}

/// Changes a page of the heap, in a file that was closed, and recomputes its checksum.
pub fn page(bytes: &mut [u8], page: usize, change: impl FnOnce(&mut [u8])) {
    let descriptor = descriptor(bytes, page).expect("a page of the heap");
    let content = &mut bytes[HEAP + page * PAGE..][..PAGE];
    change(content);
    let sum = page_sum(page, content);
    // Free pages, log pages and pages of checksums have no checksum.
    if ![0, 5, 6].contains(&bytes[descriptor]) {
        set_number(bytes, sum_place(descriptor, page), sum);
    }
}

/// Returns the position of a type's registry entry, and the range of its description, in a file
/// that was closed. `begin` is the start of the description.
pub fn type_entry(bytes: &[u8], begin: &str) -> (usize, Range<usize>) {
    let registry = HEAP + number32(bytes, HEAP + 8) as usize * PAGE;
    let types = number32(bytes, HEAP + 16) as usize;
    let text = |entry: usize| {
        let start = HEAP + number(bytes, entry + 8) as usize;
        start..start + number32(bytes, entry + 16) as usize
    };
    let entries = (1..types).map(|number| registry + 128 * number);
    let mut found = entries.map(|entry| (entry, text(entry)));
    let is_named = |text: &Range<usize>| bytes[text.clone()].starts_with(begin.as_bytes());
    found.find(|(_, text)| is_named(text)).expect("a type whose description begins so")
}

/// Replaces the description of a type with another of the same length. If `identity` is given,
/// stores it as the checksum in the entry.
pub fn describe_as(bytes: &mut [u8], begin: &str, text: &str, identity: Option<u64>) {
    let (entry, old) = type_entry(bytes, begin);
    assert_eq!(old.len(), text.len(), "the same length");
    page(bytes, (old.start - HEAP) / PAGE, |page| {
        page[old.start % PAGE..][..text.len()].copy_from_slice(text.as_bytes());
    });
    let Some(identity) = identity else { return };
    page(bytes, (entry - HEAP) / PAGE, |page| set_number(page, entry % PAGE, identity));
}
