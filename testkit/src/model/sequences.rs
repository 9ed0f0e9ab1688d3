//! Compares vectors and deques with `std`'s deque.

use std::collections::VecDeque;
use std::marker::PhantomData;

use flagstone::collections::{Deque, Vec as StoreVec};
use flagstone::{Image, Link, Persist, Result, WriteTx};
use proptest::prelude::*;

use super::kinds::Kind;
use super::{Outcome, Subject, Trial, stays};
use crate::Random;

/// A change to a list, or a query.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    PushBack,
    PushFront,
    PopBack,
    PopFront,
    Get,
    Insert,
    Remove,
    SwapRemove,
    Replace,
    Swap,
    Extend,
    Append,
    Splice,
    Drain,
    SplitOff,
    Truncate,
    Resize,
    Retain,
    Dedup,
    Sort,
    Search,
    Rotate,
    Reverse,
    Reserve,
    Shrink,
    Clear,
}

const OPS: &[(u64, Op)] = &[
    (20, Op::PushBack),
    (20, Op::PushFront),
    (14, Op::PopBack),
    (14, Op::PopFront),
    (8, Op::Get),
    (8, Op::Insert),
    (8, Op::Remove),
    (4, Op::SwapRemove),
    (4, Op::Replace),
    (4, Op::Swap),
    (4, Op::Extend),
    (2, Op::Append),
    (3, Op::Splice),
    (1, Op::Drain),
    (1, Op::SplitOff),
    (1, Op::Truncate),
    (1, Op::Resize),
    (1, Op::Retain),
    (1, Op::Dedup),
    (1, Op::Sort),
    (2, Op::Search),
    (3, Op::Rotate),
    (1, Op::Reverse),
    (1, Op::Reserve),
    (1, Op::Shrink),
    (1, Op::Clear),
];

/// Returns an index in a list of `len` elements, or just past it.
fn place(random: &mut Random, len: usize) -> usize {
    random.below(len as u64 + 2) as usize
}

/// Draws an element; returns it as it lies in the store, and the model's.
fn element<K: Kind>(random: &mut Random, tx: &mut WriteTx<'_>) -> Outcome<(K::Stored, K::Model)> {
    let model = K::make(random);
    Ok((K::store(tx, &model)?, model))
}

/// Elements as they lie in the store, and the model's.
type Elements<K> = (Vec<<K as Kind>::Stored>, Vec<<K as Kind>::Model>);

/// Draws some elements.
fn elements<K: Kind>(random: &mut Random, tx: &mut WriteTx<'_>) -> Outcome<Elements<K>> {
    (0..random.below(20)).map(|_| element::<K>(random, tx)).collect()
}

/// Compares elements that were taken out, and releases them.
fn expect_taken<K: Kind>(
    tx: &mut WriteTx<'_>,
    taken: Vec<K::Stored>,
    expected: Vec<K::Model>,
) -> Outcome {
    let models: Result<Vec<_>> = taken.iter().map(|taken| K::load(tx, taken)).collect();
    prop_assert_eq!(models?, expected);
    Ok(taken.into_iter().try_for_each(|taken| tx.release(taken))?)
}

/// Does the same for one element, or none.
fn expect_one<K: Kind>(
    tx: &mut WriteTx<'_>,
    taken: Option<K::Stored>,
    expected: Option<K::Model>,
) -> Outcome {
    expect_taken::<K>(tx, taken.into_iter().collect(), expected.into_iter().collect())
}

/// Returns the answer of a call that is refused where there is no element.
fn if_there<T>(is_there: bool, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(_) if !is_there => Ok(None),
        answer => answer.map(Some),
    }
}

