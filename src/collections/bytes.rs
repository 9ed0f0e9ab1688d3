//! Strings of bytes: short ones inline, long ones in the heap.

use std::ops::Range;

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Blocks, Link, Owned, bytes_of};
use crate::store::WriteTx;

/// The most bytes that lie inline.
const MOST_INLINE: usize = 23;
/// In place of the length: the bytes lie in the heap.
const IN_HEAP: u8 = 255;
const OFFSET: Range<usize> = 0..8;
const LEN: Range<usize> = 8..16;
const TAG: usize = 23;

/// Bytes of any number, as `Box<[u8]>`: up to 23 of them lie in the struct
/// itself, more in an allocation that it owns.
///
/// It does not change in place; [`Link::<Bytes>::set`](Link::set) replaces it.
#[crate::persist(
    name = "flagstone::Bytes",
    crate = crate,
    owner = Bytes::own,
    shape = crate::persist::Shape::Bytes,
)]
#[derive(Debug)]
pub struct Bytes {
    /// Bytes, in fact; as words they keep a link that is among them aligned.
    words: [u64; 3],
}

const _: () = assert!(size_of::<Bytes>() == 24 && align_of::<Bytes>() == 8);

/// What a `Bytes` says of itself.
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
    /// No bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self { words: [0; 3] }
    }

    /// A copy of `bytes`; in the heap if there are more than 23.
    ///
    /// # Errors
    ///
    /// The file cannot grow.
    pub fn new(tx: &mut WriteTx<'_>, bytes: &[u8]) -> Result<Self> {
        let mut raw = [0; 24];
        if let Some(inline) = raw[..MOST_INLINE].get_mut(..bytes.len()) {
            inline.copy_from_slice(bytes);
            raw[TAG] = bytes.len() as u8;
            return Ok(Self::of(raw));
        }
        let len = bytes.len() as u64;
        let blocks: Blocks<u8> = tx.alloc_blocks(len)?;
        let area = tx.area_of(blocks)?;
        tx.bytes_in_mut(area, 0, len)?.copy_from_slice(bytes);
        raw[OFFSET].copy_from_slice(&blocks.offset().to_le_bytes());
        raw[LEN].copy_from_slice(&len.to_le_bytes());
        raw[TAG] = IN_HEAP;
        Ok(Self::of(raw))
    }

    fn of(raw: [u8; 24]) -> Self {
        let word = |at: usize| raw[8 * at..8 * at + 8].try_into().map_or(0, u64::from_ne_bytes);
        Self { words: [word(0), word(1), word(2)] }
    }

    fn place(raw: &[u8]) -> Option<Place> {
        let tag = *raw.get(TAG)?;
        if tag == IN_HEAP {
            let word = |range: Range<usize>| raw[range].try_into().map(u64::from_le_bytes);
            return Some(Place::Heap { offset: word(OFFSET).ok()?, len: word(LEN).ok()? });
        }
        let len = usize::from(tag);
        (len <= MOST_INLINE).then_some(Place::Inline(len))
    }

    /// Number of bytes.
    ///
    /// # Errors
    ///
    /// The struct is damaged.
    pub fn len(&self) -> Result<u64> {
        match Self::place(bytes_of(&self.words)) {
            Some(Place::Inline(len)) => Ok(len as u64),
            Some(Place::Heap { len, .. }) => Ok(len),
            None => Err(self.damaged()),
        }
    }

    /// Whether there are no bytes.
    ///
    /// # Errors
    ///
    /// The struct is damaged.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The bytes, where they lie.
    ///
    /// # Errors
    ///
    /// The struct is damaged.
    #[inline]
    pub fn as_bytes<'a>(&'a self, tx: &'a Image) -> Result<&'a [u8]> {
        match Self::place(bytes_of(&self.words)) {
            Some(Place::Inline(len)) => Ok(&bytes_of(&self.words)[..len]),
            Some(Place::Heap { offset, len }) => tx.at(Link::<[u8]>::from_parts(offset, len)),
            None => Err(self.damaged()),
        }
    }

    #[cold]
    fn damaged(&self) -> crate::Error {
        let expected = "a length of at most 23, or 255 for bytes in the heap";
        ErrorKind::corrupt("flagstone::Bytes (byte 23)", 0, expected, bytes_of(&self.words)[TAG])
    }

    fn own(bytes: &[u8], owned: &mut Owned) {
        if let Some(Place::Heap { offset, len }) = Self::place(bytes) {
            owned.array(Blocks::<u8>::new(offset, len), 0);
        }
    }
}

impl Link<Bytes> {
    /// Replaces the bytes, and frees the old ones.
    ///
    /// # Errors
    ///
    /// The struct is damaged, or the file cannot grow.
    pub fn set(self, tx: &mut WriteTx<'_>, bytes: &[u8]) -> Result<()> {
        let old = tx.value(self)?;
        let new = Bytes::new(tx, bytes)?;
        tx.put(self, new)?;
        tx.release(old)
    }
}
