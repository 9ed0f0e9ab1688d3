//! What images keep in memory for themselves, counted against a budget.
//!
//! **Owns** the counters, and what follows from them alone: whether a checkpoint is due, whether
//! clean pages may stay, whether the next transaction waits. **Must not know** who gives memory
//! back, or how.
//!
//! A page counts from its first change in an image on, so the kernel may have fewer private pages
//! than are counted, never more. The counters order nothing and are relaxed: a decision that comes a
//! page too late is as good.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::map::{ForkGuard, machine_page_bytes};
use crate::sync::unpoisoned;

use super::memory_limit::memory_limit_bytes;

/// The default budget: this part of the memory that the process may use, within these bounds. A
/// changed page takes memory twice, as a private copy and in the page cache, and a store that is
/// larger than memory lives from that cache.
const DEFAULT_SHARE: u64 = 4;
const DEFAULT_BYTES: RangeInclusive<u64> = 16 << 20..=2 << 30;
/// A smaller budget keeps nothing after a checkpoint, but does not cause one before this much is
/// private: each commit would be followed by a checkpoint.
const MIN_BYTES: u64 = 1 << 20;
/// What readers hold is spilled beyond this part of the budget.
const HELD_SHARE: u64 = 2;

/// A bound on private memory, which all stores of the process share that do not set their own.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: u64,
    /// Bytes that can be given back after a checkpoint, at the latest.
    returnable: AtomicU64,
    /// Bytes of images that readers hold.
    held: AtomicU64,
    /// Bytes of the writers' pages that other images will copy.
    reserved: AtomicU64,
    stores: AtomicU64,
    /// Whether the kernel last refused to take memory back, because the program locks its own.
    is_locked: AtomicBool,
}

/// What an image is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Writer,
    /// Images that the next reader may get.
    Readers,
    Checkpoint,
    /// Images that readers hold and nobody else will get, with their frozen pages.
    Held,
}

/// One store's part of a budget.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Arc<Budget>,
    /// Bytes by [`Use`].
    bytes: [AtomicU64; 4],
    reserved: AtomicU64,
}

/// What one image has of an account; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    usage: AtomicUsize,
    pages: AtomicU64,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            returnable: AtomicU64::new(0),
            held: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            stores: AtomicU64::new(0),
            is_locked: AtomicBool::new(false),
        })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the budget of the stores that do not set one.
    pub(crate) fn of_process() -> Arc<Self> {
        static BUDGET: Mutex<Option<(ForkGuard, Arc<Budget>)>> = Mutex::new(None);
        let mut budget = unpoisoned(BUDGET.lock());
        match &*budget {
            Some((origin, budget)) if origin.is_same_process() => Arc::clone(budget),
            // A forked child has none of its parent's images, and forgets its counts.
            _ => {
                let new = Self::new(default_bytes(memory_limit_bytes()));
                *budget = Some((ForkGuard::here(), Arc::clone(&new)));
                new
            }
        }
    }

    /// Returns what the images that nobody holds may take. Held ones take at most half of the budget
    /// away from them, and exceed it beyond that: no checkpoint could give it back, so waiting for
    /// one would end all writing.
    fn allowed_bytes(&self) -> u64 {
        self.bytes - self.held.load(Relaxed).min(self.bytes / 2)
    }
}

/// Returns the default budget where `limit_bytes` of memory can be used.
fn default_bytes(limit_bytes: u64) -> u64 {
    (limit_bytes / DEFAULT_SHARE).clamp(*DEFAULT_BYTES.start(), *DEFAULT_BYTES.end())
}

impl Account {
    pub(crate) fn new(budget: Arc<Budget>) -> Arc<Self> {
        budget.stores.fetch_add(1, Relaxed);
        Arc::new(Self { budget, bytes: Default::default(), reserved: AtomicU64::new(0) })
    }

    pub(crate) fn budget_bytes(&self) -> u64 {
        self.budget.bytes
    }

