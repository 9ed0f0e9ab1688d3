//! The pool's part in checkpoints, budgets and reports.

use std::sync::Arc;
use std::time::Duration;

use super::budget::Use;
use super::lists::Lists;
use super::open::Checkpointed;
use super::out::Out;
use super::page_set::PageSet;
use super::pool::{FAR_BYTES, Follow, Pool};
use super::reader::LongReader;
use super::view::Image;
use crate::error::Result;
use crate::map::machine_page_bytes;
use crate::sync::atomic::Ordering::Relaxed;

/// Runs of pages that are given back in one step: some hundred microseconds, since the kernel tells the
/// other processors of each.
const RUNS_AT_ONCE: usize = 32;

/// Images that are no longer kept. They are dropped without the pool's lock: unmapping takes time.
pub(crate) type Surplus = Vec<Arc<Image>>;

/// The pool's part of `stats`.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolStats {
    pub(crate) held: usize,
    pub(crate) idle: usize,
    pub(crate) oldest: Option<LongReader>,
    pub(crate) held_private_bytes: u64,
    pub(crate) private_bytes: u64,
    /// Bytes of the files that hold pages for readers, and whether there may be no more.
    pub(crate) spilled_bytes: u64,
    pub(crate) is_spill_refused: bool,
}

impl Pool {
    /// Does something with the lists; returns also the images that are no longer kept.
    fn change_with<R>(&self, change: impl FnOnce(&mut Lists) -> R) -> (R, Surplus) {
        let mut lists = self.shelf.lock();
        let done = change(&mut lists);
        let surplus = lists.take_surplus();
        self.settle(&mut lists);
        (done, surplus)
    }

    /// Does something with the lists, and returns the images that are no longer kept.
    pub(super) fn change(&self, change: impl FnOnce(&mut Lists)) -> Surplus {
        self.change_with(change).1
    }

    /// Does something with the lists, and drops the images that are no longer kept.
    pub(super) fn change_and_drop<R>(&self, change: impl FnOnce(&mut Lists) -> R) -> R {
        let (done, surplus) = self.change_with(change);
        drop(surplus);
        done
    }

    #[cfg(test)]
    pub(crate) fn with_lists_locked(&self, act: impl FnOnce()) {
        let _lists = self.shelf.lock();
        act();
    }

    /// Updates the lists after a reader has left a retired image.
    pub(crate) fn reader_left(&self) -> Surplus {
        self.change(Lists::reader_left)
    }

    /// Brings readers' image to the visible position, if they have one, and publishes it.
    pub(crate) fn refresh(&self, log: &dyn Follow) -> Result<()> {
        let mut lists = self.shelf.lock();
        lists.reap();
        let visible = log.visible();
        let newest = lists.published.or(lists.nearest_idle());
        let is_behind = newest.is_some_and(|at| at < visible);
        // If a reader holds it, bringing it forward takes a second image.
        let is_affordable = self.account.may_keep_idle_images() || !self.is_published_held();
        let out = match is_behind && is_affordable {
            true => self.take_out(&mut lists),
            false => None,
        };
        self.settle(&mut lists);
        drop(lists);
        out.map_or(Ok(()), |out| self.bring_up(out, log).map(drop))
    }

    /// Sees to it that no reader gets an image behind `position` any more (F4), and that those which
    /// readers have by now keep `pages` (F5). No lock is held while these are copied, and nothing is
    /// mapped.
    pub(crate) fn freeze_before(&self, position: u64, pages: &PageSet) -> std::io::Result<()> {
        let held = self.raise_floor(position);
        let frozen = held.iter().try_for_each(|image| image.keep(pages, self.mutation));
        // Their readers may have left meanwhile.
        drop(held);
        self.change_and_drop(Lists::reap);
        frozen
    }

    /// Returns whether readers may have more memory than is their part of the budget, if each image that
    /// they hold keeps so much more.
    pub(crate) fn lacks_room(&self, more_bytes: u64) -> bool {
        let images = self.shelf.lock().retired() as u64;
        let (images, bytes) = match self.is_published_held() {
            true => (images + 1, self.published_private_bytes()),
            false => (images, 0),
        };
        images > 0 && self.account.must_spill(images * more_bytes + bytes)
    }

    /// Spills what readers hold, until the images behind `position` may keep `pages` within readers' part
    /// of the budget, or `go_on` says no. No lock is held meanwhile, and no reader waits.
    pub(crate) fn make_room(&self, position: u64, pages: &PageSet, go_on: &dyn Fn() -> bool) {
        let held = self.shelf.lock().retired_before(u64::MAX);
        self.spiller.make_room(&held, position, pages, go_on);
        drop(held);
        self.change_and_drop(Lists::reap);
    }

