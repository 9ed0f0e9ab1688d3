//! The heap as one image sees it: a copy-on-write mapping of the file, or plain memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use memmap2::{Advice, MmapOptions, MmapRaw, RemapOptions, UncheckedAdvice};
use rustix::mm::{MapFlags, ProtFlags};

use super::ForkGuard;
use super::fast_path::{Base, FastBounds};
use super::machine_page::machine_page_bytes;
use crate::format::{HEAP_START_BYTES, PAGE_BYTES};
use crate::persist::{Persist, assert_object};

/// One page of plain memory, aligned like a mapped one.
#[derive(Clone)]
#[repr(C, align(4096))]
struct MemoryPage([u8; PAGE_BYTES as usize]);

/// The owner of a map's bytes.
enum Owner {
    /// A copy-on-write mapping of the file.
    File(MmapRaw),
    /// Plain memory. The vector is never borrowed after `base` was taken from it.
    Memory(#[allow(dead_code, reason = "kept for its drop")] Vec<MemoryPage>),
}

/// A range of the heap that no reference may touch; empty if `start == end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excluded {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The reason why an offset cannot become a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessError {
    OutOfBounds,
    Misaligned,
    Invalid,
    /// Arguments `.0` and `.1` overlap.
    Overlap(usize, usize),
}

/// The private memory of one image's heap.
pub(crate) struct PrivateMap {
    base: Base,
    /// Bytes from `base` on that may be borrowed, outside of `holes`.
    limit: u64,
    /// The fast range, where objects need no further bounds check: the longest stretch below
    /// `limit` that no excluded range touches. Empty where links need stricter checks. It
    /// never contains offset 0, so following a link through it needs no check for null.
    fast_begin: u64,
    fast_bytes: u64,
    /// The lowest offset of the fast range, if the fast path is enabled. No user's link leads
    /// to the pages before it; in a small store, they would use up the fast range.
    fast_start: Option<u64>,
    holes: [Excluded; 2],
    len_bytes: u64,
    /// A longer map is accessed at random.
    random_from_bytes: u64,
    is_random: bool,
    /// Whether pieces of it are mappings of a spill file. Such a map neither moves nor gives pages back.
    is_pieced: AtomicBool,
    owner: Owner,
    birth: ForkGuard,
}

impl Drop for PrivateMap {
    /// Forgets the mapping in a forked child, which has nothing to unmap (M7).
    fn drop(&mut self) {
        if !self.birth.is_same_process() {
            std::mem::forget(std::mem::replace(&mut self.owner, Owner::Memory(Vec::new())));
        }
    }
}

impl PrivateMap {
    /// Maps `len_bytes` of the heap of `file`, copy-on-write.
    pub(crate) fn of_file(file: &File, len_bytes: u64) -> io::Result<Self> {
        let len = usize::try_from(len_bytes).map_err(io::Error::other)?;
        let mut options = MmapOptions::new();
        options.offset(HEAP_START_BYTES).len(len).no_reserve_swap();
        // SAFETY: M4 and M5: nothing but flagstone changes the file, and flagstone keeps both. For
        // a file with a name, the opener of the store has promised this. A nameless file in memory
        // can be reached by this process alone, unless somebody looks for its descriptor in
        // `/proc` (as for the process's memory itself), and the file's mode keeps all but root
        // from that.
        let map = MmapRaw::from(unsafe { options.map_copy(file) }?);
        if len > 0 {
            map.advise(Advice::DontFork)?;
        }
        Ok(Self::new(Owner::File(map), len_bytes))
    }

    /// Allocates `len_bytes` of zeroed memory.
    pub(crate) fn of_memory(len_bytes: u64) -> io::Result<Self> {
        let pages = usize::try_from(len_bytes / PAGE_BYTES).map_err(io::Error::other)?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(pages).map_err(io::Error::other)?;
        memory.resize(pages, MemoryPage([0; PAGE_BYTES as usize]));
        Ok(Self::new(Owner::Memory(memory), len_bytes))
    }

