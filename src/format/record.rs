//! A record of the log: its header, and the words of its body.
//!
//! A body is a sequence of entries. A line entry starts with one word: the line's
//! number from the heap's start, shifted left by 8, with a mask of the changed
//! 8-byte words in the low byte. The new words follow. A mask of 0 makes it a
//! page entry of two words: the first page, then a count and an operation.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::checksum;

/// First bytes of every record.
pub(crate) const MAGIC: [u8; 3] = *b"flr";
/// Bytes of a record's header.
pub(crate) const HEADER_BYTES: u64 = 48;

/// The body holds a transaction's changes.
pub(crate) const KIND_COMMIT: u8 = 1;
/// The record holds nothing: the sequence continues at its end.
pub(crate) const KIND_SKIP: u8 = 2;
/// The body is a [`Spill`]: the changes lie elsewhere in the file.
pub(crate) const KIND_SPILL: u8 = 3;

/// Page entry: these pages are zero now.
pub(crate) const OP_ZERO: u64 = 1;
/// Page entry: these pages were written to the file as a whole.
pub(crate) const OP_BULK: u64 = 2;

/// The header before a record's body.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct RecordHeader {
    pub(crate) magic: [u8; 3],
    pub(crate) kind: u8,
    /// Length of the record including this header, a multiple of 8.
    pub(crate) len_bytes: U32,
    /// The log position at which the record begins.
    pub(crate) position: U64,
    /// Checksum of header (with this field 0) and body, seeded by the epoch.
    pub(crate) checksum: U64,
    /// The checksum of the previous record.
    pub(crate) prev_checksum: U64,
    /// The position up to which the log was durable when the record was appended.
    pub(crate) durable: U64,
    /// Length of the heap after this record.
    pub(crate) heap_bytes: U64,
}

/// Body of a record whose changes did not fit into the log.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Spill {
    /// Offset of the changes from the heap's start; past the heap's end.
    pub(crate) offset: U64,
    /// Length of the changes.
    pub(crate) len_bytes: U64,
    /// Checksum of the changes, seeded by the epoch.
    pub(crate) checksum: U64,
}

const _: () = {
    assert!(size_of::<RecordHeader>() == HEADER_BYTES as usize);
    assert!(std::mem::offset_of!(RecordHeader, len_bytes) == 4);
    assert!(std::mem::offset_of!(RecordHeader, position) == 8);
    assert!(std::mem::offset_of!(RecordHeader, checksum) == 16);
    assert!(std::mem::offset_of!(RecordHeader, prev_checksum) == 24);
    assert!(std::mem::offset_of!(RecordHeader, durable) == 32);
    assert!(std::mem::offset_of!(RecordHeader, heap_bytes) == 40);
    assert!(size_of::<Spill>() == 24);
};

/// One entry of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// New words of a line: the bits of `mask` select them, `words` holds them.
    Line { line: u64, mask: u8, words: &'a [[u8; 8]] },
    /// `count` pages from `page` on are zero.
    Zero { page: u64, count: u64 },
    /// `count` pages from `page` on were written in place.
    Bulk { page: u64, count: u64 },
}

/// Reads the entries of a body. Ends with `Err` at the first one that is truncated or unknown.
pub(crate) struct Entries<'a> {
    words: &'a [[u8; 8]],
}

/// The error for a body that does not consist of whole, known entries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadEntry;

impl<'a> Entries<'a> {
    /// Reads the whole words of `body`; the bytes after them are padding.
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { words: body.as_chunks::<8>().0 }
    }

    fn take(&mut self, count: usize) -> Result<&'a [[u8; 8]], BadEntry> {
        let (taken, rest) = self.words.split_at_checked(count).ok_or(BadEntry)?;
        self.words = rest;
        Ok(taken)
    }

    fn next_entry(&mut self) -> Result<Entry<'a>, BadEntry> {
        let head = u64::from_le_bytes(self.take(1)?[0]);
        let (number, mask) = (head >> 8, head as u8);
        if mask != 0 {
            let words = self.take(mask.count_ones() as usize)?;
            return Ok(Entry::Line { line: number, mask, words });
        }
        let tail = u64::from_le_bytes(self.take(1)?[0]);
        let (page, count) = (number, tail >> 8);
        match tail & 0xff {
            OP_ZERO => Ok(Entry::Zero { page, count }),
            OP_BULK => Ok(Entry::Bulk { page, count }),
            _ => Err(BadEntry),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, BadEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        // A word of 0 is padding after the last entry. No entry begins with it, since page 0 is
        // the heap's header and is never allocated.
        if self.words.first().is_none_or(|word| *word == [0; 8]) {
            return None;
        }
        let entry = self.next_entry();
        if entry.is_err() {
            self.words = &[];
        }
        Some(entry)
    }
}

/// The whole entries at the start of a part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WholeEntries {
    pub(crate) len_bytes: usize,
    /// Whether no entry follows them in the body: padding does, or an unknown entry, which is among
    /// the bytes.
    pub(crate) is_end: bool,
}

impl WholeEntries {
    /// Words of the longest entry: a line of which each word has changed.
    const LONGEST: usize = 9;

