//! UTF-8 text: short ones inline, long ones in the heap.

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::Link;
use crate::store::WriteTx;

use super::Bytes;

/// Text of any length, as `Box<str>`: up to 23 bytes lie in the struct itself,
/// more in an allocation that it owns.
///
/// It does not change in place; [`Link::<Text>::set`](Link::set) replaces it.
///
/// ```
/// # fn main() -> Result<(), flagstone::Error> {
/// use flagstone::{Store, Text};
///
/// let store = Store::in_memory()?;
/// let mut tx = store.write()?;
/// let text = Text::new(&mut tx, "Grüße")?;
/// assert_eq!(text.as_str(&tx)?, "Grüße");
/// # Ok(()) }
/// ```
#[crate::persist(name = "flagstone::Text", crate = crate)]
#[derive(Debug, Default)]
pub struct Text {
    bytes: Bytes,
}

impl Text {
    /// No text.
    #[must_use]
    pub const fn empty() -> Self {
        Self { bytes: Bytes::empty() }
    }

    /// A copy of `text`; in the heap if it has more than 23 bytes.
    ///
    /// # Errors
    ///
    /// The file cannot grow.
    pub fn new(tx: &mut WriteTx<'_>, text: &str) -> Result<Self> {
        Ok(Self { bytes: Bytes::new(tx, text.as_bytes())? })
    }

    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// The struct is damaged.
    pub fn len(&self) -> Result<u64> {
        self.bytes.len()
    }

    /// Whether there is no text.
    ///
    /// # Errors
    ///
    /// The struct is damaged.
    pub fn is_empty(&self) -> Result<bool> {
        self.bytes.is_empty()
    }

    /// The bytes, where they lie; they are not tested for UTF-8.
    ///
    /// # Errors
    ///
    /// The struct is damaged.
    #[inline]
    pub fn as_bytes<'a>(&'a self, tx: &'a Image) -> Result<&'a [u8]> {
        self.bytes.as_bytes(tx)
    }

    /// The text, where it lies. Tests that it is UTF-8, at the speed of reading.
    ///
    /// # Errors
    ///
    /// The struct is damaged, or the bytes are not UTF-8.
    #[inline]
    pub fn as_str<'a>(&'a self, tx: &'a Image) -> Result<&'a str> {
        let bytes = self.as_bytes(tx)?;
        std::str::from_utf8(bytes)
            .map_err(|error| ErrorKind::corrupt("flagstone::Text", 0, "UTF-8", error))
    }
}

impl Link<Text> {
    /// Replaces the text, and frees the old one.
    ///
    /// # Errors
    ///
    /// The struct is damaged, or the file cannot grow.
    pub fn set(self, tx: &mut WriteTx<'_>, text: &str) -> Result<()> {
        let old = tx.value(self)?;
        let new = Text::new(tx, text)?;
        tx.put(self, new)?;
        tx.release(old)
    }
}
