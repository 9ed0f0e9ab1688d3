//! The end of the log: appending, and padding a block before a flush.

use std::collections::VecDeque;
use std::sync::Arc;

use zerocopy::FromZeros;
use zerocopy::little_endian::U64;

use super::ring::Ring;
use crate::format::PAGE_BYTES;
use crate::format::record::{self, HEADER_BYTES, RecordHeader};
use crate::mutation::Mutation;

/// The log's state that its lock guards.
pub(crate) struct Tail {
    pub(crate) ring: Arc<Ring>,
    pub(crate) epoch: u64,
    /// No process needs records before this position.
    pub(crate) start: u64,
    /// The end of the last whole record.
    pub(crate) appended: u64,
    /// The checksum of that record.
    pub(crate) prev_checksum: u64,
    /// Everything before this position is durable.
    pub(crate) durable: u64,
    /// Start positions of records that must be durable and are not yet.
    waiting: VecDeque<u64>,
}

/// The arguments of an append.
pub(crate) struct Append<'a> {
    /// The record: space for a header, then its body.
    pub(crate) record: &'a mut Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) heap_bytes: u64,
    /// Whether readers may see it only once it is durable.
    pub(crate) durable: bool,
}

impl Tail {
    pub(crate) fn new(ring: Arc<Ring>, epoch: u64, position: u64, prev_checksum: u64) -> Self {
        Self {
            ring,
            epoch,
            start: position,
            appended: position,
            prev_checksum,
            durable: position,
            waiting: VecDeque::new(),
        }
    }

    /// Returns the position that readers may see (L5).
    pub(crate) fn visible(&self) -> u64 {
        if self.ring.mutation.has(Mutation::VisibleBeforeDurable) {
            return self.appended;
        }
        self.waiting.front().copied().unwrap_or(self.appended)
    }

    /// Returns whether appended records wait for a flush before readers see them.
    pub(crate) fn awaits_flush(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns whether a record of `len_bytes` fits now, including the skip before it.
    pub(crate) fn fits(&self, len_bytes: u64) -> bool {
        let room = self.ring.room_to_end(self.appended);
        let skipped = if padded(self.appended, len_bytes) > room { room } else { 0 };
        // Reserve one block for the skip that a flush may append.
        let needed = skipped + len_bytes + 2 * PAGE_BYTES;
        self.appended - self.start + needed <= self.ring.len_bytes()
            || self.ring.mutation.has(Mutation::OverrunTheLog)
    }

    /// Returns whether a record of `len_bytes` fits now, and one of `next_bytes` after it.
    pub(crate) fn fits_before(&self, len_bytes: u64, next_bytes: u64) -> bool {
        let after = |position: u64, len_bytes: u64| {
            let room = self.ring.room_to_end(position);
            let len = padded(position, len_bytes);
            position + len + if len > room { room } else { 0 }
        };
        // Each may be followed by a flush, which skips the rest of its block.
        let end = after(self.appended, len_bytes).next_multiple_of(PAGE_BYTES);
        let end = after(end, next_bytes).next_multiple_of(PAGE_BYTES);
        end - self.start + 2 * PAGE_BYTES <= self.ring.len_bytes()
    }

    /// Returns the bytes that are free for records.
    pub(crate) fn free_bytes(&self) -> u64 {
        let reserved = self.appended - self.start + 2 * PAGE_BYTES;
        self.ring.len_bytes().saturating_sub(reserved)
    }

    /// Appends a record that fits; returns the position after it.
    pub(crate) fn append(&mut self, what: Append<'_>) -> std::io::Result<u64> {
        let len = padded(self.appended, what.record.len() as u64);
        let room = self.ring.room_to_end(self.appended);
        if len > room {
            self.skip(room)?;
        }
        let len = padded(self.appended, what.record.len() as u64);
        what.record.resize(len as usize, 0);
        let begin = self.appended;
        self.write(what.record, what.kind, what.heap_bytes, len)?;
        if what.durable {
            self.waiting.push_back(begin);
        }
        Ok(self.appended)
    }

    /// Pads the partial block (L3): a flush covers everything up to its end.
    pub(crate) fn pad_block(&mut self) -> std::io::Result<()> {
        if self.ring.mutation.has(Mutation::AppendIntoFlushedBlock) {
            return Ok(());
        }
        let rest = self.appended.next_multiple_of(PAGE_BYTES) - self.appended;
        if rest != 0 {
            self.skip(rest)?;
        }
        Ok(())
    }

    /// Records that everything before `position` is durable.
    pub(crate) fn flushed(&mut self, position: u64) {
        self.durable = self.durable.max(position);
        while self.waiting.front().is_some_and(|begin| *begin < self.durable) {
            self.waiting.pop_front();
        }
    }

    fn skip(&mut self, len_bytes: u64) -> std::io::Result<()> {
        let mut record = [0; HEADER_BYTES as usize];
        self.write(&mut record, record::KIND_SKIP, 0, len_bytes)
    }

    /// Stores a record that covers `len_bytes` of the log, then moves `appended` past it (L4).
    fn write(
        &mut self,
        record: &mut [u8],
        kind: u8,
        heap_bytes: u64,
        len_bytes: u64,
    ) -> std::io::Result<()> {
        let mut header = RecordHeader::new_zeroed();
        header.kind = kind;
        header.len_bytes.set(len_bytes as u32);
        header.position = U64::new(self.appended);
        header.prev_checksum = U64::new(self.prev_checksum);
        header.durable = U64::new(self.durable);
        header.heap_bytes = U64::new(heap_bytes);
        let prev_checksum = record::seal(record, header, self.epoch);
        self.ring.store(self.appended, record)?;
        self.appended += len_bytes;
        self.prev_checksum = prev_checksum;
        Ok(())
    }
}

/// Returns the length of a record that begins at `position`. It extends to the end of its last
/// block if less than a header would be left there (L1).
fn padded(position: u64, len_bytes: u64) -> u64 {
    let end = position + len_bytes;
    let rest = end.next_multiple_of(PAGE_BYTES) - end;
    if rest < HEADER_BYTES { len_bytes + rest } else { len_bytes }
}
