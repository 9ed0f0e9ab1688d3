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

/// Tests, each with the subjects that it runs.
macro_rules! behave_like_std {
    ($($test:ident: $($subject:ty),+;)*) => {$(
        #[test]
        fn $test() {
            $(run::<$subject>();)+
        }
    )*};
}

behave_like_std! {
    a_vector_of_numbers: VecOf<u64>;
    a_vector_of_texts: VecOf<OfText>;
    a_vector_of_what_is_tested_when_it_is_read: VecOf<Colour>;
    a_vector_of_vectors: VecOf<OfVec<OfText>>;
    a_vector_of_arrays: VecOf<[u8; 5]>;
    a_deque_of_numbers: DequeOf<i32>;
    a_deque_of_texts: DequeOf<OfText>;
    a_text: OfText;
    bytes: OfBytes;
    hash_maps: HashMapOf<[u8; 5], bool>, HashMapOf<Place, OfVec<u64>>,
        HashMapOf<OfText, OfBytes>, HashMapOf<OfPair, OfText>;
    hash_maps_of_collections: HashMapOf<u64, OfHashMap<OfText, OfText>>;
    maps_in_order: BTreeMapOf<[u8; 5], Aligned>, BTreeMapOf<Place, OfVec<u64>>,
        BTreeMapOf<OfText, OfBytes>, BTreeMapOf<OfPair, OfText>;
    maps_in_order_of_long_keys_and_large_values: BTreeMapOf<Long, Large>;
    maps_in_order_of_collections: BTreeMapOf<u64, OfHashMap<OfText, u64>>;
    hash_sets: HashSetOf<u64>, HashSetOf<OfText>;
    sets_in_order: BTreeSetOf<u64>, BTreeSetOf<OfPair>;
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
