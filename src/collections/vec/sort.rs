//! Reorders or overwrites a vector's elements.

use std::cmp::Ordering;

use crate::error::Result;
use crate::image::Image;
use crate::persist::{Link, Persist};
use crate::store::WriteTx;

use super::super::array::{self, at};
use super::Vec;

impl<T: Persist> Link<Vec<T>> {
    /// Sorts the elements in place; equal ones keep their order.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice).
    ///
    /// # Panics
    ///
    /// As in `std`, an inconsistent order may cause a panic, here and in the other sorting
    /// methods. No element is lost then.
    pub fn sort(self, tx: &mut WriteTx<'_>) -> Result<()>
    where
        T: Ord,
    {
        self.as_mut_slice(tx)?.sort();
        Ok(())
    }

    /// Sorts like [`sort`](Self::sort), with a comparison function.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice).
    pub fn sort_by(
        self,
        tx: &mut WriteTx<'_>,
        compare: impl FnMut(&T, &T) -> Ordering,
    ) -> Result<()> {
        self.as_mut_slice(tx)?.sort_by(compare);
        Ok(())
    }

    /// Sorts like [`sort`](Self::sort), by a key.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice).
    pub fn sort_by_key<K: Ord>(self, tx: &mut WriteTx<'_>, key: impl FnMut(&T) -> K) -> Result<()> {
        self.as_mut_slice(tx)?.sort_by_key(key);
        Ok(())
    }

    /// Sorts like [`sort`](Self::sort), by a key that may be read from what elements own or
    /// link to. Holds all keys and elements in memory at once.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice), plus any error of `key`.
    ///
    /// ```
    /// # fn main() -> Result<(), flagstone::Error> {
    /// use flagstone::{Store, Text, collections::Vec};
    ///
    /// let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// let names = tx.alloc(Vec::new())?;
    /// for name in ["Bo", "Anna"] {
    ///     let name = Text::new(&mut tx, name)?;
    ///     names.push(&mut tx, name)?;
    /// }
    /// names.sort_by_cached_key(&mut tx, |tx, name| Ok(name.as_str(tx)?.to_string()))?;
    /// assert_eq!(tx.at(names)?.as_slice(&tx)?[0].as_str(&tx)?, "Anna");
    /// # Ok(()) }
    /// ```
    pub fn sort_by_cached_key<K: Ord>(
        self,
        tx: &mut WriteTx<'_>,
        mut key: impl FnMut(&Image, &T) -> Result<K>,
    ) -> Result<()> {
        let vec = self.header(tx)?;
        if vec.is_empty() {
            return Ok(());
        }
        let keys = vec.iter(tx)?.map(|element| key(tx, element));
        let order = array::sorted_order(&keys.collect::<Result<std::vec::Vec<K>>>()?);
        let links = order.into_iter().filter_map(|index| vec.link(index));
        let sorted = links.map(|link| tx.value(link)).collect::<Result<std::vec::Vec<T>>>()?;
        let region = vec.region(tx)?;
        for (index, element) in (0..).zip(sorted) {
            tx.put_in(region, at::<T>(index), element)?;
        }
        Ok(())
    }

    /// Sorts like [`sort`](Self::sort), but faster; equal elements may change their order.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice).
    pub fn sort_unstable(self, tx: &mut WriteTx<'_>) -> Result<()>
    where
        T: Ord,
    {
        self.as_mut_slice(tx)?.sort_unstable();
        Ok(())
    }

    /// Sorts like [`sort_by`](Self::sort_by), but faster; equal elements may change their
    /// order.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice).
    pub fn sort_unstable_by(
        self,
        tx: &mut WriteTx<'_>,
        compare: impl FnMut(&T, &T) -> Ordering,
    ) -> Result<()> {
        self.as_mut_slice(tx)?.sort_unstable_by(compare);
        Ok(())
    }

    /// Sorts like [`sort_by_key`](Self::sort_by_key), but faster; equal elements may change
    /// their order.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice).
    pub fn sort_unstable_by_key<K: Ord>(
        self,
        tx: &mut WriteTx<'_>,
        key: impl FnMut(&T) -> K,
    ) -> Result<()> {
        self.as_mut_slice(tx)?.sort_unstable_by_key(key);
        Ok(())
    }

    /// Reverses the order of the elements.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice).
    pub fn reverse(self, tx: &mut WriteTx<'_>) -> Result<()> {
        self.as_mut_slice(tx)?.reverse();
        Ok(())
    }

    /// Moves the first `count` elements to the end.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice); also fails if `count` is past the end.
    pub fn rotate_left(self, tx: &mut WriteTx<'_>, count: u64) -> Result<()> {
        let len = self.header(tx)?.len();
        if count > len {
            return Err(Self::out_of_range(count, len.saturating_add(1), len));
        }
        self.as_mut_slice(tx)?.rotate_left(count as usize);
        Ok(())
    }

    /// Moves the last `count` elements to the front.
    ///
    /// # Errors
    ///
    /// Same as [`rotate_left`](Self::rotate_left).
    pub fn rotate_right(self, tx: &mut WriteTx<'_>, count: u64) -> Result<()> {
        let len = self.header(tx)?.len();
        let Some(rest) = len.checked_sub(count) else {
            return Err(Self::out_of_range(count, len.saturating_add(1), len));
        };
        self.rotate_left(tx, rest)
    }

    /// Overwrites all elements with copies of `value`.
    ///
    /// # Errors
    ///
    /// Same as [`as_mut_slice`](Self::as_mut_slice).
    pub fn fill(self, tx: &mut WriteTx<'_>, value: T) -> Result<()>
    where
        T: Copy,
    {
        self.as_mut_slice(tx)?.fill(value);
        Ok(())
    }
}
