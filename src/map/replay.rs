//! What records are applied with: copies in and out, and no reference.
//!
//! While records are applied to an image, its pages may still be the file's, and a checkpoint, of
//! this process or another one, may be writing just those. The first store to a page makes it the
//! image's own; what a page shows before that is overwritten by the records, or has been looked
//! at as bytes that may change (M4).

use super::private::{AccessError, PrivateMap};
use crate::format::PAGE_BYTES;

/// Words of a line.
const WORDS: usize = 8;

impl PrivateMap {
    /// Whether bytes may be borrowed once all records were applied.
    pub(crate) fn expect(&self, offset: u64, bytes: u64) -> Result<(), AccessError> {
        self.address::<u8>(offset, bytes).map(drop)
    }

    /// Stores the next of `words` for each bit of `mask` in the line at `offset`.
    #[inline]
    pub(crate) fn store_words(
        &mut self,
        offset: u64,
        mask: u8,
        words: &[[u8; WORDS]],
    ) -> Result<(), AccessError> {
        let line = self.address::<[u8; WORDS]>(offset, WORDS as u64)?;
        let mut rest = mask;
        for word in words {
            let place = line.wrapping_add(rest.trailing_zeros() as usize % WORDS);
            // SAFETY: `address` proved that the line is in the view, and the index is below 8;
            // `&mut self` that no reference is alive (M3). Words have no alignment, no bad
            // values and no drop.
            unsafe { place.write(*word) };
            rest &= rest.wrapping_sub(1);
        }
        Ok(())
    }

    /// Copies bytes into the map.
    pub(crate) fn store_bytes(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let place = self.address::<u8>(offset, bytes.len() as u64)?;
        // SAFETY: as in `store_words`; `bytes` are borrowed, and nothing in the map is (M3), so
        // the two do not overlap.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// A copy of bytes that may be changing: any mixture of what they are and will be.
    pub(crate) fn peek<const N: usize>(&self, offset: u64) -> Result<[u8; N], AccessError> {
        let place = self.address::<[u8; N]>(offset, 1)?;
        // SAFETY: `address` proved the bounds, below which all is initialised (M1, M2), and no
        // exclusive reference is alive (M3). Whoever changes the bytes does so through the file,
        // in the kernel: a volatile read, of bytes that may have any value, is what there is for
        // that.
        Ok(unsafe { place.read_volatile() })
    }

    /// Whether a page shows nothing but zeros.
    pub(crate) fn is_zero_page(&self, page: u64) -> Result<bool, AccessError> {
        const PIECE: usize = 256;
        for at in (0..PAGE_BYTES).step_by(PIECE) {
            if self.peek::<PIECE>(page.saturating_mul(PAGE_BYTES).saturating_add(at))? != [0; PIECE]
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
