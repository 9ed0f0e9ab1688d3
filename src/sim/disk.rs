//! A simulated disk. It tracks what was synced, produces the images that a power cut could leave,
//! and injects faults.
//!
//! Its page cache is a file in memory, where a write is visible at once. The events since the start
//! determine what a cut leaves.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::disk::{Disk, LogRegion, MemoryDisk, anonymous, in_memory, spill_file_in_memory};
use crate::format::superblock::SLOT_OFFSETS_BYTES;
use crate::format::{PAGE_BYTES, checksum};
use crate::map::{PrivateMap, SpillFile};
use crate::sync::unpoisoned;

use super::faults::{Call, Done, Failure, Faults};
use super::media::{Event, Media, SECTOR_BYTES};
use super::process::SimProcess;
use super::random::Random;

const PAGE: usize = PAGE_BYTES as usize;

struct State {
    media: Media,
    /// Events since `record`, which are not yet applied to `media`.
    recorded: Option<Vec<Event>>,
    /// The calls so far.
    calls: Vec<Call>,
    faults: Option<Faults>,
    /// Counts down the calls that change something; at 0 the power is off.
    changes_left: u64,
    /// Whether there is no space to grow.
    is_full: bool,
    /// Whether the page cache shows bytes of which a failed flush said that the disk has them not.
    has_lost_writes: bool,
    /// Whether opening after a crash drops such bytes.
    is_forgetful: bool,
    /// Bytes that positioned writes were given.
    written_bytes: u64,
    /// Pages without space.
    holes: BTreeSet<u64>,
    /// Number of calls that tried to grow the file.
    growths: u64,
    /// Whether appends behave as in a mapped log.
    is_log_mapped: bool,
    /// The time of a sync or flush.
    sync_time: Duration,
    /// The time that all of them took.
    clock: Duration,
    random: Random,
}

/// A disk in memory that tracks what was not synced. A clone is the same disk.
#[derive(Clone)]
pub struct SimDisk {
    live: Arc<dyn Disk>,
    is_mapped: bool,
    state: Arc<Mutex<State>>,
    /// The process that makes the calls, on a machine with several.
    process: Option<SimProcess>,
}