    /// Returns the bytes of all stores that share the budget.
    pub(crate) fn shared_bytes(&self) -> u64 {
        self.budget.returnable.load(Relaxed) + self.budget.held.load(Relaxed)
    }

    pub(crate) fn bytes(&self, usage: Use) -> u64 {
        self.bytes[usage as usize].load(Relaxed)
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.budget.is_locked.load(Relaxed)
    }

    /// Notes whether the kernel took memory back. While it refuses, no checkpoint can help, so none
    /// is due for memory's sake, and nobody waits for one.
    pub(crate) fn note_release(&self, is_taken: bool) {
        self.budget.is_locked.store(!is_taken, Relaxed);
    }

    /// Returns this store's bytes that can be given back after a checkpoint.
    fn returnable_bytes(&self) -> u64 {
        [Use::Writer, Use::Readers, Use::Checkpoint].map(|usage| self.bytes(usage)).iter().sum()
    }

    fn stores(&self) -> u64 {
        self.budget.stores.load(Relaxed).max(1)
    }

    /// Returns whether pages that equal the file's may stay private after a checkpoint: the next
    /// change of such a page costs less.
    pub(crate) fn may_keep(&self) -> bool {
        self.returnable_bytes() <= self.budget.allowed_bytes() / 4 / self.stores()
    }

    /// Returns whether images that nobody uses may stay, for the next readers: not where the images
    /// that are used may soon need the memory.
    pub(crate) fn may_keep_idle_images(&self) -> bool {
        self.returnable_and_reserved() <= self.budget.allowed_bytes() / 4 * 3
    }

    /// Returns whether a checkpoint is due, which would write `dirty_bytes`. What other images have
    /// yet to copy of them counts.
    #[inline]
    pub(crate) fn is_checkpoint_due(&self, dirty_bytes: u64) -> bool {
        let allowed = self.budget.allowed_bytes().max(MIN_BYTES);
        self.returnable_and_reserved() > allowed / 2
            && dirty_bytes > (allowed / 8 / self.stores()).max(MIN_BYTES / 8)
            && !self.is_locked()
    }

    /// Reserves what other images will copy of the writer's pages, instead of what was reserved
    /// before. One thread at a time calls it.
    #[inline]
    pub(crate) fn reserve(&self, bytes: u64) {
        let before = self.reserved.load(Relaxed);
        if bytes != before {
            self.reserved.store(bytes, Relaxed);
            self.budget.reserved.fetch_add(bytes.wrapping_sub(before), Relaxed);
        }
    }

    fn returnable_and_reserved(&self) -> u64 {
        self.budget.returnable.load(Relaxed) + self.budget.reserved.load(Relaxed)
    }

    /// Returns whether the next transaction has to wait for a checkpoint. What other images will copy
    /// counts: otherwise the copies would exceed the budget when nobody waits any more. A store
    /// that has little never waits for the memory of another one.
    #[inline]
    pub(crate) fn is_used_up(&self) -> bool {
        let allowed = self.budget.allowed_bytes().max(MIN_BYTES);
        let own = self.returnable_bytes() + self.reserved.load(Relaxed);
        self.returnable_and_reserved() >= allowed
            && own >= (allowed / 2 / self.stores()).max(MIN_BYTES / 2)
            && !self.is_locked()
    }

    /// Returns the part of the budget that readers may hold in memory.
    pub(super) fn held_part(&self) -> u64 {
        self.budget.bytes.max(MIN_BYTES) / HELD_SHARE
    }

    /// Returns whether readers would hold more than that with `coming` bytes. A store that holds little
    /// does not spill for another one. Locked memory cannot be given back.
    pub(crate) fn must_spill(&self, coming: u64) -> bool {
        let part = self.held_part();
        !self.is_locked()
            && self.budget.held.load(Relaxed) + coming > part
            && self.bytes(Use::Held) + coming > part / self.stores()
    }

    fn total_of(&self, usage: usize) -> &AtomicU64 {
        if usage == Use::Held as usize { &self.budget.held } else { &self.budget.returnable }
    }

