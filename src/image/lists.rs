//! The images that readers do not find by themselves: retired, idle, and out.
//!
//! **Owns** what the pool's lock guards. Nothing here takes long: images are moved between lists, and
//! those that are no longer kept are collected for a thread that drops them without the lock, because
//! unmapping takes time.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::budget::{Account, Use};
use super::open::Checkpointed;
use super::reader::{LongReader, ReaderPin};
use super::view::Image;

/// The number of idle images to keep. Short transactions need two: one for the readers and one to
/// catch up.
const MIN_IDLE: usize = 2;
/// More are kept if readers have lately held so many at a time: each would be made again.
const MAX_IDLE: usize = 8;

/// The images that are not published.
pub(super) struct Lists {
    /// No image becomes usable behind this position (F4).
    pub(super) floor: u64,
    /// The start of the log. Earlier records are gone, so an image behind it cannot catch up.
    pub(super) log_start: u64,
    /// Whether threads read the store, as the pool saw last.
    pub(super) is_read: bool,
    /// Where new images begin.
    pub(super) checkpoint: Checkpointed,
    /// The published image's position, if one is published.
    pub(super) published: Option<u64>,
    /// Images that were published once; readers may still hold them.
    retired: Vec<RetiredImage>,
    /// Images that nobody holds, in the order of their positions.
    idle: Vec<Arc<Image>>,
    /// Images that threads work on.
    out: Vec<Absent>,
    last_out: u64,
    /// The most images that were retired at a time since the last checkpoint.
    most_retired: usize,
    /// Readers that have left retired images since the last scan of these.
    left: usize,
    /// Images to drop.
    surplus: Vec<Arc<Image>>,
    account: Arc<Account>,
}

/// An image that was once published.
struct RetiredImage {
    image: Arc<Image>,
    retired: ReaderPin,
    is_reported: bool,
}

impl RetiredImage {
    fn long_reader(&self) -> LongReader {
        // A reader that has not been counted yet began after the image was retired, nearly.
        long_reader(&self.image, self.image.readers.oldest().unwrap_or(self.retired))
    }
}

/// An image that a thread works on, as it was when it was taken out.
struct Absent {
    number: u64,
    position: u64,
    heap_bytes: u64,
    /// Whether it will be published as soon as it is back.
    is_publishing: bool,
}

impl Lists {
    pub(super) fn new(checkpoint: Checkpointed, account: Arc<Account>) -> Self {
        Self {
            floor: 0,
            log_start: checkpoint.position,
            is_read: false,
            checkpoint,
            published: None,
            retired: Vec::new(),
            idle: Vec::new(),
            out: Vec::new(),
            last_out: 0,
            most_retired: 0,
            left: 0,
            surplus: Vec::new(),
            account,
        }
    }

    /// Keeps an image that was published until now: idle, or retired if readers hold it.
    pub(super) fn take_back(&mut self, mut image: Arc<Image>) {
        // Its acquire ordering makes the last reader's reads happen before the next change.
        if Arc::get_mut(&mut image).is_some() { self.put_idle(image) } else { self.retire(image) }
    }

    pub(super) fn retire(&mut self, image: Arc<Image>) {
        image.charge_as(Use::Held);
        let retired = ReaderPin::begin(Location::caller());
        self.retired.push(RetiredImage { image, retired, is_reported: false });
        self.most_retired = self.most_retired.max(self.retired.len());
    }

    /// Notes that a checkpoint has ended.
    pub(super) fn checkpointed(&mut self, checkpoint: Checkpointed, start: u64) {
        self.checkpoint = checkpoint;
        self.log_start = start;
        self.most_retired = self.retired.len();
    }

    /// Keeps an image that nobody holds. One that is spilled cannot be changed, so nobody gets it.
    pub(super) fn put_idle(&mut self, image: Arc<Image>) {
        if image.spilled.bytes() > 0 {
            self.surplus.push(image);
            return;
        }
        image.charge_as(Use::Readers);
        let at = self.idle.partition_point(|other| other.position <= image.position);
        self.idle.insert(at, image);
        self.trim();
    }

    /// Gives up idle images that cannot catch up, and the farthest ones of too many: of all where the
    /// images that are used may soon need the memory.
    fn trim(&mut self) {
        let behind = self.idle.partition_point(|image| image.position < self.log_start);
        let most = match self.account.may_keep_idle_images() {
            true => (self.most_retired + 1).clamp(MIN_IDLE, MAX_IDLE),
            // The next reader gets it, or the next commit brings it forward for readers.
            false => usize::from(self.published.is_none() || self.is_read),
        };
        let surplus = self.idle.len().saturating_sub(most);
        self.surplus.extend(self.idle.drain(..surplus.max(behind)));
    }

    /// Moves images that readers have left to the idle ones.
    pub(super) fn reap(&mut self) {
        self.left = 0;
        let (held, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.retired)
            .into_iter()
            .map(|mut retired| (Arc::get_mut(&mut retired.image).is_none(), retired))
            .partition(|(is_held, _)| *is_held);
        self.retired = held.into_iter().map(|(_, retired)| retired).collect();
        left.into_iter().for_each(|(_, retired)| self.put_idle(retired.image));
        self.trim();
    }

    /// Notes that a reader has left a retired image. Scanning all of them each time would take
    /// quadratic time when many readers leave at once.
    pub(super) fn reader_left(&mut self) {
        self.left += 1;
        if self.left > self.retired.len() / 4 {
            self.reap();
        }
    }

