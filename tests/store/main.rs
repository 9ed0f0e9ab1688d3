//! Promises of the store: opening, links, types, roots, readers, commits.

mod a_bad_link_is_an_error;
mod a_commit_can_be_waited_for_later;
#[cfg(feature = "sim")]
mod a_commit_waits_for_few_syncs;
#[cfg(feature = "sim")]
mod a_deferred_commit_is_flushed_in_time;
mod a_file_keeps_within_its_limit;
mod a_forked_child_gets_an_error;
mod a_long_reader_is_seen_and_bounded;
mod a_name_stands_for_one_type;
mod a_root_keeps_its_type;
mod a_second_opening_is_refused;
mod a_stale_value_is_refused;
mod a_store_can_be_opened_in_other_ways;
mod a_store_is_created_whole_or_not_at_all;
mod a_type_is_described_in_full;
mod a_writer_waits_no_longer_than_it_says;
mod an_update_is_all_or_nothing;
mod churn_does_not_grow_the_file;
mod closing_trusts_no_damaged_page;
mod everything_but_the_mapping;
mod large_objects_are_made_in_place;
#[cfg(feature = "sim")]
mod machine_pages_change_nothing;
mod memory_is_bounded;
mod no_object_overlaps_the_heap_header;
mod readers_never_wait;
mod readers_see_whole_commits;
mod reading_ahead_changes_no_result;
mod the_file_follows_the_load;
mod what_cannot_persist_does_not_compile;
mod what_is_not_a_store_is_left_alone;
mod what_readers_hold_is_spilled;
mod what_was_committed_comes_back;

/// Runs `act` as a user who is subject to permissions, on a separate thread, since on Linux each
/// thread has its own user.
fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    let become_nobody = || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(65534))?;
        }
        rustix::io::Result::Ok(())
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| become_nobody().map(|()| act()));
        thread.join().expect("the thread").expect("to become another user")
    })
}
