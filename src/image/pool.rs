//! The images that readers pin.
//!
//! One image is published: readers load it without a lock, and without writing where another thread
//! writes. While threads read, those that commit bring another one forward before they return, and publish
//! that. Otherwise the next reader does, without any lock either. docs/design/reading.md argues each step,
//! and states F3 to F5.

use std::panic::Location;
use std::sync::Arc;

use super::apply::NothingNoted;
use super::budget::{Account, Use};
use super::lists::{Lists, long_reader};
use super::open::{Checkpointed, open_image};
use super::out::{Out, Shelf};
use super::reader::{LongReader, ReaderLines, coarse_nanos, own_bit};
use super::reading::Reading;
use super::spiller::Spiller;
use super::view::{Image, ImageTraits};
use crate::error::{ErrorKind, Result};
use crate::log::LogSource;
use crate::map::PrivateMap;
use crate::mutation::{ActiveMutation, Mutation};
use crate::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
    Ordering::SeqCst,
};
use crate::sync::{MutexGuard, Pinned, Published};

/// Log bytes that a commit applies for readers at most. The store's thread does what is more.
pub(super) const FAR_BYTES: u64 = 256 * 1024;
/// How long threads that read are remembered, from once to twice that time.
const READ_FOR_NANOS: u64 = 500_000_000;

/// The log that images follow.
pub(crate) trait Follow {
    /// Returns the position that readers may see now.
    fn visible(&self) -> u64;

    /// Returns the records. Called after `visible`: a log that has moved holds what is newer.
    fn source(&self) -> LogSource;
}

/// The images of all readers.
pub(crate) struct Pool {
    front: Front,
    pub(super) shelf: Shelf,
    /// Published when no image is.
    vacant: Arc<Image>,
    pub(super) account: Arc<Account>,
    traits: ImageTraits,
    /// Limit on the images that readers may hold.
    max_held: usize,
    pub(super) mutation: ActiveMutation,
    pub(super) spiller: Spiller,
    /// The position of the nearest idle image; `u64::MAX` if there is none.
    pub(super) standby: AtomicU64,
    /// Whether there is none, and none is being made.
    pub(super) lacks_idle: AtomicBool,
    /// Whether images wait to be dropped.
    pub(super) has_surplus: AtomicBool,
    /// When `read_by` was looked at last, and what it was then.
    looked_at_nanos: AtomicU64,
    read_before: AtomicU64,
    /// The bit of the thread that committed last.
    committer: AtomicU64,
}

/// What each reader loads, and readers do not write, except once in a while.
#[repr(align(128))]
struct Front {
    published: Published<Image>,
    /// The end of what readers must see: each commit before it may have returned.
    must_see: AtomicU64,
    /// A reader that must see less may load the published image without the lock; 0 if none may.
    serves_below: AtomicU64,
    /// The lines of the threads that have begun snapshots lately, one a bit.
    read_by: AtomicU64,
    /// Counts the images that were published and are no longer. It changes before the image does: a
    /// reader that has left, and finds it as it was, has left an image that was still published.
    withdrawn: AtomicU64,
}

impl Pool {
    pub(crate) fn new(
        checkpoint: Checkpointed,
        traits: ImageTraits,
        account: Arc<Account>,
        max_held: usize,
        spiller: Spiller,
        mutation: ActiveMutation,
    ) -> Self {
        let nothing = PrivateMap::of_memory(0).expect("no memory is needed for no bytes");
        let vacant = Arc::new(Image::new(nothing, 0, traits));
        let published = Published::new(Arc::clone(&vacant));
        Self {
            front: Front {
                published,
                must_see: AtomicU64::new(0),
                read_by: AtomicU64::new(0),
                serves_below: AtomicU64::new(0),
                withdrawn: AtomicU64::new(0),
            },
            shelf: Shelf::new(Lists::new(checkpoint, Arc::clone(&account))),
            vacant,
            account,
            traits,
            max_held,
            mutation,
            spiller,
            standby: AtomicU64::new(u64::MAX),
            lacks_idle: AtomicBool::new(false),
            has_surplus: AtomicBool::new(false),
            looked_at_nanos: AtomicU64::new(0),
            read_before: AtomicU64::new(0),
            committer: AtomicU64::new(0),
        }
    }

    /// Publishes `image`, in a pool that has none.
    pub(crate) fn begin_with(&self, mut image: Image) {
        image.readers = ReaderLines::new();
        let mut lists = self.shelf.lock();
        self.publish(&mut lists, Arc::new(image));
    }

