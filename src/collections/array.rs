//! Code that vectors and deques share: element offsets, ranges, growth, release.
//!
//! Offsets, lengths and capacities come from the file. Nothing here trusts them:
//! sums saturate, and callers check the result against a region.

use std::ops::{Bound, Range, RangeBounds};

use crate::error::{ErrorKind, Result};
use crate::image::Image;
use crate::persist::{Owned, Persist, expect_range};
use crate::store::WriteTx;

/// Capacity of the first allocation, in elements.
const FEWEST: u64 = 4;

/// Returns the capacity to grow to for `needed` elements: at least twice the old
/// one, so that each element moves an amortised constant number of times.
pub(super) fn grown(capacity: u64, needed: u64) -> u64 {
    needed.max(capacity.saturating_mul(2)).max(FEWEST)
}

/// Returns the offset of element `index`.
#[inline]
pub(super) const fn at<T>(index: u64) -> u64 {
    index.saturating_mul(size_of::<T>() as u64)
}

/// Returns an error if the header's numbers contradict each other.
#[inline]
pub(super) fn expect_header(
    what: &'static str,
    [offset, len, capacity]: [u64; 3],
    is_placed: bool,
) -> Result<()> {
    if len <= capacity && (capacity == 0) == (offset == 0) && is_placed {
        return Ok(());
    }
    Err(damaged(what, offset, len, capacity))
}

#[cold]
fn damaged(what: &'static str, offset: u64, len: u64, capacity: u64) -> crate::error::Error {
    let found = format!("{len} elements in an allocation for {capacity}");
    ErrorKind::corrupt(what, offset, "elements within the capacity", found)
}

/// Returns the range as numbers, or an error if it is not within `len` elements.
pub(super) fn within<C: Persist>(range: impl RangeBounds<u64>, len: u64) -> Result<Range<u64>> {
    let start = match range.start_bound() {
        Bound::Included(start) => Some(*start),
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.checked_add(1),
        Bound::Excluded(end) => Some(*end),
        Bound::Unbounded => Some(len),
    };
    let range = start.unwrap_or(u64::MAX)..end.unwrap_or(u64::MAX);
    expect_range(C::type_name, range.clone(), len)?;
    Ok(range)
}

/// Builds the error for an index of collection `C` that is not below `limit`.
#[cold]
pub(super) fn out_of_range<C: Persist>(index: u64, limit: u64, len: u64) -> crate::error::Error {
    ErrorKind::IndexOutOfRange { type_name: C::type_name(), index, limit, len }.into()
}

/// Releases everything that the element at `offset` owns, and leaves its bytes as
/// they are.
pub(super) fn release_element<T: Persist>(tx: &mut WriteTx<'_>, offset: u64) -> Result<()> {
    let mut owned = Owned::default();
    T::owned(tx.bytes("element of a collection", offset, at::<T>(1))?, &mut owned);
    tx.release_all(owned)
}

/// Returns the result of `test` for each element. Asks about all of them before
/// anything changes, so a panic or an error of `test` changes nothing.
pub(super) fn answers<'a, T: 'a>(
    tx: &'a Image,
    elements: impl Iterator<Item = &'a T>,
    mut test: impl FnMut(&Image, &T) -> Result<bool>,
) -> Result<std::vec::Vec<bool>> {
    elements.map(|element| test(tx, element)).collect()
}

/// Returns the stable order that sorts `keys`: for each position in the result, the
/// index that the element comes from.
pub(super) fn sorted_order<K: Ord>(keys: &[K]) -> std::vec::Vec<u64> {
    let mut order: std::vec::Vec<u64> = (0..keys.len() as u64).collect();
    order.sort_by(|a, b| keys[*a as usize].cmp(&keys[*b as usize]));
    order
}

/// Binary search among `len` sorted elements; `compare` gets the index of one of
/// them.
pub(super) fn search(
    len: u64,
    mut compare: impl FnMut(u64) -> Result<std::cmp::Ordering>,
) -> Result<std::result::Result<u64, u64>> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(middle)? {
            std::cmp::Ordering::Equal => return Ok(Ok(middle)),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(Err(low))
}