impl SimDisk {
    /// Creates a disk that holds `bytes` durably. Images of it are copies.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::with_live(Arc::new(MemoryDisk::of(bytes.clone())), false, bytes)
    }

    /// Creates a disk whose images are mappings, like those of a file: writes appear in them,
    /// except on frozen pages.
    ///
    /// # Errors
    ///
    /// There is no memory for the disk.
    pub fn mapped(bytes: Vec<u8>) -> io::Result<Self> {
        let live = anonymous(in_memory())?;
        live.set_len(bytes.len() as u64)?;
        live.write_at(0, &bytes)?;
        Ok(Self::with_live(Arc::new(live), true, bytes))
    }

    fn with_live(live: Arc<dyn Disk>, is_mapped: bool, bytes: Vec<u8>) -> Self {
        // The same bytes give the same numbers, so a run can be reproduced.
        let [first, second] = SLOT_OFFSETS_BYTES.map(|offset| {
            let slot = bytes.get(offset as usize..).unwrap_or_default();
            checksum::plain(&slot[..slot.len().min(PAGE)])
        });
        let mut random = Random(first ^ second.rotate_left(1));
        let state = State {
            media: Media::new(bytes),
            recorded: None,
            calls: Vec::new(),
            faults: None,
            changes_left: u64::MAX,
            is_full: false,
            has_lost_writes: false,
            is_forgetful: false,
            written_bytes: 0,
            holes: BTreeSet::new(),
            growths: 0,
            is_log_mapped: random.one_in(2),
            sync_time: Duration::ZERO,
            clock: Duration::ZERO,
            random,
        };
        Self { live, is_mapped, state: Arc::new(Mutex::new(state)), process: None }
    }

    /// Returns the same disk, as `process` sees it.
    pub(super) fn seen_by(&self, process: &SimProcess) -> Self {
        Self { process: Some(process.clone()), ..self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    /// Lets `calls` more calls succeed that write, resize or sync. Then the power is off: none
    /// succeeds, and nothing changes any more.
    pub fn fail_after(&self, calls: u64) {
        self.state().changes_left = calls;
    }

    /// Returns whether the calls that [`fail_after`](Self::fail_after) allowed are used up.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().changes_left == 0
    }

    /// Sets the calls that fail from now on; `None` clears them.
    pub fn set_faults(&self, faults: Option<Faults>) {
        self.state().faults = faults;
    }

    /// Sets whether growing fails from now on, and writing to pages that were punched.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// Makes each sync and each flush take so long from now on: the thread sleeps. The disk's clock
    /// knows no other times.
    pub fn set_sync_time(&self, sync_time: Duration) {
        self.state().sync_time = sync_time;
    }

    /// Takes the time of a sync or flush.
    fn take_time(&self) {
        let sync_time = self.state().sync_time;
        if !sync_time.is_zero() {
            std::thread::sleep(sync_time);
            self.state().clock += sync_time;
        }
    }

    /// Sets whether an opening after a crash drops from the page cache what a failed flush or sync
    /// has lost. Otherwise it stays, as where another program has the file mapped.
    pub fn set_forgetful(&self, is_forgetful: bool) {
        self.state().is_forgetful = is_forgetful;
    }

    /// Returns whether the next opening after a crash drops bytes that the disk does not have.
    #[must_use]
    pub fn will_forget(&self) -> bool {
        let state = self.state();
        state.is_forgetful && state.has_lost_writes
    }

    /// Returns how many pages have no space.
    #[must_use]
    pub fn holes(&self) -> u64 {
        self.state().holes.len() as u64
    }

    /// Returns how often a call has tried to grow the file.
    #[must_use]
    pub fn growths(&self) -> u64 {
        self.state().growths
    }

    /// Returns how many bytes positioned writes were given. Appends to the log do not count.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.state().written_bytes
    }

    /// Returns an image that a power cut could leave now: the synced bytes, any one of the contents
    /// of each sector written since, or a mixture of two, and any one of the lengths. Sectors of an
    /// append may hold anything.
    #[must_use]
    pub fn crash(&self, random: &mut Random) -> Vec<u8> {
        let state = self.state();
        match &state.recorded {
            None => state.media.image(random),
            Some(events) => {
                let mut media = state.media.clone();
                events.iter().for_each(|event| media.apply(event));
                media.image(random)
            }
        }
    }

    /// Records the events from now on, for cuts at any time afterwards. Discards an earlier
    /// recording.
    pub fn record(&self) {
        let mut state = self.state();
        let State { media, recorded, .. } = &mut *state;
        recorded.take().iter().flatten().for_each(|event| media.apply(event));
        *recorded = Some(Vec::new());
    }

    /// Returns the time: the number of events since `record`.
    #[must_use]
    pub fn now(&self) -> usize {
        self.state().recorded.as_ref().map_or(0, Vec::len)
    }

    /// Returns the calls of the disk interface so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Returns the number of calls so far, which is the number of the next one.
    #[must_use]
    pub fn next_call(&self) -> u64 {
        self.state().calls.len() as u64
    }

    /// Returns the disk as it was when `record` was called, and the events since.
    pub(crate) fn recorded(&self) -> (Media, Vec<Event>) {
        let mut state = self.state();
        (state.media.clone(), state.recorded.take().unwrap_or_default())
    }

    /// Drops the clean pages from the page cache, as the kernel does when memory is short, and
    /// reads them again. Pages that a flush failed to write count as clean, so their old bytes
    /// reappear.
    ///
    /// # Panics
    ///
    /// There is no memory for a copy of the disk.
    pub fn drop_clean_pages(&self) {
        let state = self.state();
        let mut media = state.media.clone();
        state.recorded.iter().flatten().for_each(|event| media.apply(event));
        let len_bytes = self.live.len_bytes().expect("memory has a length");
        for sector in 0..len_bytes / SECTOR_BYTES as u64 {
            let at = sector * SECTOR_BYTES as u64;
            self.live.write_at(at, &media.newest(sector)).expect("it is within the length");
        }
    }

    /// Begins a call; returns the state to change, and the failure to inject.
    fn call(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        if let Some(process) = &self.process {
            process.expect_alive(call)?;
        }
        let mut state = self.state();
        let number = state.calls.len() as u64;
        state.calls.push(call);
        if !call.is_reading() {
            if state.changes_left == 0 {
                return Err(io::Error::other("the power is off"));
            }
            state.changes_left -= 1;
        }
        let failure = state.faults.as_ref().and_then(|faults| faults.failure_of(number, call));
        Ok((state, failure))
    }

    /// Begins a call that changes nothing.
    fn begin_reading(&self, call: Call) -> io::Result<()> {
        let (state, failure) = self.call(call)?;
        drop(state);
        to_result(failure)
    }

    /// Writes to the page cache, and records whole pages, the unit that the kernel writes.
    fn put(&self, state: &mut State, at: u64, bytes: &[u8], is_append: bool) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        state.take_space(at..at + bytes.len() as u64)?;
        self.live.write_at(at, bytes)?;
        let first = at / PAGE_BYTES * PAGE_BYTES;
        let end = (at + bytes.len() as u64).next_multiple_of(PAGE_BYTES);
        let end = end.min(self.live.len_bytes()?) / SECTOR_BYTES as u64 * SECTOR_BYTES as u64;
        let mut pages = vec![0; end.saturating_sub(first) as usize].into_boxed_slice();
        self.live.read_at(first, &mut pages)?;
        let first = first / SECTOR_BYTES as u64;
        state.add_event(Event::Write { first, bytes: pages, is_append });
        Ok(())
    }
}

