//! The lines and pages that a transaction has touched, as a few bits for each.

use crate::format::LINES_PER_PAGE;
use crate::format::heap::PAGES_PER_SEGMENT;

/// The bits for the pages of one segment.
struct Segment {
    lines: [u64; PAGES_PER_SEGMENT as usize],
    fresh: [u64; PAGES_PER_SEGMENT as usize / 64],
    released: [u64; PAGES_PER_SEGMENT as usize / 64],
}

/// The touched lines and pages. A two-level table, so its size follows what was touched, not the
/// heap.
#[derive(Default)]
pub(crate) struct DirtyLines {
    segments: Vec<Option<Box<Segment>>>,
    /// Pages with a dirty line, each once. Separate from pages with a flag, because each savepoint
    /// walks this list, and savepoints may be many.
    lined: Vec<u64>,
    flagged: Vec<u64>,
}

impl DirtyLines {
    /// Returns whether `line` is not marked dirty. Taking a page into use marks all its lines: it
    /// has no state from before the transaction to save.
    #[inline]
    pub(crate) fn is_clean(&self, line: u64) -> bool {
        let page = line / LINES_PER_PAGE;
        let Some(segment) = self.segment(page) else {
            return true;
        };
        segment.lines[index(page)] >> (line % LINES_PER_PAGE) & 1 == 0
    }

    pub(crate) fn mark_dirty(&mut self, line: u64) {
        self.mark_lines_dirty(line / LINES_PER_PAGE, 1 << (line % LINES_PER_PAGE));
    }

    fn mark_lines_dirty(&mut self, page: u64, lines: u64) {
        let marked = &mut self.segment_mut(page).lines[index(page)];
        let is_first = *marked == 0;
        *marked |= lines;
        if is_first {
            self.lined.push(page);
        }
    }

    /// Marks the page as fresh, and all its lines dirty; returns whether it was not fresh before.
    pub(crate) fn set_fresh(&mut self, page: u64) -> bool {
        self.mark_lines_dirty(page, u64::MAX);
        let is_new = set(&mut self.segment_mut(page).fresh, page);
        if is_new {
            self.flagged.push(page);
        }
        is_new
    }

    pub(crate) fn clear_fresh(&mut self, page: u64) {
        let fresh = &mut self.segment_mut(page).fresh;
        fresh[index(page) / 64] &= !(1 << (page % 64));
    }

    pub(crate) fn is_fresh(&self, page: u64) -> bool {
        self.segment(page).is_some_and(|segment| get(&segment.fresh, page))
    }

    /// Records that this transaction has released the page.
    pub(crate) fn set_released(&mut self, page: u64) {
        if set(&mut self.segment_mut(page).released, page) {
            self.flagged.push(page);
        }
    }

    pub(crate) fn is_released(&self, page: u64) -> bool {
        self.segment(page).is_some_and(|segment| get(&segment.released, page))
    }

    /// Unmarks all lines; each is saved again before its next change.
    pub(crate) fn forget_lines(&mut self) {
        for page in self.lined.drain(..) {
            if let Some(segment) = &mut self.segments[(page / PAGES_PER_SEGMENT) as usize] {
                segment.lines[index(page)] = 0;
            }
        }
    }

    /// Clears all bits, at a cost that follows the number of marked pages.
    pub(crate) fn clear(&mut self) {
        self.forget_lines();
        for page in self.flagged.drain(..) {
            if let Some(segment) = &mut self.segments[(page / PAGES_PER_SEGMENT) as usize] {
                segment.fresh[index(page) / 64] = 0;
                segment.released[index(page) / 64] = 0;
            }
        }
    }

    #[inline]
    fn segment(&self, page: u64) -> Option<&Segment> {
        self.segments.get((page / PAGES_PER_SEGMENT) as usize)?.as_deref()
    }

    fn segment_mut(&mut self, page: u64) -> &mut Segment {
        let number = (page / PAGES_PER_SEGMENT) as usize;
        if number >= self.segments.len() {
            self.segments.resize_with(number + 1, || None);
        }
        self.segments[number].get_or_insert_with(|| {
            Box::new(Segment {
                lines: [0; PAGES_PER_SEGMENT as usize],
                fresh: [0; PAGES_PER_SEGMENT as usize / 64],
                released: [0; PAGES_PER_SEGMENT as usize / 64],
            })
        })
    }
}

fn index(page: u64) -> usize {
    (page % PAGES_PER_SEGMENT) as usize
}

fn get(bits: &[u64], page: u64) -> bool {
    bits[index(page) / 64] >> (page % 64) & 1 == 1
}

fn set(bits: &mut [u64], page: u64) -> bool {
    let word = &mut bits[index(page) / 64];
    let new = *word >> (page % 64) & 1 == 0;
    *word |= 1 << (page % 64);
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_goes_through_what_was_marked_since_the_last() {
        let mut dirty = DirtyLines::default();
        for round in 0..100 {
            for page in [0, 7, 600] {
                dirty.mark_dirty(page * LINES_PER_PAGE + round % 64);
            }
            assert!(dirty.set_fresh(1000 + round));
            dirty.mark_dirty((1000 + round) * LINES_PER_PAGE + 3);
            dirty.set_released(9);
            assert_eq!(dirty.lined.len(), 4);
            dirty.forget_lines();
            assert!((0..16).all(|page| dirty.is_clean(page * LINES_PER_PAGE + round % 64)));
            assert!(dirty.lined.is_empty() && dirty.is_fresh(1000 + round));
        }
        assert!(!dirty.set_fresh(1000));
        dirty.clear_fresh(1000);
        assert!(dirty.set_fresh(1000) && dirty.is_released(9));
        dirty.clear();
        assert!(!dirty.is_fresh(1000) && !dirty.is_released(9) && dirty.is_clean(64_000));
    }
}