    pub(super) fn open_image(&self, source: &LogSource, from: Checkpointed) -> Result<Image> {
        let mut image = open_image(&*source.disk, from, self.traits)?;
        image.charge_to(&self.account, Use::Readers);
        image.readers = ReaderLines::new();
        Ok(image)
    }

    /// Returns the published image if it has all that a reader must see. Takes no lock, and writes only
    /// what no other thread writes.
    #[inline]
    pub(crate) fn pin(&self, begun_at: &'static Location<'static>) -> Option<Reading> {
        let needed = self.front.must_see.load(Acquire);
        if self.front.serves_below.load(Acquire) <= needed {
            return None;
        }
        let withdrawn = self.withdrawn();
        let image = self.front.published.load();
        if image.position < needed { None } else { self.begin(image, begun_at, withdrawn) }
    }

    #[inline]
    fn begin(
        &self,
        image: Pinned<Image>,
        begun_at: &'static Location<'static>,
        withdrawn: u64,
    ) -> Option<Reading> {
        let reading = Reading::begin(image, begun_at, withdrawn)?;
        if self.front.read_by.load(Relaxed) & reading.thread_bit() == 0 {
            self.front.read_by.fetch_or(reading.thread_bit(), Relaxed);
        }
        Some(reading)
    }

    /// Returns an image at the position that is visible now, or later. Fails if readers already hold
    /// as many images as they may, and this would be one more.
    #[cold]
    pub(crate) fn take(
        &self,
        log: &dyn Follow,
        begun_at: &'static Location<'static>,
    ) -> Result<Reading> {
        /// How often it waits for what another thread brings up, and others may take before it.
        const WAITS: u32 = 8;
        // Once: commits go on, and this reader needs none that is yet to come.
        let needed = log.visible();
        let mut lists = self.shelf.lock();
        let mut waits = 0;
        loop {
            if let Some(reading) = self.take_published(&mut lists, needed, begun_at)? {
                return Ok(reading);
            }
            let out = match self.take_out(&mut lists) {
                None if waits < WAITS => {
                    waits += 1;
                    lists = self.shelf.wait(lists);
                    continue;
                }
                None => self.check_out(&mut lists, None),
                Some(out) => out,
            };
            drop(lists);
            lists = self.bring_up(out, log)?;
        }
    }

    /// Returns the published image if it is at `needed` or later.
    fn take_published(
        &self,
        lists: &mut Lists,
        needed: u64,
        begun_at: &'static Location<'static>,
    ) -> Result<Option<Reading>> {
        let image = self.front.published.load();
        if lists.published.is_some_and(|at| at >= needed) {
            // If no reader holds it, it counts as one more.
            if !self.has_room(lists, 0) && !image.readers.is_held() {
                return Err(self.too_many(lists));
            }
            return Ok(self.begin(image, begun_at, self.withdrawn()));
        }
        if !self.has_room(lists, 1) && !self.has_room(lists, usize::from(image.readers.is_held())) {
            return Err(self.too_many(lists));
        }
        Ok(None)
    }

    /// Returns whether readers may hold one more image, if they hold `more` besides the retired ones.
    fn has_room(&self, lists: &mut Lists, more: usize) -> bool {
        if lists.retired() + more < self.max_held {
            return true;
        }
        lists.reap();
        self.settle(lists);
        lists.retired_and_held() + more < self.max_held
    }

    #[cold]
    fn too_many(&self, lists: &Lists) -> crate::error::Error {
        let held = self.held(lists);
        let oldest = held.iter().max_by_key(|reader| reader.age);
        let (age, begun_at) = oldest.map_or((Default::default(), Location::caller()), |oldest| {
            (oldest.age, oldest.begun_at)
        });
        ErrorKind::TooManySnapshots { held: held.len(), age, begun_at }.into()
    }

    /// Returns the first reader of each image that readers hold.
    pub(super) fn held(&self, lists: &Lists) -> Vec<LongReader> {
        let published = self.front.published.load();
        let first = published.readers.oldest().map(|pin| long_reader(&published, pin));
        lists.long_readers().chain(first).collect()
    }