fn to_result(failure: Option<Failure>) -> io::Result<()> {
    failure.map_or(Ok(()), |failure| Err(failure.error()))
}

impl State {
    fn add_event(&mut self, event: Event) {
        match &mut self.recorded {
            Some(events) => events.push(event),
            None => self.media.apply(&event),
        }
    }

    /// Takes the space for the pages of these bytes where they have none. Returns whether any had
    /// none.
    fn take_space(&mut self, bytes: Range<u64>) -> io::Result<bool> {
        let pages = bytes.start / PAGE_BYTES..bytes.end.div_ceil(PAGE_BYTES);
        if self.holes.range(pages.clone()).next().is_none() {
            return Ok(false);
        }
        if self.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.holes.retain(|page| !pages.contains(page));
        Ok(true)
    }

    /// Ends a flush of `sectors`.
    fn flush(&mut self, failure: Option<Failure>, whole: Event) -> io::Result<()> {
        let sectors = match &whole {
            Event::Flush(sectors) => sectors.clone(),
            _ => 0..=u64::MAX,
        };
        let event = match failure.as_ref().map(|failure| failure.done) {
            None | Some(Done::All) => whole,
            Some(Done::Nothing) => Event::Forget { sectors, cut: None },
            Some(Done::Part(seed)) => Event::Forget { sectors, cut: Some(seed) },
        };
        self.has_lost_writes |= matches!(event, Event::Forget { .. });
        self.add_event(event);
        to_result(failure)
    }
}

