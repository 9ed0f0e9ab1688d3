//! A map that is pinned for reading, with its fast bounds at hand.

use std::ops::Deref;

use super::PrivateMap;
use super::fast_path::FastBounds;
use crate::persist::Persist;
use crate::sync::Pinned;

/// A holder of a map that does not change while the holder is shared.
pub(crate) trait HasMap {
    /// Returns the map; the same one at each call.
    fn map(&self) -> &PrivateMap;
}

/// A shared holder of a map, with the map's fast bounds by value. A loop that follows links can
/// then keep the bounds in registers, which it could not if they were behind a pointer.
pub(crate) struct PinnedMap<T> {
    owner: Pinned<T>,
    fast_path: FastBounds,
}

impl<T: HasMap> PinnedMap<T> {
    /// Pins `owner` together with the fast bounds of its map.
    #[inline]
    pub(crate) fn new(owner: Pinned<T>) -> Self {
        let fast_path = owner.map().fast();
        Self { owner, fast_path }
    }

    /// Returns the `count` values at `offset` if the checks pass. Also asks `allows` where the
    /// fast bounds cannot tell.
    ///
    /// The slow path is a call that answers yes or no, and both paths continue at the same
    /// address. This keeps a loop that follows links short enough to hold the bounds in
    /// registers.
    #[inline]
    pub(crate) fn items<P: Persist>(
        &self,
        offset: u64,
        count: u64,
        allows: impl FnOnce(&T) -> bool,
    ) -> Option<&[P]> {
        let is_quick = P::ANY_BITS && self.fast_path.holds::<P>(offset, count);
        if !is_quick && !self.is_allowed::<P>(offset, count, allows) {
            return None;
        }
        // SAFETY: the fast bounds or the map's own checks have passed, and they stay true (M6)
        // for as long as `self` is borrowed.
        Some(unsafe { self.fast_path.items(offset, count) })
    }

    #[cold]
    #[inline(never)]
    fn is_allowed<P: Persist>(
        &self,
        offset: u64,
        count: u64,
        allows: impl FnOnce(&T) -> bool,
    ) -> bool {
        offset != 0 && self.owner.map().items::<P>(offset, count).is_ok() && allows(&self.owner)
    }
}

impl<T> Deref for PinnedMap<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.owner
    }
}
