//! Checks ranges of elements that a caller asks for.

use std::ops::Range;

use crate::error::{ErrorKind, Result};

/// Fails if a range does not lie within `len` elements of a type.
pub(crate) fn expect_range(
    type_name: impl FnOnce() -> String,
    Range { start, end }: Range<u64>,
    len: u64,
) -> Result<()> {
    if start > end {
        return Err(ErrorKind::RangeReversed { type_name: type_name(), start, end, len }.into());
    }
    if end > len {
        let (type_name, limit) = (type_name(), len.saturating_add(1));
        return Err(ErrorKind::IndexOutOfRange { type_name, index: end, limit, len }.into());
    }
    Ok(())
}
