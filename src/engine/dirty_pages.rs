//! Which heap pages the file may lack.
//!
//! **Owns** the pages that records have changed since the newest superblock's position, so that
//! nobody has to scan the log for them. **Must not know** what a record is, or who writes pages.
//!
//! `Q1` A page is noted in the critical section that moves `Tail::appended` past its record, or,
//! for another process's record, when this process follows it. So whoever reads both under the
//! log's lock finds every page of every record. `Q2` A page leaves the set only when a superblock
//! names a position after each record that changed it. Until then its page in the file may be old,
//! and an image must keep its private copy.

use std::sync::Arc;

use crate::image::PageSet;

/// The pages that records have changed since the newest superblock's position.
///
/// They lie in two windows, split where the last checkpoint began: that checkpoint writes the pages
/// of the first, and drops them when its superblock names its begin. A checkpoint that fails leaves
/// both to the next one.
#[derive(Default)]
pub(super) struct DirtyPages {
    /// Changed before the last checkpoint began.
    before: Arc<PageSet>,
    /// Where it began.
    begin: u64,
    /// Whether its image has copied them.
    is_copied: bool,
    /// Changed since.
    since: PageSet,
    /// The number of pages in each, and the memory that copies of them take: each commit asks.
    before_memory: Memory,
    since_memory: Memory,
    /// The pages of all records up to here are noted.
    noted_to: u64,
    /// The end of the last record that another process appended. Its pages are noted only when this
    /// process follows it.
    others_to: u64,
}

/// The memory that copies of a set's pages take, which changes with their number.
#[derive(Clone, Copy, Default)]
struct Memory {
    pages: u64,
    bytes: u64,
}

impl Memory {
    fn of(set: &PageSet) -> Self {
        Self { pages: set.len(), bytes: set.memory_bytes() }
    }

    /// Counts again if pages were added.
    fn follow(&mut self, set: &PageSet) {
        if set.len() != self.pages {
            *self = Self::of(set);
        }
    }
}

impl DirtyPages {
    /// Returns the set for a file that is complete up to `position`.
    pub(super) fn new(position: u64) -> Self {
        Self { begin: position, noted_to: position, ..Self::default() }
    }

    /// Notes what a record that ends at `end` changes, as `(first, count)`.
    pub(super) fn note(&mut self, end: u64, changed: &[(u64, u64)]) {
        changed.iter().for_each(|(first, count)| self.since.insert_range(*first, *count));
        self.since_memory.follow(&self.since);
        self.noted_to = end;
    }

    /// Notes what other processes' records from `noted_to` up to `end` change.
    pub(super) fn note_followed(&mut self, end: u64, changed: &PageSet) {
        self.since.insert_all(changed);
        self.since_memory.follow(&self.since);
        self.noted_to = self.noted_to.max(end);
    }

    /// Notes that records up to `end` are others', not followed yet.
    pub(super) fn miss_until(&mut self, end: u64) {
        self.others_to = end;
    }

    pub(super) fn noted_to(&self) -> u64 {
        self.noted_to
    }

    /// Begins the window of a checkpoint at `position`.
    pub(super) fn begin_window(&mut self, position: u64) {
        // Pages noted after `position` belong to the window that begins there, and a window never
        // moves back. Only a barrier that was given up can lie that far back, and no superblock will
        // name it.
        if position < self.noted_to.max(self.begin) {
            return;
        }
        let since = std::mem::take(&mut self.since);
        match self.before.len() {
            0 => self.before = Arc::new(since),
            _ => Arc::make_mut(&mut self.before).insert_all(&since),
        }
        self.before_memory = Memory::of(&self.before);
        self.since_memory = Memory::default();
        self.begin = position;
        self.is_copied = false;
    }

    /// Returns the pages that the checkpoint which began last has to write, given what it `followed`
    /// itself: all that changed between the superblock's position and `begin`. Its image has copied
    /// them.
    ///
    /// Where others write, what was noted in time does not matter: a transaction of this process may
    /// have followed their records after the window began, and noted their pages in the next one.
    pub(super) fn before(&mut self, followed: &PageSet) -> Arc<PageSet> {
        if self.others_to > 0 {
            Arc::make_mut(&mut self.before).insert_all(followed);
            self.before_memory.follow(&self.before);
            self.noted_to = self.noted_to.max(self.begin);
        }
        self.is_copied = true;
        Arc::clone(&self.before)
    }

