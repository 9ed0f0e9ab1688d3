//! Makes the checksums of a file right for what it says, whatever that is: else damage
//! would be found by the first checksum that is looked at, and nothing behind it
//! would be reached. FORMAT.md says where everything lies.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use testkit::forge;

const PAGE: usize = 4096;
const HEAP: usize = 4 * PAGE;
/// Pages of a segment, and where its chunk has their sums.
const SEGMENT: usize = 512;
const SUMS: usize = 8 * PAGE;
const DIRECTORY: usize = 656;

/// What is made right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repair {
    pub superblocks: bool,
    pub records: bool,
    pub sums: bool,
}

impl Repair {
    /// One bit for each kind.
    pub fn from_bits(bits: u8) -> Self {
        Self { superblocks: bits & 1 != 0, records: bits & 2 != 0, sums: bits & 4 != 0 }
    }

    /// Whether nothing was made right: then checksums tell damage.
    pub fn is_none(self) -> bool {
        !(self.superblocks || self.records || self.sums)
    }

    /// Repairs a file of which `pages` of the heap were changed.
    pub fn run(self, bytes: &mut [u8], pages: &BTreeSet<usize>) {
        if self.sums {
            pages.iter().for_each(|page| repair_sum(bytes, *page));
        }
        if self.superblocks && bytes.len() >= 2 * PAGE {
            forge::superblocks(bytes, |_| ());
        }
        if self.records && bytes.len() >= 2 * PAGE {
            let records = forge::records(bytes);
            forge::reseal(bytes, &records);
        }
    }
}

fn small_number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(number.try_into().ok()?) as usize)
}

/// Where the sum of a page of the heap lies in the file.
fn sum_place(bytes: &[u8], page: usize) -> Option<usize> {
    let segment = page / SEGMENT;
    let directory = small_number(bytes, HEAP + DIRECTORY + 4 * (segment / 1024))?;
    let chunk = small_number(bytes, HEAP + directory * PAGE + 4 * (segment % 1024))?;
    let place = HEAP + chunk * PAGE + SUMS + 8 * (page % SEGMENT);
    (chunk != 0 && place + 8 <= bytes.len()).then_some(place)
}

/// The sum of a page's lines.
pub fn sum_of(page: usize, content: &[u8]) -> u64 {
    let line_sum = |(i, line): (usize, &[u8])| match line == [0; 64] {
        true => 0,
        false => xxh3_64_with_seed(line, (page * 64 + i) as u64),
    };
    content.chunks(64).enumerate().map(line_sum).fold(0, u64::wrapping_add)
}

/// Pages without a sum have 0 there, and keep it.
fn repair_sum(bytes: &mut [u8], page: usize) {
    let Some(place) = sum_place(bytes, page) else { return };
    if forge::number(bytes, place) == 0 {
        return;
    }
    let Some(content) = bytes.get(HEAP + page * PAGE..HEAP + (page + 1) * PAGE) else { return };
    let sum = sum_of(page, content);
    forge::set_number(bytes, place, sum);
}