    fn new(mut owner: Owner, len_bytes: u64) -> Self {
        let base = match &mut owner {
            Owner::File(map) => map.as_mut_ptr(),
            Owner::Memory(memory) => memory.as_mut_ptr().cast(),
        };
        let holes = [Excluded::default(); 2];
        Self {
            base: Base(base),
            limit: 0,
            fast_begin: 0,
            fast_bytes: 0,
            fast_start: None,
            holes,
            len_bytes,
            random_from_bytes: u64::MAX,
            is_random: false,
            is_pieced: AtomicBool::new(false),
            owner,
            birth: ForkGuard::here(),
        }
    }

    /// Returns the number of mapped bytes.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Returns the number of bytes that may be borrowed.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the ranges that no reference may touch.
    pub(crate) fn holes(&self) -> [Excluded; 2] {
        self.holes
    }

    /// Returns whether the bytes are a copy, which does not show later writes to the file.
    pub(crate) fn is_copy(&self) -> bool {
        matches!(self.owner, Owner::Memory(_))
    }

    /// Sets the bytes that may be borrowed. The limit is capped at the mapped length.
    pub(crate) fn set_view(&mut self, limit: u64, holes: [Excluded; 2]) {
        self.limit = limit.min(self.len_bytes);
        self.holes = holes;
        let gap = self.fast_start.map(|first| widest_gap(first.max(1), self.limit, holes));
        let gap = gap.unwrap_or_default();
        (self.fast_begin, self.fast_bytes) = (gap.start, gap.end - gap.start);
    }

    /// Maps more or less of the file. The bytes that remain keep their contents, private ones
    /// too; the address may change.
    pub(crate) fn resize(&mut self, len_bytes: u64) -> io::Result<()> {
        self.expect_whole()?;
        let len = usize::try_from(len_bytes).map_err(io::Error::other)?;
        let Owner::File(map) = &mut self.owner else {
            return self.resize_memory(len_bytes);
        };
        let options = RemapOptions::new().may_move(true);
        // SAFETY: M1, M3: `&mut self` proves that no reference into the map is alive, and `base`
        // is renewed right below.
        unsafe { map.remap(len, options) }?;
        self.base = Base(map.as_mut_ptr());
        self.len_bytes = len_bytes;
        self.set_view(self.limit, self.holes);
        self.advise_access();
        Ok(())
    }

    fn resize_memory(&mut self, len_bytes: u64) -> io::Result<()> {
        let mut larger = Self::of_memory(len_bytes)?;
        let keep = self.len_bytes.min(len_bytes);
        let (limit, holes) = (self.limit, self.holes);
        larger.fast_start = self.fast_start;
        self.set_view(keep, [Excluded::default(); 2]);
        larger.set_view(keep, [Excluded::default(); 2]);
        if let (Ok(from), Ok(to)) = (self.items::<u8>(0, keep), larger.items_mut::<u8>(0, keep)) {
            to.copy_from_slice(from);
        }
        larger.set_view(limit, holes);
        *self = larger;
        Ok(())
    }

    /// Enables `fast_items` for objects at `first` or later.
    pub(crate) fn enable_fast_path(&mut self, first: u64) {
        self.fast_start = Some(first);
        self.set_view(self.limit, self.holes);
    }

    /// Like `items`, but also refuses what the fast bounds cannot decide.
    #[inline]
    pub(crate) fn fast_items<T: Persist>(&self, offset: u64, count: u64) -> Option<&[T]> {
        if !self.fast().holds::<T>(offset, count) || self.valid::<T>(offset, count).is_err() {
            return None;
        }
        // SAFETY: `holds` and `valid` have passed, the bounds are this map's, and `self` is
        // borrowed for as long as the result (M3).
        Some(unsafe { self.fast().items(offset, count) })
    }

    /// Returns the bounds that `fast_items` checks against.
    pub(super) fn fast(&self) -> FastBounds {
        FastBounds { base: self.base, start: self.fast_begin, bytes: self.fast_bytes }
    }

    /// Returns whether `bytes` from `offset` on may be borrowed.
    #[inline]
    fn in_view(&self, offset: u64, bytes: u64) -> bool {
        is_in_view(self.limit, &self.holes, offset, bytes)
    }

