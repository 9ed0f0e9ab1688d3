//! Machine pages that checkpoints froze in an image while readers held it.
//!
//! The image does not change as long as readers hold it, so what was frozen is noted beside it, by the
//! checkpoint that froze it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use super::budget::{Charge, Use};
use super::page_set::PageSet;
use crate::map::machine_page_bytes;
use crate::sync::unpoisoned;

#[derive(Default)]
pub(super) struct Frozen {
    /// Locked by a checkpoint, for as long as it takes to note its pages.
    noted: Mutex<Noted>,
    /// The number of pages, which is read without the lock.
    pages: AtomicU64,
}

#[derive(Default)]
struct Noted {
    pages: PageSet,
    charge: Option<Charge>,
}

impl Frozen {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        unpoisoned(self.noted.lock())
    }

    /// Notes pages, and counts them beside those of the image.
    pub(super) fn add(&self, pages: impl Iterator<Item = u64>, image: Option<&Charge>) {
        let mut noted = self.noted();
        let Noted { pages: known, charge } = &mut *noted;
        let mut charge = match charge {
            Some(charge) => Some(charge),
            None => image.map(|image| charge.insert(image.none_more())),
        };
        for page in pages {
            if known.insert(page)
                && let Some(charge) = &mut charge
            {
                charge.add_page();
            }
        }
        self.pages.store(known.len(), Relaxed);
    }

    /// Adds them to `pages`.
    pub(super) fn add_to(&self, pages: &mut PageSet) {
        if self.pages.load(Relaxed) > 0 {
            pages.insert_all(&self.noted().pages);
        }
    }

    /// Forgets those that are among `spilled`: a file has them now.
    pub(super) fn forget(&self, spilled: &PageSet) {
        let mut noted = self.noted();
        noted.pages = noted.pages.without(spilled);
        let left = noted.pages.len();
        if let Some(charge) = &mut noted.charge {
            charge.reduce_to(left);
        }
        self.pages.store(left, Relaxed);
    }

    /// Counts them for another use.
    pub(super) fn charge_as(&self, usage: Use) {
        if self.pages.load(Relaxed) == 0 {
            return;
        }
        if let Some(charge) = &self.noted().charge {
            charge.move_to(usage);
        }
    }

    /// Forgets them, and returns them.
    pub(super) fn take(&mut self) -> PageSet {
        *self.pages.get_mut() = 0;
        std::mem::take(unpoisoned(self.noted.get_mut())).pages
    }

    pub(super) fn bytes(&self) -> u64 {
        self.pages.load(Relaxed) * machine_page_bytes()
    }
}
