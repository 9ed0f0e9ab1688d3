//! Creates objects in the heap directly, for values too large for the stack.

use crate::error::{Error, ErrorKind, Result};
use crate::persist::{ElementRef, Link, Persist, Pointee};

use super::write::WriteTx;

impl WriteTx<'_> {
    /// Allocates an object of zero bytes. The object is created in the heap, so it may be larger
    /// than the stack. Unoptimised builds put the value of `alloc(T::default())` on the stack
    /// first.
    ///
    /// ```
    /// use flagstone::{Store, persist};
    ///
    /// #[persist]
    /// struct Grid { cells: [[f32; 1024]; 1024] }
    ///
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let grid = tx.alloc_zeroed::<Grid>()?;
    /// tx.at_mut(grid)?.cells[3][4] = 0.5;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`alloc`](Self::alloc); and [`ErrorKind::ZerosInvalid`] if all zeros is not a valid
    /// value of the type, such as an enum without a variant 0. Nothing is allocated then.
    pub fn alloc_zeroed<T: Persist>(&mut self) -> Result<Link<T>> {
        let offset = self.alloc_zeros(&ElementRef::of::<T>(), None)?;
        self.valid_zeros(Link::from_parts(offset, 1))
    }

    /// Allocates an array of `count` elements of zero bytes.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let counts = tx.alloc_slice_zeroed::<u64>(1_000_000)?;
    /// tx.at_mut(counts)?[7] += 1;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`alloc_zeroed`](Self::alloc_zeroed).
    pub fn alloc_slice_zeroed<T: Persist>(&mut self, count: u64) -> Result<Link<[T]>> {
        let offset = self.alloc_zeros(&ElementRef::of::<T>(), Some(count))?;
        self.valid_zeros(Link::from_parts(offset, count))
    }

    /// Allocates an object of zeros, then lets `fill` change it in the heap: for objects larger
    /// than the stack, as with [`alloc_zeroed`](Self::alloc_zeroed).
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = flagstone::Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let squares = tx.alloc_with(|squares: &mut [u64; 100_000]| {
    ///     for (index, square) in (0..).zip(squares) {
    ///         *square = index * index;
    ///     }
    /// })?;
    /// assert_eq!(tx.at(squares)?[300], 90_000);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`alloc_zeroed`](Self::alloc_zeroed), and [`ErrorKind::OwnedNotLive`].
    pub fn alloc_with<T: Persist>(&mut self, fill: impl FnOnce(&mut T)) -> Result<Link<T>> {
        let link = self.alloc_zeroed::<T>()?;
        fill(self.at_mut(link)?);
        self.expect_owned_at(link)?;
        Ok(link)
    }

    /// Returns the link if the fresh zeros are a valid value; frees the allocation otherwise.
    fn valid_zeros<P: Pointee + ?Sized>(&mut self, link: Link<P>) -> Result<Link<P>> {
        let Err(error) = self.at(link).map(|_| ()) else { return Ok(link) };
        self.free(link)?;
        Err(match error.kind() {
            ErrorKind::InvalidBits { type_name, .. } => zeros_invalid(type_name),
            _ => error,
        })
    }
}

#[cold]
fn zeros_invalid(type_name: &str) -> Error {
    ErrorKind::ZerosInvalid { type_name: type_name.to_string() }.into()
}
