//! Which lines and pages a transaction has touched: a few bits for each.

use crate::format::LINES_PER_PAGE;
use crate::format::heap::PAGES_PER_SEGMENT;

/// Marks of the pages of one segment.
struct Segment {
    lines: [u64; PAGES_PER_SEGMENT as usize],
    fresh: [u64; PAGES_PER_SEGMENT as usize / 64],
    released: [u64; PAGES_PER_SEGMENT as usize / 64],
}

impl Segment {
    /// Whether anything is said of a page.
    fn has(&self, page: u64) -> bool {
        self.lines[index(page)] != 0 || get(&self.fresh, page) || get(&self.released, page)
    }
}

/// A two-level table, so that it follows what was touched and not the heap.
#[derive(Default)]
pub(crate) struct Marks {
    segments: Vec<Option<Box<Segment>>>,
    /// Pages with a marked line, or a flag, each once: a transaction with many savepoints
    /// goes through them again and again.
    pages: Vec<u64>,
}

impl Marks {
    /// Whether `line` is not marked. Lines of a fresh page need no mark: the
    /// page has no state before the transaction.
    #[inline]
    pub(crate) fn is_new(&self, line: u64) -> bool {
        let page = line / LINES_PER_PAGE;
        let Some(segment) = self.segment(page) else {
            return true;
        };
        segment.lines[index(page)] >> (line % LINES_PER_PAGE) & 1 == 0
    }

    pub(crate) fn mark(&mut self, line: u64) {
        let page = line / LINES_PER_PAGE;
        self.list(page).lines[index(page)] |= 1 << (line % LINES_PER_PAGE);
    }

    /// Marks the page as fresh, with all its lines; whether it was not.
    pub(crate) fn set_fresh(&mut self, page: u64) -> bool {
        let segment = self.list(page);
        segment.lines[index(page)] = u64::MAX;
        set(&mut segment.fresh, page)
    }

    pub(crate) fn clear_fresh(&mut self, page: u64) {
        let fresh = &mut self.list(page).fresh;
        fresh[index(page) / 64] &= !(1 << (page % 64));
    }

    pub(crate) fn is_fresh(&self, page: u64) -> bool {
        self.segment(page).is_some_and(|segment| get(&segment.fresh, page))
    }

    /// Notes that a page was given up in this transaction.
    pub(crate) fn set_released(&mut self, page: u64) {
        set(&mut self.list(page).released, page);
    }

    pub(crate) fn is_released(&self, page: u64) -> bool {
        self.segment(page).is_some_and(|segment| get(&segment.released, page))
    }

    /// Unmarks all lines, so that each is saved again before its next change. Pages that have
    /// no flag either are listed no more.
    pub(crate) fn forget_lines(&mut self) {
        let segments = &mut self.segments;
        self.pages.retain(|page| {
            let Some(segment) = &mut segments[(page / PAGES_PER_SEGMENT) as usize] else {
                return false;
            };
            segment.lines[index(*page)] = 0;
            segment.has(*page)
        });
    }

    /// Forgets everything; the cost follows what was marked.
    pub(crate) fn clear(&mut self) {
        for page in self.pages.drain(..) {
            let segment = self.segments[(page / PAGES_PER_SEGMENT) as usize].as_mut();
            if let Some(segment) = segment {
                segment.lines[index(page)] = 0;
                segment.fresh[index(page) / 64] = 0;
                segment.released[index(page) / 64] = 0;
            }
        }
    }

    #[inline]
    fn segment(&self, page: u64) -> Option<&Segment> {
        self.segments.get((page / PAGES_PER_SEGMENT) as usize)?.as_deref()
    }

    /// The segment of a page that is about to be marked.
    fn list(&mut self, page: u64) -> &mut Segment {
        let number = (page / PAGES_PER_SEGMENT) as usize;
        if number >= self.segments.len() {
            self.segments.resize_with(number + 1, || None);
        }
        let segment = self.segments[number].get_or_insert_with(|| {
            Box::new(Segment {
                lines: [0; PAGES_PER_SEGMENT as usize],
                fresh: [0; PAGES_PER_SEGMENT as usize / 64],
                released: [0; PAGES_PER_SEGMENT as usize / 64],
            })
        });
        if !segment.has(page) {
            self.pages.push(page);
        }
        segment
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
    fn many_savepoints_list_no_page_twice() {
        let mut marks = Marks::default();
        for round in 0..100 {
            for page in [0, 7, 600] {
                marks.mark(page * LINES_PER_PAGE + round % 64);
            }
            assert_eq!(marks.set_fresh(8), round == 0);
            marks.mark(8 * LINES_PER_PAGE + 3);
            marks.set_released(9);
            assert_eq!(marks.pages.len(), 5);
            marks.forget_lines();
            assert!((0..16).all(|page| marks.is_new(page * LINES_PER_PAGE + round % 64)));
            assert_eq!(marks.pages.len(), 2, "what has a flag");
        }
        marks.clear_fresh(8);
        marks.forget_lines();
        assert_eq!(marks.pages, [9]);
        marks.clear();
        assert!(!marks.is_fresh(8) && !marks.is_released(9) && marks.pages.is_empty());
    }
}
