//! The ring of bytes, and the reading of records from it.

use std::sync::Arc;

use zerocopy::FromBytes;

use crate::disk::{Disk, LogRegion, uninterrupted};
use crate::error::{ErrorKind, Result, io_error};
use crate::format::record::{self, HEADER_BYTES, RecordHeader, Spill};
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::mutation::{ActiveMutation, Mutation};

/// Bytes of the log that are copied out at a time.
const PIECE_BYTES: u64 = 64 * 1024;

/// The action named in the error for a failed read of the log.
pub(crate) const READING: &str = "read the log";

/// A log region, and the position at its start.
pub(crate) struct Ring {
    region: Box<dyn LogRegion>,
    /// The region's offset in the file, for messages.
    offset: u64,
    len_bytes: u64,
    /// A position that lies at the region's start.
    base: u64,
    pub(super) mutation: ActiveMutation,
}

impl Ring {
    pub(crate) fn new(
        disk: &dyn Disk,
        offset: u64,
        len_bytes: u64,
        base: u64,
        mutation: ActiveMutation,
    ) -> std::io::Result<Self> {
        let region = uninterrupted(|| disk.open_log(offset, len_bytes))?;
        Ok(Self { region, offset, len_bytes, base, mutation })
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Returns the length of the longest record that fits into the empty ring wherever it begins: a
    /// skip before it may take as many bytes again.
    pub(crate) fn max_record_bytes(&self) -> u64 {
        self.len_bytes / 2 - 2 * PAGE_BYTES
    }

    /// Returns a position that lies at the region's start.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Returns the offset of `position` in the file.
    pub(crate) fn file_offset(&self, position: u64) -> u64 {
        self.offset + self.place(position)
    }

    fn place(&self, position: u64) -> u64 {
        position.wrapping_sub(self.base) % self.len_bytes
    }

    /// Returns the bytes from `position` to the end of the ring.
    pub(crate) fn room_to_end(&self, position: u64) -> u64 {
        self.len_bytes - self.place(position)
    }

    pub(crate) fn store(&self, position: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.region.store(self.place(position), bytes)
    }

    pub(crate) fn load(&self, position: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.region.load(self.place(position), buffer)
    }

    /// Fills `buffer` with `len` bytes from `position` on. The length may come from the file, so a
    /// failed allocation is an error.
    fn load_into(&self, buffer: &mut Vec<u8>, position: u64, len: usize) -> std::io::Result<()> {
        buffer.truncate(len);
        buffer.try_reserve_exact(len - buffer.len())?;
        buffer.resize(len, 0);
        self.load(position, buffer)
    }

    /// Makes `[from, to)` durable, in whole blocks.
    pub(crate) fn flush(&self, from: u64, to: u64) -> std::io::Result<()> {
        let mut at = from / PAGE_BYTES * PAGE_BYTES;
        while at < to {
            let bytes = (to - at).min(self.room_to_end(at));
            uninterrupted(|| self.region.flush(self.place(at), bytes))?;
            at += bytes;
        }
        Ok(())
    }

    /// Returns the header at `position`, if a record could begin there.
    pub(crate) fn header(&self, position: u64) -> std::io::Result<Option<RecordHeader>> {
        let room = self.room_to_end(position);
        if room < HEADER_BYTES || !position.is_multiple_of(8) {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES as usize];
        self.load(position, &mut bytes)?;
        let Ok(header) = RecordHeader::read_from_bytes(&bytes) else {
            return Ok(None);
        };
        Ok(self.is_plausible(&header, position).then_some(header))
    }

    /// Returns whether the bytes at `position` look like the header of the record that follows
    /// `prev_checksum`.
    pub(crate) fn resembles_record(
        &self,
        position: u64,
        prev_checksum: u64,
    ) -> std::io::Result<bool> {
        if self.room_to_end(position) < HEADER_BYTES {
            return Ok(false);
        }
        let mut bytes = [0; HEADER_BYTES as usize];
        self.load(position, &mut bytes)?;
        Ok(RecordHeader::read_from_bytes(&bytes).is_ok_and(|header| {
            let signs = [
                header.magic == record::MAGIC,
                header.position.get() == position,
                header.prev_checksum.get() == prev_checksum,
            ];
            // Damage may have hit one of them.
            bytes != [0; HEADER_BYTES as usize]
                && signs.into_iter().filter(|sign| *sign).count() >= 2
        }))
    }

    /// Returns whether these bytes could be the header of a record at `position`.
    ///
    /// Only a skip may exceed the longest record with its padding, and the bytes of a skip are
    /// never read. So a forged length costs at most half the ring.
    fn is_plausible(&self, header: &RecordHeader, position: u64) -> bool {
        let len = u64::from(header.len_bytes.get());
        let kinds = record::KIND_COMMIT..=record::KIND_SPILL;
        let longest = match header.kind {
            record::KIND_SKIP => u64::MAX,
            _ => self.max_record_bytes() + HEADER_BYTES,
        };
        header.magic == record::MAGIC
            && kinds.contains(&header.kind)
            && (header.position.get() == position
                || self.mutation.has(Mutation::RecordOfEarlierLap))
            && len.is_multiple_of(8)
            && (HEADER_BYTES..=self.room_to_end(position).min(longest)).contains(&len)
            && leaves_room(position + len)
    }

    /// Returns the header at `position`, with the whole record in `buffer`, if the checksums of the
    /// record and of its predecessor are right. Of a skip, the checksum covers the header alone.
    pub(crate) fn checked(
        &self,
        position: u64,
        epoch: u64,
        prev_checksum: Option<u64>,
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<Option<RecordHeader>> {
        let Some(header) = self.header(position)? else {
            return Ok(None);
        };
        let follows =
            prev_checksum.is_none_or(|prev_checksum| prev_checksum == header.prev_checksum.get());
        if !follows && !self.mutation.has(Mutation::RecordOfEarlierLap) {
            return Ok(None);
        }
        self.load_into(buffer, position, covered_bytes(&header))?;
        let checks = record::checks(buffer, epoch);
        Ok((checks || self.mutation.has(Mutation::RecordChecksumIgnored)).then_some(header))
    }

    /// Returns an invalid record as a skip, under a mutation only.
    pub(super) fn stepped_over(
        &self,
        position: u64,
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<Option<RecordHeader>> {
        if !self.mutation.has(Mutation::RecordWithoutPredecessor) {
            return Ok(None);
        }
        buffer.resize(HEADER_BYTES as usize, 0);
        let header = self.header(position)?;
        Ok(header.map(|header| RecordHeader { kind: record::KIND_SKIP, ..header }))
    }
}

/// Returns whether a record may end here. Each is padded to the block's end if no header would fit
/// after it. A superblock that named another end would be unusable.
fn leaves_room(end: u64) -> bool {
    let in_block = end % PAGE_BYTES;
    in_block <= PAGE_BYTES - HEADER_BYTES
}

/// Returns how many bytes of a record its checksum covers.
fn covered_bytes(header: &RecordHeader) -> usize {
    match header.kind {
        record::KIND_SKIP => HEADER_BYTES as usize,
        _ => header.len_bytes.get() as usize,
    }
}

/// The source of an image's records: the ring, and the file for spilled ones.
#[derive(Clone)]
pub(crate) struct LogSource {
    pub(crate) ring: Arc<Ring>,
    pub(crate) disk: Arc<dyn Disk>,
}

impl LogSource {
    /// Hands the records of `[from, to)`, which are known to be whole, to `each` with their
    /// entries, and passes over skips.
    ///
    /// The log is copied out in pieces, because a call for each record would cost as much as
    /// applying it.
    pub(crate) fn each_record(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(&RecordHeader, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut piece = Vec::new();
        let mut at = from;
        while at < to {
            let len = self.ring.room_to_end(at).min(to - at).min(PIECE_BYTES);
            self.load(at, len, &mut piece)?;
            let mut used = 0;
            while let Some((header, len)) = self.header_in(&piece[used..], at)? {
                if len > piece.len() - used {
                    break;
                }
                self.hand_over(&header, &piece[used..used + len], &mut each)?;
                used += len;
                at += len as u64;
            }
            if used == 0 {
                at += self.one_record(at, &mut piece, &mut each)?;
            }
        }
        Ok(())
    }

    /// Reads a record that is longer than a piece.
    fn one_record(
        &self,
        at: u64,
        buffer: &mut Vec<u8>,
        each: &mut impl FnMut(&RecordHeader, &[u8]) -> Result<()>,
    ) -> Result<u64> {
        let found = self.ring.header(at).map_err(|error| self.failed(error))?;
        let header = found.ok_or_else(|| self.damaged(at))?;
        let len = u64::from(header.len_bytes.get());
        if header.kind != record::KIND_SKIP {
            self.load(at, len, buffer)?;
            self.hand_over(&header, buffer, each)?;
        }
        Ok(len)
    }

    fn hand_over(
        &self,
        header: &RecordHeader,
        record: &[u8],
        each: &mut impl FnMut(&RecordHeader, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let body = &record[HEADER_BYTES as usize..];
        match header.kind {
            record::KIND_SKIP => Ok(()),
            record::KIND_SPILL => {
                let mut entries = body.to_vec();
                let position = header.position.get();
                self.read_spill(&mut entries)?.ok_or_else(|| self.damaged(position))?;
                each(header, &entries)
            }
            _ => each(header, body),
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

    /// Replaces a spill in `body` by the entries that it names; returns `None` if they do not lie
    /// within the file.
    pub(crate) fn read_spill(&self, body: &mut Vec<u8>) -> Result<Option<Spill>> {
        let Ok((spill, _)) = Spill::read_from_prefix(body) else { return Ok(None) };
        let failed = |error| self.failed(error);
        let start = spill.offset.get().checked_add(HEAP_START_BYTES);
        let end = start.and_then(|start| start.checked_add(spill.len_bytes.get()));
        // The length comes from the file: compare it with the file's size before allocating.
        let file_bytes = self.disk.len_bytes().map_err(failed)?;
        let (Some(start), Some(_)) = (start, end.filter(|end| *end <= file_bytes)) else {
            return Ok(None);
        };
        let len = spill.len_bytes.get() as usize;
        body.clear();
        body.try_reserve_exact(len).map_err(|error| failed(error.into()))?;
        body.resize(len, 0);
        self.disk.read_at(start, body).map_err(failed)?;
        Ok(Some(spill))
    }

    #[cold]
    fn damaged(&self, position: u64) -> crate::error::Error {
        let offset = self.ring.file_offset(position);
        ErrorKind::corrupt("log record (file offset)", offset, "a whole record", "other bytes")
    }

    /// Returns the error for a failed read; it does not prove damage.
    #[cold]
    pub(super) fn failed(&self, source: std::io::Error) -> crate::error::Error {
        io_error(READING, self.disk.path())(source)
    }
}
