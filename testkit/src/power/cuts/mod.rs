//! Power cuts and failing disks: machines, writers, and the contents of their stores.

pub mod cached;
pub mod cut_run;
pub mod disk;
pub mod life;
pub mod power_fixture;
pub mod processes;
pub mod writer;

use std::process::ExitCode;

use super::Test;

/// The main function of a test program that cuts the power. The program also acts as the
/// processes that its tests start.
pub fn main(tests: Vec<Test>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(part) = arguments.strip_prefix(&["--play".to_string()]) else {
        return super::main(tests);
    };
    let played = processes::play(part).or_else(|| disk::play(part));
    match played.unwrap_or_else(|| Err(format!("unknown part: {part:?}").into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
