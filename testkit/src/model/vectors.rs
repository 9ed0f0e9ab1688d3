//! Compares a vector with `std`'s.

use std::marker::PhantomData;

use flagstone::collections::Vec as StoreVec;
use flagstone::{Image, Link, WriteTx};
use proptest::prelude::*;

use super::kinds::Kind;
use super::list::{ListOp, expect_answer, expect_taken, list_op, place, stays, stored};
use super::{Outcome, Subject};

/// A `flagstone` vector of a kind.
pub struct VecOf<K>(PhantomData<K>);

impl<K: Kind> Subject for VecOf<K> {
    type Stored = StoreVec<K::Stored>;
    type Model = Vec<K::Model>;
    type Op = ListOp<K::Model>;

    fn op() -> BoxedStrategy<Self::Op> {
        list_op::<K>()
    }

    fn contents(stored: &Self::Stored, tx: &Image) -> Outcome<Self::Model> {
        prop_assert_eq!(stored.iter(tx)?.len() as u64, stored.len());
        Ok(stored
            .iter(tx)?
            .map(|element| K::load(tx, element))
            .collect::<flagstone::Result<_>>()?)
    }

    fn clear(link: Link<Self::Stored>, tx: &mut WriteTx<'_>) -> flagstone::Result<()> {
        link.clear(tx)
    }

