//! A simulated disk: it knows what was synced, and makes the images that a
//! power cut could leave.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, LogRegion, MemoryDisk};
use crate::map::PrivateMap;

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// A small generator of numbers (SplitMix64, Steele and others, 2014), so that
/// a seed is all that a failure needs.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "there is always a next one")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which counts as 1 if it is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// Sectors by number, each with the contents it was given since the last sync.
type Pending = BTreeMap<u64, Vec<[u8; SECTOR_BYTES]>>;

struct State {
    durable: Vec<u8>,
    pending: Pending,
    /// Lengths that the file was given since the last sync.
    lengths: Vec<u64>,
    /// Every call counts down; at 0 calls fail from then on.
    calls_left: u64,
    /// Whether there is no space to grow.
    is_full: bool,
    /// Calls that wanted to grow.
    growths: u64,
}

/// A disk in memory that remembers what was not synced. A copy of it is the same disk.
#[derive(Clone)]
pub struct SimDisk {
    live: MemoryDisk,
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// A disk that holds `bytes` durably.
    pub fn new(bytes: Vec<u8>) -> Self {
        let live = MemoryDisk::of(bytes.clone());
        let state = State {
            durable: bytes,
            pending: Pending::new(),
            lengths: Vec::new(),
            calls_left: u64::MAX,
            is_full: false,
            growths: 0,
        };
        Self { live, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `calls` more calls succeed that write, resize or sync.
    pub fn fail_after(&self, calls: u64) {
        self.state().calls_left = calls;
    }

    /// Whether the calls that [`fail_after`](Self::fail_after) allowed are used up.
    pub fn is_off(&self) -> bool {
        self.state().calls_left == 0
    }

    /// Whether growing fails from now on.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// How often it was to grow so far.
    pub fn growths(&self) -> u64 {
        self.state().growths
    }

    /// What a power cut could leave now: what was synced, and of each sector
    /// written since any one of its contents; of the lengths any one.
    pub fn crash(&self, random: &mut Random) -> Vec<u8> {
        let state = self.state();
        let mut bytes = state.durable.clone();
        let pick = random.below(state.lengths.len() as u64 + 1) as usize;
        let len = pick.checked_sub(1).map_or(bytes.len(), |index| state.lengths[index] as usize);
        bytes.resize(len, 0);
        let keep = random.below(4);
        for (sector, contents) in &state.pending {
            let pick = match keep {
                0 => 0,
                1 => contents.len() as u64,
                _ => random.below(contents.len() as u64 + 1),
            };
            let Some(content) = (pick as usize).checked_sub(1).map(|index| contents[index]) else {
                continue;
            };
            put_sector(&mut bytes, *sector, &content);
        }
        bytes
    }

    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.calls_left == 0 {
            return Err(io::Error::other("simulated failure"));
        }
        state.calls_left -= 1;
        Ok(state)
    }

    /// Notes the sectors that a write to the live bytes has changed.
    fn note(&self, state: &mut State, offset: u64, len: usize) -> io::Result<()> {
        let first = offset / SECTOR_BYTES as u64;
        let last = (offset + len.max(1) as u64 - 1) / SECTOR_BYTES as u64;
        for sector in first..=last {
            let mut content = [0; SECTOR_BYTES];
            self.live.read_at(sector * SECTOR_BYTES as u64, &mut content)?;
            state.pending.entry(sector).or_default().push(content);
        }
        Ok(())
    }
}

fn put_sector(bytes: &mut [u8], sector: u64, content: &[u8; SECTOR_BYTES]) {
    let at = sector as usize * SECTOR_BYTES;
    if let Some(place) = bytes.get_mut(at..at + SECTOR_BYTES) {
        place.copy_from_slice(content);
    }
}

impl State {
    /// Makes pending sectors of a range durable.
    fn settle(&mut self, first: u64, last: u64) {
        let sectors: Vec<u64> =
            self.pending.range(first..=last).map(|(sector, _)| *sector).collect();
        for sector in sectors {
            let contents = self.pending.remove(&sector).unwrap_or_default();
            let Some(content) = contents.last() else {
                continue;
            };
            // A sector past the durable length becomes so with the length.
            if (sector as usize + 1) * SECTOR_BYTES > self.durable.len() {
                self.pending.insert(sector, contents);
            } else {
                put_sector(&mut self.durable, sector, content);
            }
        }
    }
}

impl Disk for SimDisk {
    fn len_bytes(&self) -> io::Result<u64> {
        self.live.len_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.live.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.call()?;
        self.live.write_at(offset, bytes)?;
        self.note(&mut state, offset, bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.call()?;
        if let Some(len) = state.lengths.last().copied() {
            state.durable.resize(len as usize, 0);
            state.lengths.clear();
        }
        state.settle(0, u64::MAX);
        Ok(())
    }

    fn grow(&self, from: u64, to: u64) -> io::Result<()> {
        let mut state = self.call()?;
        state.growths += 1;
        if state.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.live.grow(from, to)?;
        state.lengths.push(to);
        Ok(())
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.call()?;
        self.live.truncate(len_bytes)?;
        state.pending.retain(|sector, _| (sector + 1) * SECTOR_BYTES as u64 <= len_bytes);
        state.lengths.push(len_bytes);
        Ok(())
    }

    fn open_log(&self, offset: u64, _len_bytes: u64) -> io::Result<Box<dyn LogRegion>> {
        Ok(Box::new(SimLog { disk: self.clone(), start: offset }))
    }

    fn map_heap(&self, len_bytes: u64) -> io::Result<PrivateMap> {
        self.live.map_heap(len_bytes)
    }
}

struct SimLog {
    disk: SimDisk,
    start: u64,
}

impl LogRegion for SimLog {
    fn store(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(self.start + at, bytes)
    }

    fn load(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(self.start + at, buffer)
    }

    fn flush(&self, at: u64, len_bytes: u64) -> io::Result<()> {
        let first = (self.start + at) / SECTOR_BYTES as u64;
        let last = (self.start + at + len_bytes).div_ceil(SECTOR_BYTES as u64);
        self.disk.call()?.settle(first, last.saturating_sub(1));
        Ok(())
    }
}
