//! Releases everything that a value owns, to any depth.

use std::collections::HashSet;

use crate::error::{ErrorKind, Result};
use crate::persist::{Block, Link, Owned, Persist, Piece, bytes_of};

use super::write::WriteTx;

/// Bytes of an allocation that are scanned at a time, which keeps the list of found pieces short.
const SCAN_BYTES: u64 = 1 << 16;

impl WriteTx<'_> {
    /// Frees everything owned by a value that a collection gave up: the result of `remove`, `pop`
    /// or `replace`.
    ///
    /// A value that owns nothing needs no release. Takes time in proportion to the memory that it
    /// frees, and does not recurse, so any depth is fine.
    ///
    /// # Errors
    ///
    /// The value, or something that it owns, is damaged or was freed before. Roll the transaction
    /// back then.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// use flagstone::{Store, Text, collections::Vec};
    ///
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let names = tx.alloc(Vec::<Text>::new())?;
    /// let name = Text::new(&mut tx, "a name that is too long to lie inline")?;
    /// names.push(&mut tx, name)?;
    /// if let Some(name) = names.pop(&mut tx)? {
    ///     tx.release(name)?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn release<T: Persist>(&mut self, value: T) -> Result<()> {
        if !T::OWNS {
            return Ok(());
        }
        let mut owned = Owned::default();
        T::owned(bytes_of(&value), &mut owned);
        self.release_all(owned)
    }

    /// Frees everything that the target of `link` owns, then the target itself, which must be one
    /// whole allocation. In contrast, [`free`](Self::free) keeps what the target owns.
    ///
    /// # Errors
    ///
    /// As for [`release`](Self::release) and [`free`](Self::free).
    pub fn free_deep<T: Persist>(&mut self, link: Link<T>) -> Result<()> {
        if link.is_null() {
            return Err(ErrorKind::LinkNull { type_name: T::type_name() }.into());
        }
        let mut owned = Owned::default();
        owned.block(Block::<T>::new(link.offset(), 1));
        self.release_all(owned)
    }

    pub(crate) fn release_all(&mut self, mut owned: Owned) -> Result<()> {
        // Allocations that are scanned in parts, and freed after the last part. Finding one here
        // again means that it owns itself; without this check the loop would never end.
        let mut begun = HashSet::new();
        while let Some(mut piece) = owned.pop() {
            let request = self.request_for(&piece.element, piece.count)?;
            self.expect_whole(piece.element.name, piece.offset, &request)?;
            if !piece.is_begun && begun.contains(&piece.offset) {
                return Err(owns_itself(&piece));
            }
            let used_bytes = piece.used_bytes.min(request.len_bytes()?);
            let part_bytes = used_bytes.min(part_bytes(piece.element.size_bytes));
            let (look, from) = (piece.look, used_bytes - part_bytes);
            let part = piece.offset.saturating_add(from);
            if from == 0 {
                begun.remove(&piece.offset);
                look(self.bytes("owned values", part, part_bytes)?, &mut owned);
                self.free_validated(piece.offset, &request)?;
                continue;
            }
            piece.used_bytes = from;
            piece.is_begun = true;
            begun.insert(piece.offset);
            owned.push(piece);
            look(self.bytes("owned values", part, part_bytes)?, &mut owned);
        }
        Ok(())
    }
}

/// Returns the bytes to scan at a time: a whole number of elements.
fn part_bytes(size_bytes: u64) -> u64 {
    (SCAN_BYTES / size_bytes.max(1)).max(1) * size_bytes
}

#[cold]
fn owns_itself(piece: &Piece) -> crate::error::Error {
    let expected = format!("an allocation of {} with one owner", (piece.element.name)());
    ErrorKind::corrupt("owned allocation", piece.offset, expected, "one that owns itself")
}
