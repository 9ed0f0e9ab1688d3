//! Promises about several processes that share a store.

mod a_failure_stays_with_its_process;
mod a_killed_process_holds_up_no_other;
mod a_process_without_a_snapshot_holds_up_no_other;
mod a_stopped_process_costs_a_timeout_and_no_more;
mod killed_processes_leave_no_space_behind;
mod peer;
mod several_processes_share_a_store;
mod the_log_grows_while_shared;
mod the_processes_are_listed;
