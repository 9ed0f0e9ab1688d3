//! Reads the entries of records, in pieces of bounded length.
//!
//! A record can be half as long as the ring, and the entries of a spill as long as the file, so
//! neither is ever read as a whole.

use std::sync::Arc;

use zerocopy::FromBytes;

use super::ring::{PIECE_BYTES, Ring};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result, io_error};
use crate::format::HEAP_START_BYTES;
use crate::format::checksum::RecordSum;
use crate::format::record::{self, HEADER_BYTES, RecordHeader, Spill, WholeEntries};

/// The action named in the error for a failed read of the log.
pub(crate) const READING: &str = "read the log";

/// A part of a record: entries, each of them whole, in their order.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) header: &'a RecordHeader,
    pub(crate) entries: &'a [u8],
    /// Whether these are the record's last entries.
    pub(crate) is_last: bool,
}

/// The source of an image's records: the ring, and the file for spilled ones.
#[derive(Clone)]
pub(crate) struct LogSource {
    pub(crate) ring: Arc<Ring>,
    pub(crate) disk: Arc<dyn Disk>,
}

/// The location of a record's entries.
#[derive(Clone, Copy)]
pub(super) enum EntryRange {
    /// In the ring, at this position.
    InLog { position: u64, len_bytes: u64 },
    /// In the file, at this offset.
    Spilled { offset: u64, len_bytes: u64 },
}

impl EntryRange {
    fn len_bytes(self) -> u64 {
        match self {
            Self::InLog { len_bytes, .. } | Self::Spilled { len_bytes, .. } => len_bytes,
        }
    }
}

impl LogSource {
    /// Hands the entries of the records in `[from, to)`, which are known to be whole, to `each`, and
    /// passes over skips.
    ///
    /// The log is copied out in pieces, because a call for each record would cost as much as
    /// applying it.
    pub(crate) fn each_piece(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut buffer = Vec::new();
        let mut at = from;
        while at < to {
            let len = self.ring.room_to_end(at).min(to - at).min(PIECE_BYTES);
            self.load(at, len, &mut buffer)?;
            let mut used = 0;
            while let Some((header, len)) = self.header_in(&buffer[used..], at)? {
                if len > buffer.len() - used {
                    break;
                }
                let body = &buffer[used + HEADER_BYTES as usize..used + len];
                self.hand_over(&header, body, &mut each)?;
                used += len;
                at += len as u64;
            }
            if used == 0 {
                at += self.hand_over_long(at, &mut buffer, &mut each)?;
            }
        }
        Ok(())
    }

