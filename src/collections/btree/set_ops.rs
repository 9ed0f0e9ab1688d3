//! Two sets at once: what both have, or one of them.

use std::cmp::Ordering;

use crate::error::Result;
use crate::image::Image;
use crate::persist::Persist;

use super::set::{BTreeSet, SetIter};
use crate::collections::key::SortedKey;

/// Keys of two [`BTreeSet`]s that lie in the same store, in order: a union, an
/// intersection or a difference.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct SetPair<'a, K> {
    tx: &'a Image,
    left: Side<'a, K>,
    right: Side<'a, K>,
    wants: Wants,
}

/// One of the sets, and its key that was not compared yet.
struct Side<'a, K> {
    keys: SetIter<'a, K>,
    next: Option<&'a K>,
}

/// Which keys are wanted.
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
    /// The next key that is wanted. Each turn uses up a key of one side at least,
    /// whatever the order says.
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
            // After an error nothing more comes.
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

    /// The keys of this set, of `other`, or of both, in order. Of equal ones it is
    /// this set's that comes.
    ///
    /// # Errors
    ///
    /// One of the sets is damaged; and so for the items.
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

    /// The keys of this set that `other` has too, in order.
    ///
    /// # Errors
    ///
    /// As [`union`](Self::union).
    pub fn intersection<'a>(&self, tx: &'a Image, other: &Self) -> Result<SetPair<'a, K>> {
        self.pair(tx, other, Wants { left: false, both: true, right: false })
    }

    /// The keys of this set that `other` does not have, in order.
    ///
    /// # Errors
    ///
    /// As [`union`](Self::union).
    pub fn difference<'a>(&self, tx: &'a Image, other: &Self) -> Result<SetPair<'a, K>> {
        self.pair(tx, other, Wants { left: true, both: false, right: false })
    }

    /// The keys that exactly one of the sets has, in order.
    ///
    /// # Errors
    ///
    /// As [`union`](Self::union).
    pub fn symmetric_difference<'a>(&self, tx: &'a Image, other: &Self) -> Result<SetPair<'a, K>> {
        self.pair(tx, other, Wants { left: true, both: false, right: true })
    }

    /// Returns whether no key is in both sets.
    ///
    /// # Errors
    ///
    /// As [`union`](Self::union).
    pub fn is_disjoint(&self, tx: &Image, other: &Self) -> Result<bool> {
        Ok(self.intersection(tx, other)?.next().transpose()?.is_none())
    }

    /// Whether `other` has all keys of this set.
    ///
    /// # Errors
    ///
    /// As [`union`](Self::union).
    pub fn is_subset(&self, tx: &Image, other: &Self) -> Result<bool> {
        Ok(self.difference(tx, other)?.next().transpose()?.is_none())
    }

    /// Whether this set has all keys of `other`.
    ///
    /// # Errors
    ///
    /// As [`union`](Self::union).
    pub fn is_superset(&self, tx: &Image, other: &Self) -> Result<bool> {
        other.is_subset(tx, self)
    }
}