    /// Turns an offset into an address after checking bounds and alignment.
    #[inline]
    pub(super) fn address<T: Persist>(
        &self,
        offset: u64,
        count: u64,
    ) -> Result<*mut T, AccessError> {
        const { assert_object::<T>() };
        let bytes = (size_of::<T>() as u64).checked_mul(count).ok_or(AccessError::OutOfBounds)?;
        if !self.in_view(offset, bytes) {
            return Err(AccessError::OutOfBounds);
        }
        if !offset.is_multiple_of(align_of::<T>() as u64) {
            return Err(AccessError::Misaligned);
        }
        Ok(self.base.0.wrapping_add(offset as usize).cast())
    }

    /// Checks that the bytes are `count` valid values of `T`.
    #[inline]
    fn valid<T: Persist>(&self, offset: u64, count: u64) -> Result<(), AccessError> {
        if T::ANY_BITS {
            return Ok(());
        }
        let bytes = self.items::<u8>(offset, count * size_of::<T>() as u64)?;
        let valid = bytes.chunks_exact(size_of::<T>()).all(T::is_valid);
        if valid { Ok(()) } else { Err(AccessError::Invalid) }
    }

    /// Returns the `count` values of `T` at `offset`.
    #[inline]
    pub(crate) fn items<T: Persist>(&self, offset: u64, count: u64) -> Result<&[T], AccessError> {
        let address = self.address::<T>(offset, count)?;
        self.valid::<T>(offset, count)?;
        // SAFETY: `address` proved bounds (below `limit`: M1, M2, M5) and alignment (`base` is
        // aligned to a page, no type asks for more: P4); `valid` proved the values (P2, P3).
        // Nothing changes them for as long as `self` is borrowed (M3, M4).
        Ok(unsafe { std::slice::from_raw_parts(address, count as usize) })
    }

    /// Returns the `count` values of `T` at `offset`, exclusively.
    #[inline]
    pub(crate) fn items_mut<T: Persist>(
        &mut self,
        offset: u64,
        count: u64,
    ) -> Result<&mut [T], AccessError> {
        let address = self.address::<T>(offset, count)?;
        self.valid::<T>(offset, count)?;
        // SAFETY: as in `items`; `&mut self` makes it the only reference (M3), and every value
        // that can be stored is initialised bytes (P1, M2).
        Ok(unsafe { std::slice::from_raw_parts_mut(address, count as usize) })
    }

    /// Moves a value to `offset`, whatever the bytes there were before.
    #[inline]
    pub(crate) fn put<T: Persist>(&mut self, offset: u64, value: T) -> Result<(), AccessError> {
        let address = self.address::<T>(offset, 1)?;
        // SAFETY: `address` proved bounds and alignment, `&mut self` that no reference is alive
        // (M3); the old bytes need no drop (P4).
        unsafe { address.write(value) };
        Ok(())
    }

    /// Returns a copy of the value at `offset`. Values are plain bytes: that two of them are the
    /// same matters to the code that owns something by its value, not to memory safety.
    #[inline]
    pub(crate) fn value<T: Persist>(&self, offset: u64) -> Result<T, AccessError> {
        let address = self.address::<T>(offset, 1)?;
        self.valid::<T>(offset, 1)?;
        // SAFETY: as in `items`; the value needs no drop (P4) and shares nothing that may change
        // behind it (P5).
        Ok(unsafe { address.read() })
    }

    /// Copies bytes within the heap; the two ranges may overlap.
    #[inline]
    pub(crate) fn copy(&mut self, from: u64, to: u64, bytes: u64) -> Result<(), AccessError> {
        let source = self.address::<u8>(from, bytes)?;
        let target = self.address::<u8>(to, bytes)?;
        // SAFETY: `address` proved the bounds of both, `&mut self` that no reference is alive
        // (M3); bytes have no alignment and no invalid values, and those of the source are
        // initialised (M2).
        unsafe { target.copy_from(source, bytes as usize) };
        Ok(())
    }