    fn add(&self, usage: usize, bytes: u64) {
        self.bytes[usage].fetch_add(bytes, Relaxed);
        self.total_of(usage).fetch_add(bytes, Relaxed);
    }

    fn subtract(&self, usage: usize, bytes: u64) {
        self.bytes[usage].fetch_sub(bytes, Relaxed);
        self.total_of(usage).fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.reserve(0);
        self.budget.stores.fetch_sub(1, Relaxed);
    }
}

impl Charge {
    pub(super) fn new(account: &Arc<Account>, usage: Use, pages: u64) -> Self {
        account.add(usage as usize, pages * machine_page_bytes());
        let pages = AtomicU64::new(pages);
        Self { account: Arc::clone(account), usage: AtomicUsize::new(usage as usize), pages }
    }

    /// Returns a charge of no pages for the same use in the same account.
    pub(super) fn none_more(&self) -> Self {
        Self {
            account: Arc::clone(&self.account),
            usage: AtomicUsize::new(self.usage.load(Relaxed)),
            pages: AtomicU64::new(0),
        }
    }

    /// Counts another page.
    #[inline]
    pub(super) fn add_page(&mut self) {
        *self.pages.get_mut() += 1;
        self.account.add(self.usage.load(Relaxed), machine_page_bytes());
    }

    /// Counts no more than `pages`, after others were given back.
    pub(super) fn reduce_to(&mut self, pages: u64) {
        let fewer = self.pages.get_mut().saturating_sub(pages);
        self.give_back(fewer);
    }

    /// Counts `pages` less, of those that are counted, in an image that others have, too. It is not
    /// counted for another use meanwhile: that happens to images that nobody else has yet, or any more.
    pub(super) fn give_back(&self, pages: u64) {
        self.pages.fetch_sub(pages, Relaxed);
        self.account.subtract(self.usage.load(Relaxed), pages * machine_page_bytes());
    }

