//! The images that readers take.
//!
//! The current image serves readers. To move it forward, it is changed in
//! place if nobody holds it; else an idle image catches up and takes its
//! place, and the old one turns idle when its last reader leaves.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::Disk;
use crate::error::{ErrorKind, Result};
use crate::format::superblock::Superblock;
use crate::format::{PAGE_BYTES, heap_room_bytes};
use crate::log::LogSource;
use crate::map::Excluded;

use super::reader::{LongReader, ReaderPin};
use super::{Image, ImageTraits, PageSet, io_error};

/// Idle images that are kept: one for the readers and one to catch up is what
/// short transactions need.
const MAX_IDLE: usize = 2;

/// Images for readers, under one lock.
pub(crate) struct Pool {
    /// The image that the next reader gets.
    current: Option<Arc<Image>>,
    /// Who took it first, of those who may hold it now.
    hold: Option<ReaderPin>,
    /// Images that were current; readers may hold them.
    earlier: Vec<RetiredImage>,
    idle: Vec<Image>,
    /// Readers that have left earlier images since these were looked through.
    left: usize,
    checkpoint: Checkpointed,
    /// The log before this position is gone: an image behind it can follow no
    /// more.
    log_start: u64,
    traits: ImageTraits,
}

/// An image that was current.
struct RetiredImage {
    image: Arc<Image>,
    hold: ReaderPin,
    is_reported: bool,
    /// Pages that checkpoints gave it while readers held it.
    frozen: PageSet,
}

impl RetiredImage {
    /// Gives it pages of its own, before the file's are written.
    fn freeze(&mut self, pages: &PageSet) -> std::io::Result<()> {
        self.image.freeze(pages)?;
        for page in pages.iter() {
            self.frozen.insert(page);
        }
        Ok(())
    }

    fn old_reader(&self) -> LongReader {
        let frozen_bytes = self.frozen.len() * PAGE_BYTES;
        let mut reader = old_reader(&self.image, self.hold);
        reader.private_bytes += frozen_bytes;
        reader
    }
}

/// The state that the heap in the file is complete up to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpointed {
    /// Its log position.
    pub(crate) position: u64,
    /// The heap's length there.
    pub(crate) heap_bytes: u64,
}

impl Checkpointed {
    /// What a superblock names.
    pub(crate) fn of(block: &Superblock) -> Self {
        Self { position: block.position.get(), heap_bytes: block.heap_bytes.get() }
    }
}

/// What `stats` says of the images.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolStats {
    pub(crate) held: usize,
    pub(crate) idle: usize,
    pub(crate) oldest: Option<LongReader>,
    pub(crate) held_private_bytes: u64,
    pub(crate) private_bytes: u64,
}

impl Pool {
    pub(crate) fn new(checkpoint: Checkpointed, traits: ImageTraits) -> Self {
        Self {
            current: None,
            hold: None,
            earlier: Vec::new(),
            idle: Vec::new(),
            left: 0,
            checkpoint,
            log_start: checkpoint.position,
            traits,
        }
    }

