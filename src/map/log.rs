//! The shared mapping of a log region.
//!
//! No reference to its bytes as plain data ever exists. Each access is a relaxed atomic load or
//! store of one aligned word. So there is no data race with another process that appends to the
//! same log, nor with a reader that loads bytes while they are overwritten and then discards
//! them. Published positions and checksums tell which words belong together.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::ForkGuard;
use super::sigbus::{Guard, no_block};

const WORD: usize = size_of::<u64>();

/// A guarded log region, mapped shared and writable.
pub(crate) struct LogMap {
    /// Dropped before the mapping.
    guard: Guard,
    /// `Some` until it is dropped.
    map: Option<MmapRaw>,
    birth: ForkGuard,
}

impl Drop for LogMap {
    /// Forgets the mapping in a forked child, which has nothing to unmap (M7).
    fn drop(&mut self) {
        if !self.birth.is_same_process() {
            std::mem::forget(self.map.take());
        }
    }
}

impl LogMap {
    /// Maps `len_bytes` of `file` from `offset` on.
    pub(crate) fn new(file: &File, offset: u64, len_bytes: u64) -> io::Result<Self> {
        let len = usize::try_from(len_bytes).map_err(io::Error::other)?;
        let map = MmapOptions::new().offset(offset).len(len).map_raw(file)?;
        map.advise(Advice::DontFork)?;
        let guard = Guard::new(map.as_ptr(), len)?;
        Ok(Self { guard, map: Some(map), birth: ForkGuard::here() })
    }

    /// Returns whether the file could not provide a page, so that the mapping no longer shows the
    /// file there. In that case, what was loaded before this call may be zeros.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.guard.is_hit()
    }

    /// Copies `bytes`, which must be whole words, to `at` bytes from the region's start. After an
    /// error, any part of them may have been stored.
    pub(crate) fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (words, rest) = bytes.as_chunks::<WORD>();
        if !rest.is_empty() || !at.is_multiple_of(WORD as u64) {
            let why = "a part of a word cannot be stored to the log";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let places = self.words(at, bytes.len())?;
        self.expect_whole()?;
        for (place, word) in places.iter().zip(words) {
            place.store(u64::from_ne_bytes(*word), Relaxed);
        }
        self.expect_whole()
    }

    /// Copies bytes from `at` on into `buffer`.
    pub(crate) fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let skipped = at as usize % WORD;
        let words = self.words(at - skipped as u64, skipped + buffer.len())?;
        let begun_bytes = if skipped == 0 { 0 } else { buffer.len().min(WORD - skipped) };
        let (begun, whole) = buffer.split_at_mut(begun_bytes);
        let (whole, rest) = whole.as_chunks_mut::<WORD>();
        let (first, words) = words.split_at(usize::from(!begun.is_empty()));
        for (place, word) in begun.chunks_mut(WORD).zip(first) {
            place.copy_from_slice(&word.load(Relaxed).to_ne_bytes()[skipped..][..begun_bytes]);
        }
        let last = words.get(whole.len());
        for (place, word) in whole.iter_mut().zip(words) {
            *place = word.load(Relaxed).to_ne_bytes();
        }
        for (place, word) in rest.chunks_mut(WORD).zip(last) {
            let word = word.load(Relaxed).to_ne_bytes();
            place.copy_from_slice(&word[..place.len()]);
        }
        Ok(())
    }

    /// Makes `len_bytes` from `at` on durable: `msync(MS_SYNC)`.
    pub(crate) fn flush(&self, at: u64, len_bytes: u64) -> io::Result<()> {
        self.words(at, len_bytes as usize)?;
        let Some(map) = &self.map else { return Ok(()) };
        map.flush_range(at as usize, len_bytes as usize)?;
        // `msync` passes over private memory that has replaced a page.
        self.expect_whole()
    }

    fn expect_whole(&self) -> io::Result<()> {
        if self.is_lost() { Err(no_block()) } else { Ok(()) }
    }

    /// Returns the words that hold `len` bytes from `at` on. `at` is a multiple of 8.
    fn words(&self, at: u64, len: usize) -> io::Result<&[AtomicU64]> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let end = start.checked_add(len).and_then(|end| end.checked_next_multiple_of(WORD));
        match &self.map {
            Some(map) if end.is_some_and(|end| end <= map.len()) => {
                let first = map.as_mut_ptr().wrapping_add(start).cast();
                // SAFETY: the words lie in the mapping, which lives as long as `self` (M1) and
                // begins at a page; any bytes are valid atomics. Every process accesses the log's
                // bytes as atomics only (M4: no image makes references into it), except for what
                // the kernel does to them on behalf of positioned reads and writes.
                Ok(unsafe { std::slice::from_raw_parts(first, len.div_ceil(WORD)) })
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "outside of the log region")),
        }
    }
}
