//! Links to a field of a struct.

use std::fmt;
use std::marker::PhantomData;

use super::{Link, Persist};

/// A field of `S` with type `F`, made by [`field!`](crate::field).
pub struct FieldOf<S, F> {
    offset_bytes: u64,
    types: PhantomData<fn(&S) -> &F>,
}

impl<S, F> FieldOf<S, F> {
    /// Makes the expansion of `field!`. The function argument fixes the types.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(offset_bytes: usize, _types: fn(&S) -> &F) -> Self {
        Self { offset_bytes: offset_bytes as u64, types: PhantomData }
    }
}

impl<S, F> Clone for FieldOf<S, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, F> Copy for FieldOf<S, F> {}

impl<S, F> fmt::Debug for FieldOf<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldOf({} bytes)", self.offset_bytes)
    }
}

impl<S: Persist> Link<S> {
    /// Returns the link to a field of the target; null stays null.
    ///
    /// ```
    /// use flagstone::{Store, field, persist};
    ///
    /// #[persist]
    /// struct Point { x: u64, y: u64 }
    ///
    /// # fn main() -> Result<(), flagstone::Error> {
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let point = tx.alloc(Point { x: 1, y: 2 })?;
    /// assert_eq!(tx.read(point.field(field!(Point, y)))?, 2);
    /// # Ok(()) }
    /// ```
    #[inline]
    pub fn field<F: Persist>(self, field: FieldOf<S, F>) -> Link<F> {
        if self.is_null() {
            return Link::null();
        }
        Link::from_parts(self.offset().saturating_add(field.offset_bytes), 1)
    }
}

/// Names a field of a persisted struct, for [`Link::field`]:
/// `user.field(field!(User, numbers))`.
#[macro_export]
macro_rules! field {
    ($type:ty, $field:tt) => {
        $crate::FieldOf::<$type, _>::new(
            $crate::persist::derived::offset_of!($type, $field),
            |__flagstone_value: &$type| &__flagstone_value.$field,
        )
    };
}