    /// Counts the pages for another use from now on.
    pub(super) fn move_to(&self, usage: Use) {
        let before = self.usage.swap(usage as usize, Relaxed);
        let bytes = self.pages.load(Relaxed) * machine_page_bytes();
        self.account.subtract(before, bytes);
        self.account.add(usage as usize, bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.reduce_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    fn pages_of_mib() -> u64 {
        MIB / machine_page_bytes()
    }

    #[test]
    fn the_default_is_a_quarter_within_bounds() {
        let limits = [16, 256, 512, 4096, 1 << 20].map(|limit| limit * MIB);
        let defaults = limits.map(|limit| default_bytes(limit) / MIB);
        assert_eq!(defaults, [16, 64, 128, 1024, 2048]);
    }

    #[test]
    fn charges_are_counted_where_they_are_used() {
        let account = Account::new(Budget::new(64 * MIB));
        let mut charge = Charge::new(&account, Use::Readers, 3);
        charge.add_page();
        assert_eq!(account.bytes(Use::Readers), 4 * machine_page_bytes());
        charge.move_to(Use::Held);
        assert_eq!(
            (account.bytes(Use::Readers), account.bytes(Use::Held)),
            (0, 4 * machine_page_bytes())
        );
        assert_eq!(account.shared_bytes(), 4 * machine_page_bytes());
        charge.reduce_to(1);
        assert_eq!(account.shared_bytes(), machine_page_bytes());
        drop(charge);
        assert_eq!((account.shared_bytes(), account.bytes(Use::Held)), (0, 0));
    }

    #[test]
    fn thresholds_follow_each_other() {
        let account = Account::new(Budget::new(64 * MIB));
        let mut writer = Charge::new(&account, Use::Writer, 0);
        let mut reached = [None; 3];
        for mib in 0..=64 {
            let dirty = *writer.pages.get_mut() * machine_page_bytes();
            account.reserve(2 * dirty);
            let now = [!account.may_keep(), account.is_checkpoint_due(dirty), account.is_used_up()];
            for (reached, now) in reached.iter_mut().zip(now) {
                *reached = reached.or(now.then_some(mib));
            }
            (0..pages_of_mib()).for_each(|_| writer.add_page());
        }
        // The checkpoint's image and the readers' copy what is dirty, so it begins at a sixth.
        assert_eq!(reached, [Some(17), Some(11), Some(22)]);
    }

    #[test]
    fn copies_count_before_they_are_made() {
        let account = Account::new(Budget::new(64 * MIB));
        let _writer = Charge::new(&account, Use::Writer, 32 * pages_of_mib());
        account.reserve(31 * MIB);
        assert!(!account.is_used_up());
        account.reserve(32 * MIB);
        assert!(account.is_used_up());
        assert_eq!(account.shared_bytes(), 32 * MIB, "it is no memory yet");
        account.reserve(0);
        assert!(!account.is_used_up());
    }

    #[test]
    fn what_readers_hold_stops_nobody() {
        let account = Account::new(Budget::new(64 * MIB));
        let _held = Charge::new(&account, Use::Held, 1000 * pages_of_mib());
        assert!(account.may_keep() && !account.is_used_up());
        assert!(!account.is_checkpoint_due(0), "no checkpoint gives it back");
        let _writer = Charge::new(&account, Use::Writer, 32 * pages_of_mib());
        assert!(account.is_used_up(), "half of the budget is left");
    }

    #[test]
    fn readers_hold_half_of_the_budget_in_memory() {
        let budget = Budget::new(64 * MIB);
        let [one, other] = [(); 2].map(|()| Account::new(Arc::clone(&budget)));
        let held = Charge::new(&one, Use::Held, 31 * pages_of_mib());
        assert!(!one.must_spill(MIB) && one.must_spill(MIB + 1));
        assert!(!other.must_spill(16 * MIB), "it holds little itself");
        assert!(other.must_spill(16 * MIB + 1));
        held.give_back(30 * pages_of_mib());
        assert!(!one.must_spill(31 * MIB) && one.bytes(Use::Held) == MIB);
        one.note_release(false);
        assert!(!one.must_spill(100 * MIB), "locked memory stays where it is");
        assert!(!Account::new(Budget::new(0)).must_spill(MIN_BYTES / 2));
    }

    #[test]
    fn a_store_with_little_does_not_wait_for_another_one() {
        let budget = Budget::new(64 * MIB);
        let [large, small] = [(); 2].map(|()| Account::new(Arc::clone(&budget)));
        let _large = Charge::new(&large, Use::Writer, 100 * pages_of_mib());
        let mut charge = Charge::new(&small, Use::Writer, pages_of_mib());
        assert!(large.is_used_up() && !small.is_used_up());
        (0..16 * pages_of_mib()).for_each(|_| charge.add_page());
        assert!(small.is_used_up(), "it has its own share by now");
    }

    #[test]
    fn among_many_stores_each_has_a_share_that_is_worth_a_checkpoint() {
        let budget = Budget::new(16 * MIB);
        let accounts: Vec<_> = (0..512).map(|_| Account::new(Arc::clone(&budget))).collect();
        let _idle = Charge::new(&accounts[0], Use::Writer, 20 * pages_of_mib());
        let own = Charge::new(&accounts[1], Use::Writer, pages_of_mib() / 16);
        assert!(!accounts[1].is_used_up() && !accounts[1].is_checkpoint_due(MIB / 16));
        assert!(accounts[1].is_checkpoint_due(MIB / 4));
        drop(own);
    }

    #[test]
    fn memory_that_is_locked_stops_nobody() {
        let account = Account::new(Budget::new(64 * MIB));
        let _writer = Charge::new(&account, Use::Writer, 100 * pages_of_mib());
        account.note_release(false);
        assert!(!account.is_used_up() && !account.is_checkpoint_due(50 * MIB));
        account.note_release(true);
        assert!(account.is_used_up() && account.is_checkpoint_due(50 * MIB));
    }
}
