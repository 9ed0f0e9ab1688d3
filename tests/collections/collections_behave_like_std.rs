//! Each collection behaves like its counterpart in the standard library, over thousands of random
//! changes with commits, rollbacks and reopenings, and releases all memory when it is emptied.

use flagstone::Store;
use flagstone::collections::{Key, OrdKey};
use proptest::strategy::{Strategy, ValueTree};
use testkit::model::deques::DequeOf;
use testkit::model::kinds::{Colour, KeyKind, OfBytes, OfHashMap, OfPair, OfText, OfVec, Place};
use testkit::model::maps::{BTreeMapOf, HashMapOf};
use testkit::model::run;
use testkit::model::sets::{BTreeSetOf, HashSetOf};
use testkit::model::vectors::VecOf;

#[test]
fn a_vector_of_numbers() {
    run::<VecOf<u64>>();
}

#[test]
fn a_vector_of_texts() {
    run::<VecOf<OfText>>();
}

#[test]
fn a_vector_of_what_is_tested_when_it_is_read() {
    run::<VecOf<bool>>();
    run::<VecOf<Colour>>();
}

#[test]
fn a_vector_of_vectors() {
    run::<VecOf<OfVec<u64>>>();
    run::<VecOf<OfVec<OfText>>>();
}

#[test]
fn a_vector_of_pairs_and_structs() {
    run::<VecOf<OfPair>>();
    run::<VecOf<Place>>();
    run::<VecOf<[u8; 5]>>();
}

#[test]
fn a_deque_of_numbers() {
    run::<DequeOf<u64>>();
    run::<DequeOf<i32>>();
}

#[test]
fn a_deque_of_texts() {
    run::<DequeOf<OfText>>();
}

#[test]
fn a_deque_of_vectors() {
    run::<DequeOf<OfVec<OfBytes>>>();
}

#[test]
fn a_text() {
    run::<OfText>();
}

#[test]
fn bytes() {
    run::<OfBytes>();
}

#[test]
fn hash_maps() {
    run::<HashMapOf<u64, u64>>();
    run::<HashMapOf<i32, OfText>>();
    run::<HashMapOf<[u8; 5], bool>>();
    run::<HashMapOf<Place, OfVec<u64>>>();
    run::<HashMapOf<OfText, OfBytes>>();
    run::<HashMapOf<OfBytes, u64>>();
    run::<HashMapOf<OfPair, OfText>>();
}

#[test]
fn hash_maps_of_collections() {
    run::<HashMapOf<OfText, OfVec<u64>>>();
    run::<HashMapOf<u64, OfHashMap<OfText, OfText>>>();
}

#[test]
fn maps_in_order() {
    run::<BTreeMapOf<u64, u64>>();
    run::<BTreeMapOf<i32, OfText>>();
    run::<BTreeMapOf<[u8; 5], bool>>();
    run::<BTreeMapOf<Place, OfVec<u64>>>();
    run::<BTreeMapOf<OfText, OfBytes>>();
    run::<BTreeMapOf<OfBytes, u64>>();
    run::<BTreeMapOf<OfPair, OfText>>();
}

#[test]
fn maps_in_order_of_collections() {
    run::<BTreeMapOf<u64, OfHashMap<OfText, u64>>>();
    run::<BTreeMapOf<OfText, OfVec<u64>>>();
}

#[test]
fn hash_sets() {
    run::<HashSetOf<u64>>();
    run::<HashSetOf<i32>>();
    run::<HashSetOf<[u8; 5]>>();
    run::<HashSetOf<Place>>();
    run::<HashSetOf<OfText>>();
    run::<HashSetOf<OfBytes>>();
    run::<HashSetOf<OfPair>>();
}

#[test]
fn sets_in_order() {
    run::<BTreeSetOf<u64>>();
    run::<BTreeSetOf<i32>>();
    run::<BTreeSetOf<[u8; 5]>>();
    run::<BTreeSetOf<Place>>();
    run::<BTreeSetOf<OfText>>();
    run::<BTreeSetOf<OfBytes>>();
    run::<BTreeSetOf<OfPair>>();
}

/// Runs keys of a kind, compared with each other.
fn keys_of<K: KeyKind>() {
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut model = || K::any().new_tree(&mut runner).unwrap().current();
    let models: Vec<K::Model> = (0..100).map(|_| model()).collect();
    for model in &models {
        let key = K::store(&mut tx, model).unwrap();
        for other in &models {
            let order = K::ask(other, |query| key.order(&tx, query)).unwrap();
            assert_eq!(order, model.cmp(other), "{model:?} and {other:?}");
            assert_eq!(K::ask(other, |query| key.is(&tx, query)).unwrap(), model == other);
        }
        let copy = K::ask(model, |query| <K::Key as Key<_>>::store(&mut tx, query)).unwrap();
        assert!(K::ask(model, |query| copy.is(&tx, query)).unwrap());
    }
}

#[test]
fn keys_of_all_kinds_are_found_and_ordered_as_in_memory() {
    keys_of::<u64>();
    keys_of::<i32>();
    keys_of::<[u8; 5]>();
    keys_of::<Place>();
    keys_of::<OfText>();
    keys_of::<OfBytes>();
    keys_of::<OfPair>();
}
