//! Ranges of keys: all kinds of bounds, iterated from both ends.

use std::ops::Bound;

use proptest::prelude::*;

use super::kinds::Bounds;

/// Returns a strategy for any range, including some that end before they start.
pub fn bounds<M: Clone + Ord + std::fmt::Debug + 'static>(
    key: BoxedStrategy<M>,
) -> BoxedStrategy<Bounds<M>> {
    let bound = |kind: u8, key| match kind {
        0 => Bound::Included(key),
        1 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    };
    (key.clone(), 0..3u8, key, 0..3u8, 0..8u8)
        .prop_map(move |(a, start, b, end, chance)| {
            let (a, b) = if chance > 0 && a > b { (b, a) } else { (a, b) };
            (bound(start, a), bound(end, b))
        })
        .boxed()
}

/// A range of an ordered map or set, written as a user would: as `a..b` or a similar expression
/// if possible, otherwise as a pair of bounds.
macro_rules! range_of {
    ($kind:ident, $of:expr, $tx:expr, $range:expr) => {{
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let (of, tx) = ($of, $tx);
        match $range {
            (Included(a), Excluded(b)) => of.range::<$kind::Query<'_>>(tx, a..b),
            (Included(a), Included(b)) => of.range::<$kind::Query<'_>>(tx, a..=b),
            (Included(a), Unbounded) => of.range::<$kind::Query<'_>>(tx, a..),
            (Unbounded, Excluded(b)) => of.range::<$kind::Query<'_>>(tx, ..b),
            (Unbounded, Included(b)) => of.range::<$kind::Query<'_>>(tx, ..=b),
            (Unbounded, Unbounded) => of.range::<$kind::Query<'_>>(tx, ..),
            range => of.range::<$kind::Query<'_>>(tx, range),
        }
    }};
}
pub(super) use range_of;

/// Takes items alternately from both ends; returns them in order from the front.
pub fn from_both_ends<T, M>(
    mut items: impl DoubleEndedIterator<Item = flagstone::Result<T>>,
    mut load: impl FnMut(T) -> flagstone::Result<M>,
) -> flagstone::Result<Vec<M>> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    while let Some(item) = items.next() {
        front.push(load(item?)?);
        if let Some(item) = items.next_back() {
            back.push(load(item?)?);
        }
    }
    front.extend(back.into_iter().rev());
    Ok(front)
}
