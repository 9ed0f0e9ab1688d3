//! The images that readers pin.
//!
//! The current image serves readers. To advance it, the pool changes it in place if no reader
//! holds it. Otherwise an idle image catches up and replaces it, and the old image becomes
//! idle when its last reader leaves.

mod others;

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{ErrorKind, Result};
use crate::format::PAGE_BYTES;
use crate::log::LogSource;

use super::budget::{Account, Charge, Use};
use super::open::{Checkpointed, open_image};
use super::page_set::PageSet;
use super::reader::{LongReader, ReaderPin};
use super::view::{Image, ImageTraits};

/// The number of idle images to keep. Short transactions need two: one for the readers and one to
/// catch up.
const MAX_IDLE: usize = 2;

/// The images of all readers, under one lock.
pub(crate) struct Pool {
    /// The image that the next reader gets.
    current: Option<Arc<Image>>,
    /// The first of the readers that may hold it now.
    pin: Option<ReaderPin>,
    /// Retired images; readers may still hold them.
    retired: Vec<RetiredImage>,
    idle: Vec<Image>,
    /// Readers that have left retired images since the last scan of these.
    left: usize,
    checkpoint: Checkpointed,
    /// The start of the log. Earlier records are gone, so an image behind it cannot catch up.
    log_start: u64,
    traits: ImageTraits,
    account: Arc<Account>,
}

/// An image that was once current.
struct RetiredImage {
    image: Arc<Image>,
    pin: ReaderPin,
    is_reported: bool,
    /// Pages that checkpoints froze in it while readers held it, without those that were private
    /// before.
    frozen: PageSet,
    charge: Charge,
}

impl RetiredImage {
    /// Makes `pages` private before the checkpoint writes the file's.
    fn freeze(&mut self, pages: &PageSet) -> std::io::Result<()> {
        self.image.freeze(pages)?;
        let heap_pages = self.image.heap_pages();
        for page in pages.iter().take_while(|page| *page < heap_pages) {
            if !self.image.touched.contains(page) && self.frozen.insert(page) {
                self.charge.add_page();
            }
        }
        Ok(())
    }

    fn long_reader(&self) -> LongReader {
        let frozen_bytes = self.frozen.len() * PAGE_BYTES;
        let mut reader = long_reader(&self.image, self.pin);
        reader.private_bytes += frozen_bytes;
        reader
    }
}

/// The pool's part of `stats`.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolStats {
    pub(crate) held: usize,
    pub(crate) idle: usize,
    pub(crate) oldest: Option<LongReader>,
    pub(crate) held_private_bytes: u64,
    pub(crate) private_bytes: u64,
}

impl Pool {
    pub(crate) fn new(
        checkpoint: Checkpointed,
        traits: ImageTraits,
        account: Arc<Account>,
    ) -> Self {
        Self {
            current: None,
            pin: None,
            retired: Vec::new(),
            idle: Vec::new(),
            left: 0,
            checkpoint,
            log_start: checkpoint.position,
            traits,
            account,
        }
    }

    /// Makes `image` the current one, in a pool that has none.
    pub(crate) fn begin_with(&mut self, image: Image) {
        self.current = Some(Arc::new(image));
    }

    /// Returns an image at `visible` for a reader that began at `begun_at`. Fails if readers
    /// already hold `max_held` images and this would be one more.
    #[inline]
    pub(crate) fn take(
        &mut self,
        source: &dyn Fn() -> LogSource,
        visible: u64,
        max_held: usize,
        begun_at: &'static Location<'static>,
    ) -> Result<Arc<Image>> {
        if let Some(current) = &self.current
            && current.position >= visible
        {
            let image = Arc::clone(current);
            // No reader held it, so it counts as one more.
            if Arc::strong_count(&image) == 2 {
                if self.retired.len() >= max_held {
                    drop(image);
                    self.expect_room(max_held)?;
                    return self.take(source, visible, max_held, begun_at);
                }
                self.pin = Some(ReaderPin::begin(begun_at));
            }
            return Ok(image);
        }
        self.expect_room(max_held)?;
        let image = Arc::clone(self.advance(&source(), visible)?);
        self.pin = Some(ReaderPin::begin(begun_at));
        Ok(image)
    }

    /// Fails if readers already hold `max_held` images.
    fn expect_room(&mut self, max_held: usize) -> Result<()> {
        self.reclaim_idle();
        let held = self.held().len();
        if held < max_held {
            return Ok(());
        }
        let Some(oldest) = self.oldest() else { return Ok(()) };
        let LongReader { age, begun_at, .. } = oldest;
        Err(ErrorKind::TooManySnapshots { held, age, begun_at }.into())
    }

