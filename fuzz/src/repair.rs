//! Makes the checksums of a file match its content, whatever that is. Otherwise the first checksum
//! would reveal the damage, and the fuzzer would reach no code behind it. FORMAT.md gives the
//! positions.

use std::collections::BTreeSet;

use testkit::forge::{self, PAGE, SLOTS};

/// The end of the second superblock.
const SUPERBLOCKS_END: usize = SLOTS[1] + PAGE;

/// The checksums to repair.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repair {
    pub superblocks: bool,
    pub records: bool,
    pub sums: bool,
}

impl Repair {
    /// Reads one bit for each kind.
    pub fn from_bits(bits: u8) -> Self {
        Self { superblocks: bits & 1 != 0, records: bits & 2 != 0, sums: bits & 4 != 0 }
    }

    /// Returns whether nothing is repaired, so checksums reveal damage.
    pub fn is_none(self) -> bool {
        !(self.superblocks || self.records || self.sums)
    }

    /// Repairs a file in which these pages of the heap were changed.
    pub fn run(self, bytes: &mut [u8], pages: &BTreeSet<usize>) {
        if self.sums {
            pages.iter().for_each(|page| forge::reseal_page(bytes, *page));
        }
        if self.superblocks && bytes.len() >= SUPERBLOCKS_END {
            forge::superblocks(bytes, |_| ());
        }
        if self.records && bytes.len() >= SUPERBLOCKS_END {
            let records = forge::records(bytes);
            forge::reseal(bytes, &records);
        }
    }
}
