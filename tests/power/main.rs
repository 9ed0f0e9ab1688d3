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

fn main() -> ExitCode {
    match a_store_has_one_writer_wherever_it_lies::play() {
        Some(played) => played,
        None => run(),
    }
}

#[cfg(feature = "sim")]
fn run() -> ExitCode {
    let mut tests = a_full_disk_loses_nothing::tests();
    tests.extend(a_store_has_one_writer_wherever_it_lies::tests());
    tests.extend(a_power_cut_on_ext4_and_xfs_loses_nothing::tests());
    tests.extend(a_disk_that_forgets_its_cache_loses_nothing::tests());
    tests.extend(a_disk_that_fails_poisons_the_store::tests());
    testkit::power::cuts::main(tests)
}

#[cfg(not(feature = "sim"))]
fn run() -> ExitCode {
    let mut tests = a_full_disk_loses_nothing::tests();
    tests.extend(a_store_has_one_writer_wherever_it_lies::tests());
    testkit::power::main(tests)
}