    /// Takes out the image that has the least to catch up, or a place for a new one. `None` if one is
    /// out that has less.
    pub(super) fn take_out(&self, lists: &mut Lists) -> Option<Out<'_>> {
        if lists.nearest_idle().is_none() {
            lists.reap();
        }
        let (idle, published, out) = (lists.nearest_idle(), lists.published, lists.nearest_out());
        // Other readers find the published one meanwhile; so for them an idle one is better.
        let is_published_better =
            published.is_some() && (idle.is_none() || !self.is_read_by_others());
        if out <= published
            && is_published_better
            && let Some(image) = self.withdraw(lists)
        {
            return Some(self.check_out(lists, Some(image)));
        }
        if out > idle {
            return None;
        }
        let image = lists.take_nearest_idle();
        Some(self.check_out(lists, image))
    }

    /// Takes out an idle image, or a place for a new one.
    pub(super) fn check_out(&self, lists: &mut Lists, image: Option<Arc<Image>>) -> Out<'_> {
        let out = self.shelf.take_out(lists, image);
        self.settle(lists);
        out
    }

    /// Brings an image to the visible position, and publishes it. Returns the lists, locked since then:
    /// nobody takes the image out before the caller has it.
    pub(super) fn bring_up(
        &self,
        mut out: Out<'_>,
        log: &dyn Follow,
    ) -> Result<MutexGuard<'_, Lists>> {
        loop {
            let target = log.visible();
            let advanced = self.advance(&mut out, &log.source(), target);
            let mut lists = self.shelf.lock();
            if self.is_behind_floor(&lists, target) && log.visible() > target {
                continue;
            }
            if let Err(error) = advanced {
                // Dropping what is out locks them.
                drop(lists);
                return Err(error);
            }
            if let Some(image) = out.put_back(&mut lists) {
                self.publish(&mut lists, image);
            }
            return Ok(lists);
        }
    }

    /// Applies the records up to `target`. After an error the image is of no use any more.
    pub(super) fn advance(&self, out: &mut Out<'_>, source: &LogSource, target: u64) -> Result<()> {
        let image = out.image(|from| self.open_image(source, from))?;
        image.thaw();
        image.advance(source, target, &mut NothingNoted)
    }

    /// Returns whether an image at `position` must not be used (F4).
    fn is_behind_floor(&self, lists: &Lists, position: u64) -> bool {
        position < lists.floor && !self.mutation.has(Mutation::PublishedBehindFloor)
    }

    /// Publishes an image that nobody else has, unless a newer one is published.
    pub(super) fn publish(&self, lists: &mut Lists, image: Arc<Image>) {
        match lists.published.is_some_and(|at| at > image.position) {
            true => lists.put_idle(image),
            false => self.swap_in(lists, image),
        }
        self.settle(lists);
    }

    /// Publishes an image in the place of one that is no newer.
    pub(super) fn swap_in(&self, lists: &mut Lists, image: Arc<Image>) {
        // Until it is known how many images are retired, nobody goes past the lock.
        self.front.serves_below.store(0, Release);
        self.front.withdrawn.fetch_add(1, SeqCst);
        let was_published = lists.published.replace(image.position).is_some();
        let before = self.front.published.swap(image);
        if was_published {
            lists.take_back(before);
        }
    }

    /// Takes the published image out of use. Returns it if nobody holds it.
    pub(super) fn withdraw(&self, lists: &mut Lists) -> Option<Arc<Image>> {
        /// Tries, while a thread that has just found the image too old drops it.
        const TRIES: usize = 100;
        let position = lists.published.take()?;
        // Readers have seen it: nothing older may take its place.
        lists.floor = lists.floor.max(position);
        self.front.serves_below.store(0, Release);
        self.front.withdrawn.fetch_add(1, SeqCst);
        let mut image = self.front.published.swap(Arc::clone(&self.vacant));
        for _ in 0..TRIES {
            if Arc::get_mut(&mut image).is_some() {
                return Some(image);
            }
            if image.readers.is_held() {
                break;
            }
            std::hint::spin_loop();
        }
        lists.retire(image);
        None
    }

    /// Returns whether a reader has the published image. One that is about to count itself may be
    /// missed.
    pub(super) fn is_published_held(&self) -> bool {
        self.front.published.load().readers.is_held()
    }

    pub(super) fn published_heap_bytes(&self) -> u64 {
        self.front.published.load().heap_bytes()
    }

    pub(super) fn published_clean_since(&self) -> u64 {
        self.front.published.load().clean_since
    }

    pub(super) fn published_private_bytes(&self) -> u64 {
        self.front.published.load().private_bytes()
    }

    /// Returns how many images are no longer published. A reader that finds more when it has left than
    /// before it began tells the pool.
    #[inline]
    pub(crate) fn withdrawn(&self) -> u64 {
        self.front.withdrawn.load(Acquire)
    }

    /// Tells readers and commits what they may know without the lock. Called after each change of the
    /// lists.
    pub(super) fn settle(&self, lists: &mut Lists) {
        lists.is_read = self.is_read_beside_commits();
        let serves = lists.published.filter(|_| lists.retired() < self.max_held);
        self.front.serves_below.store(serves.map_or(0, |at| at.saturating_add(1)), Release);
        self.standby.store(lists.nearest_idle().unwrap_or(u64::MAX), Relaxed);
        self.lacks_idle.store(lists.lacks_idle(), Relaxed);
        self.has_surplus.store(lists.has_surplus(), Relaxed);
    }

    /// Returns whether other threads than this one have begun snapshots lately.
    pub(super) fn is_read_by_others(&self) -> bool {
        self.read_lately() & !own_bit() != 0
    }

    /// Returns whether other threads than the one that committed last have: it needs no second image.
    pub(super) fn is_read_beside_commits(&self) -> bool {
        self.read_lately() & !self.committer.load(Relaxed) != 0
    }

    /// Returns whether any threads have.
    pub(super) fn is_read(&self) -> bool {
        self.read_lately() != 0
    }

    fn read_lately(&self) -> u64 {
        // Commits ask: those of a store that nobody reads need no clock.
        let seen = self.read_before.load(Relaxed) | self.front.read_by.load(Relaxed);
        if seen == 0 {
            return 0;
        }
        let (now, looked_at) = (coarse_nanos(), self.looked_at_nanos.load(Relaxed));
        let is_old = now.saturating_sub(looked_at) > READ_FOR_NANOS;
        if is_old && self.looked_at_nanos.compare_exchange(looked_at, now, Relaxed, Relaxed).is_ok()
        {
            self.read_before.store(self.front.read_by.swap(0, Relaxed), Relaxed);
        }
        self.read_before.load(Relaxed) | self.front.read_by.load(Relaxed)
    }

    /// Has readers that begin from now on see everything before `position`, which is visible. A commit
    /// calls it before it returns. If other threads read, it does their work.
    #[inline]
    pub(crate) fn acknowledge(&self, log: &dyn Follow, position: u64) {
        if self.front.serves_below.load(Relaxed) <= position && self.is_read_beside_commits() {
            self.publish_for_readers(log, position);
        }
        self.must_see(position);
    }

    /// Has readers that begin from now on see everything before `position`, and does nothing for them.
    #[inline]
    pub(crate) fn must_see(&self, position: u64) {
        self.front.must_see.fetch_max(position, Release);
    }

    /// Notes that this thread commits.
    #[inline]
    pub(crate) fn note_committer(&self) {
        let own = own_bit();
        if self.committer.load(Relaxed) != own {
            self.committer.store(own, Relaxed);
        }
    }

    #[cold]
    fn publish_for_readers(&self, log: &dyn Follow, position: u64) {
        let mut lists = self.shelf.lock();
        if lists.nearest_idle().is_none() {
            lists.reap();
        }
        // Another commit may be doing it for both.
        if lists.nearest_idle().is_none() && lists.is_publishing() {
            lists = self.shelf.wait(lists);
        }
        let is_published = lists.published.is_some_and(|at| at >= position);
        let is_near = |at: u64| log.visible().saturating_sub(at) <= FAR_BYTES;
        if is_published || !lists.nearest_idle().is_some_and(is_near) {
            // There is none, or it is far: the store's thread is told. Until then readers do it.
            self.settle(&mut lists);
            return;
        }
        self.publish_nearest(lists, log, |_| ());
    }

    /// Does something with the nearest idle image, or a new one, brings it up, and publishes it.
    pub(super) fn publish_nearest<R>(
        &self,
        mut lists: MutexGuard<'_, Lists>,
        log: &dyn Follow,
        act: impl FnOnce(&mut Out<'_>) -> R,
    ) -> R {
        let image = lists.take_nearest_idle();
        let mut out = self.check_out(&mut lists, image);
        out.note_publishing(&mut lists);
        drop(lists);
        let done = act(&mut out);
        // The next reader gets the error, if it comes again.
        drop(self.bring_up(out, log));
        done
    }

    /// Makes nothing for readers to come, until one comes.
    pub(crate) fn expect_no_reader(&self) {
        self.front.read_by.store(0, Relaxed);
        self.read_before.store(0, Relaxed);
    }
}