impl Disk for SimDisk {
    fn len_bytes(&self) -> io::Result<u64> {
        self.begin_reading(Call::Length)?;
        self.live.len_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.begin_reading(Call::Read)?;
        self.live.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, failure) = self.call(Call::Write)?;
        state.written_bytes += bytes.len() as u64;
        self.put(&mut state, offset, written(failure.as_ref(), bytes), false)?;
        to_result(failure)
    }

    fn sync(&self) -> io::Result<()> {
        self.take_time();
        let (mut state, failure) = self.call(Call::Sync)?;
        state.flush(failure, Event::Sync)
    }

    /// Drops the page cache only if the disk [forgets](Self::set_forgetful): to a system, that is a
    /// wish, and it keeps what another program has mapped.
    fn start_afresh(&self) -> io::Result<()> {
        self.sync()?;
        let forgets = self.state().is_forgetful;
        if forgets && std::mem::take(&mut self.state().has_lost_writes) {
            self.drop_clean_pages();
        }
        Ok(())
    }

    fn grow(&self, from: u64, to: u64) -> io::Result<()> {
        let (mut state, failure) = self.call(Call::Grow)?;
        state.growths += 1;
        if state.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // A failure leaves the file as it was, or longer.
        if failure.as_ref().is_none_or(|failure| failure.done == Done::All) {
            self.live.grow(from, to)?;
            // A file that an earlier failure left longer stays so.
            state.add_event(Event::Resize(self.live.len_bytes()?));
        }
        to_result(failure)
    }

    fn allocate_holes(&self, from: u64, to: u64) -> io::Result<bool> {
        let (mut state, failure) = self.call(Call::Fill)?;
        to_result(failure)?;
        state.take_space(from..to)
    }

    fn punch(&self, from: u64, to: u64) -> io::Result<()> {
        let (mut state, failure) = self.call(Call::Punch)?;
        let zeros = vec![0; (to - from) as usize];
        self.put(&mut state, from, written(failure.as_ref(), &zeros), false)?;
        to_result(failure)?;
        state.holes.extend(from / PAGE_BYTES..to / PAGE_BYTES);
        Ok(())
    }

    fn renew(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        self.put(&mut self.state(), offset, &vec![0; len_bytes as usize], false)
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        let (mut state, failure) = self.call(Call::Truncate)?;
        if failure.as_ref().is_none_or(|failure| failure.done == Done::All) {
            self.live.truncate(len_bytes)?;
            state.holes.retain(|page| (page + 1) * PAGE_BYTES <= len_bytes);
            state.add_event(Event::Resize(len_bytes));
        }
        to_result(failure)
    }

    fn open_log(&self, offset: u64, _len_bytes: u64) -> io::Result<Box<dyn LogRegion>> {
        self.begin_reading(Call::OpenLog)?;
        Ok(Box::new(SimLog { disk: self.clone(), start: offset }))
    }

    fn map_heap(&self, len_bytes: u64) -> io::Result<PrivateMap> {
        self.begin_reading(Call::MapHeap)?;
        self.live.map_heap(len_bytes)
    }

    /// Counts as no call: a cut of the power ends the file, so it matters to none.
    fn spill_file(&self) -> io::Result<Option<SpillFile>> {
        if self.state().is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.is_mapped { spill_file_in_memory().map(Some) } else { Ok(None) }
    }

    fn now(&self) -> Duration {
        self.state().clock
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.state().random.next())
    }
}

/// Returns the bytes that a write leaves in the page cache.
fn written<'a>(failure: Option<&Failure>, bytes: &'a [u8]) -> &'a [u8] {
    &bytes[..failure.map_or(bytes.len(), |failure| failure.portion(bytes.len()))]
}

struct SimLog {
    disk: SimDisk,
    start: u64,
}

impl LogRegion for SimLog {
    /// Stores as the two kinds of logs in files do: with positioned writes; or first whole new
    /// pages, then the partial page.
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, failure) = self.disk.call(Call::Append)?;
        let bytes = written(failure.as_ref(), bytes);
        let begun = match state.is_log_mapped {
            true => at.next_multiple_of(PAGE_BYTES) - at,
            false => bytes.len() as u64,
        };
        let (begun, new) = bytes.split_at(bytes.len().min(begun as usize));
        let mut pages = new.to_vec();
        pages.resize(new.len().next_multiple_of(PAGE), 0);
        let at = self.start + at;
        self.disk.put(&mut state, at + begun.len() as u64, &pages, true)?;
        self.disk.put(&mut state, at, begun, true)?;
        to_result(failure)
    }

    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.begin_reading(Call::Load)?;
        self.disk.live.read_at(self.start + at, buffer)
    }

    fn flush(&self, at: u64, len_bytes: u64) -> io::Result<()> {
        self.disk.take_time();
        let (mut state, failure) = self.disk.call(Call::Flush)?;
        let first = (self.start + at) / SECTOR_BYTES as u64;
        let last = (self.start + at + len_bytes).div_ceil(SECTOR_BYTES as u64).saturating_sub(1);
        state.flush(failure, Event::Flush(first..=last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failed step may have made the file longer; a shorter one after it does not cut it.
    #[test]
    fn growing_never_makes_a_file_shorter() {
        let disk = SimDisk::new(vec![1; 2 * PAGE]);
        disk.set_faults(Some(Faults {
            calls: 0..1,
            errno: 5,
            done: Done::All,
            spares_reading: true,
        }));
        let len = |pages: u64| pages * PAGE_BYTES;
        assert!(disk.grow(len(2), len(8)).is_err());
        disk.grow(len(2), len(3)).expect("no more faults");
        disk.sync().expect("no more faults");
        assert_eq!(disk.len_bytes().expect("a length"), len(8));
        assert_eq!(disk.crash(&mut Random(1)).len() as u64, len(8));
    }
}
