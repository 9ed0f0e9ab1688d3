//! The coordination page, in memory that processes share.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::ForkGuard;
use super::sigbus::{Guard, no_block};
use crate::format::coordination::CoordinationPage;
use crate::format::{COORDINATION_BYTES, PAGE_BYTES};

/// The page of a file, guarded. It stays where it is as long as this lives.
///
/// The kernel writes it as well, for positioned writes: the mark of a file half-made, before
/// anybody can have opened that, and zeros for the first process that shares it. That is no
/// access of Rust's, and what it leaves are values of atomics too.
pub(crate) struct CoordinationMap {
    /// Dropped before the mapping.
    guard: Guard,
    map: Option<MmapRaw>,
    birth: ForkGuard,
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
        let guard = Guard::new(map.as_ptr(), map.len())?;
        Ok(Self { guard, map: Some(map), birth: ForkGuard::here() })
    }

    /// Refuses a page that is not the file's any more: what this process stored to it before
    /// this is asked may have reached nobody, and what it loaded may be zeros.
    #[inline]
    pub(crate) fn expect_shared(&self) -> io::Result<()> {
        if self.guard.is_hit() { Err(no_block()) } else { Ok(()) }
    }
}

impl Deref for CoordinationMap {
    type Target = CoordinationPage;

    fn deref(&self) -> &CoordinationPage {
        let map = self.map.as_ref().expect("it is taken away only when it is dropped");
        // SAFETY: the page is mapped for as long as `self` lives (M1), in the file (M5), aligned,
        // and long enough (asserted in `format`). Any bytes are values of atomics, and through
        // these alone, each always as a whole, does Rust code of any process get at it (M8).
        unsafe { &*map.as_ptr().cast() }
    }
}

impl Drop for CoordinationMap {
    /// In a forked child there is nothing to unmap (M7).
    fn drop(&mut self) {
        if !self.birth.is_same_process() {
            std::mem::forget(self.map.take());
        }
    }
}