    /// Hands over a record that is longer than a piece; returns its length.
    fn hand_over_long(
        &self,
        at: u64,
        buffer: &mut Vec<u8>,
        each: &mut impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<u64> {
        let found = self.ring.header(at).map_err(|error| self.failed(error))?;
        let header = found.ok_or_else(|| self.damaged(at))?;
        let len = u64::from(header.len_bytes.get());
        match header.kind {
            record::KIND_SKIP => {}
            record::KIND_SPILL => self.hand_over_spill(&header, each)?,
            _ => self.each_piece_of(&header, entries_in_log(&header, at), buffer, each)?,
        }
        Ok(len)
    }

    /// Hands over a record of which `body` is known.
    fn hand_over(
        &self,
        header: &RecordHeader,
        body: &[u8],
        each: &mut impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<()> {
        match header.kind {
            record::KIND_SKIP => Ok(()),
            record::KIND_SPILL => self.hand_over_spill(header, each),
            _ => each(Piece { header, entries: body, is_last: true }),
        }
    }

    fn hand_over_spill(
        &self,
        header: &RecordHeader,
        each: &mut impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<()> {
        let found = self.spilled(header)?;
        let (_, entries) = found.ok_or_else(|| self.damaged(header.position.get()))?;
        self.each_piece_of(header, entries, &mut Vec::new(), each)
    }

    /// Hands over entries piece by piece, each cut at the end of an entry.
    pub(super) fn each_piece_of(
        &self,
        header: &RecordHeader,
        entries: EntryRange,
        buffer: &mut Vec<u8>,
        each: &mut impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut at = 0;
        loop {
            let len = (entries.len_bytes() - at).min(PIECE_BYTES);
            self.read(entries, at, len, buffer)?;
            if at + len == entries.len_bytes() {
                return each(Piece { header, entries: buffer, is_last: true });
            }
            let WholeEntries { len_bytes, is_end } = WholeEntries::of(buffer);
            each(Piece { header, entries: &buffer[..len_bytes], is_last: is_end })?;
            if is_end {
                return Ok(());
            }
            at += len_bytes as u64;
        }
    }

    /// Returns the checksum of entries.
    pub(super) fn sum_of(
        &self,
        entries: EntryRange,
        epoch: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<u64> {
        let mut sum = RecordSum::new(epoch);
        let mut at = 0;
        while at < entries.len_bytes() {
            let len = (entries.len_bytes() - at).min(PIECE_BYTES);
            self.read(entries, at, len, buffer)?;
            sum.add(buffer);
            at += len;
        }
        Ok(sum.finish())
    }

    /// Returns what the record of a spill names, and where its entries are, or `None` if they do not
    /// lie within the file.
    pub(super) fn spilled(&self, header: &RecordHeader) -> Result<Option<(Spill, EntryRange)>> {
        const BYTES: usize = size_of::<Spill>();
        let mut body = [0; BYTES];
        if u64::from(header.len_bytes.get()) < HEADER_BYTES + BYTES as u64 {
            return Ok(None);
        }
        let position = header.position.get() + HEADER_BYTES;
        self.ring.load(position, &mut body).map_err(|error| self.failed(error))?;
        let Ok(spill) = Spill::read_from_bytes(&body) else { return Ok(None) };
        let (offset, len_bytes) = (spill.offset.get(), spill.len_bytes.get());
        let offset = offset.checked_add(HEAP_START_BYTES);
        let end = offset.and_then(|offset| offset.checked_add(len_bytes));
        let file_bytes = self.disk.len_bytes().map_err(|error| self.failed(error))?;
        let (Some(offset), Some(_)) = (offset, end.filter(|end| *end <= file_bytes)) else {
            return Ok(None);
        };
        Ok(Some((spill, EntryRange::Spilled { offset, len_bytes })))
    }

    /// Fills `buffer` with `len_bytes` of the entries from `at` on.
    fn read(
        &self,
        entries: EntryRange,
        at: u64,
        len_bytes: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        match entries {
            EntryRange::InLog { position, .. } => self.load(position + at, len_bytes, buffer),
            EntryRange::Spilled { offset, .. } => {
                buffer.resize(len_bytes as usize, 0);
                self.disk.read_at(offset + at, buffer).map_err(|error| self.failed(error))
            }
        }
    }

    /// Returns the header at the start of `bytes`, and the record's length; `None` if the header is
    /// incomplete.
    fn header_in(&self, bytes: &[u8], position: u64) -> Result<Option<(RecordHeader, usize)>> {
        let Ok((header, _)) = RecordHeader::read_from_prefix(bytes) else { return Ok(None) };
        match self.ring.is_plausible(&header, position) {
            true => Ok(Some((header, header.len_bytes.get() as usize))),
            false => Err(self.damaged(position)),
        }
    }

    fn load(&self, position: u64, len_bytes: u64, buffer: &mut Vec<u8>) -> Result<()> {
        let loaded = self.ring.load_into(buffer, position, len_bytes as usize);
        loaded.map_err(|error| self.failed(error))
    }

    #[cold]
    fn damaged(&self, position: u64) -> Error {
        let offset = self.ring.file_offset(position);
        ErrorKind::corrupt("log record (file offset)", offset, "a whole record", "other bytes")
    }

    /// Returns the error for a failed read; it does not prove damage.
    #[cold]
    pub(super) fn failed(&self, source: std::io::Error) -> Error {
        io_error(READING, self.disk.path())(source)
    }
}

/// Returns the location of the entries of a record in the log.
pub(super) fn entries_in_log(header: &RecordHeader, position: u64) -> EntryRange {
    let len_bytes = u64::from(header.len_bytes.get()) - HEADER_BYTES;
    EntryRange::InLog { position: position + HEADER_BYTES, len_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::format::PAGE_BYTES;
    use crate::format::checksum;
    use crate::format::record::{OP_ZERO, push_line, push_pages};
    use crate::mutation::ActiveMutation;
    use zerocopy::FromZeros;

    /// Entries of about `len_bytes`, of all lengths.
    fn entries(len_bytes: usize) -> Vec<u8> {
        let mut entries = Vec::new();
        for line in 1.. {
            if entries.len() >= len_bytes {
                break;
            }
            let mut new = [0; 64];
            (0..1 + line as usize % 8).for_each(|word| new[8 * word] = 1 + line as u8 % 200);
            push_line(&mut entries, line, &[0; 64], &new);
            if line % 5 == 0 {
                push_pages(&mut entries, line, 3, OP_ZERO);
            }
        }
        entries
    }

    /// Spills these entries, and returns the pieces in which they come back.
    fn pieces_of(entries: &[u8]) -> (Vec<(Vec<u8>, bool)>, bool) {
        let start = 16 * PAGE_BYTES;
        let mut file = vec![0; start as usize];
        file.extend_from_slice(entries);
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::of(file));
        let ring =
            Ring::new(&*disk, HEAP_START_BYTES, 8 * PAGE_BYTES, 0, ActiveMutation::default());
        let source = LogSource { ring: Arc::new(ring.unwrap()), disk };
        let range = EntryRange::Spilled { offset: start, len_bytes: entries.len() as u64 };
        let (header, mut pieces) = (RecordHeader::new_zeroed(), Vec::new());
        let mut note = |piece: Piece<'_>| {
            pieces.push((piece.entries.to_vec(), piece.is_last));
            Ok(())
        };
        source.each_piece_of(&header, range, &mut Vec::new(), &mut note).unwrap();
        let sum = source.sum_of(range, 5, &mut Vec::new()).unwrap();
        (pieces, sum == checksum::of_record(5, entries))
    }

    #[test]
    fn entries_come_back_in_pieces_that_end_where_entries_end() {
        let piece = PIECE_BYTES as usize;
        let around = (piece - 80..piece + 80).step_by(8);
        for len in around.chain([0, 8, 3 * piece, 5 * piece + 24]) {
            let entries = entries(len);
            let (pieces, has_sum) = pieces_of(&entries);
            assert!(has_sum);
            let (last, others) = pieces.split_last().unwrap();
            assert!(last.1 && others.iter().all(|(_, is_last)| !is_last), "{len}");
            assert!(pieces.iter().all(|(bytes, _)| bytes.len() <= piece));
            let is_whole = |bytes: &[u8]| record::Entries::new(bytes).all(|entry| entry.is_ok());
            assert!(pieces.iter().all(|(bytes, _)| is_whole(bytes)), "{len}");
            let all: Vec<u8> = pieces.into_iter().flat_map(|(bytes, _)| bytes).collect();
            assert!(all == entries, "{len}");
        }
    }

    #[test]
    fn nothing_behind_padding_is_an_entry() {
        let piece = PIECE_BYTES as usize;
        let mut all = entries(piece / 2);
        let len = all.len();
        all.resize(piece, 0);
        all.extend_from_slice(&entries(2 * piece));
        let (pieces, _) = pieces_of(&all);
        assert!(pieces == [(all[..len].to_vec(), true)]);
    }
}
