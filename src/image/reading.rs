//! A reader's hold on an image.

use std::ops::Deref;
use std::panic::Location;

use super::view::Image;
use crate::map::PinnedMap;
use crate::persist::Persist;
use crate::sync::Pinned;

/// A pinned image, and the line in it that counts this reader.
pub(crate) struct Reading {
    image: PinnedMap<Image>,
    line: usize,
    /// How many images were no longer published when this one still was.
    withdrawn: u64,
}

impl Reading {
    /// Begins a reader of `image`; `None` if no reader may have it.
    #[inline]
    pub(super) fn begin(
        image: Pinned<Image>,
        begun_at: &'static Location<'static>,
        withdrawn: u64,
    ) -> Option<Self> {
        let line = image.readers.enter(begun_at)?;
        Some(Self { image: PinnedMap::new(image), line, withdrawn })
    }

    /// Returns what [`Pool::withdrawn`](super::pool::Pool::withdrawn) was when the image was published. If
    /// it is more after this has been dropped, the pool is to be told.
    #[inline]
    pub(crate) fn withdrawn(&self) -> u64 {
        self.withdrawn
    }

    /// Returns the bit of the thread that began it.
    #[inline]
    pub(super) fn thread_bit(&self) -> u64 {
        1 << self.line
    }

    /// Returns the `count` values at `offset`, as [`PinnedMap::items`] does.
    #[inline]
    pub(crate) fn items<P: Persist>(
        &self,
        offset: u64,
        count: u64,
        allows: impl FnOnce(&Image) -> bool,
    ) -> Option<&[P]> {
        self.image.items(offset, count, allows)
    }
}

impl Drop for Reading {
    #[inline]
    fn drop(&mut self) {
        self.image.readers.leave(self.line);
    }
}

impl Deref for Reading {
    type Target = Image;

    #[inline]
    fn deref(&self) -> &Image {
        &self.image
    }
}
