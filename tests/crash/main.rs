//! Promises about crashes: simulated power cuts, failing calls, killed processes, mutations.

#[cfg(feature = "sim")]
mod a_failing_call_loses_nothing;
mod a_failing_system_call_loses_nothing;
mod a_killed_writer_loses_nothing;
#[cfg(feature = "sim")]
mod a_moving_log_loses_nothing;
#[cfg(feature = "sim")]
mod a_paused_process_sees_whole_commits;
#[cfg(feature = "sim")]
mod a_power_cut_among_threads_and_processes_loses_nothing;
#[cfg(feature = "sim")]
mod a_power_cut_loses_nothing;
#[cfg(feature = "harness")]
mod all_collections_survive_the_harness;
#[cfg(feature = "sim")]
mod dirty_pages_are_those_of_the_log;
#[cfg(feature = "sim")]
mod mutations_are_caught;
#[cfg(feature = "sim")]
mod recovery_in_rounds_loses_nothing;
#[cfg(feature = "harness")]
mod the_harness_finds_crash_bugs;
#[cfg(feature = "cli")]
mod torture_reports_and_cleans_up;