    /// Finds them in a part that may end within an entry.
    pub(crate) fn of(part: &[u8]) -> Self {
        let mut entries = Entries::new(part);
        loop {
            let left = entries.words.len();
            let (words_used, is_end) = match entries.next() {
                Some(Ok(_)) => continue,
                Some(Err(BadEntry)) if left < Self::LONGEST => (part.len() / 8 - left, false),
                Some(Err(BadEntry)) => (part.len() / 8, true),
                None => (part.len() / 8 - left, left > 0),
            };
            return Self { len_bytes: 8 * words_used, is_end };
        }
    }
}

/// Appends a line entry with the words in which `old` and `new` differ. Returns whether there were
/// any.
pub(crate) fn push_line(body: &mut Vec<u8>, line: u64, old: &[u8; 64], new: &[u8; 64]) -> bool {
    let (old, _) = old.as_chunks::<8>();
    let (new, _) = new.as_chunks::<8>();
    let differ = |i: usize| u64::from(old[i] != new[i]) << i;
    let mask = (0..8).fold(0, |mask, i| mask | differ(i));
    if mask == 0 {
        return false;
    }
    body.extend_from_slice(&(line << 8 | mask).to_le_bytes());
    let changed = (0..8).filter(|i| mask >> i & 1 == 1);
    changed.for_each(|i| body.extend_from_slice(&new[i]));
    true
}

/// Appends a page entry.
pub(crate) fn push_pages(body: &mut Vec<u8>, page: u64, count: u64, operation: u64) {
    body.extend_from_slice(&(page << 8).to_le_bytes());
    body.extend_from_slice(&(count << 8 | operation).to_le_bytes());
}

/// Writes the header of a record, with magic and checksum, into its first bytes, which are reserved
/// for it. Returns the checksum.
pub(crate) fn seal(record: &mut [u8], mut header: RecordHeader, epoch: u64) -> u64 {
    header.magic = MAGIC;
    header.checksum = U64::new(0);
    record[..HEADER_BYTES as usize].copy_from_slice(header.as_bytes());
    let sum = checksum::of_record(epoch, record);
    record[16..24].copy_from_slice(&sum.to_le_bytes());
    sum
}

/// Returns whether a whole record's checksum is right for `epoch`.
pub(crate) fn checks(record: &mut [u8], epoch: u64) -> bool {
    let mut stored = [0; 8];
    stored.copy_from_slice(&record[16..24]);
    record[16..24].fill(0);
    let sum = checksum::of_record(epoch, record);
    record[16..24].copy_from_slice(&stored);
    stored == sum.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let mut body = Vec::new();
        push_pages(&mut body, 9, 3, OP_ZERO);
        let mut new = [0u8; 64];
        new[8] = 7;
        new[63] = 1;
        assert!(push_line(&mut body, 600, &[0; 64], &new));
        assert!(!push_line(&mut body, 601, &new, &new));
        push_pages(&mut body, 20, 1, OP_BULK);
        body.extend_from_slice(&[0; 16]);
        let entries: Vec<_> = Entries::new(&body).collect::<Result<_, _>>().unwrap();
        assert_eq!(entries[0], Entry::Zero { page: 9, count: 3 });
        let words = [[7, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]];
        assert_eq!(entries[1], Entry::Line { line: 600, mask: 0b1000_0010, words: &words });
        assert_eq!(entries[2], Entry::Bulk { page: 20, count: 1 });
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn a_part_is_cut_at_the_end_of_an_entry() {
        let mut body = Vec::new();
        push_pages(&mut body, 9, 3, OP_ZERO);
        assert!(push_line(&mut body, 600, &[0; 64], &[1; 64]));
        push_pages(&mut body, 20, 1, OP_BULK);
        let whole = |part: &[u8]| {
            let WholeEntries { len_bytes, is_end } = WholeEntries::of(part);
            (len_bytes, is_end)
        };
        let ends = [0, 16, 88, 104];
        for len in 0..=body.len() {
            let end = ends.iter().rfind(|end| **end <= len).copied().unwrap_or(0);
            assert_eq!(whole(&body[..len]), (end, false), "{len}");
        }
        let unknown = [(5u64 << 8).to_le_bytes(), 77u64.to_le_bytes()].concat();
        let long = [&body, &unknown, &body].map(Vec::as_slice).concat();
        assert_eq!(whole(&long), (long.len(), true), "the unknown entry is seen");
        let padded = [&body, &vec![0; 16], &unknown].map(Vec::as_slice).concat();
        assert_eq!(whole(&padded), (body.len(), true), "what follows padding is not");
    }

    #[test]
    fn a_body_that_is_cut_off_or_unknown_is_an_error() {
        let cut = (5u64 << 8 | 0xff).to_le_bytes();
        assert_eq!(Entries::new(&cut).next(), Some(Err(BadEntry)));
        let mut unknown = Vec::new();
        push_pages(&mut unknown, 5, 1, 77);
        assert_eq!(Entries::new(&unknown).next(), Some(Err(BadEntry)));
    }
}
