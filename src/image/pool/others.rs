//! What the pool does in a store that other processes write, too.
//!
//! Their checkpoints free the log and write pages without asking a process that holds no snapshot. So
//! an image that no reader holds may be behind both: it is advanced only from a log that is still
//! there, and dropped otherwise.

use std::sync::Arc;

use crate::error::Result;
use crate::log::LogSource;

use super::super::page_set::PageSet;
use super::super::view::Image;
use super::{Pool, RetiredImage};

impl Pool {
    /// Returns whether the next reader of `visible` gets the current image as it is.
    #[inline]
    pub(crate) fn is_current_at(&self, visible: u64) -> bool {
        self.current.as_ref().is_some_and(|image| image.position >= visible)
    }

    /// Notes that the log before `start` is gone. Images behind it are dropped, or leave the pool
    /// with their readers.
    pub(crate) fn forget_log_before(&mut self, start: u64) {
        if self.current.as_ref().is_some_and(|image| image.position < start) {
            self.retire_current();
        }
        self.forget_before(start);
    }

    /// Returns the position of the image that the pool advances next, or `None` if it begins a new
    /// one.
    pub(crate) fn position_to_advance(&mut self) -> Option<u64> {
        self.reclaim_idle();
        let unheld = self.current.as_mut().and_then(Arc::get_mut);
        unheld.or(self.idle.last_mut()).map(|image| image.position)
    }

    /// Returns whether the next reader may find an image that others have had.
    pub(crate) fn has_images(&self) -> bool {
        self.current.is_some() || !self.idle.is_empty()
    }

    /// Brings such an image to `visible`, if there is one.
    pub(crate) fn follow(&mut self, source: &LogSource, visible: u64) -> Result<()> {
        match self.has_images() && !self.is_current_at(visible) {
            true => self.advance(source, visible).map(drop),
            false => Ok(()),
        }
    }

    /// Drops the current image if no reader holds it: it was advanced from bytes that another process
    /// was overwriting.
    pub(crate) fn forget_unheld_current(&mut self) {
        if self.current.as_mut().and_then(Arc::get_mut).is_some() {
            (self.current, self.pin) = (None, None);
        }
    }

    /// Returns whether readers hold an image. If not, whatever they read was read before this.
    pub(crate) fn is_held(&mut self) -> bool {
        self.reclaim_idle();
        let is_current_free =
            self.current.as_mut().is_none_or(|image| Arc::get_mut(image).is_some());
        !is_current_free || !self.retired.is_empty()
    }

    /// Returns whether readers hold an image behind `position`.
    pub(crate) fn is_held_before(&mut self, position: u64) -> bool {
        self.retire_if_held_before(position);
        self.retired.iter().any(|retired| retired.image.position < position)
    }

    /// Copies `pages` into the images behind `position` that readers hold. Maps nothing.
    pub(crate) fn freeze_before(&mut self, position: u64, pages: &PageSet) -> std::io::Result<()> {
        self.retire_if_held_before(position);
        let mut retired = self.retired.iter_mut();
        retired.try_for_each(|retired| match retired.image.position < position {
            true => RetiredImage::freeze(retired, pages),
            false => Ok(()),
        })
    }

    /// Retires the current image if it is behind `position` and a reader holds it.
    fn retire_if_held_before(&mut self, position: u64) {
        let is_behind = self.current.as_ref().is_some_and(|image| image.position < position);
        if is_behind && self.current.as_mut().and_then(Arc::get_mut).is_none() {
            self.retire_current();
        }
        self.reclaim_idle();
    }

    /// Returns the longest heap of the images that readers hold.
    pub(crate) fn longest_held_heap_bytes(&mut self) -> u64 {
        self.reclaim_idle();
        let current = self.current.iter().filter(|image| Arc::strong_count(image) > 1);
        let held = self.retired.iter().map(|retired| &retired.image).chain(current);
        held.map(|image| Image::heap_bytes(image)).max().unwrap_or(0)
    }
}
