//! Power cuts, failing disks and full disks on real file systems. Most of these tests need root.

#[cfg(feature = "sim")]
mod a_disk_that_fails_poisons_the_store;
#[cfg(feature = "sim")]
mod a_disk_that_forgets_its_cache_loses_nothing;
mod a_full_disk_loses_nothing;
#[cfg(feature = "sim")]
mod a_power_cut_on_ext4_and_xfs_loses_nothing;
mod a_store_has_one_writer_wherever_it_lies;

use std::process::ExitCode;

use testkit::power::{self, Play};

/// The parts that this program can play.
const PLAYS: &[Play] = &[
    a_store_has_one_writer_wherever_it_lies::play,
    power::served::play,
    #[cfg(feature = "sim")]
    power::cuts::processes::play,
    #[cfg(feature = "sim")]
    power::cuts::disk::play,
];

fn main() -> ExitCode {
    let mut tests = a_full_disk_loses_nothing::tests();
    tests.extend(a_store_has_one_writer_wherever_it_lies::tests());
    #[cfg(feature = "sim")]
    {
        tests.extend(a_power_cut_on_ext4_and_xfs_loses_nothing::tests());
        tests.extend(a_disk_that_forgets_its_cache_loses_nothing::tests());
        tests.extend(a_disk_that_fails_poisons_the_store::tests());
    }
    power::main(tests, PLAYS)
}
