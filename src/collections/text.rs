//! UTF-8 texts: short ones inline, long ones in the heap.

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Link, own_field};
use crate::store::WriteTx;

use super::Bytes;

/// Text of any length, like `Box<str>`: up to 23 bytes lie in the struct itself,
/// more in an allocation that it owns.
///
/// It has no spare capacity: changing it takes time in proportion to its length.
/// Build a text in memory and store it whole.
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
///
/// # What std has that this lacks
///
/// - Everything that only reads a `str` or `String`: call it on
///   [`as_str`](Self::as_str).
/// - Everything that changes a `String`, except `push`, `push_str` and `clear`:
///   call it in [`change`](Link::change).
/// - `==`, `Ord`, `Hash`, `Display`, `+`: they cannot take the transaction. `Clone`
///   is [`duplicate`](Link::duplicate).
/// - `capacity`, `reserve`: there is no spare capacity.
/// - `as_mut_str`, `as_bytes_mut`, `from_utf8_unchecked`: unsafe, or of too little
///   use.
#[must_use = "what it owns is not given back by dropping it: store it, or give it to `WriteTx::release`"]
#[repr(C)]
#[derive(Debug, Default)]
pub struct Text {
    bytes: Bytes,
}

crate::persist::persist_own!(Text as "flagstone::Text" { bytes });

impl Text {
    /// Returns an empty text.
    pub const fn empty() -> Self {
        Self { bytes: Bytes::empty() }
    }

    /// Stores a copy of `text`, in the heap if it has more than 23 bytes.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot grow.
    pub fn new(tx: &mut WriteTx<'_>, text: &str) -> Result<Self> {
        Ok(Self { bytes: Bytes::new(tx, text.as_bytes())? })
    }

    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged.
    pub fn len(&self) -> Result<u64> {
        self.bytes.len()
    }

    /// Returns the number of bytes that lie in a separate allocation.
    pub(super) fn heap_bytes(&self) -> u64 {
        self.bytes.heap_bytes()
    }

    /// Returns whether the text is empty.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged.
    pub fn is_empty(&self) -> Result<bool> {
        self.bytes.is_empty()
    }

    /// Returns the bytes in place, without validating that they are UTF-8.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged.
    #[inline]
    pub fn as_bytes<'a>(&'a self, tx: &'a Image) -> Result<&'a [u8]> {
        self.bytes.as_bytes(tx)
    }

    /// Returns the text in place. Validates that it is UTF-8, at the speed of reading.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged or the bytes are not UTF-8.
    #[inline]
    pub fn as_str<'a>(&'a self, tx: &'a Image) -> Result<&'a str> {
        let bytes = self.as_bytes(tx)?;
        std::str::from_utf8(bytes)
            .map_err(|error| ErrorKind::corrupt("flagstone::Text", 0, "UTF-8", error))
    }
}

impl Link<Text> {
    fn bytes(self) -> Link<Bytes> {
        self.field(own_field!(Text, bytes))
    }

    /// Replaces the text, and frees the old one.
    ///
    /// # Errors
    ///
    /// Fails if the struct is damaged or the file cannot grow.
    pub fn set(self, tx: &mut WriteTx<'_>, text: &str) -> Result<()> {
        self.bytes().set(tx, text.as_bytes())
    }

    /// Replaces the text, and returns the old one to the caller, who then owns it.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub fn replace(self, tx: &mut WriteTx<'_>, text: &str) -> Result<Text> {
        Ok(Text { bytes: self.bytes().replace(tx, text.as_bytes())? })
    }

    /// Frees the text, and leaves an empty one.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub fn clear(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.bytes().clear(tx)
    }

    /// Applies `change` to a copy in memory, which then replaces the text. This offers
    /// everything that `std`'s `String` can do.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// use flagstone::{Store, Text};
    ///
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let text = Text::new(&mut tx, "bread")?;
    /// let text = tx.alloc(text)?;
    /// let last = text.change(&mut tx, |text| text.pop())?;
    /// assert_eq!((last, tx.at(text)?.as_str(&tx)?), (Some('d'), "brea"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set); also fails if the bytes are not UTF-8.
    pub fn change<R>(
        self,
        tx: &mut WriteTx<'_>,
        change: impl FnOnce(&mut String) -> R,
    ) -> Result<R> {
        let mut text = tx.at(self)?.as_str(tx)?.to_string();
        let answer = change(&mut text);
        self.set(tx, &text)?;
        Ok(answer)
    }

    /// Appends a character. Takes time in proportion to the whole text.
    ///
    /// # Errors
    ///
    /// Same as [`change`](Self::change).
    pub fn push(self, tx: &mut WriteTx<'_>, character: char) -> Result<()> {
        self.change(tx, |text| text.push(character))
    }

    /// Appends text. Takes time in proportion to the whole text.
    ///
    /// # Errors
    ///
    /// Same as [`change`](Self::change).
    pub fn push_str(self, tx: &mut WriteTx<'_>, more: &str) -> Result<()> {
        self.change(tx, |text| text.push_str(more))
    }

    /// Returns a copy with its own allocation, like `clone` in `std`.
    ///
    /// # Errors
    ///
    /// Same as [`set`](Self::set).
    pub fn duplicate(self, tx: &mut WriteTx<'_>) -> Result<Text> {
        Ok(Text { bytes: self.bytes().duplicate(tx)? })
    }
}
