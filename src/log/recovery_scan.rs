//! Finds the end of the log after a crash.

use crate::error::Result;
use crate::format::PAGE_BYTES;
use crate::format::record::{self, HEADER_BYTES, RecordHeader, Spill};
use crate::format::superblock::Superblock;

use super::ring::Ring;
use super::source::{EntryRange, LogSource, Piece, entries_in_log};

/// The result of [`scan`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecoveredLog {
    /// The end of the last valid record.
    pub(crate) end: u64,
    /// Its checksum.
    pub(crate) prev_checksum: u64,
    /// A durable position past `end` that a later record names. It proves that the record at `end`
    /// is damaged, and not merely torn.
    pub(crate) proven_durable: Option<u64>,
    /// Whether something at the end, or after it, looks like a record of the sequence: the record
    /// at the end was torn, or is damaged.
    pub(crate) is_torn: bool,
}

impl RecoveredLog {
    /// Returns the result for a log that ends where it begins.
    pub(crate) fn none(end: u64, prev_checksum: u64) -> Self {
        Self { end, prev_checksum, proven_durable: None, is_torn: false }
    }
}

/// The records found after the end of the log.
#[derive(Default)]
struct TailScan {
    /// The first durable position past the end that a valid record names.
    proven_durable: Option<u64>,
    /// Whether there is a valid record.
    has_record: bool,
}

/// Reads the records from the superblock's position on, hands the entries of each to `each` once its
/// checksum is known to be right, and determines whether they end where the log ends.
///
/// The ring's length bounds the work: one lap of records, then one pass that looks for a later one.
/// A record that ends later than one lap is none: no superblock could name its end as its reach.
pub(crate) fn scan(
    source: &LogSource,
    block: &Superblock,
    mut each: impl FnMut(Piece<'_>) -> Result<()>,
) -> Result<RecoveredLog> {
    let (epoch, from) = (block.epoch.get(), block.position.get());
    let mut found = RecoveredLog::none(from, block.prev_checksum.get());
    let mut records = Records::new(source, block)?;
    let last = from + source.ring.len_bytes();
    while let Some(header) = records.read(found.end, found.prev_checksum)? {
        let end = found.end + u64::from(header.len_bytes.get());
        if end > last {
            break;
        }
        records.hand_over(&header, found.end, &mut each)?;
        (found.end, found.prev_checksum) = (end, header.checksum.get());
    }
    let failed = |error| source.failed(error);
    let behind = scan_tail(&source.ring, epoch, from, found.end).map_err(failed)?;
    let at_end = source.ring.resembles_record(found.end, found.prev_checksum).map_err(failed)?;
    found.proven_durable = behind.proven_durable;
    found.is_torn = behind.has_record || at_end;
    Ok(found)
}

/// Reads records one after the other, as long as they are valid.
struct Records<'a> {
    source: &'a LogSource,
    epoch: u64,
    /// The record read last, unless it is longer than a piece.
    buffer: Vec<u8>,
    /// The location of its entries, if it is a spill.
    spilled: Option<EntryRange>,
    /// What spills may still name. A checkpoint follows a spill, so there is at most one. In a
    /// forged log, each record could name as many bytes as the file has.
    left_bytes: u64,
    /// The largest length of the heap so far.
    longest_heap: u64,
}

impl<'a> Records<'a> {
    fn new(source: &'a LogSource, block: &Superblock) -> Result<Self> {
        let left_bytes = source.disk.len_bytes().map_err(|error| source.failed(error))?;
        let (epoch, longest_heap) = (block.epoch.get(), block.heap_bytes.get());
        Ok(Self { source, epoch, buffer: Vec::new(), spilled: None, left_bytes, longest_heap })
    }

