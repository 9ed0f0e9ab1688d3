//! Each collection does what its counterpart in the standard library does, over
//! thousands of random changes with commits, rollbacks and reopenings; and gives
//! back all memory when it is emptied.

mod common;
#[path = "common/model/mod.rs"]
mod model;

use model::deques::DequeOf;
use model::kinds::{Colour, OfBytes, OfPair, OfText, OfVec, Place};
use model::run;
use model::vectors::VecOf;

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
