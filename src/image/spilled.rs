//! Machine pages of an image that a file has taken over, while readers held it.
//!
//! The image does not change as long as readers hold it, and never again once pages of it are spilled:
//! it is dropped when the last reader leaves.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use super::page_set::PageSet;
use crate::map::{SpillFile, machine_page_bytes};
use crate::sync::unpoisoned;

/// What the files of one store take, and all mappings of the process.
pub(super) struct Space {
    pub(super) bytes: AtomicU64,
    pub(super) mappings: Arc<AtomicU64>,
}

#[derive(Default)]
pub(super) struct Spilled {
    /// Locked while pages are copied, into memory or into the file. No reader takes it.
    state: Mutex<State>,
    /// The number of spilled pages, and of those among them that the image counts as touched. They are
    /// read without the lock.
    pages: AtomicU64,
    touched: AtomicU64,
}

#[derive(Default)]
pub(super) struct State {
    /// Once there is a spilled page.
    pub(super) file: Option<SpillFile>,
    pub(super) pages: PageSet,
    /// The length of a run; 0 until the first is spilled.
    pub(super) run_pages: u64,
    /// Mappings that the spilled runs have cost.
    mappings: u64,
    space: Option<Arc<Space>>,
}

impl Spilled {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    /// Notes that so many pages more are spilled, of which so many are touched.
    pub(super) fn note(&self, pages: u64, touched: u64) {
        self.pages.fetch_add(pages, Relaxed);
        self.touched.fetch_add(touched, Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.pages.load(Relaxed) * machine_page_bytes()
    }

    pub(super) fn touched_pages(&self) -> u64 {
        self.touched.load(Relaxed)
    }
}

impl State {
    /// Adds a run. The space that it takes counts until the image is dropped.
    pub(super) fn add_run(&mut self, first: u64, pages: u64, space: &Arc<Space>) {
        // One that stands alone splits a mapping in three; one between two others joins three to one.
        let before = self.mappings;
        self.mappings += 2;
        self.mappings -= 2 * self.neighbours(first, pages);
        self.pages.insert_range(first, pages);
        let space = self.space.get_or_insert_with(|| Arc::clone(space));
        space.mappings.fetch_add(self.mappings.wrapping_sub(before), Relaxed);
    }

    /// Returns on how many sides of a run there are spilled pages.
    pub(super) fn neighbours(&self, first: u64, pages: u64) -> u64 {
        let before = first > 0 && self.pages.contains(first - 1);
        u64::from(before) + u64::from(self.pages.contains(first + pages))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(space) = &self.space {
            space.bytes.fetch_sub(self.pages.len() * machine_page_bytes(), Relaxed);
            space.mappings.fetch_sub(self.mappings, Relaxed);
        }
    }
}
