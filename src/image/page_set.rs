//! A set of page numbers.

use std::borrow::Cow;
use std::ops::Range;

use crate::map::{machine_page_bytes, machine_page_shift};

/// A bitmap that grows with its largest page.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageSet {
    words: Vec<u64>,
    len: u64,
}

impl PageSet {
    /// Adds a page. Returns whether it was new.
    pub(crate) fn insert(&mut self, page: u64) -> bool {
        let (index, bit) = ((page / 64) as usize, 1 << (page % 64));
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        let new = self.words[index] & bit == 0;
        self.words[index] |= bit;
        self.len += u64::from(new);
        new
    }

    /// Adds `count` pages from `first` on.
    #[inline]
    pub(crate) fn insert_range(&mut self, first: u64, count: u64) {
        match count {
            // Most changes are within a page.
            1 => _ = self.insert(first),
            _ => self.insert_many(first, count),
        }
    }

    fn insert_many(&mut self, first: u64, count: u64) {
        let end = first.saturating_add(count);
        let mut at = first;
        while at < end {
            let (index, bit) = ((at / 64) as usize, at % 64);
            let pages = (64 - bit).min(end - at);
            if index >= self.words.len() {
                self.words.resize(index + 1, 0);
            }
            let new = u64::MAX >> (64 - pages) << bit & !self.words[index];
            self.words[index] |= new;
            self.len += u64::from(new.count_ones());
            at += pages;
        }
    }

    pub(crate) fn contains(&self, page: u64) -> bool {
        self.words.get((page / 64) as usize).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// Returns the number of pages.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds the pages of `other`.
    pub(crate) fn insert_all(&mut self, other: &PageSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            self.len += u64::from((more & !*word).count_ones());
            *word |= more;
        }
    }

    /// Returns the pages that `other` does not contain.
    pub(crate) fn without(&self, other: &PageSet) -> PageSet {
        let mut rest = self.clone();
        for (word, less) in rest.words.iter_mut().zip(&other.words) {
            rest.len -= u64::from((*word & less).count_ones());
            *word &= !less;
        }
        rest
    }

    /// Drops the pages that `keep` does not contain.
    pub(crate) fn retain_in(&mut self, keep: &PageSet) {
        self.len = 0;
        for (index, word) in self.words.iter_mut().enumerate() {
            *word &= keep.words.get(index).copied().unwrap_or(0);
            self.len += u64::from(word.count_ones());
        }
    }

