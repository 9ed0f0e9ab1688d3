//! Promises of the store: opening, links, types, roots, readers, commits.

mod a_bad_link_is_an_error;
mod a_commit_can_be_waited_for_later;
mod a_forked_child_gets_an_error;
mod a_list_comes_back;
mod a_long_reader_is_seen_and_bounded;
mod a_root_keeps_its_type;
mod a_second_opening_is_refused;
mod a_stale_value_is_refused;
mod a_store_can_be_opened_in_other_ways;
mod a_store_is_made_whole_or_not_at_all;
mod a_type_has_its_name_alone;
mod a_type_is_described_in_full;
mod a_word_list_comes_back;
mod churn_does_not_grow_the_file;
mod everything_but_the_mapping;
mod large_objects_are_made_in_place;
mod readers_see_whole_commits;
mod the_heaps_header_is_no_object;
mod what_a_review_found_stays_mended;
mod what_cannot_persist_does_not_compile;
mod what_is_not_a_store_is_left_alone;
