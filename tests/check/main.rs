//! Promises about damaged and hostile files: what `check` finds, and what no file can cause.

#[cfg(feature = "sim")]
mod a_flipped_bit_is_found;
mod a_forged_file_costs_no_more_than_its_length;
mod a_log_that_no_program_writes_is_refused;
mod check_ends_on_any_file;
mod check_finds_what_no_root_reaches;
mod check_knows_what_values_mean;
#[cfg(feature = "sim")]
mod check_raises_no_false_alarm;
mod check_reads_a_file_and_changes_nothing;
mod no_bytes_of_a_file_can_crash_it;
#[cfg(feature = "sim")]
mod no_damage_of_a_file_passes_for_sound;
