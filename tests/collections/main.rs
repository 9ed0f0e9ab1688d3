//! Promises of the collections, compared with those of the standard library.

mod btree_maps_hold_what_std_holds;
mod collections_behave_like_std;
mod damaged_collections_are_refused;
mod hash_maps_hold_what_std_holds;
mod vectors_and_texts_keep_their_elements;
mod what_a_review_of_collections_found;
