//! The ring of bytes, and the headers and checksums of the records in it.

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use crate::disk::{Disk, LogRegion, uninterrupted};
use crate::format::record::{self, HEADER_BYTES, RecordHeader};
use crate::format::{PAGE_BYTES, checksum::RecordSum};
use crate::mutation::{ActiveMutation, Mutation};

/// Bytes of the log that are copied out at a time.
pub(super) const PIECE_BYTES: u64 = 64 * 1024;

/// A log region, and the position at its start.
pub(crate) struct Ring {
    region: Box<dyn LogRegion>,
    /// The region's offset in the file, for messages.
    offset: u64,
    len_bytes: u64,
    /// A position that lies at the region's start.
    base: u64,
    /// How often the log of a store that several processes share has moved before.
    seq: u64,
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
        Ok(Self { region, offset, len_bytes, base, seq: 0, mutation })
    }

    /// Returns the same ring as the one after `seq` moves.
    pub(crate) fn numbered(self, seq: u64) -> Self {
        Self { seq, ..self }
    }

    /// Returns how often the log had moved.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Returns whether the log has not moved on after `seq` moves, so that nobody overwrites this
    /// region but with records.
    pub(crate) fn is_current(&self, seq: u64) -> bool {
        seq <= self.seq || self.mutation.has(Mutation::RingNotFollowed)
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
    pub(super) fn load_into(
        &self,
        buffer: &mut Vec<u8>,
        position: u64,
        len: usize,
    ) -> std::io::Result<()> {
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
    pub(super) fn is_plausible(&self, header: &RecordHeader, position: u64) -> bool {
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

    /// Returns the header at `position` if the checksums of the record and of its predecessor are
    /// right. Of a skip, the checksum covers the header alone. `buffer` then holds the covered bytes
    /// if they are at most one piece, and else the last of their pieces.
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
        let checks = match covered_bytes(&header) {
            len if len <= PIECE_BYTES as usize => {
                self.load_into(buffer, position, len)?;
                record::checks(buffer, epoch)
            }
            _ => self.sum_of(&header, position, epoch, buffer)? == header.checksum.get(),
        };
        Ok((checks || self.mutation.has(Mutation::RecordChecksumIgnored)).then_some(header))
    }

    /// Returns the checksum of a record that is longer than a piece.
    fn sum_of(
        &self,
        header: &RecordHeader,
        position: u64,
        epoch: u64,
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<u64> {
        let mut sum = RecordSum::new(epoch);
        let mut unsummed = *header;
        unsummed.checksum = U64::new(0);
        sum.add(unsummed.as_bytes());
        let mut at = position + HEADER_BYTES;
        let end = position + u64::from(header.len_bytes.get());
        while at < end {
            let len = (end - at).min(PIECE_BYTES);
            self.load_into(buffer, at, len as usize)?;
            sum.add(buffer);
            at += len;
        }
        Ok(sum.finish())
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
