//! An image that a thread works on, without any lock.

use std::sync::Arc;

use super::lists::Lists;
use super::open::Checkpointed;
use super::view::Image;
use crate::sync::{Condvar, Mutex, MutexGuard, lock, unpoisoned};

/// The lists, and the end of the work on an image.
pub(super) struct Shelf {
    lists: Mutex<Lists>,
    /// Notified, with `lists`, when an image is no longer out.
    returned: Condvar,
}

impl Shelf {
    pub(super) fn new(lists: Lists) -> Self {
        Self { lists: Mutex::new(lists), returned: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lists> {
        lock(&self.lists)
    }

    /// Waits until an image is no longer out.
    pub(super) fn wait<'a>(&'a self, lists: MutexGuard<'a, Lists>) -> MutexGuard<'a, Lists> {
        unpoisoned(self.returned.wait(lists))
    }

    /// Takes out `image`, which nobody holds, or a place for a new one.
    pub(super) fn take_out(&self, lists: &mut Lists, image: Option<Arc<Image>>) -> Out<'_> {
        let number = lists.note_out(image.as_deref());
        Out { shelf: self, number, image, from: lists.checkpoint }
    }
}

/// An image that is out. If it is dropped, the image is gone; whoever waits for it looks again.
pub(super) struct Out<'shelf> {
    shelf: &'shelf Shelf,
    /// 0 once the image is back.
    number: u64,
    /// `None` until it is made.
    image: Option<Arc<Image>>,
    /// Where a new one begins.
    from: Checkpointed,
}

impl Out<'_> {
    /// Returns the image. If there is none yet, `open` makes one that begins at a checkpoint.
    pub(super) fn image<E>(
        &mut self,
        open: impl FnOnce(Checkpointed) -> Result<Image, E>,
    ) -> Result<&mut Image, E> {
        if self.image.is_none() {
            self.image = Some(Arc::new(open(self.from)?));
        }
        let image = self.image.as_mut().and_then(Arc::get_mut);
        Ok(image.expect("nobody else has an image that is out"))
    }

    /// Notes that what is out will be published.
    pub(super) fn note_publishing(&self, lists: &mut Lists) {
        lists.note_publishing(self.number);
    }

    /// Ends the work.
    pub(super) fn put_back(mut self, lists: &mut Lists) -> Option<Arc<Image>> {
        lists.note_returned(std::mem::take(&mut self.number));
        self.shelf.returned.notify_all();
        self.image.take()
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        if self.number != 0 {
            self.shelf.lock().note_returned(self.number);
            self.shelf.returned.notify_all();
        }
    }
}