    /// Does so before it is known which pages are to come.
    pub(crate) fn make_some_room(&self, go_on: &dyn Fn() -> bool) {
        let held = self.shelf.lock().retired_before(u64::MAX);
        self.spiller.make_some_room(&held, go_on);
        drop(held);
        self.change_and_drop(Lists::reap);
    }

    /// Sees to it that no reader gets an image behind `position` any more (F4). Returns those which
    /// readers have by now.
    pub(crate) fn raise_floor(&self, position: u64) -> Vec<Arc<Image>> {
        let mut lists = self.shelf.lock();
        lists.floor = lists.floor.max(position);
        self.withdraw_before(&mut lists, position);
        lists.reap();
        self.settle(&mut lists);
        lists.retired_before(position)
    }

    pub(super) fn withdraw_before(&self, lists: &mut Lists, position: u64) {
        if lists.published.is_some_and(|at| at < position)
            && let Some(image) = self.withdraw(lists)
        {
            lists.put_idle(image);
        }
    }

    /// Notes a finished checkpoint: images begin from `checkpoint`, and the log before `start` is about
    /// to be freed. Waits until no thread needs it.
    pub(crate) fn checkpointed(&self, checkpoint: Checkpointed, start: u64) -> Surplus {
        let mut lists = self.shelf.lock();
        lists.checkpointed(checkpoint, start);
        self.withdraw_before(&mut lists, start);
        // Whoever has one out holds no lock, and none begins before `start` from here on.
        while lists.is_out_before(start) {
            lists = self.shelf.wait(lists);
        }
        lists.reap();
        let surplus = lists.take_surplus();
        self.settle(&mut lists);
        surplus
    }

    /// Gives up the idle images if the budget asks for their memory, and commits do not need one for
    /// readers.
    pub(crate) fn release_idle(&self) -> Surplus {
        match self.account.may_keep() {
            true => Surplus::new(),
            false if self.is_standby_wanted() => self.change(|lists| {
                lists.reap();
                lists.keep_one_idle();
            }),
            false => self.change(|lists| {
                lists.reap();
                lists.drop_idle();
            }),
        }
    }

    /// Gives up all images that no reader holds if the budget asks for their memory, and leaves the
    /// published one to the readers that hold it: the next reader gets a new one, without private
    /// pages.
    pub(crate) fn release(&self) -> Surplus {
        match self.account.may_keep() {
            true => Surplus::new(),
            false => self.change(|lists| self.drop_unheld(lists)),
        }
    }

    fn drop_unheld(&self, lists: &mut Lists) {
        if let Some(image) = self.withdraw(lists) {
            lists.give_up(image);
        }
        lists.reap();
        lists.drop_idle();
    }

    /// Gives memory back if the budget asks for it, after a checkpoint at `start`. Of the images that the
    /// next readers would get, nothing stays private but the pages of `changed`: those that have changed
    /// since, before the visible position. Of a store that nobody reads, all are dropped that no reader
    /// holds.
    pub(crate) fn release_after_checkpoint(
        &self,
        log: &dyn Follow,
        start: u64,
        changed: &dyn Fn() -> PageSet,
    ) {
        if self.account.may_keep() {
            return;
        }
        if !self.is_read() {
            return drop(self.release());
        }
        drop(self.release_idle());
        match self.is_standby_wanted() {
            true => self.clean_by_turns(log, start, changed),
            false => self.clean_published(log, start, changed),
        }
    }

    /// Gives memory of the published image back, a little at a time. A reader that comes meanwhile waits
    /// for that.
    fn clean_published(&self, log: &dyn Follow, start: u64, changed: &dyn Fn() -> PageSet) {
        loop {
            let mut lists = self.shelf.lock();
            // One that a reader holds stays as it is: the next commit makes it old.
            if self.is_published_held() {
                return;
            }
            let Some(image) = self.withdraw(&mut lists) else { return };
            let mut out = self.check_out(&mut lists, Some(image));
            drop(lists);
            let is_rest = self.clean_some(&mut out, log, start, changed);
            // The next reader gets an error, if it comes again.
            if self.bring_up(out, log).is_err() || !is_rest {
                return;
            }
        }
    }

    /// Gives memory of the published image and the standby back, by turns: each is cleaned a little,
    /// brought up and published. So a commit does not wait for long until it finds one of them.
    fn clean_by_turns(&self, log: &dyn Follow, start: u64, changed: &dyn Fn() -> PageSet) {
        // Commits swap the two as well, so the same one may have several turns.
        let private = self.account.bytes(Use::Readers) / machine_page_bytes();
        for _ in 0..8 + private / RUNS_AT_ONCE as u64 {
            let lists = self.shelf.lock();
            let published = self.published_clean_since();
            if lists.published.is_none() || published >= start && lists.is_idle_clean(start) {
                return;
            }
            self.publish_nearest(lists, log, |out| self.clean_some(out, log, start, changed));
        }
    }