    /// Returns one value of `T` at each of the offsets, exclusively and at once.
    pub(crate) fn disjoint_mut<T: Persist, const N: usize>(
        &mut self,
        offsets: [u64; N],
    ) -> Result<[&mut T; N], AccessError> {
        let mut addresses = [std::ptr::null_mut(); N];
        for (i, offset) in offsets.into_iter().enumerate() {
            addresses[i] = self.address::<T>(offset, 1)?;
            self.valid::<T>(offset, 1)?;
            let near = |other: &u64| other.abs_diff(offset) < size_of::<T>() as u64;
            if let Some(other) = offsets[..i].iter().position(near) {
                return Err(AccessError::Overlap(other, i));
            }
        }
        // SAFETY: as in `items_mut`, for each; the loop proved that no two of them share a byte.
        Ok(addresses.map(|address: *mut T| unsafe { &mut *address }))
    }

    /// Gives the map private pages that hold the bytes it shows now. Later writes to the file
    /// stay unseen. The range is of whole machine pages.
    pub(crate) fn freeze(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let Owner::File(map) = &self.owner else {
            return Ok(());
        };
        let end = self.expect_machine_pages(offset, bytes)?.min(self.limit);
        if end <= offset {
            return Ok(());
        }
        map.advise_range(Advice::PopulateWrite, offset as usize, (end - offset) as usize)?;
        #[cfg(any(test, feature = "sim"))]
        self.emulate_copy(end - 1);
        Ok(())
    }

