//! The contents of a disk after a power cut: everything that was synced, and any part of the rest.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::random::Random;

/// The unit that a disk writes as a whole.
pub(super) const SECTOR_BYTES: usize = 512;
/// Words per sector: a torn sector mixes words.
const WORDS: usize = SECTOR_BYTES / 8;

type Sector = [u8; SECTOR_BYTES];

/// An event on the disk that matters for a power cut.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Whole sectors, as the page cache holds them now.
    Write {
        first: u64,
        bytes: Box<[u8]>,
        /// Whether these sectors hold nothing durable: a cut in the middle may leave anything
        /// there.
        is_append: bool,
    },
    /// The file's length changed.
    Resize(u64),
    /// Sectors became durable.
    Flush(RangeInclusive<u64>),
    /// All sectors and the length became durable.
    Sync,
    /// A flush or sync failed, but the page cache marks its sectors as written. The disk has none
    /// of them, or as much as a power cut with this seed would leave.
    Forget { sectors: RangeInclusive<u64>, cut: Option<u64> },
}

/// The contents that a sector was given since it was last durable.
#[derive(Clone, Default)]
struct Pending {
    contents: Vec<Sector>,
    is_append: bool,
}

/// The disk itself, below the page cache.
#[derive(Clone, Default)]
pub(crate) struct Media {
    durable: Vec<u8>,
    pending: BTreeMap<u64, Pending>,
    /// Lengths that the file was given since the last sync, in order.
    lengths: Vec<u64>,
}

/// The effect of a cut on sectors that were not synced.
#[derive(Clone, Copy)]
struct Cut {
    /// Sectors, out of 16, that keep their old contents.
    lost_of_16: u64,
    /// Whether a sector may be torn between two contents, word by word.
    tears: bool,
    /// Whether an appended sector may hold anything.
    spoils: bool,
}

impl Media {
    /// Creates a disk that holds `bytes` durably.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { durable: bytes, ..Self::default() }
    }

    /// Applies an event.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { first, bytes, is_append } => self.write(*first, bytes, *is_append),
            Event::Resize(len) => self.resize(*len),
            Event::Flush(sectors) => self.resolve(sectors.clone(), |pending, _| pending.last()),
            Event::Sync => {
                let lengths = std::mem::take(&mut self.lengths);
                lengths.iter().for_each(|len| self.durable.resize(*len as usize, 0));
                self.resolve(0..=u64::MAX, |pending, _| pending.last());
            }
            Event::Forget { sectors, cut: None } => self.resolve(sectors.clone(), |_, _| None),
            Event::Forget { sectors, cut: Some(seed) } => {
                let mut random = Random(*seed);
                let cut = Cut::by_chance(&mut random);
                self.resolve(sectors.clone(), |pending, before| {
                    pending.remains(before, cut, &mut random)
                });
            }
        }
    }

    fn write(&mut self, first: u64, bytes: &[u8], is_append: bool) {
        for (sector, content) in (first..).zip(bytes.as_chunks::<SECTOR_BYTES>().0) {
            // The kernel writes whole pages; an unchanged sector is not a write.
            if self.newest(sector) == *content {
                continue;
            }
            let pending = self.pending.entry(sector).or_default();
            pending.is_append = is_append && (pending.is_append || pending.contents.is_empty());
            pending.contents.push(*content);
        }
    }

    fn resize(&mut self, len: u64) {
        self.pending.retain(|sector, _| (sector + 1) * SECTOR_BYTES as u64 <= len);
        self.lengths.push(len);
    }

    /// Returns the newest contents of the sector: zeros if the file was cut before it since.
    pub(super) fn newest(&self, sector: u64) -> Sector {
        let pending = self.pending.get(&sector).and_then(|pending| pending.contents.last());
        match pending {
            Some(content) => *content,
            None if self.is_cut_off(sector) => [0; SECTOR_BYTES],
            None => self.oldest(sector),
        }
    }

    /// Returns whether the sector lies past a length that the file had since the last sync. Its new
    /// contents become durable with the length, and its old contents vanish with it.
    fn is_cut_off(&self, sector: u64) -> bool {
        let shortest = self.lengths.iter().fold(self.durable.len() as u64, |a, b| a.min(*b));
        (sector + 1).saturating_mul(SECTOR_BYTES as u64) > shortest
    }

    /// Returns the durable contents of the sector: zeros past the end.
    fn oldest(&self, sector: u64) -> Sector {
        let mut content = [0; SECTOR_BYTES];
        let at = sector as usize * SECTOR_BYTES;
        if let Some(durable) = self.durable.get(at..at + SECTOR_BYTES) {
            content.copy_from_slice(durable);
        }
        content
    }

    /// Resolves pending sectors: each becomes durable with the contents that `choose` returns, or
    /// keeps its old contents on `None`.
    fn resolve(
        &mut self,
        sectors: RangeInclusive<u64>,
        mut choose: impl FnMut(&Pending, &Sector) -> Option<Sector>,
    ) {
        let waiting: Vec<u64> = self.pending.range(sectors).map(|(sector, _)| *sector).collect();
        for sector in waiting {
            if self.is_cut_off(sector) {
                continue;
            }
            let Some(pending) = self.pending.remove(&sector) else { continue };
            if let Some(content) = choose(&pending, &self.oldest(sector)) {
                put(&mut self.durable, sector, &content);
            }
        }
    }

    /// Returns the durable bytes after the first `count` changes of length since the last sync.
    fn with_lengths(&self, count: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        // Apply each length: bytes that were cut off must come back as zeros.
        self.lengths[..count].iter().for_each(|len| bytes.resize(*len as usize, 0));
        bytes
    }

    /// Returns an image that a power cut could leave now: the synced bytes, any one of the contents
    /// of each sector written since, or a mixture, and any one of the lengths.
    pub(crate) fn image(&self, random: &mut Random) -> Vec<u8> {
        let cut = Cut::by_chance(random);
        let mut bytes = self.with_lengths(random.below(self.lengths.len() as u64 + 1) as usize);
        for (sector, pending) in &self.pending {
            if let Some(content) = pending.remains(&self.oldest(*sector), cut, random) {
                put(&mut bytes, *sector, &content);
            }
        }
        bytes
    }

    /// Returns the number of possible images if sectors are not torn: for each sector one of its
    /// contents or its old ones, and one of the lengths.
    pub(crate) fn count_images(&self) -> u64 {
        let sectors = self.pending.values().map(|pending| pending.contents.len() as u64 + 1);
        sectors.fold(self.lengths.len() as u64 + 1, u64::saturating_mul)
    }

    /// Returns the image with this number.
    pub(crate) fn image_number(&self, number: u64) -> Vec<u8> {
        let mut rest = number;
        let mut digit = |base: usize| {
            let digit = rest % base as u64;
            rest /= base as u64;
            digit as usize
        };
        let mut bytes = self.with_lengths(digit(self.lengths.len() + 1));
        for (sector, pending) in &self.pending {
            let digit = digit(pending.contents.len() + 1);
            if let Some(content) = digit.checked_sub(1).map(|index| &pending.contents[index]) {
                put(&mut bytes, *sector, content);
            }
        }
        bytes
    }
}

