//! Links to a field of a struct.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::{Link, Persist};

/// A field of `S` with type `F`, made by [`field!`](crate::field).
pub struct FieldOf<S, F> {
    offset_bytes: u64,
    types: PhantomData<fn(&S) -> &F>,
}

impl<S, F> FieldOf<S, F> {
    /// Returns the field at `field` in the value at `base`. The addresses fix the types, since a raw
    /// pointer is not coerced, as a reference is through `Deref`.
    ///
    /// # Safety
    ///
    /// Both addresses are of one live value of type `S`.
    #[doc(hidden)]
    #[must_use]
    pub const unsafe fn between(base: *const S, field: *const F) -> Self {
        // SAFETY: the caller promises that both are of one value.
        let offset_bytes = unsafe { field.cast::<u8>().offset_from(base.cast()) };
        assert!(offset_bytes >= 0, "a field lies in its struct");
        Self { offset_bytes: offset_bytes as u64, types: PhantomData }
    }

    /// Returns a field of one of flagstone's own structs at `offset_bytes`.
    pub(crate) const fn at(offset_bytes: usize, _types: fn(&S) -> &F) -> Self {
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

/// Returns room for a value, which lends its addresses to [`field!`](crate::field).
#[doc(hidden)]
#[must_use]
pub const fn room<S>() -> MaybeUninit<S> {
    MaybeUninit::uninit()
}

/// Names a field of a persisted struct, for [`Link::field`]:
/// `user.field(field!(User, numbers))`.
///
/// It mentions the type once: a type that is a macro call may expand to something else each time.
/// A field of what the struct derefs to is refused, since no `deref` runs while compiling.
#[macro_export]
macro_rules! field {
    ($type:ty, $field:tt) => {
        const {
            let __flagstone_room = $crate::persist::derived::room::<$type>();
            let __flagstone_base = __flagstone_room.as_ptr();
            // SAFETY: both addresses are in `__flagstone_room`, which lives; nothing is read.
            unsafe {
                $crate::FieldOf::between(__flagstone_base, &raw const (*__flagstone_base).$field)
            }
        }
    };
}

/// Names a field of one of flagstone's own structs, whose modules have no `unsafe`.
macro_rules! own_field {
    ($type:ty, $field:ident) => {
        $crate::FieldOf::at(std::mem::offset_of!($type, $field), |value: &$type| &value.$field)
    };
}
pub(crate) use own_field;
