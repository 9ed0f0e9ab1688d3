//! The coordination page, in memory that processes share.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::Birth;
use crate::format::coordination::CoordinationPage;
use crate::format::{COORDINATION_BYTES, PAGE_BYTES};

/// The page of a file. It stays where it is as long as this lives.
pub(crate) struct CoordinationMap {
    map: Option<MmapRaw>,
    birth: Birth,
}

impl CoordinationMap {
    /// Maps the page of `file`, which must be long enough to have one.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() < COORDINATION_BYTES + PAGE_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let options =
            MmapOptions::new().offset(COORDINATION_BYTES).len(PAGE_BYTES as usize).clone();
        let map = options.map_raw(file)?;
        map.advise(Advice::DontFork)?;
        Ok(Self { map: Some(map), birth: Birth::here() })
    }
}

impl Deref for CoordinationMap {
    type Target = CoordinationPage;

    fn deref(&self) -> &CoordinationPage {
        let map = self.map.as_ref().expect("it is taken away only when it is dropped");
        // SAFETY: the page is mapped for as long as `self` lives (M1), is in the file (M5:
        // no file of a store is cut before its heap), aligned to a page, and long enough
        // (asserted in `format`). Any bytes are values of atomics, and nothing but atomics is
        // ever made of this page, in any process, so sharing it is no data race.
        unsafe { &*map.as_ptr().cast() }
    }
}

impl Drop for CoordinationMap {
    /// In a forked child there is nothing to unmap (M7).
    fn drop(&mut self) {
        if !self.birth.is_here() {
            std::mem::forget(self.map.take());
        }
    }
}
