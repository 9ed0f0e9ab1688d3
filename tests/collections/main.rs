//! Promises of the collections, compared with those of the standard library.

mod a_prefix_is_the_range_of_what_begins_with_it;
mod a_test_decides_what_is_removed;
mod a_value_is_made_for_a_vacant_entry_alone;
mod collections_behave_like_std;
mod damaged_collections_are_refused;
mod damaged_maps_are_refused;
mod maps_keep_their_entries;
mod vectors_and_texts_keep_their_elements;
