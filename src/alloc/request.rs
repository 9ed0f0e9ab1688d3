//! What an allocation is to hold, and where one of its size goes.

use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::format::heap::{ARRAY_CLASSES, MAX_PAGES, MAX_SLOT_BYTES};

/// The parameters of an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// The type's registry number.
    pub(crate) type_number: u32,
    /// Bytes of one value.
    pub(crate) size_bytes: u64,
    pub(crate) align_bytes: u64,
    /// Elements of an array, or `None` for a single object.
    pub(crate) count: Option<u64>,
}

/// Where an allocation of a given size goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A slab of single objects.
    Object { slot_bytes: u64 },
    /// A slab of small arrays, of this size class.
    Array { class: usize },
    /// A run of pages.
    Run { pages: u64 },
}

impl Request {
    /// Returns the bytes of the value, or of all elements.
    pub(crate) fn len_bytes(&self) -> Result<u64> {
        let count = self.count.unwrap_or(1);
        let len = self.size_bytes.checked_mul(count).filter(|len| len / PAGE_BYTES < MAX_PAGES);
        len.ok_or_else(|| self.too_large())
    }

    #[cold]
    fn too_large(&self) -> crate::error::Error {
        let (count, size_bytes) = (self.count.unwrap_or(1), self.size_bytes);
        ErrorKind::TooLarge { count, size_bytes, why: "a heap holds at most 1 TiB" }.into()
    }

    /// Returns whether the allocation gets its own run of pages.
    pub(crate) fn is_run(&self) -> Result<bool> {
        Ok(matches!(self.place()?, Place::Run { .. }))
    }

    /// Returns where the allocation goes.
    pub(super) fn place(&self) -> Result<Place> {
        let len_bytes = self.len_bytes()?;
        if self.count.is_none() && len_bytes <= MAX_SLOT_BYTES {
            return Ok(Place::Object { slot_bytes: len_bytes.max(16) });
        }
        let fits = |class: &u16| {
            u64::from(*class) >= len_bytes && u64::from(*class).is_multiple_of(self.align_bytes)
        };
        let class = ARRAY_CLASSES.iter().position(fits).filter(|_| self.count.is_some());
        Ok(match class {
            Some(class) => Place::Array { class },
            // An empty array takes a page too, which makes its link non-null.
            None => Place::Run { pages: len_bytes.div_ceil(PAGE_BYTES).max(1) },
        })
    }
}