    /// An image at `visible`, for a reader to hold that begins at `begun_at`; no
    /// more than `max_held` are held at once.
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
            // Nobody held it, so it is one more that is held.
            if Arc::strong_count(&image) == 2 {
                if self.earlier.len() >= max_held {
                    drop(image);
                    self.expect_room(max_held)?;
                    return self.take(source, visible, max_held, begun_at);
                }
                self.hold = Some(ReaderPin::begin(begun_at));
            }
            return Ok(image);
        }
        self.expect_room(max_held)?;
        let image = Arc::clone(self.advance(&source(), visible)?);
        self.hold = Some(ReaderPin::begin(begun_at));
        Ok(image)
    }

    /// Refuses one more image where readers hold as many as they may.
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

    /// The first readers of the images that readers hold.
    fn held(&self) -> Vec<LongReader> {
        let current = self.current.iter().filter(|image| Arc::strong_count(image) > 1);
        let current = current.zip(self.hold).map(|(image, hold)| old_reader(image, hold));
        self.earlier.iter().map(RetiredImage::old_reader).chain(current).collect()
    }

    fn oldest(&self) -> Option<LongReader> {
        self.held().into_iter().max_by_key(|reader| reader.age)
    }

    /// Readers that hold an image for longer than `age`, each once: those whose image
    /// a commit has made old, since the others cost nothing.
    pub(crate) fn take_old_readers(&mut self, age: Duration) -> Vec<LongReader> {
        self.reclaim_idle();
        let is_new =
            |earlier: &&mut RetiredImage| !earlier.is_reported && earlier.hold.age() >= age;
        let tell = |earlier: &mut RetiredImage| {
            earlier.is_reported = true;
            earlier.old_reader()
        };
        self.earlier.iter_mut().filter(is_new).map(tell).collect()
    }

    /// Takes the current image out of use.
    fn retire_current(&mut self) {
        // An image that nobody has taken yet is held by nobody.
        let hold = self.hold.take().unwrap_or_else(|| ReaderPin::begin(Location::caller()));
        let retired = self.current.take().inspect(|image| image.set_retired(true));
        self.earlier.extend(retired.map(|image| RetiredImage {
            image,
            hold,
            is_reported: false,
            frozen: PageSet::default(),
        }));
    }

    /// Makes the current image one at `visible`.
    fn advance(&mut self, source: &LogSource, visible: u64) -> Result<&Arc<Image>> {
        self.reclaim_idle();
        let mut touched = PageSet::default();
        // `get_mut` and not `strong_count`: it has the acquire that makes the
        // last reader's reads happen before the change.
        let unheld = self.current.as_mut().and_then(Arc::get_mut);
        if let Some(image) = unheld {
            image.advance(source, visible, &mut touched)?;
            return Ok(self.current.as_ref().expect("an image was changed in place"));
        }
        let mut image = match self.idle.pop() {
            Some(image) => image,
            None => open_image(&*source.disk, self.checkpoint, self.traits)?,
        };
        image.advance(source, visible, &mut touched)?;
        self.retire_current();
        Ok(self.current.insert(Arc::new(image)))
    }

    /// Moves images that readers have left to the idle ones.
    fn reclaim_idle(&mut self) {
        drop(self.reap());
    }

    /// After a reader has left an earlier image: returns those that are one too many. To look
    /// through all of them each time would take quadratic time for many that leave at once.
    pub(crate) fn reader_left(&mut self) -> Vec<Image> {
        self.left += 1;
        if self.left > self.earlier.len() / 4 { self.reap() } else { Vec::new() }
    }

    /// Moves images that readers have left to the idle ones, and returns those that are not kept.
    fn reap(&mut self) -> Vec<Image> {
        self.left = 0;
        for earlier in std::mem::take(&mut self.earlier) {
            match Arc::try_unwrap(earlier.image) {
                Ok(mut image) => {
                    image.set_retired(false);
                    earlier.frozen.iter().for_each(|page| image.touch(page));
                    self.idle.push(image);
                }
                Err(image) => self.earlier.push(RetiredImage { image, ..earlier }),
            }
        }
        // The one with the least to catch up is taken first; the rest is not kept.
        self.idle.sort_by_key(|image| image.position);
        let behind = self.idle.partition_point(|image| image.position < self.log_start);
        let surplus = self.idle.len().saturating_sub(MAX_IDLE);
        self.idle.drain(..surplus.max(behind)).collect()
    }

    /// Before the checkpoint writes `pages`, which changed up to `position`:
    /// no new reader gets an image behind `position`, and those that readers
    /// hold get pages of their own.
    pub(crate) fn prepare_checkpoint(
        &mut self,
        source: &LogSource,
        visible: u64,
        position: u64,
        pages: &PageSet,
    ) -> Result<std::io::Result<()>> {
        if self.current.as_ref().is_some_and(|image| image.position < visible) {
            self.advance(source, visible)?;
        }
        self.reclaim_idle();
        let mut behind =
            self.earlier.iter_mut().filter(|earlier| earlier.image.position < position);
        Ok(behind.try_for_each(|earlier| earlier.freeze(pages)))
    }

    /// After a checkpoint: images begin from `position`, and the log before
    /// `start` is gone.
    pub(crate) fn checkpointed(&mut self, checkpoint: Checkpointed, start: u64) {
        self.checkpoint = checkpoint;
        self.log_start = start;
        self.reclaim_idle();
        if self.current.as_ref().is_some_and(|image| image.position < start) {
            self.retire_current();
        }
    }

    /// Whether a reader of `visible` needs an image that is not there yet.
    pub(crate) fn needs_image(&mut self, visible: u64) -> bool {
        if self.current.as_ref().is_some_and(|image| image.position >= visible) {
            return false;
        }
        self.reclaim_idle();
        self.idle.is_empty() && self.current.as_mut().and_then(Arc::get_mut).is_none()
    }

    /// New images begin from `checkpoint`.
    pub(crate) fn rebase(&mut self, checkpoint: Checkpointed) {
        self.checkpoint = checkpoint;
    }

    /// Nothing that follows the log needs what is before `position`.
    pub(crate) fn forget_before(&mut self, position: u64) {
        self.log_start = self.log_start.max(position);
        self.reclaim_idle();
    }

    /// The current image was made of what another process was writing over.
    pub(crate) fn forget_current(&mut self) {
        self.current = None;
        self.hold = None;
    }

    /// Forgets all images that no reader holds; whether none is left.
    pub(crate) fn forget_all(&mut self) -> bool {
        self.retire_current();
        self.reclaim_idle();
        self.idle.clear();
        self.earlier.is_empty()
    }

    /// The largest length of the heap in any image.
    pub(crate) fn longest_heap_bytes(&self) -> u64 {
        let earlier = self.earlier.iter().map(|earlier| &earlier.image);
        let held = earlier.chain(&self.current).map(|image| image.heap_bytes());
        held.chain(self.idle.iter().map(Image::heap_bytes)).max().unwrap_or(0)
    }

    /// Gives back memory beyond `budget_bytes` in images that nobody holds: the
    /// file is complete up to the checkpoint, so an image that is there needs
    /// no page of its own, and another one is dropped.
    pub(crate) fn release_memory(&mut self, budget_bytes: u64) {
        let checkpoint = self.checkpoint.position;
        self.idle.retain(|image| image.private_bytes() <= budget_bytes);
        let Some(image) = self.current.as_mut().and_then(Arc::get_mut) else {
            return;
        };
        if image.private_bytes() > budget_bytes && image.position == checkpoint {
            // A page that cannot be given back stays private, which is right too.
            let _ = image.release_memory(&PageSet::default());
        } else if image.private_bytes() > budget_bytes {
            self.current = None;
        }
    }

    pub(crate) fn stats(&mut self) -> PoolStats {
        self.reclaim_idle();
        let held = self.held();
        let frozen_bytes = self.earlier.iter().map(|earlier| earlier.frozen.len() * PAGE_BYTES);
        let earlier = self.earlier.iter().map(|earlier| &earlier.image);
        let all = earlier.chain(&self.current).map(|image| image.private_bytes());
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

fn old_reader(image: &Image, hold: ReaderPin) -> LongReader {
    LongReader {
        age: hold.age(),
        begun_at: hold.begun_at,
        position: image.position,
        private_bytes: image.private_bytes(),
    }
}

/// A new image of the heap as the file holds it. Its bounds are right once
/// records were applied and `settle` was called.
pub(crate) fn open_image(
    disk: &dyn Disk,
    checkpoint: Checkpointed,
    traits: ImageTraits,
) -> Result<Image> {
    let file = disk.len_bytes().map_err(io_error("look at the file's length", disk))?;
    let room = heap_room_bytes(file);
    if checkpoint.heap_bytes > room {
        let found = format!("room for {room}");
        let offset = checkpoint.heap_bytes;
        return Err(ErrorKind::corrupt("file's length", file, offset, found));
    }
    let mut map = disk.map_heap(room).map_err(io_error("map the heap", disk))?;
    map.set_view(checkpoint.heap_bytes, [Excluded::default(); 2]);
    let mut image = Image::new(map, checkpoint.position, traits);
    image.refresh_holes()?;
    Ok(image)
}
