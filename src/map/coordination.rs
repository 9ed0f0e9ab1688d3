//! Maps the coordination page, which the processes of a store share.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::ForkGuard;
use super::sigbus::{Guard, no_block};
use crate::format::coordination::CoordinationPage;
use crate::format::{COORDINATION_BYTES, PAGE_BYTES};

/// A guarded mapping of a file's coordination page. Its address does not change while this lives.
///
/// The kernel also writes the page, on behalf of positioned writes: the mark of an unfinished
/// file, before anybody can have opened that file, and zeros for the first process that shares
/// it. These are not accesses by Rust code, and the bytes they leave are valid atomics.
pub(crate) struct CoordinationMap {
    /// Dropped before the mapping.
    guard: Guard,
    map: Option<MmapRaw>,
    birth: ForkGuard,
}

impl CoordinationMap {
    /// Maps the coordination page of `file`. Fails if the file is too short to hold it.
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

    /// Fails if the mapping no longer shows the file's page. In that case, other processes may not
    /// have seen what this process stored before the call, and what it loaded may be zeros.
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
        // and long enough (asserted in `format`). Any bytes are valid atomics, and Rust code of any
        // process accesses the page only through these atomics, each always as a whole (M8).
        unsafe { &*map.as_ptr().cast() }
    }
}

impl Drop for CoordinationMap {
    /// Forgets the mapping in a forked child, which has nothing to unmap (M7).
    fn drop(&mut self) {
        if !self.birth.is_same_process() {
            std::mem::forget(self.map.take());
        }
    }
}
