//! Checksums of records and superblocks, and the sums of pages.
//!
//! The hash is 64-bit XXH3 (crate `xxhash-rust`; the algorithm is
//! specified at <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>).

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

use super::LINE_BYTES;

/// Returns the unseeded checksum of a superblock or of a text.
pub(crate) fn plain(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Returns the checksum of a record. The epoch is the seed, so records of another epoch never
/// match.
pub(crate) fn of_record(epoch: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, epoch)
}

/// The checksum of a record that arrives in pieces.
pub(crate) struct RecordSum(Xxh3);

impl RecordSum {
    pub(crate) fn new(epoch: u64) -> Self {
        Self(Xxh3::with_seed(epoch))
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns what [`of_record`] returns for all of the bytes.
    pub(crate) fn finish(&self) -> u64 {
        self.0.digest()
    }
}

/// Returns the contribution of one line to its page's sum; `line` counts from the heap's start.
///
/// A zero line adds 0, so the sum of a freshly allocated page is 0 without a pass over it. The
/// line's number is the seed, so swapping two lines changes the sum.
pub(crate) fn of_line(line: u64, bytes: &[u8; LINE_BYTES as usize]) -> u64 {
    if is_zero(bytes) {
        return 0;
    }
    xxh3_64_with_seed(bytes, line)
}

/// Returns the sum of one page: the hashes of its lines, added modulo 2^64.
pub(crate) fn of_page(first_line: u64, page: &[u8]) -> u64 {
    let (lines, _) = page.as_chunks::<{ LINE_BYTES as usize }>();
    (first_line..).zip(lines).fold(0, |sum, (line, bytes)| sum.wrapping_add(of_line(line, bytes)))
}

/// Returns whether all bytes of a line are 0.
pub(crate) fn is_zero(bytes: &[u8; LINE_BYTES as usize]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(0, |any, word| any | u64::from_ne_bytes(*word)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_page_sums_to_zero_and_each_bit_counts() {
        let mut page = vec![0u8; 4096];
        assert_eq!(of_page(7 * 64, &page), 0);
        for bit in 0..page.len() * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of_page(7 * 64, &page), 0, "bit {bit}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_record_in_pieces_has_the_same_sum() {
        let record: Vec<u8> = (0..5000u32).map(|i| (i * 7 % 251) as u8).collect();
        for (len, piece) in [(1, 1), (200, 8), (241, 64), (1024, 100), (5000, 999)] {
            let mut sum = RecordSum::new(9);
            record[..len].chunks(piece).for_each(|piece| sum.add(piece));
            assert_eq!(sum.finish(), of_record(9, &record[..len]), "{len} by {piece}");
        }
    }

    #[test]
    fn a_line_in_another_place_changes_the_sum() {
        let line = [3u8; 64];
        assert_ne!(of_line(1, &line), of_line(2, &line));
    }
}
