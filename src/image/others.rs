//! What the pool does in a store that other processes write, too.
//!
//! Their checkpoints free the log and write pages without asking a process that holds no snapshot. So
//! an image that no reader holds may be behind both: it is advanced only from a log that is still
//! there, and dropped otherwise. The process does one of these steps at a time, under a lock of its
//! own, so nobody loads the published image meanwhile.

use super::open::Checkpointed;
use super::pool::Pool;
use super::reader::LongReader;
use super::upkeep::Surplus;

impl Pool {
    /// Returns whether the next reader of `visible` gets the published image as it is.
    #[inline]
    pub(crate) fn is_published_at(&self, visible: u64) -> bool {
        self.shelf.lock().published.is_some_and(|at| at >= visible)
    }

    /// Notes that the log before `start` is gone. Images behind it are dropped, or leave the pool
    /// with their readers.
    pub(crate) fn forget_before(&self, start: u64) -> Surplus {
        self.change(|lists| {
            lists.log_start = lists.log_start.max(start);
            self.withdraw_before(lists, start);
            lists.reap();
        })
    }

    /// Returns the position of the image that the pool advances next, or `None` if it begins a new
    /// one.
    pub(crate) fn position_to_advance(&self) -> Option<u64> {
        self.change_and_drop(|lists| {
            self.withdraw_before(lists, u64::MAX);
            lists.reap();
            lists.nearest_idle()
        })
    }

    /// Returns whether the next reader may find an image that others have had.
    pub(crate) fn has_images(&self) -> bool {
        let lists = self.shelf.lock();
        lists.published.is_some() || lists.idle() > 0
    }

    /// Makes new images begin from `checkpoint`. One that a reader leaves meanwhile, and that is behind
    /// it, is not used any more: the caller knows that the log is kept from there on alone.
    pub(crate) fn rebase(&self, checkpoint: Checkpointed) {
        self.change_and_drop(|lists| {
            lists.checkpoint = checkpoint;
            lists.log_start = lists.log_start.max(checkpoint.position);
            lists.reap();
        });
    }

    /// Drops the published image: it was advanced from bytes that another process was overwriting.
    pub(crate) fn forget_published(&self) -> Surplus {
        self.change(|lists| {
            if let Some(image) = self.withdraw(lists) {
                lists.give_up(image);
            }
        })
    }

    /// Returns whether readers hold an image. If not, whatever they read was read before this: the lines
    /// are read with acquire ordering, and none counts itself meanwhile.
    pub(crate) fn is_held(&self) -> bool {
        self.change_and_drop(|lists| {
            lists.reap();
            lists.retired() > 0 || self.is_published_held()
        })
    }

    /// Returns whether readers hold an image behind `position`.
    pub(crate) fn is_held_before(&self, position: u64) -> bool {
        self.change_and_drop(|lists| {
            self.withdraw_before(lists, position);
            lists.reap();
            !lists.retired_before(position).is_empty()
        })
    }

    /// Returns the reader that has held an image for the longest time.
    pub(crate) fn oldest(&self) -> Option<LongReader> {
        let lists = self.shelf.lock();
        self.held(&lists).into_iter().max_by_key(|reader| reader.age)
    }

    /// Returns the longest heap of the images that readers hold.
    pub(crate) fn longest_held_heap_bytes(&self) -> u64 {
        self.change_and_drop(|lists| {
            lists.reap();
            let published = if self.is_published_held() { self.published_heap_bytes() } else { 0 };
            lists.longest_retired_heap_bytes().max(published)
        })
    }
}