    pub(super) fn retired(&self) -> usize {
        self.retired.len()
    }

    /// Returns how many of them readers hold: a checkpoint that copies pages for readers has them as
    /// well, for as long as that takes.
    pub(super) fn retired_and_held(&self) -> usize {
        self.retired.iter().filter(|retired| retired.image.readers.is_held()).count()
    }

    /// Returns the images behind `position` that readers hold.
    pub(super) fn retired_before(&self, position: u64) -> Vec<Arc<Image>> {
        let behind = self.retired.iter().filter(|retired| retired.image.position < position);
        behind.map(|retired| Arc::clone(&retired.image)).collect()
    }

    /// Returns the position of the idle image that has the least to catch up.
    pub(super) fn nearest_idle(&self) -> Option<u64> {
        self.idle.last().map(|image| image.position)
    }

    pub(super) fn take_nearest_idle(&mut self) -> Option<Arc<Image>> {
        self.idle.pop()
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Returns whether a commit would find nothing to bring forward for readers.
    pub(super) fn lacks_idle(&self) -> bool {
        self.published.is_some() && self.idle.is_empty() && self.out.is_empty()
    }

    /// Returns whether the nearest idle image has nothing to give back, if there is one.
    pub(super) fn is_idle_clean(&self, since: u64) -> bool {
        self.idle.last().is_none_or(|image| image.clean_since >= since)
    }

    /// Gives up all idle images but the nearest one.
    pub(super) fn keep_one_idle(&mut self) {
        let but_one = self.idle.len().saturating_sub(1);
        self.surplus.extend(self.idle.drain(..but_one));
    }

    /// Gives up all idle images.
    pub(super) fn drop_idle(&mut self) {
        self.surplus.append(&mut self.idle);
    }

    pub(super) fn give_up(&mut self, image: Arc<Image>) {
        self.surplus.push(image);
    }

    pub(super) fn has_surplus(&self) -> bool {
        !self.surplus.is_empty()
    }

    /// Returns the images that are no longer kept. The caller drops them without the lock.
    pub(super) fn take_surplus(&mut self) -> Vec<Arc<Image>> {
        std::mem::take(&mut self.surplus)
    }

    /// Notes that a thread works on an image, one that begins at the checkpoint if it is `None`. Returns
    /// its number.
    pub(super) fn note_out(&mut self, image: Option<&Image>) -> u64 {
        let Checkpointed { position, heap_bytes } = self.checkpoint;
        let begin =
            image.map_or((position, heap_bytes), |image| (image.position, image.heap_bytes()));
        let (position, heap_bytes) = begin;
        self.last_out += 1;
        self.out.push(Absent { number: self.last_out, position, heap_bytes, is_publishing: false });
        self.last_out
    }

    pub(super) fn note_publishing(&mut self, number: u64) {
        let own = self.out.iter_mut().find(|out| out.number == number);
        own.expect("it is out").is_publishing = true;
    }

    /// Returns whether an image that is out will be published as soon as it is back.
    pub(super) fn is_publishing(&self) -> bool {
        self.out.iter().any(|out| out.is_publishing)
    }

    pub(super) fn note_returned(&mut self, number: u64) {
        self.out.retain(|out| out.number != number);
    }

    /// Returns the position at which the nearest of the images that are out was taken.
    pub(super) fn nearest_out(&self) -> Option<u64> {
        self.out.iter().map(|out| out.position).max()
    }

    /// Returns whether a thread may still need the log before `position`.
    pub(super) fn is_out_before(&self, position: u64) -> bool {
        self.out.iter().any(|out| out.position < position)
    }

    /// Returns the largest length of the heap in these images.
    pub(super) fn longest_heap_bytes(&self) -> u64 {
        let retired = self.retired.iter().map(|retired| retired.image.heap_bytes());
        let idle = self.idle.iter().map(|image| image.heap_bytes());
        let out = self.out.iter().map(|out| out.heap_bytes);
        retired.chain(idle).chain(out).max().unwrap_or(0)
    }

    pub(super) fn longest_retired_heap_bytes(&self) -> u64 {
        self.retired.iter().map(|retired| retired.image.heap_bytes()).max().unwrap_or(0)
    }

    /// Returns the first reader of each retired image.
    pub(super) fn long_readers(&self) -> impl Iterator<Item = LongReader> {
        let held = self.retired.iter().filter(|retired| retired.image.readers.is_held());
        held.map(RetiredImage::long_reader)
    }

    /// Returns the readers that have held a retired image for longer than `age`, each only once.
    pub(super) fn take_long_readers(&mut self, age: Duration) -> Vec<LongReader> {
        let mut long = Vec::new();
        let new =
            |retired: &&mut RetiredImage| !retired.is_reported && retired.image.readers.is_held();
        for retired in self.retired.iter_mut().filter(new) {
            let reader = retired.long_reader();
            if reader.age >= age {
                retired.is_reported = true;
                long.push(reader);
            }
        }
        long
    }

    /// Returns the private memory of these images, without those to drop.
    pub(super) fn private_bytes(&self) -> u64 {
        let retired = self.retired.iter().map(|retired| retired.image.private_bytes());
        retired.chain(self.idle.iter().map(|image| image.private_bytes())).sum()
    }
}

pub(super) fn long_reader(image: &Image, pin: ReaderPin) -> LongReader {
    LongReader {
        age: pin.age(),
        begun_at: pin.begun_at,
        position: image.position,
        private_bytes: image.private_bytes(),
        spilled_bytes: image.spilled.bytes(),
    }
}
