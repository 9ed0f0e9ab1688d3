//! The shared mapping of a log region.
//!
//! No reference into it ever exists: bytes are copied in and out. So another
//! process that appends to the same log breaks no rule of Rust's.

use std::fs::File;
use std::io;

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::Birth;

/// A log region, mapped shared and writable.
pub(crate) struct LogMap {
    /// There until it is dropped.
    map: Option<MmapRaw>,
    birth: Birth,
}

impl Drop for LogMap {
    /// In a forked child there is nothing to unmap (M7).
    fn drop(&mut self) {
        if !self.birth.is_here() {
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
        Ok(Self { map: Some(map), birth: Birth::here() })
    }

    /// Copies `bytes` to `at` bytes from the region's start.
    pub(crate) fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let to = self.address(at, bytes.len())?;
        // SAFETY: `address` proved that the target lies in the mapping, which
        // lives as long as `self`; `bytes` cannot overlap it, since no
        // reference into it exists. The holder of the log's lock is the only
        // one to store, and the bytes lie past those that anyone loads.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies bytes from `at` on into `buffer`.
    pub(crate) fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = self.address(at, buffer.len())?;
        // SAFETY: as in `store`, with the roles exchanged: what is loaded was
        // stored before the log's position was moved past it.
        unsafe { std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len()) };
        Ok(())
    }

    /// Makes `len_bytes` from `at` on durable: `msync(MS_SYNC)`.
    pub(crate) fn flush(&self, at: u64, len_bytes: u64) -> io::Result<()> {
        self.address(at, len_bytes as usize)?;
        let Some(map) = &self.map else { return Ok(()) };
        map.flush_range(at as usize, len_bytes as usize)
    }

    fn address(&self, at: u64, len: usize) -> io::Result<*mut u8> {
        let end = usize::try_from(at).ok().and_then(|at| at.checked_add(len));
        match &self.map {
            Some(map) if end.is_some_and(|end| end <= map.len()) => {
                Ok(map.as_mut_ptr().wrapping_add(at as usize))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "outside of the log region")),
        }
    }
}