    fn apply(
        op: &Self::Op,
        model: &mut Self::Model,
        link: Link<Self::Stored>,
        tx: &mut WriteTx<'_>,
    ) -> Outcome {
        use ListOp::*;
        let len = model.len();
        match op {
            PushBack(element) => {
                let value = K::store(tx, element)?;
                link.push(tx, value)?;
                model.push(element.clone());
            }
            PushFront(element) => {
                let value = K::store(tx, element)?;
                link.insert(tx, 0, value)?;
                model.insert(0, element.clone());
            }
            PopBack => {
                let taken = link.pop(tx)?;
                let expected = model.pop();
                expect_taken::<K>(tx, taken.into_iter().collect(), expected.into_iter().collect())?;
            }
            PopFront => {
                let expected = (len > 0).then(|| model.remove(0));
                let answer = link.remove(tx, 0);
                expect_answer::<K>(tx, answer, expected)?;
            }
            Get(at) => {
                let at = place(*at, len);
                let vec = tx.at(link)?;
                let found = vec.get(tx, at as u64)?.map(|found| K::load(tx, found)).transpose()?;
                prop_assert_eq!(found.as_ref(), model.get(at));
                let range = vec.get_range(tx, at as u64 / 2..at as u64)?.map(<[_]>::len);
                prop_assert_eq!(range, model.get(at / 2..at).map(<[_]>::len));
            }
            Insert(at, element) => {
                let at = place(*at, len).min(len);
                let value = K::store(tx, element)?;
                link.insert(tx, at as u64, value)?;
                model.insert(at, element.clone());
            }
            Remove(at) => {
                let at = place(*at, len);
                let expected = (at < len).then(|| model.remove(at));
                let answer = link.remove(tx, at as u64);
                expect_answer::<K>(tx, answer, expected)?;
            }
            SwapRemove(at) => {
                let at = place(*at, len);
                let expected = (at < len).then(|| model.swap_remove(at));
                let answer = link.swap_remove(tx, at as u64);
                expect_answer::<K>(tx, answer, expected)?;
            }
            Replace(at, element) => {
                let at = place(*at, len);
                if at < len {
                    let value = K::store(tx, element)?;
                    let old = link.replace(tx, at as u64, value)?;
                    let expected = std::mem::replace(&mut model[at], element.clone());
                    expect_taken::<K>(tx, vec![old], vec![expected])?;
                }
            }
            Swap(a, b) => {
                let (a, b) = (place(*a, len), place(*b, len));
                let answer = link.swap(tx, a as u64, b as u64);
                prop_assert_eq!(answer.is_ok(), a.max(b) < len);
                if answer.is_ok() {
                    model.swap(a, b);
                }
            }
            Extend(elements) => {
                let values = stored::<K>(tx, elements)?;
                link.extend(tx, values)?;
                model.extend(elements.iter().cloned());
            }
            Append(elements) => {
                let values = stored::<K>(tx, elements)?;
                let other = StoreVec::from_iter(tx, values)?;
                let other = tx.alloc(other)?;
                link.append(tx, other)?;
                prop_assert!(tx.at(other)?.is_empty());
                prop_assert!(link.append(tx, link).is_err());
                tx.free_deep(other)?;
                model.extend(elements.iter().cloned());
            }
            Splice(a, b, elements) => {
                let (a, b) = (place(*a, len + 9) / 8, place(*b, len + 9) / 8);
                let range = a.min(b)..a.max(b).min(len);
                if range.start <= range.end {
                    let values = stored::<K>(tx, elements)?;
                    let taken = link.splice(tx, range.start as u64..range.end as u64, values)?;
                    let expected = model.splice(range, elements.iter().cloned()).collect();
                    expect_taken::<K>(tx, taken, expected)?;
                }
            }
            Drain(a, b) => {
                let (a, b) = (place(*a, len), place(*b, len));
                let answer = link.drain(tx, a as u64..b as u64);
                prop_assert_eq!(answer.is_ok(), a <= b && b <= len);
                if let Ok(taken) = answer {
                    expect_taken::<K>(tx, taken, model.drain(a..b).collect())?;
                }
            }
            SplitOff(at) => {
                let at = place(*at, len);
                let answer = link.split_off(tx, at as u64);
                prop_assert_eq!(answer.is_ok(), at <= len);
                if let Ok(rest) = answer {
                    prop_assert_eq!(Self::contents(&rest, tx)?, model.split_off(at));
                    tx.release(rest)?;
                }
            }
            Truncate(len) => {
                let len = place(*len, model.len());
                link.truncate(tx, len as u64)?;
                model.truncate(len);
            }
            Resize(to, element) => {
                let to = usize::from(*to);
                link.resize_with(tx, to as u64, |tx| K::store(tx, element))?;
                model.resize(to, element.clone());
            }
            Retain(salt) => {
                link.retain_with(tx, |tx, element| Ok(stays(&K::load(tx, element)?, *salt)))?;
                model.retain(|element| stays(element, *salt));
            }
            Dedup => {
                // The closure has no transaction to read elements with, so it answers that none
                // are equal, and nothing is removed.
                link.dedup_by(tx, |_, _| false)?;
            }
            Sort => {
                link.sort_by_cached_key(tx, K::load)?;
                model.sort();
            }
            Search(element) => {
                model.sort();
                link.sort_by_cached_key(tx, K::load)?;
                let place = tx.at(link)?.partition_point(tx, |probe| {
                    K::load(tx, probe).is_ok_and(|probe| probe < *element)
                })?;
                prop_assert_eq!(place, model.partition_point(|probe| probe < element) as u64);
                let found = tx
                    .at(link)?
                    .binary_search_with(tx, |tx, probe| Ok(K::load(tx, probe)?.cmp(element)))?;
                prop_assert_eq!(found.is_ok(), model.binary_search(element).is_ok());
                let place = found.unwrap_or_else(|place| place) as usize;
                prop_assert!(model[..place].iter().all(|probe| probe <= element));
            }
            Rotate(by) => {
                let by = place(*by, len);
                let answer = link.rotate_left(tx, by as u64);
                prop_assert_eq!(answer.is_ok(), by <= len);
                if by <= len {
                    model.rotate_left(by);
                }
            }
            Contiguous => {
                link.reverse(tx)?;
                model.reverse();
            }
            Reserve(more) => {
                link.reserve(tx, u64::from(*more))?;
                prop_assert!(tx.at(link)?.capacity() >= len as u64 + u64::from(*more));
            }
            Shrink(least) => {
                link.shrink_to(tx, u64::from(*least))?;
                let expected = (len as u64).max(u64::from(*least));
                prop_assert!(tx.at(link)?.capacity() <= expected.max(4));
            }
            Clear => {
                link.clear(tx)?;
                model.clear();
                prop_assert_eq!(tx.at(link)?.capacity(), 0);
            }
        }
        prop_assert_eq!(tx.at(link)?.len(), model.len() as u64);
        Ok(())
    }
}