    /// Returns the first reader of each image that readers hold.
    fn held(&self) -> Vec<LongReader> {
        let current = self.current.iter().filter(|image| Arc::strong_count(image) > 1);
        let current = current.zip(self.pin).map(|(image, pin)| long_reader(image, pin));
        self.retired.iter().map(RetiredImage::long_reader).chain(current).collect()
    }

    /// Returns the reader that has held an image for the longest time.
    pub(crate) fn oldest(&self) -> Option<LongReader> {
        self.held().into_iter().max_by_key(|reader| reader.age)
    }

    /// Returns the readers that have held an image for longer than `age`, each only once. Covers
    /// only images that a commit has made old, since the others cost nothing.
    pub(crate) fn take_long_readers(&mut self, age: Duration) -> Vec<LongReader> {
        self.reclaim_idle();
        let is_new = |retired: &&mut RetiredImage| !retired.is_reported && retired.pin.age() >= age;
        let tell = |retired: &mut RetiredImage| {
            retired.is_reported = true;
            retired.long_reader()
        };
        self.retired.iter_mut().filter(is_new).map(tell).collect()
    }

    /// Takes the current image out of use.
    fn retire_current(&mut self) {
        // No reader holds an image that nobody has taken yet.
        let pin = self.pin.take().unwrap_or_else(|| ReaderPin::begin(Location::caller()));
        let Some(image) = self.current.take() else { return };
        image.set_retired(true);
        image.charge_as(Use::Held);
        let (frozen, charge) = (PageSet::default(), Charge::new(&self.account, Use::Held, 0));
        self.retired.push(RetiredImage { image, pin, is_reported: false, frozen, charge });
    }

    /// Brings the current image to `visible`.
    fn advance(&mut self, source: &LogSource, visible: u64) -> Result<&Arc<Image>> {
        self.reclaim_idle();
        let mut touched = PageSet::default();
        // `get_mut` and not `strong_count`: its acquire ordering makes the last reader's reads
        // happen before the change.
        let unheld = self.current.as_mut().and_then(Arc::get_mut);
        if let Some(image) = unheld {
            image.advance(source, visible, &mut touched)?;
            return Ok(self.current.as_ref().expect("an image was changed in place"));
        }
        let mut image = match self.idle.pop() {
            Some(image) => image,
            None => self.open_image(source)?,
        };
        image.advance(source, visible, &mut touched)?;
        self.retire_current();
        Ok(self.current.insert(Arc::new(image)))
    }

    fn open_image(&self, source: &LogSource) -> Result<Image> {
        let mut image = open_image(&*source.disk, self.checkpoint, self.traits)?;
        image.charge_to(&self.account, Use::Readers);
        Ok(image)
    }

    /// Moves images that readers have left to the idle ones.
    fn reclaim_idle(&mut self) {
        drop(self.reap());
    }

    /// Notes that a reader has left a retired image. Returns images that are no longer kept.
    /// Scanning all of them each time would take quadratic time when many readers leave at once.
    pub(crate) fn reader_left(&mut self) -> Vec<Image> {
        self.left += 1;
        if self.left > self.retired.len() / 4 { self.reap() } else { Vec::new() }
    }

    /// Moves images that readers have left to the idle ones. Returns those that are not kept.
    fn reap(&mut self) -> Vec<Image> {
        self.left = 0;
        for retired in std::mem::take(&mut self.retired) {
            match Arc::try_unwrap(retired.image) {
                Ok(mut image) => {
                    image.set_retired(false);
                    image.charge_as(Use::Readers);
                    retired.frozen.iter().for_each(|page| _ = image.touch(page));
                    self.idle.push(image);
                }
                Err(image) => self.retired.push(RetiredImage { image, ..retired }),
            }
        }
        // Idle images are taken from the end, so the one with the least to catch up goes first.
        self.idle.sort_by_key(|image| image.position);
        let behind = self.idle.partition_point(|image| image.position < self.log_start);
        let most = if self.account.may_keep_idle_images() { MAX_IDLE } else { 0 };
        let surplus = self.idle.len().saturating_sub(most);
        self.idle.drain(..surplus.max(behind)).collect()
    }