    /// Gives some memory back; returns whether more is left.
    fn clean_some(
        &self,
        out: &mut Out<'_>,
        log: &dyn Follow,
        start: u64,
        changed: &dyn Fn() -> PageSet,
    ) -> bool {
        let Ok(image) = out.image(|from| self.open_image(&log.source(), from)) else {
            return false;
        };
        if image.clean_since >= start {
            return false;
        }
        image.thaw();
        // Each step goes through a bit for each page, so there are fewer steps in a long heap.
        let runs = RUNS_AT_ONCE.max((image.heap_pages() / 8192) as usize);
        // A page that cannot be released stays private, which is also correct.
        let is_rest = image.release_runs(&changed(), runs).unwrap_or(false);
        if !is_rest {
            image.clean_since = start;
        }
        is_rest
    }

    /// Prepares for the next readers, after a checkpoint: little is to be applied to an image that begins
    /// now. A store that nobody reads needs no standby.
    pub(crate) fn renew(&self, log: &dyn Follow) -> Surplus {
        if !self.is_read() {
            return self.change(Lists::drop_idle);
        }
        if self.is_standby_wanted() {
            self.make_standby(log);
        }
        Surplus::new()
    }

    /// Returns whether the store's thread should make a standby: the next reader would have to make an
    /// image from the file, while readers hold the last one, or much is to be applied to the standby.
    #[inline]
    pub(crate) fn lacks_standby(&self, visible: u64) -> bool {
        let is_far = visible.saturating_sub(self.standby.load(Relaxed)) > FAR_BYTES;
        (is_far || self.lacks_idle.load(Relaxed)) && self.is_standby_wanted()
    }

    fn is_standby_wanted(&self) -> bool {
        self.is_read_beside_commits() && !self.account.is_used_up()
    }

    /// Makes an idle image if there is none, and brings the nearest one to the visible position.
    pub(crate) fn make_standby(&self, log: &dyn Follow) {
        let mut lists = self.shelf.lock();
        let image = match lists.take_nearest_idle() {
            None if lists.nearest_out().is_some() => return,
            image => image,
        };
        let out = self.check_out(&mut lists, image);
        drop(lists);
        self.bring_near(out, log);
    }

    /// Drops the images that are no longer kept: not readers, which would wait for it.
    #[inline]
    pub(crate) fn drop_surplus(&self) {
        if self.has_surplus.load(Relaxed) {
            self.change_and_drop(|_| ());
        }
    }

    /// Returns how many images may come to copy what the writer has changed.
    #[inline]
    pub(crate) fn followers(&self) -> u64 {
        1 + u64::from(self.standby.load(Relaxed) != u64::MAX)
    }

    /// Brings an image to the visible position, and keeps it idle unless readers need it. While it is
    /// idle, it is not usable, so the floor does not matter.
    fn bring_near(&self, mut out: Out<'_>, log: &dyn Follow) {
        let target = log.visible();
        // An image behind the floor may fail for no reason that matters. The next reader gets an error
        // that comes again.
        if self.advance(&mut out, &log.source(), target).is_ok() {
            let mut lists = self.shelf.lock();
            let is_behind = lists.published.is_some_and(|at| at < target);
            let is_usable = is_behind && target >= lists.floor && self.is_read_beside_commits();
            match out.put_back(&mut lists) {
                Some(image) if is_usable => self.publish(&mut lists, image),
                Some(image) => lists.put_idle(image),
                None => {}
            }
            self.settle(&mut lists);
        }
    }

    /// Drops all images that no reader holds. Returns whether none is left.
    pub(crate) fn forget_all(&self) -> bool {
        self.change_and_drop(|lists| {
            self.drop_unheld(lists);
            lists.retired() == 0
        })
    }

    /// Returns the largest length of the heap in any image.
    pub(crate) fn longest_heap_bytes(&self) -> u64 {
        let lists = self.shelf.lock();
        lists.longest_heap_bytes().max(self.published_heap_bytes())
    }

    /// Returns the readers that have held an image for longer than `age`, each only once. Covers only
    /// images that a commit has made old, since the others cost nothing.
    pub(crate) fn take_long_readers(&self, age: Duration) -> Vec<LongReader> {
        self.change_and_drop(|lists| {
            lists.reap();
            lists.take_long_readers(age)
        })
    }

    pub(crate) fn stats(&self) -> PoolStats {
        self.change_and_drop(|lists| {
            lists.reap();
            let held = self.held(lists);
            PoolStats {
                held: held.len(),
                idle: lists.idle(),
                held_private_bytes: held.iter().map(|reader| reader.private_bytes).sum(),
                oldest: held.into_iter().max_by_key(|reader| reader.age),
                private_bytes: lists.private_bytes() + self.published_private_bytes(),
                spilled_bytes: self.spiller.bytes(),
                is_spill_refused: self.spiller.is_refused(),
            }
        })
    }
}
