//! Changes to lists, for vectors and deques.

use std::hash::{DefaultHasher, Hash, Hasher};

use flagstone::WriteTx;
use proptest::prelude::*;

use super::Outcome;
use super::kinds::Kind;

/// A change to a list. Indices go a little beyond the length, so some are past the end.
#[derive(Clone, Debug)]
pub enum ListOp<M> {
    PushBack(M),
    PushFront(M),
    PopBack,
    PopFront,
    Get(u16),
    Insert(u16, M),
    Remove(u16),
    SwapRemove(u16),
    Replace(u16, M),
    Swap(u16, u16),
    Extend(Vec<M>),
    Append(Vec<M>),
    Splice(u16, u16, Vec<M>),
    Drain(u16, u16),
    SplitOff(u16),
    Truncate(u16),
    Resize(u16, M),
    Retain(u8),
    Dedup,
    Sort,
    Search(M),
    Rotate(u16),
    Contiguous,
    Reserve(u8),
    Shrink(u8),
    Clear,
}

pub fn list_op<K: Kind>() -> BoxedStrategy<ListOp<K::Model>> {
    use ListOp::*;
    let one = K::any;
    let some = || prop::collection::vec(K::any(), 0..20);
    let place = any::<u16>;
    prop_oneof![
        20 => one().prop_map(PushBack),
        20 => one().prop_map(PushFront),
        14 => Just(PopBack),
        14 => Just(PopFront),
        8 => place().prop_map(Get),
        8 => (place(), one()).prop_map(|(at, element)| Insert(at, element)),
        8 => place().prop_map(Remove),
        4 => place().prop_map(SwapRemove),
        4 => (place(), one()).prop_map(|(at, element)| Replace(at, element)),
        4 => (place(), place()).prop_map(|(a, b)| Swap(a, b)),
        4 => some().prop_map(Extend),
        2 => some().prop_map(Append),
        3 => (place(), place(), some()).prop_map(|(a, b, some)| Splice(a, b, some)),
        1 => (place(), place()).prop_map(|(a, b)| Drain(a, b)),
        1 => place().prop_map(SplitOff),
        1 => place().prop_map(Truncate),
        // Long ones occupy pages of their own.
        1 => (0..1500u16, one()).prop_map(|(len, element)| Resize(len, element)),
        1 => any::<u8>().prop_map(Retain),
        1 => Just(Dedup),
        1 => Just(Sort),
        2 => one().prop_map(Search),
        3 => place().prop_map(Rotate),
        1 => Just(Contiguous),
        1 => any::<u8>().prop_map(Reserve),
        1 => any::<u8>().prop_map(Shrink),
        1 => Just(Clear),
    ]
    .boxed()
}

/// Returns an index in a list of `len` elements, or just past it.
pub fn place(at: u16, len: usize) -> usize {
    usize::from(at) % (len + 2)
}

pub fn stored<K: Kind>(tx: &mut WriteTx<'_>, models: &[K::Model]) -> Outcome<Vec<K::Stored>> {
    Ok(models.iter().map(|model| K::store(tx, model)).collect::<flagstone::Result<_>>()?)
}

/// Compares elements that were taken out, and releases them.
pub fn expect_taken<K: Kind>(
    tx: &mut WriteTx<'_>,
    taken: Vec<K::Stored>,
    expected: Vec<K::Model>,
) -> Outcome {
    let models: flagstone::Result<Vec<_>> = taken.iter().map(|taken| K::load(tx, taken)).collect();
    prop_assert_eq!(models?, expected);
    for taken in taken {
        tx.release(taken)?;
    }
    Ok(())
}

/// Does the same for a call that may be refused; the model says whether it is.
pub fn expect_answer<K: Kind>(
    tx: &mut WriteTx<'_>,
    answer: flagstone::Result<K::Stored>,
    expected: Option<K::Model>,
) -> Outcome {
    match (answer, expected) {
        (Ok(taken), Some(expected)) => expect_taken::<K>(tx, vec![taken], vec![expected]),
        (answer, expected) => {
            prop_assert!(answer.is_err() && expected.is_none(), "{:?}", expected);
            Ok(())
        }
    }
}

/// Returns whether `Retain` keeps an element. `salt` decides how many stay, from nearly all to
/// nearly none.
pub fn stays<M: Hash>(model: &M, salt: u8) -> bool {
    let mut hasher = DefaultHasher::new();
    (salt, model).hash(&mut hasher);
    let of = [2, 3, 50][usize::from(salt % 3)];
    hasher.finish().is_multiple_of(of) == salt.is_multiple_of(2)
}