impl Cut {
    fn by_chance(random: &mut Random) -> Self {
        Self {
            lost_of_16: random.pick(&[0, 1, 4, 8, 8, 12, 15, 16]),
            tears: random.one_in(3),
            spoils: random.one_in(3),
        }
    }
}

impl Pending {
    fn last(&self) -> Option<Sector> {
        self.contents.last().copied()
    }

    /// Returns the contents that a cut leaves; `None` for the old ones.
    fn remains(&self, before: &Sector, cut: Cut, random: &mut Random) -> Option<Sector> {
        if random.below(16) < cut.lost_of_16 {
            return None;
        }
        let index = match random.one_in(2) {
            true => self.contents.len() - 1,
            false => random.below(self.contents.len() as u64) as usize,
        };
        let mut content = self.contents[index];
        if cut.spoils && self.is_append && random.one_in(3) {
            let words = content.as_chunks_mut().0;
            words.iter_mut().for_each(|word| *word = random.next().to_le_bytes());
        } else if cut.tears && random.one_in(2) {
            let before = index.checked_sub(1).map_or(before, |index| &self.contents[index]);
            mix(&mut content, before, tear(random));
        }
        Some(content)
    }
}

/// Returns which words of a torn sector are old: all from one on, or any.
fn tear(random: &mut Random) -> u64 {
    match random.one_in(2) {
        true => u64::MAX << random.below(WORDS as u64),
        false => random.next(),
    }
}

fn mix(content: &mut Sector, before: &Sector, old: u64) {
    let (before, _) = before.as_chunks::<8>();
    for (index, word) in content.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        if old >> index & 1 == 1 {
            *word = before[index];
        }
    }
}

/// Writes a sector's contents into `bytes`, unless it lies past the end.
fn put(bytes: &mut [u8], sector: u64, content: &Sector) {
    let at = sector as usize * SECTOR_BYTES;
    if let Some(place) = bytes.get_mut(at..at + SECTOR_BYTES) {
        place.copy_from_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sector that is cut off and then given the same contents is a new write. A flush of the
    /// sector alone does not keep it: the length that it needs is not durable.
    #[test]
    fn what_was_cut_off_is_gone_until_it_is_written_again() {
        let (old, len) = ([7; SECTOR_BYTES], 2 * SECTOR_BYTES as u64);
        for is_written in [false, true] {
            let mut media = Media::new([old, old].concat());
            media.apply(&Event::Resize(len / 2));
            media.apply(&Event::Resize(len));
            if is_written {
                let bytes = old.to_vec().into_boxed_slice();
                media.apply(&Event::Write { first: 1, bytes, is_append: false });
            }
            media.apply(&Event::Flush(0..=1));
            media.apply(&Event::Sync);
            let second = if is_written { old } else { [0; SECTOR_BYTES] };
            assert_eq!(media.image(&mut Random(1)), [old, second].concat());
        }
    }
}
