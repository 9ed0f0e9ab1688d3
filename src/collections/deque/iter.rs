//! Iterates over the elements of a deque in order.

use std::iter::FusedIterator;
use std::slice::Iter;

/// Iterator over the elements of a [`Deque`](super::Deque), from both ends;
/// returned by [`iter`](super::Deque::iter) and [`range`](super::Deque::range).
#[must_use = "iterators are lazy and do nothing unless consumed"]
#[derive(Debug)]
pub struct DequeIter<'a, T> {
    front: Iter<'a, T>,
    back: Iter<'a, T>,
}

impl<'a, T> DequeIter<'a, T> {
    pub(super) fn of((front, back): (&'a [T], &'a [T])) -> Self {
        Self { front: front.iter(), back: back.iter() }
    }
}

impl<T> Clone for DequeIter<'_, T> {
    fn clone(&self) -> Self {
        Self { front: self.front.clone(), back: self.back.clone() }
    }
}

impl<'a, T> Iterator for DequeIter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        self.front.next().or_else(|| {
            // From here on the loop runs over a single slice again.
            self.front = std::mem::take(&mut self.back);
            self.front.next()
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.front.len() + self.back.len();
        (len, Some(len))
    }

    fn fold<B, F: FnMut(B, &'a T) -> B>(self, first: B, mut each: F) -> B {
        let middle = self.front.fold(first, &mut each);
        self.back.fold(middle, each)
    }
}

impl<T> DoubleEndedIterator for DequeIter<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.back.next_back().or_else(|| self.front.next_back())
    }
}

impl<T> ExactSizeIterator for DequeIter<'_, T> {}
impl<T> FusedIterator for DequeIter<'_, T> {}
