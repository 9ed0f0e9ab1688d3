//! Memory access for applying records: copies in and out, never a reference.
//!
//! While records are applied to an image, its pages may still be the file's, and a checkpoint of
//! this process or another may be writing these very pages. The first store to a page makes it
//! the image's own. Before that, whatever the page shows either is overwritten by the records or
//! was read as bytes that may change (M4).

use super::private::{AccessError, PrivateMap};
use crate::format::PAGE_BYTES;

/// Words in a line.
const WORDS: usize = 8;

impl PrivateMap {
    /// Checks that the bytes may be borrowed once all records have been applied.
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
            // `&mut self` proves that no reference is alive (M3). Words have no alignment, no
            // invalid values and no drop.
            unsafe { place.write(*word) };
            rest &= rest.wrapping_sub(1);
        }
        Ok(())
    }

    /// Copies bytes into the map.
    pub(crate) fn store_bytes(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let place = self.address::<u8>(offset, bytes.len() as u64)?;
        // SAFETY: as in `store_words`; `bytes` are borrowed, and nothing in the map is (M3), so the
        // two do not overlap.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies bytes that may be changing. The copy can be any mixture of old and new bytes.
    pub(crate) fn peek<const N: usize>(&self, offset: u64) -> Result<[u8; N], AccessError> {
        let place = self.address::<[u8; N]>(offset, 1)?;
        // SAFETY: `address` proved the bounds, below which all is initialised (M1, M2), and no
        // exclusive reference is alive (M3). The bytes change only through the file, in the
        // kernel. A volatile read, of bytes that may have any value, is the tool that the
        // language has for that.
        Ok(unsafe { place.read_volatile() })
    }

    /// Returns whether a page shows nothing but zeros.
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
