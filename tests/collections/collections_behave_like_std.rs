//! Each collection behaves like its counterpart in the standard library, over thousands of random
//! changes with commits, rollbacks and reopenings, and releases all memory when it is emptied.

use flagstone::Store;
use flagstone::collections::{Key, OrdKey};
use testkit::Random;
use testkit::model::cases::run;
use testkit::model::kinds::{
    Aligned, Colour, KeyKind, Large, Long, OfBytes, OfHashMap, OfPair, OfText, OfVec, Place,
};
use testkit::model::sequences::{DequeOf, VecOf};
use testkit::model::tables::{BTreeMapOf, BTreeSetOf, HashMapOf, HashSetOf};

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
    run::<VecOf<Colour>>();
}

#[test]
fn a_vector_of_vectors() {
    run::<VecOf<OfVec<OfText>>>();
}

#[test]
fn a_vector_of_arrays() {
    run::<VecOf<[u8; 5]>>();
}

#[test]
fn a_deque_of_numbers() {
    run::<DequeOf<i32>>();
}

#[test]
fn a_deque_of_texts() {
    run::<DequeOf<OfText>>();
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
    run::<HashMapOf<[u8; 5], bool>>();
    run::<HashMapOf<Place, OfVec<u64>>>();
    run::<HashMapOf<OfText, OfBytes>>();
    run::<HashMapOf<OfPair, OfText>>();
}

#[test]
fn hash_maps_of_collections() {
    run::<HashMapOf<u64, OfHashMap<OfText, OfText>>>();
}

#[test]
fn maps_in_order() {
    run::<BTreeMapOf<[u8; 5], Aligned>>();
    run::<BTreeMapOf<Place, OfVec<u64>>>();
    run::<BTreeMapOf<OfText, OfBytes>>();
    run::<BTreeMapOf<OfPair, OfText>>();
}

#[test]
fn maps_in_order_of_long_keys_and_large_values() {
    run::<BTreeMapOf<Long, Large>>();
}

#[test]
fn maps_in_order_of_collections() {
    run::<BTreeMapOf<u64, OfHashMap<OfText, u64>>>();
}

#[test]
fn hash_sets() {
    run::<HashSetOf<u64>>();
    run::<HashSetOf<OfText>>();
}

#[test]
fn sets_in_order() {
    run::<BTreeSetOf<u64>>();
    run::<BTreeSetOf<OfPair>>();
}

/// Runs keys of a kind, compared with each other.
fn keys_of<K: KeyKind>() {
    let store = Store::in_memory().unwrap();
    let mut tx = store.write().unwrap();
    let mut random = Random::new(1);
    let models: Vec<K::Model> = (0..100).map(|_| K::make(&mut random)).collect();
    for model in &models {
        let key = K::store(&mut tx, model).unwrap();
        for other in &models {
            let lent = K::lend(other);
            let order = key.order(&tx, K::query(&lent)).unwrap();
            assert_eq!(order, model.cmp(other), "{model:?} and {other:?}");
            assert_eq!(key.is(&tx, K::query(&lent)).unwrap(), model == other);
        }
        let lent = K::lend(model);
        let copy = <K::Key as Key<_>>::store(&mut tx, K::query(&lent)).unwrap();
        assert!(copy.is(&tx, K::query(&lent)).unwrap());
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
