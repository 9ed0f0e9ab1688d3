//! Records that a hostile author could write, with valid checksums.

use arbitrary::Arbitrary;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::samples::Sample;
use testkit::forge::{self, HEAP, PAGE};

/// A log.
#[derive(Arbitrary, Debug)]
pub struct ForgedLog {
    /// The block of the ring in which it begins.
    pub begin: u8,
    /// The bytes that earlier laps left, repeated all over the ring.
    pub before: [u8; 8],
    /// Pages that the file has more than the sample.
    pub more_pages: u8,
    pub records: Vec<Record>,
}

/// A record.
#[derive(Arbitrary, Debug)]
pub struct Record {
    pub kind: Kind,
    pub heap: HeapLength,
    pub durable: Durable,
    pub flaw: Flaw,
    pub entries: Vec<Entry>,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Commit,
    Skip(u16),
    /// Up to the end of the block, as before a flush.
    SkipBlock,
    Spill {
        at: SpillPlace,
        is_right: bool,
    },
    Other(u8),
}

/// The position that a spill gives for its entries.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpillPlace {
    /// Behind the sample's heap, where they are written.
    Behind(u8),
    Any(u64, u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum HeapLength {
    Same,
    More(u8),
    Less(u8),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Durable {
    Honest,
    Later(u16),
    Any(u64),
}

/// The flaw of a record.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    Checksum,
    Chain,
    Position(i16),
    /// Its header gives another length.
    Length(i16),
    /// It lies further on, behind bytes that are no record.
    Gap(u8),
    Padding(u8),
}

/// An entry of a record's body.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Entry {
    /// Changes one of the sample's words.
    Word {
        word: u16,
        value: u64,
    },
    /// Makes one of the sample's words the heap offset of another one.
    Link {
        word: u16,
        to: u16,
    },
    Line {
        line: Number<u16>,
        mask: u8,
        words: [u32; 2],
    },
    Zero {
        page: Number<u8>,
        count: Number<u8>,
    },
    Bulk {
        page: Number<u8>,
        count: Number<u8>,
    },
    Raw(u64),
}

/// A number of lines or pages: about as many as the sample has, or any.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Number<T> {
    Near(T),
    Any(u64),
}

/// Writes records into a file.
struct Writer<'a> {
    sample: &'a Sample,
    bytes: Vec<u8>,
    epoch: u64,
    base: u64,
    position: u64,
    chain: u64,
    heap_bytes: u64,
    /// Bytes left in the ring.
    room: u64,
}

/// Returns a sample's file with this log instead of its own.
pub fn with_log(sample: &Sample, log: &ForgedLog) -> Vec<u8> {
    let mut bytes = sample.bytes.clone();
    bytes.resize(bytes.len().next_multiple_of(PAGE) + usize::from(log.more_pages % 8) * PAGE, 0);
    let ring = &mut bytes[sample.log.clone()];
    if log.before == [0; 8] {
        ring.fill(0);
    } else {
        ring.chunks_exact_mut(8).for_each(|place| place.copy_from_slice(&log.before));
    }
    let mut writer = Writer::new(sample, bytes, log.begin);
    log.records.iter().for_each(|record| writer.put(record));
    writer.bytes
}

impl<'a> Writer<'a> {
    /// Begins at a block of the ring, to which both superblocks point; they are not clean.
    fn new(sample: &'a Sample, mut bytes: Vec<u8>, begin: u8) -> Self {
        let blocks = sample.log.len() / PAGE;
        let at = (usize::from(begin) % blocks * PAGE) as u64;
        let position = forge::number(&bytes, 96) + at;
        forge::superblocks(&mut bytes, |block| {
            block[28] = 0;
            forge::set_number(block, 104, position);
            forge::set_number(block, 128, position);
            forge::set_number(block, 112, 0);
            forge::set_number(block, 72, 0x1234);
        });
        let [base, heap_bytes] = [96, 120].map(|field| forge::number(&bytes, field));
        let room = sample.log.len() as u64;
        Self { sample, bytes, epoch: 0x1234, base, position, chain: 0, heap_bytes, room }
    }

    fn put(&mut self, record: &Record) {
        if let Flaw::Gap(words) = record.flaw {
            self.step(8 * u64::from(words));
        }
        let mut body = Vec::new();
        record.entries.iter().for_each(|entry| self.push_entry(*entry, &mut body));
        let kind = match record.kind {
            Kind::Commit => 1,
            Kind::Skip(_) | Kind::SkipBlock => 2,
            Kind::Spill { at, is_right } => {
                body = self.spill(at, is_right, &body);
                3
            }
            Kind::Other(kind) => kind,
        };
        let at_in_block = (self.position % PAGE as u64) as usize;
        let mut len = match record.kind {
            Kind::Skip(words) => forge::RECORD_HEADER + 8 * usize::from(words),
            Kind::SkipBlock if PAGE - at_in_block < forge::RECORD_HEADER => 2 * PAGE - at_in_block,
            Kind::SkipBlock => PAGE - at_in_block,
            _ => forge::RECORD_HEADER + body.len(),
        };
        // The space after a record holds at least a header.
        let rest = (PAGE - (at_in_block + len) % PAGE) % PAGE;
        if rest < forge::RECORD_HEADER {
            len += rest;
        }
        if let Flaw::Padding(words) = record.flaw {
            len += 8 * usize::from(words);
        }
        let in_ring = (self.position - self.base) % self.sample.log.len() as u64;
        let place = self.sample.log.start + in_ring as usize;
        if place + len.max(forge::RECORD_HEADER) > self.sample.log.end || len as u64 > self.room {
            // Continues at the ring's start, as an honest author would.
            return self.step(self.sample.log.len() as u64 - in_ring);
        }
        self.write(record, kind, place, len, &body);
        self.step(len as u64);
    }