    /// Reads the record at `position`, or returns `None` if no valid one is there. A failed read,
    /// or a failed allocation, does not mark the end of the log.
    fn read(&mut self, position: u64, prev_checksum: u64) -> Result<Option<RecordHeader>> {
        let ring = &self.source.ring;
        let checked = ring.checked(position, self.epoch, Some(prev_checksum), &mut self.buffer);
        let checked = match checked {
            Ok(None) => ring.stepped_over(position, &mut self.buffer),
            checked => checked,
        };
        let checked = checked.map_err(|error| self.source.failed(error))?;
        let Some(header) = checked else { return Ok(None) };
        self.longest_heap = self.longest_heap.max(header.heap_bytes.get());
        let is_valid = header.kind != record::KIND_SPILL || self.find_spill(&header)?;
        Ok(is_valid.then_some(header))
    }

    /// Hands over the entries of the record read last, which begins at `position`.
    fn hand_over(
        &mut self,
        header: &RecordHeader,
        position: u64,
        each: &mut impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<()> {
        let (whole, buffer) = (self.buffer.len(), &mut self.buffer);
        match (header.kind, self.spilled) {
            (record::KIND_SKIP, _) => Ok(()),
            (record::KIND_SPILL, Some(entries)) => {
                self.source.each_piece_of(header, entries, buffer, each)
            }
            _ if whole == header.len_bytes.get() as usize => {
                each(Piece { header, entries: &buffer[HEADER_BYTES as usize..], is_last: true })
            }
            _ => {
                let entries = entries_in_log(header, position);
                self.source.each_piece_of(header, entries, buffer, each)
            }
        }
    }

    /// Finds the entries that a spill names; returns whether they are valid, past all heaps so far,
    /// and no more than the file can have. Recovery writes pages of those heaps while it reads them.
    fn find_spill(&mut self, header: &RecordHeader) -> Result<bool> {
        let Some((spill, entries)) = self.source.spilled(header)? else { return Ok(false) };
        let Spill { offset, len_bytes, checksum } = spill;
        if offset.get() < self.longest_heap {
            return Ok(false);
        }
        let Some(left) = self.left_bytes.checked_sub(len_bytes.get()) else { return Ok(false) };
        self.left_bytes = left;
        self.spilled = Some(entries);
        let sum = self.source.sum_of(entries, self.epoch, &mut self.buffer)?;
        Ok(sum == checksum.get())
    }
}

/// Looks for records after the end, until one proves that there were more.
///
/// The ring holds one lap, so each offset can hold only one position past `end`; a header that
/// names another is from an earlier lap.
fn scan_tail(ring: &Ring, epoch: u64, from: u64, end: u64) -> std::io::Result<TailScan> {
    let mut behind = TailScan::default();
    let last = from + ring.len_bytes();
    // Headers can be forged, so bound the cost of their checksums.
    let mut budget_bytes = 4 * ring.len_bytes();
    let mut block = vec![0; PAGE_BYTES as usize];
    let mut buffer = Vec::new();
    let mut at = end;
    while at < last {
        let bytes = (PAGE_BYTES - at % PAGE_BYTES).min(last - at);
        ring.load(at, &mut block[..bytes as usize])?;
        for candidate in candidates(&block[..bytes as usize], at) {
            let Some(header) = ring.header(candidate)? else {
                continue;
            };
            let cost = u64::from(header.len_bytes.get());
            let Some(rest) = budget_bytes.checked_sub(cost) else { return Ok(behind) };
            budget_bytes = rest;
            let Some(header) = ring.checked(candidate, epoch, None, &mut buffer)? else {
                continue;
            };
            behind.has_record = true;
            if header.durable.get() > end {
                behind.proven_durable = Some(header.durable.get());
                return Ok(behind);
            }
        }
        at += bytes;
    }
    Ok(behind)
}

/// Returns the positions of a record's magic in a block that begins at `at`.
fn candidates(block: &[u8], at: u64) -> impl Iterator<Item = u64> {
    let (words, _) = block.as_chunks::<8>();
    let begins = words.iter().map(|word| word[..3] == record::MAGIC);
    (at..).step_by(8).zip(begins).filter_map(|(position, begins)| begins.then_some(position))
}