    /// Drops what the file has, now that a superblock names `position` or a later one. A transaction
    /// that opens its image again may learn of an older one while a checkpoint runs, which needs its
    /// window.
    pub(super) fn superblock_moved(&mut self, position: u64) {
        if position < self.begin {
            return;
        }
        if position >= self.noted_to {
            *self = Self { others_to: self.others_to, ..Self::new(position) };
        } else {
            self.before = Arc::default();
            self.before_memory = Memory::default();
        }
    }

    /// Returns the memory that copies of the pages take which changed since the last checkpoint began.
    pub(super) fn bytes_since_begin(&self) -> u64 {
        self.since_memory.bytes
    }

    /// Returns the memory that copies of all of them take; a page in both windows counts twice.
    pub(super) fn bytes(&self) -> u64 {
        self.before_memory.bytes + self.since_memory.bytes
    }

    /// Returns the memory of the copies that checkpoints have yet to make.
    pub(super) fn uncopied_bytes(&self) -> u64 {
        let before = if self.is_copied { 0 } else { self.before_memory.bytes };
        before + self.since_memory.bytes
    }

    /// Returns all of them.
    pub(super) fn all(&self) -> PageSet {
        let mut all = PageSet::clone(&self.before);
        all.insert_all(&self.since);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(set: &PageSet) -> Vec<u64> {
        set.iter().collect()
    }

    #[test]
    fn a_page_stays_until_a_superblock_passes_its_record() {
        let mut dirty = DirtyPages::new(10);
        dirty.note(20, &[(1, 2)]);
        dirty.begin_window(24);
        dirty.note(30, &[(2, 1), (7, 1)]);
        assert_eq!(pages(&dirty.before(&PageSet::default())), [1, 2]);
        dirty.superblock_moved(10);
        assert_eq!(pages(&dirty.all()), [1, 2, 7]);
        dirty.superblock_moved(24);
        assert_eq!(pages(&dirty.all()), [2, 7]);
    }

    #[test]
    fn a_checkpoint_that_failed_leaves_its_pages_to_the_next() {
        let mut dirty = DirtyPages::new(0);
        for round in 0..3 {
            dirty.note(10 * round + 10, &[(round, 1)]);
            dirty.begin_window(10 * round + 10);
        }
        assert_eq!(pages(&dirty.before(&PageSet::default())), [0, 1, 2]);
        dirty.superblock_moved(30);
        assert_eq!(dirty.all().len(), 0);
    }

    #[test]
    fn the_checkpoint_adds_what_it_followed_of_other_processes() {
        let mut followed = PageSet::default();
        followed.insert(9);
        let mut dirty = DirtyPages::new(0);
        dirty.note(10, &[(1, 1)]);
        dirty.begin_window(12);
        assert_eq!(pages(&dirty.before(&followed)), [1], "all was noted at its append");
        dirty.miss_until(20);
        dirty.begin_window(20);
        assert_eq!(pages(&dirty.before(&followed)), [1, 9]);
        assert_eq!(dirty.noted_to(), 20);
    }

    #[test]
    fn a_transaction_that_follows_meanwhile_takes_nothing_from_the_checkpoint() {
        let mut followed = PageSet::default();
        followed.insert(9);
        let mut dirty = DirtyPages::new(0);
        dirty.miss_until(20);
        dirty.begin_window(20);
        dirty.note_followed(20, &followed);
        dirty.note(30, &[(4, 1)]);
        assert_eq!(pages(&dirty.before(&followed)), [9]);
        assert_eq!(dirty.noted_to(), 30);
        dirty.superblock_moved(20);
        assert!(dirty.all().contains(4));
    }

    #[test]
    fn an_old_superblock_takes_nothing_from_a_checkpoint_that_runs() {
        let mut followed = PageSet::default();
        followed.insert(9);
        let mut dirty = DirtyPages::new(10);
        dirty.miss_until(20);
        dirty.begin_window(20);
        dirty.superblock_moved(10);
        dirty.begin_window(15);
        dirty.note_followed(20, &followed);
        assert_eq!(pages(&dirty.before(&followed)), [9]);
        dirty.superblock_moved(20);
        assert_eq!(dirty.all().len(), 0);
    }

    #[test]
    fn a_barrier_that_was_given_up_splits_nothing() {
        let mut dirty = DirtyPages::new(0);
        dirty.note(10, &[(1, 1)]);
        dirty.begin_window(5);
        dirty.superblock_moved(5);
        assert_eq!(pages(&dirty.all()), [1]);
        dirty.begin_window(12);
        dirty.begin_window(11);
        dirty.note(20, &[(2, 1)]);
        dirty.superblock_moved(11);
        assert_eq!(pages(&dirty.all()), [1, 2]);
        dirty.superblock_moved(40);
        assert_eq!((dirty.all().len(), dirty.noted_to()), (0, 40));
    }
}