/// What vectors and deques do alike, though their methods for the end may have other names.
macro_rules! sequence {
    ($name:ident, $list:ident, $push_back:ident, $pop_back:ident, $what:literal) => {
        #[doc = $what]
        pub struct $name<K>(PhantomData<K>);

        impl<K: Kind> Subject for $name<K> {
            type Stored = $list<K::Stored>;
            type Model = VecDeque<K::Model>;
            type Op = Op;

            const OPS: &'static [(u64, Op)] = OPS;

            fn contents(stored: &Self::Stored, tx: &Image) -> Outcome<Self::Model> {
                prop_assert_eq!(stored.iter(tx)?.len() as u64, stored.len());
                let elements = stored.iter(tx)?.map(|element| K::load(tx, element));
                Ok(elements.collect::<Result<_>>()?)
            }

            fn clear(link: Link<Self::Stored>, tx: &mut WriteTx<'_>) -> Result<()> {
                link.clear(tx)
            }

            fn apply(op: Op, trial: &mut Trial<'_, '_, Self>) -> Outcome {
                let Trial { link, model, tx, random } = trial;
                let (link, len) = (*link, model.len());
                let (a, b) = (place(random, len), place(random, len));
                match op {
                    Op::PushBack => {
                        let (value, element) = element::<K>(random, tx)?;
                        link.$push_back(tx, value)?;
                        model.push_back(element);
                    }
                    Op::PopBack => {
                        let taken = link.$pop_back(tx)?;
                        expect_one::<K>(tx, taken, model.pop_back())?;
                    }
                    Op::Insert => {
                        let (value, element) = element::<K>(random, tx)?;
                        link.insert(tx, a.min(len) as u64, value)?;
                        model.insert(a.min(len), element);
                    }
                    Op::Replace if a < len => {
                        let (value, element) = element::<K>(random, tx)?;
                        let old = link.replace(tx, a as u64, value)?;
                        let expected = std::mem::replace(&mut model[a], element);
                        expect_one::<K>(tx, Some(old), Some(expected))?;
                    }
                    Op::Replace => {}
                    Op::Swap => {
                        let answer = link.swap(tx, a as u64, b as u64);
                        prop_assert_eq!(answer.is_ok(), a.max(b) < len);
                        if answer.is_ok() {
                            model.swap(a, b);
                        }
                    }
                    Op::Extend => {
                        let (values, elements) = elements::<K>(random, tx)?;
                        link.extend(tx, values)?;
                        model.extend(elements);
                    }
                    Op::Append => {
                        let (values, elements) = elements::<K>(random, tx)?;
                        let other = $list::from_iter(tx, values)?;
                        let other = tx.alloc(other)?;
                        link.append(tx, other)?;
                        prop_assert!(tx.at(other)?.is_empty());
                        prop_assert!(link.append(tx, link).is_err());
                        tx.free_deep(other)?;
                        model.extend(elements);
                    }
                    Op::Drain => {
                        let answer = link.drain(tx, a as u64..b as u64);
                        prop_assert_eq!(answer.is_ok(), a <= b && b <= len);
                        if let Ok(taken) = answer {
                            expect_taken::<K>(tx, taken, model.drain(a..b).collect())?;
                        }
                    }
                    Op::SplitOff => {
                        let answer = link.split_off(tx, a as u64);
                        prop_assert_eq!(answer.is_ok(), a <= len);
                        if let Ok(rest) = answer {
                            prop_assert_eq!(Self::contents(&rest, tx)?, model.split_off(a));
                            tx.release(rest)?;
                        }
                    }
                    Op::Truncate => {
                        link.truncate(tx, a as u64)?;
                        model.truncate(a);
                    }
                    Op::Resize => {
                        // Long ones occupy pages of their own.
                        let (to, element) = (random.below(1500) as usize, K::make(random));
                        link.resize_with(tx, to as u64, |tx| K::store(tx, &element))?;
                        model.resize(to, element);
                    }
                    Op::Retain => {
                        let salt = random.next() as u8;
                        let stays_in =
                            |tx: &Image, element: &_| Ok(stays(&K::load(tx, element)?, salt));
                        link.retain_with(tx, stays_in)?;
                        model.retain(|element| stays(element, salt));
                    }
                    Op::Rotate => {
                        let is_left = random.one_in(2);
                        let answer = match is_left {
                            true => link.rotate_left(tx, a as u64),
                            false => link.rotate_right(tx, a as u64),
                        };
                        prop_assert_eq!(answer.is_ok(), a <= len);
                        match is_left {
                            _ if a > len => {}
                            true => model.rotate_left(a),
                            false => model.rotate_right(a),
                        }
                    }
                    Op::Reserve => {
                        let more = random.below(256);
                        link.reserve(tx, more)?;
                        prop_assert!(tx.at(link)?.capacity() >= len as u64 + more);
                    }
                    Op::Shrink => {
                        let least = random.below(256);
                        link.shrink_to(tx, least)?;
                        prop_assert!(tx.at(link)?.capacity() <= least.max(len as u64).max(4));
                    }
                    Op::Clear => {
                        link.clear(tx)?;
                        model.clear();
                        prop_assert_eq!(tx.at(link)?.capacity(), 0);
                    }
                    op => Self::apply_own(op, trial)?,
                }
                prop_assert_eq!(trial.tx.at(link)?.len(), trial.model.len() as u64);
                Ok(())
            }
        }
    };
}

sequence!(VecOf, StoreVec, push, pop, "A vector of a kind.");
sequence!(DequeOf, Deque, push_back, pop_back, "A deque of a kind.");