    /// Returns the numbers of the machine pages that have any page of the set.
    pub(crate) fn machine_pages(&self) -> Cow<'_, PageSet> {
        match machine_page_shift() {
            0 => Cow::Borrowed(self),
            shift => Cow::Owned(self.groups(shift)),
        }
    }

    /// Returns the bytes of these machine pages, without a look at each.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let count = match machine_page_shift() {
            0 => self.len,
            shift => self.count_groups(shift),
        };
        count * machine_page_bytes()
    }

    /// Returns the number of groups of `1 << shift` pages that have any page of the set: at most 16, so
    /// that a word has whole groups.
    fn count_groups(&self, shift: u32) -> u64 {
        let first_of_each = u64::MAX / ((1 << (1 << shift)) - 1);
        let groups = self.words.iter().map(|word| {
            let merged = (0..shift).fold(*word, |word, step| word | word >> (1 << step));
            u64::from((merged & first_of_each).count_ones())
        });
        groups.sum()
    }

    /// Returns the groups of `1 << shift` pages that have any page of the set.
    fn groups(&self, shift: u32) -> PageSet {
        let mut groups = PageSet::default();
        self.iter().for_each(|page| _ = groups.insert(page >> shift));
        groups
    }

    /// Returns the pages in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.within(0..u64::MAX)
    }

    /// Returns those in a range. Takes time for the range alone.
    pub(crate) fn within(&self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let end = range.end.div_ceil(64).min(self.words.len() as u64);
        let first = (range.start / 64).min(end);
        let words = &self.words[first as usize..end as usize];
        let pages = (first..).zip(words).flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = u64::from(rest.trailing_zeros());
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(index * 64 + bit)
            })
        });
        pages.filter(move |page| range.contains(page))
    }

    /// Returns the number of those in a range.
    pub(crate) fn count_within(&self, range: Range<u64>) -> u64 {
        let end = range.end.min(self.words.len() as u64 * 64);
        let mut at = range.start.min(end);
        let mut count = 0;
        while at < end {
            let bit = at % 64;
            let pages = (64 - bit).min(end - at);
            let word = self.words[(at / 64) as usize] & (u64::MAX >> (64 - pages) << bit);
            count += u64::from(word.count_ones());
            at += pages;
        }
        count
    }

    /// Returns the first `count` runs of adjacent pages. Looks at nothing behind them.
    pub(crate) fn first_runs(&self, count: usize) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for page in self.iter() {
            let is_full = runs.len() == count;
            match runs.last_mut() {
                Some((first, pages)) if *first + *pages == page => *pages += 1,
                _ if is_full => break,
                _ => runs.push((page, 1)),
            }
        }
        runs
    }

    /// Returns runs of adjacent pages as `(first, count)`, each of at most `most` pages.
    pub(crate) fn runs(&self, most: u64) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for page in self.iter() {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == page && *count < most => *count += 1,
                _ => runs.push((page, 1)),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back_in_order_and_as_runs() {
        let mut set = PageSet::default();
        for page in [700, 3, 4, 5, 64, 63, 3] {
            set.insert(page);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 4, 5, 63, 64, 700]);
        assert_eq!(set.runs(2), [(3, 2), (5, 1), (63, 2), (700, 1)]);
        assert_eq!(set.first_runs(2), [(3, 3), (63, 2)]);
        assert_eq!(set.first_runs(9), set.runs(u64::MAX));
        assert_eq!(set.len(), 6);
        assert!(set.contains(64) && !set.contains(65) && !set.contains(100_000));
    }

    #[test]
    fn sets_are_united_and_taken_from_each_other() {
        let set = |pages: &[u64]| {
            let mut set = PageSet::default();
            pages.iter().for_each(|page| assert!(set.insert(*page)));
            set
        };
        let pages = |set: &PageSet| {
            assert_eq!(set.len(), set.iter().count() as u64);
            set.iter().collect::<Vec<_>>()
        };
        let (short, long) = (set(&[1, 3, 63]), set(&[3, 64, 500]));
        assert_eq!(pages(&short.without(&long)), [1, 63]);
        assert_eq!(pages(&long.without(&short)), [64, 500]);
        for (mut one, other) in [(short.clone(), &long), (long.clone(), &short)] {
            one.insert_all(other);
            assert_eq!(pages(&one), [1, 3, 63, 64, 500]);
        }
    }

    #[test]
    fn a_group_is_there_if_any_of_its_pages_is() {
        let mut set = PageSet::default();
        [0, 3, 4, 15, 16, 63, 64, 700].into_iter().for_each(|page| assert!(set.insert(page)));
        let groups = |shift| set.groups(shift).iter().collect::<Vec<_>>();
        assert_eq!(groups(0), [0, 3, 4, 15, 16, 63, 64, 700]);
        assert_eq!(groups(2), [0, 1, 3, 4, 15, 16, 175]);
        assert_eq!(groups(4), [0, 1, 3, 4, 43]);
        assert_eq!([0, 2, 4].map(|shift| set.count_groups(shift)), [8, 7, 5]);
    }

    #[test]
    fn a_range_is_its_pages() {
        for (first, count) in [(0, 0), (0, 1), (3, 61), (0, 64), (60, 8), (63, 130), (130, 2)] {
            let mut set = PageSet::default();
            let mut expected = vec![5, 64, 65, 300];
            expected.iter().for_each(|page| assert!(set.insert(*page)));
            set.insert_range(first, count);
            expected.extend(first..first + count);
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(set.len(), expected.len() as u64);
            assert_eq!(set.iter().collect::<Vec<_>>(), expected, "{first} {count}");
            for range in [0..0, 5..64, 5..65, 64..66, 65..u64::MAX, 128..129, 1000..2000] {
                let inside = expected.iter().copied().filter(|page| range.contains(page));
                assert!(set.within(range.clone()).eq(inside), "{range:?}");
                let count = set.within(range.clone()).count() as u64;
                assert_eq!(set.count_within(range.clone()), count, "{range:?}");
            }
        }
    }
}
