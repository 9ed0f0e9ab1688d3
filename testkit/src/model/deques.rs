//! Compares a deque with `std`'s.

use std::collections::VecDeque;
use std::marker::PhantomData;

use flagstone::collections::Deque;
use flagstone::{Image, Link, Persist, WriteTx};
use proptest::prelude::*;

use super::kinds::Kind;
use super::list::{ListOp, expect_taken, list_op, place, stays, stored};
use super::{Outcome, Subject};

/// Checks that slots without an element are zero, so a walk over the file finds nothing stale in
/// them.
fn expect_zero_slots<T: Persist>(link: Link<Deque<T>>, tx: &Image) -> Outcome {
    let header = tx.read(Link::<[u64; 4]>::from_parts(link.offset(), 1))?;
    let [offset, capacity, head, len] = header;
    if capacity == 0 {
        return Ok(());
    }
    prop_assert!(head < capacity, "{:?}", header);
    // A fuzz target passes damaged headers, on which the arithmetic must not overflow.
    let slot_bytes = capacity.saturating_mul(size_of::<T>() as u64);
    let slots = tx.at(Link::<[u8]>::from_parts(offset, slot_bytes))?;
    for (slot, bytes) in (0..).zip(slots.chunks_exact(size_of::<T>())) {
        let is_used = (slot + capacity - head) % capacity < len;
        prop_assert!(
            is_used || bytes.iter().all(|byte| *byte == 0),
            "slot {} of {:?}",
            slot,
            header
        );
    }
    Ok(())
}

/// A `flagstone` deque of a kind.
pub struct DequeOf<K>(PhantomData<K>);

impl<K: Kind> Subject for DequeOf<K> {
    type Stored = Deque<K::Stored>;
    type Model = VecDeque<K::Model>;
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
                link.push_back(tx, value)?;
                model.push_back(element.clone());
            }
            PushFront(element) => {
                let value = K::store(tx, element)?;
                link.push_front(tx, value)?;
                model.push_front(element.clone());
            }
            PopBack => {
                let taken = link.pop_back(tx)?;
                let expected = model.pop_back();
                expect_taken::<K>(tx, taken.into_iter().collect(), expected.into_iter().collect())?;
            }
            PopFront => {
                let taken = link.pop_front(tx)?;
                let expected = model.pop_front();
                expect_taken::<K>(tx, taken.into_iter().collect(), expected.into_iter().collect())?;
            }
            Get(at) => {
                let at = place(*at, len);
                expect_zero_slots(link, tx)?;
                let deque = tx.at(link)?;
                let found =
                    deque.get(tx, at as u64)?.map(|found| K::load(tx, found)).transpose()?;
                prop_assert_eq!(found.as_ref(), model.get(at));
                let range = deque.range(tx, at as u64 / 2..at as u64);
                prop_assert_eq!(range.is_ok(), at <= len);
                if let Ok(range) = range {
                    let models: flagstone::Result<Vec<_>> =
                        range.rev().map(|found| K::load(tx, found)).collect();
                    prop_assert!(models?.iter().eq(model.range(at / 2..at).rev()));
                }
            }
            Insert(at, element) => {
                let at = place(*at, len).min(len);
                let value = K::store(tx, element)?;
                link.insert(tx, at as u64, value)?;
                model.insert(at, element.clone());
            }
            Remove(at) => {
                let at = place(*at, len);
                let (taken, expected) = (link.remove(tx, at as u64)?, model.remove(at));
                expect_taken::<K>(tx, taken.into_iter().collect(), expected.into_iter().collect())?;
            }
            SwapRemove(at) => {
                let at = place(*at, len);
                let (taken, expected) = if at.is_multiple_of(2) {
                    (link.swap_remove_back(tx, at as u64)?, model.swap_remove_back(at))
                } else {
                    (link.swap_remove_front(tx, at as u64)?, model.swap_remove_front(at))
                };
                expect_taken::<K>(tx, taken.into_iter().collect(), expected.into_iter().collect())?;
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
                let other = Deque::from_iter(tx, values)?;
                let other = tx.alloc(other)?;
                link.append(tx, other)?;
                prop_assert!(tx.at(other)?.is_empty());
                prop_assert!(link.append(tx, link).is_err());
                tx.free_deep(other)?;
                model.extend(elements.iter().cloned());
            }
            Splice(..) => {}
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
            Dedup | Sort => {}
            Search(element) => {
                let found = tx.at(link)?.partition_point(tx, |_| true)?;
                prop_assert_eq!(found, len as u64);
                let _ = element;
            }
            Rotate(by) => {
                let by = place(*by, len);
                let answer = if by.is_multiple_of(2) {
                    link.rotate_left(tx, by as u64)
                } else {
                    link.rotate_right(tx, by as u64)
                };
                prop_assert_eq!(answer.is_ok(), by <= len);
                if by <= len {
                    if by.is_multiple_of(2) {
                        model.rotate_left(by);
                    } else {
                        model.rotate_right(by);
                    }
                }
            }
            Contiguous => {
                link.make_contiguous(tx)?.reverse();
                model.make_contiguous().reverse();
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
