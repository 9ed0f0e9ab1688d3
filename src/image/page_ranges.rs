//! Sets of pages as ranges. A few bytes of log can name a whole heap, any number of times.

use std::collections::BTreeMap;

/// A set of page numbers, as ranges that neither touch nor overlap. Adding or removing a range
/// costs logarithmic time, plus the ranges that it replaces: each of those came with a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageRanges {
    /// The end of each range, keyed by its first page.
    ends: BTreeMap<u64, u64>,
}

impl PageRanges {
    /// Adds `count` pages from `first` on. Returns the runs of those that were new, as
    /// `(first, count)`.
    pub(crate) fn insert(&mut self, first: u64, count: u64) -> Vec<(u64, u64)> {
        let end = first.saturating_add(count);
        if first == end {
            return Vec::new();
        }
        let (mut start, mut last, mut at) = (first, end, first);
        let mut new = Vec::new();
        for (known, known_end) in self.touching(first, end) {
            self.ends.remove(&known);
            start = start.min(known);
            last = last.max(known_end);
            if at < known {
                new.push((at, known - at));
            }
            at = at.max(known_end);
        }
        if at < end {
            new.push((at, end - at));
        }
        self.ends.insert(start, last);
        new
    }

    /// Removes `count` pages from `first` on. Usually none of them is in the set: each line of a
    /// record asks for its page.
    pub(crate) fn remove(&mut self, first: u64, count: u64) {
        if !self.contains_any(first, count) {
            return;
        }
        let end = first.saturating_add(count);
        for (known, known_end) in self.touching(first, end) {
            if known_end <= first || end <= known {
                continue;
            }
            self.ends.remove(&known);
            if known < first {
                self.ends.insert(known, first);
            }
            if end < known_end {
                self.ends.insert(end, known_end);
            }
        }
    }

    /// Returns whether any of the `count` pages from `first` on is in the set.
    pub(crate) fn contains_any(&self, first: u64, count: u64) -> bool {
        let end = first.saturating_add(count);
        let before = self.ends.range(..end).next_back();
        first < end && before.is_some_and(|(_, known_end)| *known_end > first)
    }

    /// Returns the ranges that overlap or touch `first..end`.
    fn touching(&self, first: u64, end: u64) -> Vec<(u64, u64)> {
        let ranges = self.ends.range(..=end).rev().map(|(start, end)| (*start, *end));
        let mut touching: Vec<_> = ranges.take_while(|(_, end)| *end >= first).collect();
        touching.reverse();
        touching
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: u64 = 40;

    /// A small random number generator, like the one in the tests.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *state >> 33
    }

    #[test]
    fn ranges_are_their_pages_and_tell_which_were_new() {
        let (mut ranges, mut pages, mut state) = (PageRanges::default(), [false; 64], 1);
        for _ in 0..if cfg!(miri) { 200 } else { 20_000 } {
            let (first, count) = (next(&mut state) % PAGES, next(&mut state) % 12);
            let range = first as usize..(first + count) as usize;
            assert_eq!(ranges.contains_any(first, count), pages[range.clone()].contains(&true));
            if next(&mut state).is_multiple_of(2) {
                let new = ranges.insert(first, count);
                let new = new.into_iter().flat_map(|(first, count)| first..first + count);
                let expected = (first..first + count).filter(|page| !pages[*page as usize]);
                assert!(new.eq(expected), "{first} {count}");
                pages[range].fill(true);
            } else {
                ranges.remove(first, count);
                pages[range].fill(false);
            }
            let within = |page: &u64| ranges.contains_any(*page, 1);
            let found = (0..64).filter(within);
            assert!(found.eq((0..64).filter(|page| pages[*page as usize])));
            let runs = (1..64).filter(|at| pages[*at] && !pages[at - 1]).count();
            assert_eq!(ranges.ends.len(), runs + usize::from(pages[0]), "no two touch");
        }
    }
}
