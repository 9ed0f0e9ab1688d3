//! Iterates over the elements of a vector in order.

use std::iter::FusedIterator;
use std::slice::Iter;

use crate::image::Image;

/// Bytes of a piece.
const PIECE_BYTES: usize = 1 << 20;

/// Iterator over the elements of a [`Vec`](super::Vec), from both ends; returned by
/// [`iter`](super::Vec::iter).
///
/// In a store that is accessed at random ([`AccessPattern`](crate::AccessPattern)) it goes through
/// the elements piece by piece, and has the next piece read meanwhile.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct VecIter<'a, T> {
    front: Iter<'a, T>,
    rest: Rest<'a, T>,
    back: Iter<'a, T>,
}

/// The elements between the pieces at both ends.
struct Rest<'a, T> {
    tx: &'a Image,
    items: &'a [T],
    /// Where they begin in the heap.
    offset: u64,
}

impl<T> Clone for Rest<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rest<'_, T> {}

impl<'a, T> Rest<'a, T> {
    fn piece_len() -> usize {
        (PIECE_BYTES / size_of::<T>().max(1)).max(1)
    }

    /// Takes the first piece, and has the one after it read.
    fn take_first(&mut self) -> Option<Iter<'a, T>> {
        if self.items.is_empty() {
            return None;
        }
        let (piece, rest) = self.items.split_at(self.items.len().min(Self::piece_len()));
        self.items = rest;
        self.offset += size_of_val(piece) as u64;
        self.tx.will_need(self.offset, size_of_val(rest).min(PIECE_BYTES) as u64);
        Some(piece.iter())
    }

    /// Takes the last piece, and has the one before it read.
    fn take_last(&mut self) -> Option<Iter<'a, T>> {
        if self.items.is_empty() {
            return None;
        }
        let (rest, piece) = self.items.split_at(self.items.len().saturating_sub(Self::piece_len()));
        self.items = rest;
        let (left, wanted) = (size_of_val(rest), size_of_val(rest).min(PIECE_BYTES));
        self.tx.will_need(self.offset + (left - wanted) as u64, wanted as u64);
        Some(piece.iter())
    }
}

impl<'a, T> VecIter<'a, T> {
    /// Iterates over `items`, which begin at `offset` of the heap.
    pub(super) fn new(tx: &'a Image, items: &'a [T], offset: u64) -> Self {
        let (front, back) = ([].iter(), [].iter());
        let rest = Rest { tx, items, offset };
        match tx.is_random() {
            true => {
                tx.will_need(offset, size_of_val(items).min(PIECE_BYTES) as u64);
                Self { front, rest, back }
            }
            false => Self { front: items.iter(), rest: Rest { items: &[], ..rest }, back },
        }
    }
}

impl<T> Clone for VecIter<'_, T> {
    fn clone(&self) -> Self {
        Self { front: self.front.clone(), rest: self.rest, back: self.back.clone() }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for VecIter<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a, T> Iterator for VecIter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        self.front.next().or_else(|| {
            // Without a rest, the loop runs over a single slice again.
            let next = self.rest.take_first();
            self.front = next.unwrap_or_else(|| std::mem::take(&mut self.back));
            self.front.next()
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.front.len() + self.rest.items.len() + self.back.len();
        (len, Some(len))
    }

    fn fold<B, F: FnMut(B, &'a T) -> B>(mut self, first: B, mut each: F) -> B {
        let mut value = self.front.fold(first, &mut each);
        while let Some(piece) = self.rest.take_first() {
            value = piece.fold(value, &mut each);
        }
        self.back.fold(value, each)
    }
}

impl<T> DoubleEndedIterator for VecIter<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.back.next_back().or_else(|| {
            let next = self.rest.take_last();
            self.back = next.unwrap_or_else(|| std::mem::take(&mut self.front));
            self.back.next_back()
        })
    }
}

impl<T> ExactSizeIterator for VecIter<'_, T> {}
impl<T> FusedIterator for VecIter<'_, T> {}