impl<K: Kind> VecOf<K> {
    fn apply_own(op: Op, trial: &mut Trial<'_, '_, Self>) -> Outcome {
        let Trial { link, model, tx, random } = trial;
        let (link, len) = (*link, model.len());
        let at = place(random, len);
        match op {
            Op::PushFront => {
                let (value, element) = element::<K>(random, tx)?;
                link.insert(tx, 0, value)?;
                model.push_front(element);
            }
            Op::PopFront => {
                let taken = if_there(len > 0, link.remove(tx, 0))?;
                expect_one::<K>(tx, taken, model.pop_front())?;
            }
            Op::Remove => {
                let taken = if_there(at < len, link.remove(tx, at as u64))?;
                expect_one::<K>(tx, taken, model.remove(at))?;
            }
            Op::SwapRemove => {
                let taken = if_there(at < len, link.swap_remove(tx, at as u64))?;
                expect_one::<K>(tx, taken, model.swap_remove_back(at))?;
            }
            Op::Get => {
                let vec = tx.at(link)?;
                let found = vec.get(tx, at as u64)?.map(|found| K::load(tx, found)).transpose()?;
                prop_assert_eq!(found.as_ref(), model.get(at));
                let range = vec.get_range(tx, at as u64 / 2..at as u64)?.map(<[_]>::len);
                prop_assert_eq!(range, (at <= len).then_some(at - at / 2));
            }
            Op::Splice => {
                let (a, b) =
                    (at.min(len), (at + random.below(len as u64 / 8 + 2) as usize).min(len));
                let (values, elements) = elements::<K>(random, tx)?;
                let taken = link.splice(tx, a as u64..b as u64, values)?;
                let rest = model.split_off(b);
                expect_taken::<K>(tx, taken, model.drain(a..).collect())?;
                model.extend(elements.into_iter().chain(rest));
            }
            // The closure has no transaction to read elements with, so it answers that none are
            // equal, and nothing is removed.
            Op::Dedup => link.dedup_by(tx, |_, _| false)?,
            Op::Sort => {
                link.sort_by_cached_key(tx, K::load)?;
                model.make_contiguous().sort();
            }
            Op::Search => {
                let element = &K::make(random);
                model.make_contiguous().sort();
                link.sort_by_cached_key(tx, K::load)?;
                let vec = tx.at(link)?;
                let is_less = |probe: &_| K::load(tx, probe).is_ok_and(|probe| probe < *element);
                let expected = model.partition_point(|probe| probe < element);
                prop_assert_eq!(vec.partition_point(tx, is_less)?, expected as u64);
                let found =
                    vec.binary_search_with(tx, |tx, probe| Ok(K::load(tx, probe)?.cmp(element)))?;
                prop_assert_eq!(found.is_ok(), model.binary_search(element).is_ok());
                let place = found.unwrap_or_else(|place| place) as usize;
                prop_assert!(model.range(..place).all(|probe| probe <= element));
            }
            Op::Reverse => {
                link.reverse(tx)?;
                model.make_contiguous().reverse();
            }
            op => unreachable!("{op:?} is for both"),
        }
        Ok(())
    }
}

impl<K: Kind> DequeOf<K> {
    fn apply_own(op: Op, trial: &mut Trial<'_, '_, Self>) -> Outcome {
        let Trial { link, model, tx, random } = trial;
        let (link, len) = (*link, model.len());
        let at = place(random, len);
        match op {
            Op::PushFront => {
                let (value, element) = element::<K>(random, tx)?;
                link.push_front(tx, value)?;
                model.push_front(element);
            }
            Op::PopFront => {
                let (is_meant, has_test) = (random.one_in(2), random.one_in(4));
                let taken = match has_test {
                    true => link.pop_front_if(tx, |_| is_meant)?,
                    false => link.pop_front(tx)?,
                };
                let expected = if has_test && !is_meant { None } else { model.pop_front() };
                expect_one::<K>(tx, taken, expected)?;
            }
            Op::Remove => {
                let taken = link.remove(tx, at as u64)?;
                expect_one::<K>(tx, taken, model.remove(at))?;
            }
            Op::SwapRemove if random.one_in(2) => {
                let taken = link.swap_remove_back(tx, at as u64)?;
                expect_one::<K>(tx, taken, model.swap_remove_back(at))?;
            }
            Op::SwapRemove => {
                let taken = link.swap_remove_front(tx, at as u64)?;
                expect_one::<K>(tx, taken, model.swap_remove_front(at))?;
            }
            Op::Get => {
                expect_zero_slots(link, tx)?;
                let deque = tx.at(link)?;
                let found =
                    deque.get(tx, at as u64)?.map(|found| K::load(tx, found)).transpose()?;
                prop_assert_eq!(found.as_ref(), model.get(at));
                let range = deque.range(tx, at as u64 / 2..at as u64);
                prop_assert_eq!(range.is_ok(), at <= len);
                if let Ok(range) = range {
                    let models: Result<Vec<_>> =
                        range.rev().map(|found| K::load(tx, found)).collect();
                    prop_assert!(models?.iter().eq(model.range(at / 2..at).rev()));
                }
            }
            Op::Search => {
                prop_assert_eq!(tx.at(link)?.partition_point(tx, |_| true)?, len as u64);
            }
            Op::Reverse => {
                link.make_contiguous(tx)?.reverse();
                model.make_contiguous().reverse();
            }
            // A deque has no such methods.
            Op::Splice | Op::Dedup | Op::Sort => {}
            op => unreachable!("{op:?} is for both"),
        }
        Ok(())
    }
}

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
