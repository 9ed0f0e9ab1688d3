//! A sparse bitmap over a heap: one bit for every few bytes.
//!
//! **Owns** bitmaps that find the next clear bit quickly, however many set bits precede it, so
//! ranges that overlap repeatedly are not scanned repeatedly. **Must not know** what the bits
//! stand for.

/// Bits in a part: three levels of 64-bit words, so the single top word shows whether a part is
/// full.
const PART_BITS: u64 = 64 * 64 * 64;

/// A bitmap, initially clear; allocates memory only for parts that have a set bit.
pub(super) struct Bitmap {
    bytes_per_bit: u64,
    parts: Vec<Option<Box<Bits>>>,
    /// Parts whose bits are all set.
    full: Bits,
}

impl Bitmap {
    /// Returns a bitmap for a heap of `heap_bytes`, with one bit per `bytes_per_bit`.
    pub(super) fn new(heap_bytes: u64, bytes_per_bit: u64) -> Self {
        let parts = heap_bytes.div_ceil(bytes_per_bit).div_ceil(PART_BITS) as usize;
        Self { bytes_per_bit, parts: vec![None; parts], full: Bits::new(parts) }
    }

    /// Sets every bit that covers a byte of `[start, end)`.
    pub(super) fn set(&mut self, start: u64, end: u64) {
        for bit in start / self.bytes_per_bit..end.div_ceil(self.bytes_per_bit) {
            let (part, bit) = ((bit / PART_BITS) as usize, (bit % PART_BITS) as usize);
            // The last part may end past the heap; beyond it there is nothing to set.
            let Some(bits) = self.parts.get_mut(part) else { return };
            let bits = bits.get_or_insert_with(|| Box::new(Bits::new(PART_BITS as usize)));
            bits.set(bit);
            if bits.are_all_set() {
                self.full.set(part);
            }
        }
    }

    /// Returns whether the bit of this byte is set.
    pub(super) fn is_set(&self, offset: u64) -> bool {
        self.next_clear(offset) > offset
    }

    /// Returns the first byte at or after `offset` whose bit is clear. The result lies past the
    /// end of the heap if all bits up to the end are set.
    pub(super) fn next_clear(&self, offset: u64) -> u64 {
        let mut bit = offset / self.bytes_per_bit;
        while let Some(Some(bits)) = self.parts.get((bit / PART_BITS) as usize) {
            let part = bit / PART_BITS;
            if let Some(clear) = bits.next_clear((bit % PART_BITS) as usize) {
                bit = part * PART_BITS + clear as u64;
                break;
            }
            let past_all = self.parts.len();
            bit = self.full.next_clear(part as usize + 1).unwrap_or(past_all) as u64 * PART_BITS;
        }
        offset.max(bit.saturating_mul(self.bytes_per_bit))
    }
}

/// Bits, with summary levels that say which words are full.
#[derive(Clone)]
struct Bits {
    /// Level 0 holds the bits. Bit `i` of each higher level says that word `i` of the level below
    /// is full. The last level is one word.
    levels: Vec<Vec<u64>>,
}

impl Bits {
    fn new(len: usize) -> Self {
        let mut levels = vec![vec![0; len.div_ceil(64).max(1)]];
        while let Some(words) = levels.last().map(Vec::len).filter(|words| *words > 1) {
            levels.push(vec![0; words.div_ceil(64)]);
        }
        Self { levels }
    }

    fn set(&mut self, mut index: usize) {
        for level in &mut self.levels {
            let Some(word) = level.get_mut(index / 64) else { return };
            *word |= 1 << (index % 64);
            if *word != u64::MAX {
                return;
            }
            index /= 64;
        }
    }

    fn are_all_set(&self) -> bool {
        self.levels.last().is_some_and(|words| words.iter().all(|word| *word == u64::MAX))
    }

    /// Returns the first clear bit at or after `index`, or `None`. Bits of the last word past the
    /// length are clear.
    fn next_clear(&self, mut index: usize) -> Option<usize> {
        let mut level = 0;
        loop {
            let word = self.levels.get(level)?.get(index / 64)?;
            let clear = !word & (u64::MAX << (index % 64));
            if clear != 0 {
                index = index / 64 * 64 + clear.trailing_zeros() as usize;
                break;
            }
            index = index / 64 + 1;
            level += 1;
        }
        for words in self.levels[..level].iter().rev() {
            index = index * 64 + words.get(index)?.trailing_ones() as usize;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_clear_bit_is_found_behind_any_number_of_set_ones() {
        let mut bits = Bits::new(5000);
        for set in 0..5000 {
            assert_eq!(bits.next_clear(0), Some(set));
            assert_eq!(bits.next_clear(set / 2), Some(set));
            bits.set(set);
        }
        assert_eq!(bits.next_clear(4999), Some(5000));
        let mut holes = Bits::new(300_000);
        (0..300_000)
            .filter(|bit| ![70, 4095, 200_000].contains(bit))
            .for_each(|bit| holes.set(bit));
        let found = [0, 70, 71, 4096, 200_001].map(|from| holes.next_clear(from));
        assert_eq!(found, [70, 70, 4095, 200_000, 300_000].map(Some));
    }

    #[test]
    fn marks_go_on_from_part_to_part() {
        let heap_bytes = 5 * 8 * PART_BITS;
        let mut bitmap = Bitmap::new(heap_bytes, 8);
        assert!(!bitmap.is_set(0) && bitmap.next_clear(17) == 17);
        bitmap.set(8 * 10, 8 * 3 * PART_BITS + 8);
        assert_eq!(bitmap.next_clear(8 * 9), 8 * 9);
        assert!(bitmap.is_set(8 * 10) && bitmap.is_set(8 * PART_BITS));
        assert_eq!(bitmap.next_clear(8 * 10), 8 * 3 * PART_BITS + 8);
        bitmap.set(0, heap_bytes);
        assert!(bitmap.next_clear(0) >= heap_bytes);
        // Bytes past the end of the heap have no bit.
        bitmap.set(heap_bytes, u64::MAX);
        assert_eq!(bitmap.next_clear(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_range_marks_each_bit_that_it_touches() {
        let mut bitmap = Bitmap::new(4096, 16);
        bitmap.set(24, 40);
        let set = (0..6).map(|bit| bitmap.is_set(16 * bit));
        assert!(set.eq([false, true, true, false, false, false]));
    }
}
