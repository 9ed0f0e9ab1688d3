//! Byte strings: short ones inline, long ones in the heap.

use std::ops::Range;

use crate::error::{ErrorKind, Result};
use crate::format::collections::bytes::{IN_HEAP, LEN, MAX_INLINE, OFFSET, SIZE_BYTES, TAG};
use crate::image::Image;
use crate::persist::{Blocks, Link, Owned, bytes_of};
use crate::store::WriteTx;

/// A byte string of any length, like `Box<[u8]>`: up to 23 bytes lie in the struct
/// itself, more in an allocation that it owns.
///
/// It has no spare capacity: changing its length takes time in proportion to its
/// length. Collect bytes in memory, or in a [`Vec<u8>`](super::Vec).
///
/// # What std has that this lacks
///
/// - Everything that only reads: call it on [`as_bytes`](Self::as_bytes).
///   Everything that keeps the length (`reverse`, `sort`, `fill`,
///   `copy_from_slice`): call it on [`as_mut_bytes`](Link::as_mut_bytes).
/// - Everything that changes the length, except `extend_from_slice` and `clear`:
///   call it in [`change`](Link::change).
/// - `==`, `Hash`, indexing: they cannot take the transaction. `Clone` is
///   [`duplicate`](Link::duplicate).
/// - `capacity`, `reserve`: there is no spare capacity.
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
#[derive(Debug)]
pub struct Bytes {
    /// The bytes, as words to keep the link among them aligned.
    words: [u64; 3],
}

crate::persist::persist_own!(
    Bytes as "flagstone::Bytes" { words }
    owner Bytes::own,
    shape crate::persist::Shape::Bytes
);

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Bytes>() == SIZE_BYTES && align_of::<Bytes>() == 8);

/// Where the bytes lie, as the struct says.
enum Place {
    Inline(usize),
    Heap { offset: u64, len: u64 },
}

impl Default for Bytes {
    fn default() -> Self {
        Self::empty()
    }
}

impl Bytes {
    /// Returns an empty byte string.
    pub const fn empty() -> Self {
        Self { words: [0; 3] }
    }

    /// Stores a copy of `bytes`, in the heap if there are more than 23.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn new(tx: &mut WriteTx<'_>, bytes: &[u8]) -> Result<Self> {
        let mut raw = [0; SIZE_BYTES];
        if let Some(inline) = raw[..MAX_INLINE].get_mut(..bytes.len()) {
            inline.copy_from_slice(bytes);
            raw[TAG] = bytes.len() as u8;
            return Ok(Self::of(raw));
        }
        let len = bytes.len() as u64;
        let blocks: Blocks<u8> = tx.alloc_blocks(len)?;
        let region = tx.region_of(blocks)?;
        tx.bytes_in_mut(region, 0, len)?.copy_from_slice(bytes);
        raw[OFFSET].copy_from_slice(&blocks.offset().to_le_bytes());
        raw[LEN].copy_from_slice(&len.to_le_bytes());
        raw[TAG] = IN_HEAP;
        Ok(Self::of(raw))
    }

    fn of(raw: [u8; SIZE_BYTES]) -> Self {
        let word = |at: usize| raw[8 * at..8 * at + 8].try_into().map_or(0, u64::from_ne_bytes);
        Self { words: [word(0), word(1), word(2)] }
    }

    #[inline]
    fn place(raw: &[u8]) -> Option<Place> {
        let tag = *raw.get(TAG)?;
        if tag == IN_HEAP {
            let word = |range: Range<usize>| raw[range].try_into().map(u64::from_le_bytes);
            return Some(Place::Heap { offset: word(OFFSET).ok()?, len: word(LEN).ok()? });
        }
        let len = usize::from(tag);
        (len <= MAX_INLINE).then_some(Place::Inline(len))
    }

    /// Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged.
    pub fn len(&self) -> Result<u64> {
        match Self::place(bytes_of(&self.words)) {
            Some(Place::Inline(len)) => Ok(len as u64),
            Some(Place::Heap { len, .. }) => Ok(len),
            None => Err(self.damaged()),
        }
    }

    /// Returns the number of bytes that lie in a separate allocation.
    pub(super) fn heap_bytes(&self) -> u64 {
        match Self::place(bytes_of(&self.words)) {
            Some(Place::Heap { len, .. }) => len,
            _ => 0,
        }
    }

    /// Returns whether there are no bytes.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Returns the bytes in place.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged.
    #[inline]
    pub fn as_bytes<'a>(&'a self, tx: &'a Image) -> Result<&'a [u8]> {
        match Self::place(bytes_of(&self.words)) {
            Some(Place::Inline(len)) => Ok(&bytes_of(&self.words)[..len]),
            Some(Place::Heap { offset, len }) => tx.at(Link::<[u8]>::from_parts(offset, len)),
            None => Err(self.damaged()),
        }
    }

    #[cold]
    fn damaged(&self) -> crate::error::Error {
        let expected = "a length of at most 23, or 255 for bytes in the heap";
        ErrorKind::corrupt("flagstone::Bytes (byte 23)", 0, expected, bytes_of(&self.words)[TAG])
    }

    #[inline]
    fn own(bytes: &[u8], owned: &mut Owned) {
        if let Some(Place::Heap { offset, len }) = Self::place(bytes) {
            owned.array(Blocks::<u8>::new(offset, len), 0);
        }
    }
}

