//! The ring of bytes, and reading records from it.

use std::sync::Arc;

use zerocopy::FromBytes;

use crate::disk::{Disk, LogRegion};
use crate::error::{ErrorKind, Result};
use crate::format::record::{self, HEADER_BYTES, RecordHeader, Spill};
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};

/// A log region and which position lies at its start.
pub(crate) struct Ring {
    region: Box<dyn LogRegion>,
    /// Where the region begins in the file, for messages.
    offset: u64,
    len_bytes: u64,
    /// A position that lies at the region's start.
    base: u64,
}

impl Ring {
    pub(crate) fn new(
        disk: &dyn Disk,
        offset: u64,
        len_bytes: u64,
        base: u64,
    ) -> std::io::Result<Self> {
        let region = disk.open_log(offset, len_bytes)?;
        Ok(Self {
            region,
            offset,
            len_bytes,
            base,
        })
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// A position that lies at the region's start.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Where `position` lies in the file.
    pub(crate) fn file_offset(&self, position: u64) -> u64 {
        self.offset + self.place(position)
    }

    fn place(&self, position: u64) -> u64 {
        position.wrapping_sub(self.base) % self.len_bytes
    }

    /// Bytes from `position` to the end of the ring.
    pub(crate) fn room_to_end(&self, position: u64) -> u64 {
        self.len_bytes - self.place(position)
    }

    pub(crate) fn store(&self, position: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.region.store(self.place(position), bytes)
    }

    pub(crate) fn load(&self, position: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.region.load(self.place(position), buffer)
    }

    /// Makes `[from, to)` durable, in whole blocks.
    pub(crate) fn flush(&self, from: u64, to: u64) -> std::io::Result<()> {
        let mut at = from / PAGE_BYTES * PAGE_BYTES;
        while at < to {
            let bytes = (to - at).min(self.room_to_end(at));
            self.region.flush(self.place(at), bytes)?;
            at += bytes;
        }
        Ok(())
    }

    /// The header at `position`, if a record could begin there at all.
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
        let len = u64::from(header.len_bytes.get());
        let kinds = record::KIND_COMMIT..=record::KIND_SPILL;
        let plausible = header.magic == record::MAGIC
            && kinds.contains(&header.kind)
            && header.position.get() == position
            && len.is_multiple_of(8)
            && (HEADER_BYTES..=room).contains(&len);
        Ok(plausible.then_some(header))
    }

    /// The header at `position` with the whole record in `buffer`, if the
    /// record's checksum and its predecessor's are right. Of a skip the header
    /// alone is covered.
    pub(crate) fn checked(
        &self,
        position: u64,
        epoch: u64,
        chain: Option<u64>,
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<Option<RecordHeader>> {
        let Some(header) = self.header(position)? else {
            return Ok(None);
        };
        if chain.is_some_and(|chain| chain != header.chain.get()) {
            return Ok(None);
        }
        buffer.resize(covered_bytes(&header), 0);
        self.load(position, buffer)?;
        Ok(record::checks(buffer, epoch).then_some(header))
    }
}

/// Bytes of a record that its checksum covers.
fn covered_bytes(header: &RecordHeader) -> usize {
    match header.kind {
        record::KIND_SKIP => HEADER_BYTES as usize,
        _ => header.len_bytes.get() as usize,
    }
}

/// Where an image gets records from: the ring, and the file for what was
/// spilled.
#[derive(Clone)]
pub(crate) struct LogSource {
    pub(crate) ring: Arc<Ring>,
    pub(crate) disk: Arc<dyn Disk>,
}

impl LogSource {
    /// Reads the record at `position`, which is known to be whole; leaves its
    /// entries in `body`.
    pub(crate) fn read(&self, position: u64, body: &mut Vec<u8>) -> Result<RecordHeader> {
        let found = self
            .ring
            .header(position)
            .map_err(|error| self.failed(position, &error))?;
        let header = found.ok_or_else(|| self.damaged(position))?;
        body.clear();
        if header.kind == record::KIND_SKIP {
            return Ok(header);
        }
        body.resize(header.len_bytes.get() as usize - HEADER_BYTES as usize, 0);
        let at = position + HEADER_BYTES;
        if !body.is_empty() {
            self.ring
                .load(at, body)
                .map_err(|error| self.failed(position, &error))?;
        }
        if header.kind == record::KIND_SPILL {
            self.read_spill(position, body)?;
        }
        Ok(header)
    }

    /// Replaces a spill in `body` by the entries that it names.
    pub(crate) fn read_spill(&self, position: u64, body: &mut Vec<u8>) -> Result<Spill> {
        let spill = Spill::read_from_prefix(body)
            .map_err(|_| self.damaged(position))?
            .0;
        let start = spill.offset.get().checked_add(HEAP_START_BYTES);
        let end = start.and_then(|start| start.checked_add(spill.len_bytes.get()));
        let file_bytes = self
            .disk
            .len_bytes()
            .map_err(|error| self.failed(position, &error))?;
        // The length is the file's word: it must not become an allocation
        // before it is held against the file.
        let (Some(start), Some(end)) = (start, end) else {
            return Err(self.damaged(position));
        };
        if end > file_bytes {
            return Err(self.damaged(position));
        }
        body.resize(spill.len_bytes.get() as usize, 0);
        self.disk
            .read_at(start, body)
            .map_err(|error| self.failed(position, &error))?;
        Ok(spill)
    }

    #[cold]
    fn damaged(&self, position: u64) -> crate::Error {
        let offset = self.ring.file_offset(position);
        ErrorKind::corrupt(
            "log record (file offset)",
            offset,
            "a whole record",
            "other bytes",
        )
    }

    #[cold]
    fn failed(&self, position: u64, error: &std::io::Error) -> crate::Error {
        let offset = self.ring.file_offset(position);
        ErrorKind::corrupt(
            "log record (file offset)",
            offset,
            "bytes that can be read",
            error,
        )
    }
}