    /// Returns the end of a range of whole machine pages. Refuses others: the kernel would refuse
    /// some of them, and round others to pages that nobody named.
    fn expect_machine_pages(&self, offset: u64, bytes: u64) -> io::Result<u64> {
        let (end, unit) = (offset.saturating_add(bytes), machine_page_bytes());
        if offset.is_multiple_of(unit) && (end.is_multiple_of(unit) || end >= self.len_bytes) {
            return Ok(end);
        }
        let why = format!("a range of whole machine pages was expected, found {offset}..{end}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }

    /// Copies the rest of the machine page around `offset`, a byte of which was stored to or is about
    /// to be: a machine whose pages tests emulate copies all of it.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn emulate_copy(&self, offset: u64) {
        let (Owner::File(map), unit) = (&self.owner, machine_page_bytes()) else { return };
        if unit == super::machine_page::system_page_bytes() {
            return;
        }
        let start = offset / unit * unit;
        let len = unit.min(self.len_bytes.saturating_sub(start));
        // A machine has no pages that are partly behind the file's end; here some are missing there.
        let _ = map.advise_range(Advice::PopulateWrite, start as usize, len as usize);
    }

    /// Tells the system to load only the pages that are used, if the map is longer than `bytes`.
    pub(crate) fn set_random_from(&mut self, bytes: u64) {
        self.random_from_bytes = bytes;
        self.advise_access();
    }

    fn advise_access(&mut self) {
        let Owner::File(map) = &self.owner else { return };
        let is_random = self.len_bytes > self.random_from_bytes;
        let advice = if is_random { Advice::Random } else { Advice::Normal };
        // The advice changes the speed alone, so a refusal is no failure.
        if is_random != self.is_random && map.advise(advice).is_ok() {
            self.is_random = is_random;
        }
    }

    /// Returns whether the system loads only the pages that are used.
    #[inline]
    pub(crate) fn is_random(&self) -> bool {
        self.is_random
    }

    /// Has the system load the pages in the background, if it does not read ahead by itself.
    pub(crate) fn will_need(&self, offset: u64, bytes: u64) {
        let Owner::File(map) = &self.owner else { return };
        let end = offset.saturating_add(bytes).min(self.limit);
        if self.is_random && offset < end {
            let _ = map.advise_range(Advice::WillNeed, offset as usize, (end - offset) as usize);
        }
    }

    /// Makes the kernel load the pages, so that a later SIGBUS becomes an error here.
    pub(crate) fn look_at(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let Owner::File(map) = &self.owner else {
            return Ok(());
        };
        match map.advise_range(Advice::PopulateRead, offset as usize, bytes as usize) {
            // Kernels before 5.14 cannot say.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            looked => looked,
        }
    }

    /// Maps the bytes of `file` from `from` on in the place of `run`. Either the map shows them then, or
    /// nothing has changed. Both begin with a machine page; the last one may be cut off by the heap's end.
    ///
    /// # Safety
    ///
    /// They are the bytes that the map shows there, and nobody changes them in the file, nor cuts it,
    /// as long as the map is used. The map's bytes there do not change either.
    pub(super) unsafe fn replace(
        &self,
        run: &Range<u64>,
        file: &File,
        from: u64,
    ) -> io::Result<()> {
        let bytes = run.end.saturating_sub(run.start);
        let Owner::File(map) = &self.owner else { return Err(io::ErrorKind::Unsupported.into()) };
        let are_whole = [run.start, from].iter().all(|at| at.is_multiple_of(machine_page_bytes()));
        if bytes == 0 || !are_whole || !self.in_view(run.start, bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (start, len) = (run.start as usize, bytes as usize);
        let place = self.base.0.wrapping_add(start).cast();
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the range lies in this mapping, which belongs to the map alone (M1), and stays
        // mapped: the kernel exchanges it in one step for all threads. References into it go on seeing
        // the same bytes, which nothing changes (M4, M5), as the caller promises.
        let placed = unsafe { rustix::mm::mmap(place, len, ProtFlags::READ, flags, file, from) };
        if let Err(error) = placed {
            self.expect_still_mapped(map, start, len);
            return Err(error.into());
        }
        self.is_pieced.store(true, Relaxed);
        // For speed and for forked children, which do not use it (M7). A refusal is no failure.
        let _ = map.advise_range(Advice::DontFork, start, len);
        if self.is_random {
            let _ = map.advise_range(Advice::Random, start, len);
        }
        Ok(())
    }

    /// Ends the process if a part of the range is not mapped any more: the kernel removes the old
    /// mapping before the last allocation that can fail. The next mapping of any thread could take the
    /// place under a reference.
    fn expect_still_mapped(&self, map: &MmapRaw, start: usize, len: usize) {
        let advice = if self.is_random { Advice::Random } else { Advice::Normal };
        let looked = map.advise_range(advice, start, len).map_err(|error| error.raw_os_error());
        if looked == Err(Some(rustix::io::Errno::NOMEM.raw_os_error())) {
            std::process::abort();
        }
    }

    fn expect_whole(&self) -> io::Result<()> {
        if self.is_pieced.load(Relaxed) { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }

    /// Drops private pages; the map shows the file's bytes again. The range is of whole machine pages.
    pub(crate) fn release_memory(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        self.expect_whole()?;
        let Owner::File(map) = &self.owner else {
            return Ok(());
        };
        let end = self.expect_machine_pages(offset, bytes)?.min(self.len_bytes);
        if end <= offset {
            return Ok(());
        }
        let advice = UncheckedAdvice::DontNeed;
        // SAFETY: `&mut self` proves that no reference is alive (M3); the bytes that the map shows
        // next are the file's, which are initialised as well (M2).
        unsafe { map.unchecked_advise_range(advice, offset as usize, (end - offset) as usize) }
    }
}

/// Returns whether `bytes` from `offset` on lie before `limit` and touch no hole.
#[inline]
pub(crate) fn is_in_view(limit: u64, holes: &[Excluded], offset: u64, bytes: u64) -> bool {
    let Some(end) = offset.checked_add(bytes) else { return false };
    let clear = |hole: &Excluded| end <= hole.start || offset >= hole.end || hole.start == hole.end;
    end <= limit && holes.iter().all(clear)
}

/// Returns the longest stretch from `first` up to `limit` that no excluded range touches.
fn widest_gap(first: u64, limit: u64, mut holes: [Excluded; 2]) -> Excluded {
    holes.sort_by_key(|hole| hole.start);
    let mut widest = Excluded::default();
    let mut start = first;
    for hole in holes.into_iter().chain([Excluded { start: limit, end: limit }]) {
        let end = hole.start.min(limit);
        if hole.start == hole.end && hole.start != limit {
            continue;
        }
        if end.saturating_sub(start) > widest.end - widest.start {
            widest = Excluded { start, end };
        }
        start = start.max(hole.end);
    }
    widest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pages: u64) -> PrivateMap {
        let mut map = PrivateMap::of_memory(pages * PAGE_BYTES).unwrap();
        map.set_view(pages * PAGE_BYTES, [Excluded::default(); 2]);
        map
    }

    #[test]
    fn values_come_back_and_bad_offsets_are_refused() {
        let mut map = map(2);
        map.items_mut::<u64>(64, 2).unwrap()[1] = 7;
        assert_eq!(map.items::<u64>(72, 1).unwrap(), [7]);
        assert_eq!(map.items::<u64>(8192 - 8, 1).unwrap(), [0]);
        for offset in [8192 - 7, 8192, u64::MAX - 7, u64::MAX] {
            assert_eq!(map.items::<u64>(offset, 1).unwrap_err(), AccessError::OutOfBounds);
        }
        assert_eq!(map.items::<u64>(0, u64::MAX / 4).unwrap_err(), AccessError::OutOfBounds);
        assert_eq!(map.items::<u64>(4, 1).unwrap_err(), AccessError::Misaligned);
        map.items_mut::<u8>(0, 1).unwrap()[0] = 2;
        assert_eq!(map.items::<bool>(0, 1).unwrap_err(), AccessError::Invalid);
        assert_eq!(map.items_mut::<bool>(0, 1).unwrap_err(), AccessError::Invalid);
    }

    #[test]
    fn holes_cannot_be_touched_from_any_side() {
        let mut map = map(8);
        let holes = [Excluded { start: 4096, end: 8192 }, Excluded { start: 20480, end: 24576 }];
        map.set_view(8 * 4096, holes);
        for offset in (0..8 * 4096).step_by(if cfg!(miri) { 4096 } else { 512 }) {
            for bytes in [1, 512, 4096, 8192] {
                let end = offset + bytes;
                let touches = holes.iter().any(|hole| offset < hole.end && end > hole.start);
                let allowed = !touches && end <= 8 * 4096;
                assert_eq!(map.items::<u8>(offset, bytes).is_ok(), allowed, "{offset} {bytes}");
            }
        }
    }

    #[test]
    fn the_quick_way_gives_nothing_that_the_careful_one_refuses() {
        let mut map = map(8);
        map.enable_fast_path(8192);
        map.items_mut::<u8>(20480, 1).unwrap()[0] = 2;
        for holes in [
            [Excluded::default(); 2],
            [Excluded { start: 4096, end: 8192 }, Excluded::default()],
            [Excluded { start: 24576, end: 28672 }, Excluded { start: 0, end: 4096 }],
        ] {
            map.set_view(7 * 4096 + 512, holes);
            for offset in (0..9 * 4096).step_by(if cfg!(miri) { 2052 } else { 4 }) {
                for count in [1, 512, 2000] {
                    let fast = map.fast_items::<u64>(offset, count).is_some();
                    assert!(!fast || map.items::<u64>(offset, count).is_ok(), "{offset} {count}");
                    assert!(!fast || offset != 0);
                }
                let fast = map.fast_items::<bool>(offset, 1).is_some();
                assert!(!fast || map.items::<bool>(offset, 1).is_ok(), "{offset}");
            }
            assert!(map.fast_items::<u64>(12288, 1).is_some());
            let last = if holes[0].start == 24576 { 24576 } else { 7 * 4096 + 512 } - 8;
            assert!(map.fast_items::<u64>(last, 1).is_some(), "the last place is one too");
        }
    }

    #[test]
    fn several_values_at_once_never_overlap() {
        let mut map = map(1);
        let [a, b, c] = map.disjoint_mut::<u32, 3>([0, 8, 4]).unwrap();
        (*a, *b, *c) = (1, 2, 3);
        std::mem::swap(a, b);
        assert_eq!(map.items::<u32>(0, 3).unwrap(), [2, 3, 1]);
        assert_eq!(map.disjoint_mut::<u32, 3>([0, 8, 0]).unwrap_err(), AccessError::Overlap(0, 2));
    }

    #[test]
    fn memory_keeps_its_bytes_when_it_grows() {
        let mut map = map(1);
        map.items_mut::<u64>(0, 1).unwrap()[0] = 9;
        map.resize(3 * 4096).unwrap();
        map.set_view(3 * 4096, [Excluded::default(); 2]);
        assert_eq!(map.items::<u64>(0, 1).unwrap(), [9]);
        assert_eq!(map.items::<u64>(8192, 1).unwrap(), [0]);
    }
}