impl Link<Bytes> {
    fn header(self, tx: &WriteTx<'_>) -> Result<Bytes> {
        if self.is_null() {
            return tx.at(self).map(|_| Bytes::empty());
        }
        tx.value(self)
    }

    /// Replaces the bytes, and frees the old ones.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged or the file cannot grow.
    pub fn set(self, tx: &mut WriteTx<'_>, bytes: &[u8]) -> Result<()> {
        let old = self.replace(tx, bytes)?;
        tx.release(old)
    }

    /// Replaces the bytes, and returns the old ones to the caller, who then owns them.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub fn replace(self, tx: &mut WriteTx<'_>, bytes: &[u8]) -> Result<Bytes> {
        let old = self.header(tx)?;
        let new = Bytes::new(tx, bytes)?;
        tx.put_header(self, new)?;
        Ok(old)
    }

    /// Frees the bytes, and leaves an empty byte string.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.set(tx, &[])
    }

    /// Applies `change` to a copy in memory, which then replaces the bytes. This offers
    /// everything that `std`'s vector of bytes can do.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub fn change<R>(
        self,
        tx: &mut WriteTx<'_>,
        change: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R> {
        let mut bytes = self.header(tx)?.as_bytes(tx)?.to_vec();
        let answer = change(&mut bytes);
        self.set(tx, &bytes)?;
        Ok(answer)
    }

    /// Appends bytes. Takes time in proportion to the whole length.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub fn extend_from_slice(self, tx: &mut WriteTx<'_>, bytes: &[u8]) -> Result<()> {
        self.change(tx, |all| all.extend_from_slice(bytes))
    }

    /// Returns the bytes for modification in place.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged.
    pub fn as_mut_bytes<'a>(self, tx: &'a mut WriteTx<'_>) -> Result<&'a mut [u8]> {
        let header = self.header(tx)?;
        match Bytes::place(bytes_of(&header.words)) {
            Some(Place::Inline(len)) => {
                tx.at_mut(Link::<[u8]>::from_parts(self.offset(), len as u64))
            }
            Some(Place::Heap { offset, len }) => {
                let region = tx.region_of(Blocks::<u8>::new(offset, len))?;
                tx.bytes_in_mut(region, 0, len)
            }
            None => Err(header.damaged()),
        }
    }

    /// Returns a copy with its own allocation, like `clone` in `std`.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub fn duplicate(self, tx: &mut WriteTx<'_>) -> Result<Bytes> {
        let bytes = self.header(tx)?.as_bytes(tx)?.to_vec();
        Bytes::new(tx, &bytes)
    }
}
