//! Set operations: union, intersection and differences of two sets.

use std::cmp::Ordering;

use crate::error::Result;
use crate::image::Image;
use crate::persist::Persist;

use super::set::{BTreeSet, SetIter};
use crate::collections::key::SortedKey;

/// Iterator over the keys of two [`BTreeSet`]s of the same store, in order: a
/// union, an intersection or a difference.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct SetPair<'a, K> {
    tx: &'a Image,
    left: Side<'a, K>,
    right: Side<'a, K>,
    wants: Wants,
}

/// One of the sets, and its next key to compare.
struct Side<'a, K> {
    keys: SetIter<'a, K>,
    next: Option<&'a K>,
}

/// Selects the keys to yield.
#[derive(Clone, Copy)]
struct Wants {
    left: bool,
    both: bool,
    right: bool,
}

impl<K: Persist> Side<'_, K> {
    fn fill(&mut self) -> Result<()> {
        if self.next.is_none() {
            self.next = self.keys.next().transpose()?;
        }
        Ok(())
    }
}

impl<'a, K: SortedKey> SetPair<'a, K> {
    /// Returns the next selected key. Each iteration consumes at least one key of one side,
    /// whatever the comparison returns.
    fn step(&mut self) -> Result<Option<&'a K>> {
        loop {
            self.left.fill()?;
            self.right.fill()?;
            let order = match (self.left.next, self.right.next) {
                (None, None) => return Ok(None),
                (Some(_), None) if !self.wants.left => return Ok(None),
                (None, Some(_)) if !self.wants.right => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => left.compare(self.tx, right)?,
            };
            let (key, is_wanted) = match order {
                Ordering::Less => (self.left.next.take(), self.wants.left),
                Ordering::Greater => (self.right.next.take(), self.wants.right),
                Ordering::Equal => {
                    self.right.next = None;
                    (self.left.next.take(), self.wants.both)
                }
            };
            if is_wanted {
                return Ok(key);
            }
        }
    }
}

impl<'a, K: SortedKey> Iterator for SetPair<'a, K> {
    type Item = Result<&'a K>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            // Makes the iterator yield nothing more after an error.
            (self.left.next, self.right.next) = (None, None);
            self.wants = Wants { left: false, both: false, right: false };
        }
        step.transpose()
    }
}

impl<K: SortedKey> BTreeSet<K> {
    fn pair<'a>(&self, tx: &'a Image, other: &Self, wants: Wants) -> Result<SetPair<'a, K>> {
        let side =
            |set: &Self| -> Result<Side<'a, K>> { Ok(Side { keys: set.iter(tx)?, next: None }) };
        Ok(SetPair { tx, left: side(self)?, right: side(other)?, wants })
    }

    /// Returns the keys of this set, of `other`, or of both, in order. Of two equal keys it
    /// yields the one of this set.
    ///
    /// # Errors
    ///
    /// Fails if one of the sets is damaged; the same holds for each item.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// # use flagstone::{Store, collections::BTreeSet};
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let a = BTreeSet::<u64>::from_sorted(&mut tx, [1, 2, 3])?;
    /// let b = BTreeSet::<u64>::from_sorted(&mut tx, [2, 3, 4])?;
    /// assert_eq!(a.union(&tx, &b)?.collect::<Result<Vec<_>, _>>()?, [&1, &2, &3, &4]);
    /// assert_eq!(a.intersection(&tx, &b)?.collect::<Result<Vec<_>, _>>()?, [&2, &3]);
    /// assert_eq!(a.difference(&tx, &b)?.collect::<Result<Vec<_>, _>>()?, [&1]);
    /// assert!(!a.is_subset(&tx, &b)?);
    /// # Ok(()) }
    /// ```
    pub fn union<'a>(&self, tx: &'a Image, other: &Self) -> Result<SetPair<'a, K>> {
        self.pair(tx, other, Wants { left: true, both: true, right: true })
    }

    /// Returns the keys of this set that `other` also has, in order.
    ///
    /// # Errors
    ///
    /// Same as [`union`](Self::union).
    pub fn intersection<'a>(&self, tx: &'a Image, other: &Self) -> Result<SetPair<'a, K>> {
        self.pair(tx, other, Wants { left: false, both: true, right: false })
    }

    /// Returns the keys of this set that `other` does not have, in order.
    ///
    /// # Errors
    ///
    /// Same as [`union`](Self::union).
    pub fn difference<'a>(&self, tx: &'a Image, other: &Self) -> Result<SetPair<'a, K>> {
        self.pair(tx, other, Wants { left: true, both: false, right: false })
    }

    /// Returns the keys that exactly one of the sets has, in order.
    ///
    /// # Errors
    ///
    /// Same as [`union`](Self::union).
    pub fn symmetric_difference<'a>(&self, tx: &'a Image, other: &Self) -> Result<SetPair<'a, K>> {
        self.pair(tx, other, Wants { left: true, both: false, right: true })
    }

    /// Returns whether no key is in both sets.
    ///
    /// # Errors
    ///
    /// Same as [`union`](Self::union).
    pub fn is_disjoint(&self, tx: &Image, other: &Self) -> Result<bool> {
        Ok(self.intersection(tx, other)?.next().transpose()?.is_none())
    }

    /// Returns whether `other` has all keys of this set.
    ///
    /// # Errors
    ///
    /// Same as [`union`](Self::union).
    pub fn is_subset(&self, tx: &Image, other: &Self) -> Result<bool> {
        Ok(self.difference(tx, other)?.next().transpose()?.is_none())
    }

    /// Returns whether this set has all keys of `other`.
    ///
    /// # Errors
    ///
    /// Same as [`union`](Self::union).
    pub fn is_superset(&self, tx: &Image, other: &Self) -> Result<bool> {
        other.is_subset(tx, self)
    }
}
