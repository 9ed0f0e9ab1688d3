//! Makes the checksums of a file right for what it says, whatever that is: else damage
//! would be found by the first checksum that is looked at, and nothing behind it
//! would be reached. FORMAT.md says where everything lies.

use std::collections::BTreeSet;

use testkit::forge;

const PAGE: usize = 4096;

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
            pages.iter().for_each(|page| forge::reseal_page(bytes, *page));
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