    fn write(&mut self, record: &Record, kind: u8, place: usize, len: usize, body: &[u8]) {
        let (mut claimed, mut position, mut chain) = (len as u64, self.position, self.chain);
        match record.flaw {
            Flaw::Length(change) => claimed = claimed.wrapping_add_signed(i64::from(change) * 8),
            Flaw::Position(change) => position = position.wrapping_add_signed(change.into()),
            Flaw::Chain => chain ^= 1,
            _ => {}
        }
        match record.heap {
            HeapLength::Same => {}
            HeapLength::More(pages) => self.heap_bytes += u64::from(pages) * PAGE as u64,
            HeapLength::Less(pages) => {
                self.heap_bytes = self.heap_bytes.saturating_sub(u64::from(pages) * PAGE as u64);
            }
            HeapLength::Any(bytes) => self.heap_bytes = bytes,
        }
        self.heap_bytes %= 1 << 62;
        let durable = match record.durable {
            Durable::Honest => self.position,
            Durable::Later(bytes) => self.position + u64::from(bytes),
            Durable::Any(position) => position,
        };
        let header = u64::from(u32::from_le_bytes([b'f', b'l', b'r', kind])) | claimed << 32;
        let heap_bytes = if kind == 2 { 0 } else { self.heap_bytes };
        let fields = [header, position, 0, chain, durable, heap_bytes];
        let bytes = &mut self.bytes[place..place + len];
        if kind != 2 {
            bytes[forge::RECORD_HEADER..].fill(0);
            bytes[forge::RECORD_HEADER..][..body.len()].copy_from_slice(body);
        }
        (0..).zip(fields).for_each(|(i, field)| forge::set_number(bytes, 8 * i, field));
        let covered = if kind == 2 { &bytes[..forge::RECORD_HEADER] } else { &*bytes };
        let checksum = xxh3_64_with_seed(covered, self.epoch);
        let flaw = u64::from(record.flaw == Flaw::Checksum);
        forge::set_number(bytes, 16, checksum ^ flaw);
        self.chain = checksum;
    }

    fn step(&mut self, bytes: u64) {
        self.position += bytes;
        self.room = self.room.saturating_sub(bytes);
    }

    fn push_entry(&self, entry: Entry, body: &mut Vec<u8>) {
        let mut push = |word: u64| body.extend_from_slice(&word.to_le_bytes());
        let words = &self.sample.words;
        let offset = |word: u16| {
            let at = words[usize::from(word) % words.len()] as usize;
            at.saturating_sub(HEAP) as u64
        };
        let mut push_word = |at: u64, value: u64| {
            push((at / 64) << 8 | 1 << (at % 64 / 8));
            push(value);
        };
        match entry {
            Entry::Word { word, value } => push_word(offset(word), value),
            Entry::Link { word, to } => push_word(offset(word), offset(to)),
            Entry::Line { line, mask, words } => {
                push(line.get() << 8 | u64::from(mask));
                let count = mask.count_ones() as usize;
                (0..count).for_each(|i| push(words[i % 2].into()));
            }
            Entry::Zero { page, count } => {
                push(page.get() << 8);
                push(count.get() << 8 | 1);
            }
            Entry::Bulk { page, count } => {
                push(page.get() << 8);
                push(count.get() << 8 | 2);
            }
            Entry::Raw(word) => push(word),
        }
    }

    /// Returns the body of a spill, and writes its entries behind the heap.
    fn spill(&mut self, at: SpillPlace, is_right: bool, entries: &[u8]) -> Vec<u8> {
        let checksum = xxh3_64_with_seed(entries, self.epoch) ^ u64::from(!is_right);
        let (offset, len) = match at {
            SpillPlace::Any(offset, len) => (offset, len),
            SpillPlace::Behind(page) => {
                let heap_end = (self.sample.bytes.len() - HEAP).next_multiple_of(PAGE);
                let offset = heap_end + usize::from(page % 8) * PAGE;
                if let Some(place) =
                    self.bytes.get_mut(HEAP + offset..HEAP + offset + entries.len())
                {
                    place.copy_from_slice(entries);
                }
                (offset as u64, entries.len() as u64)
            }
        };
        [offset, len, checksum].map(u64::to_le_bytes).concat()
    }
}

impl<T: Into<u64>> Number<T> {
    fn get(self) -> u64 {
        match self {
            Self::Near(number) => number.into(),
            Self::Any(number) => number,
        }
    }
}