    /// Prepares for the checkpoint to write `pages`, which changed up to `position`: from now on,
    /// no new reader gets an image behind `position`, and `pages` are frozen in those that
    /// readers hold.
    pub(crate) fn prepare_checkpoint(
        &mut self,
        source: &LogSource,
        visible: u64,
        position: u64,
        pages: &PageSet,
    ) -> Result<std::io::Result<()>> {
        if self.current.as_ref().is_some_and(|image| image.position < visible) {
            // If a reader holds it, bringing it forward takes a second image.
            match self.account.may_keep_idle_images() {
                true => drop(self.advance(source, visible)?),
                false => self.retire_current(),
            }
        }
        self.reclaim_idle();
        let mut behind =
            self.retired.iter_mut().filter(|retired| retired.image.position < position);
        Ok(behind.try_for_each(|retired| retired.freeze(pages)))
    }

    /// Notes a finished checkpoint: images begin from `checkpoint`, and the log before `start`
    /// is gone.
    pub(crate) fn checkpointed(&mut self, checkpoint: Checkpointed, start: u64) {
        self.checkpoint = checkpoint;
        self.log_start = start;
        self.reclaim_idle();
        if self.current.as_ref().is_some_and(|image| image.position < start) {
            self.retire_current();
        }
    }

    /// Makes new images begin from `checkpoint`.
    pub(crate) fn rebase(&mut self, checkpoint: Checkpointed) {
        self.checkpoint = checkpoint;
    }

    /// Notes that the log before `position` is gone.
    fn forget_before(&mut self, position: u64) {
        self.log_start = self.log_start.max(position);
        self.reclaim_idle();
    }

    /// Drops all images that no reader holds. Returns whether none is left.
    pub(crate) fn forget_all(&mut self) -> bool {
        self.retire_current();
        self.reclaim_idle();
        self.idle.clear();
        self.retired.is_empty()
    }

    /// Returns the largest length of the heap in any image.
    pub(crate) fn longest_heap_bytes(&self) -> u64 {
        let retired = self.retired.iter().map(|retired| &retired.image);
        let held = retired.chain(&self.current).map(|image| image.heap_bytes());
        held.chain(self.idle.iter().map(Image::heap_bytes)).max().unwrap_or(0)
    }

    /// Returns the idle images if the budget asks for their memory. The caller drops them without the
    /// pool's lock: unmapping them takes time.
    pub(crate) fn take_idle(&mut self) -> Vec<Image> {
        if self.account.may_keep() {
            return Vec::new();
        }
        self.reclaim_idle();
        std::mem::take(&mut self.idle)
    }

    /// Gives memory back after a checkpoint, if the budget asks for it. The file is complete up to the
    /// checkpoint, so an image at that position needs no private pages. Any other image is taken, as
    /// by [`take_unheld`](Self::take_unheld).
    pub(crate) fn release_memory(&mut self) -> Vec<Image> {
        if self.account.may_keep() {
            return Vec::new();
        }
        let checkpoint = self.checkpoint.position;
        let unheld = self.current.as_mut().and_then(Arc::get_mut);
        let Some(image) = unheld.filter(|image| image.position == checkpoint) else {
            return self.take_unheld();
        };
        // A page that cannot be released stays private, which is also correct.
        let _ = image.release_memory();
        self.take_idle()
    }

    /// Returns all images that no reader holds if the budget asks for their memory, and leaves the
    /// current one to the readers that hold it: the next reader gets a new one, without private
    /// pages.
    pub(crate) fn take_unheld(&mut self) -> Vec<Image> {
        if self.account.may_keep() {
            return Vec::new();
        }
        self.retire_current();
        self.take_idle()
    }

    pub(crate) fn stats(&mut self) -> PoolStats {
        self.reclaim_idle();
        let held = self.held();
        let frozen_bytes = self.retired.iter().map(|retired| retired.frozen.len() * PAGE_BYTES);
        let retired = self.retired.iter().map(|retired| &retired.image);
        let all = retired.chain(&self.current).map(|image| image.private_bytes());
        PoolStats {
            held: held.len(),
            idle: self.idle.len(),
            held_private_bytes: held.iter().map(|reader| reader.private_bytes).sum(),
            oldest: held.into_iter().max_by_key(|reader| reader.age),
            private_bytes: all
                .chain(self.idle.iter().map(Image::private_bytes))
                .chain(frozen_bytes)
                .sum(),
        }
    }
}

fn long_reader(image: &Image, pin: ReaderPin) -> LongReader {
    LongReader {
        age: pin.age(),
        begun_at: pin.begun_at,
        position: image.position,
        private_bytes: image.private_bytes(),
    }
}
