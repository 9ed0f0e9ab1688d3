//! Power cuts on real file systems: code that these tests share.
//!
//! The tests need root, loop devices and the mkfs programs. Each test first probes whether it can
//! run. If it cannot, it prints `SKIP[name]: reason`, which `FLAGSTONE_REQUIRE_POWER_CUTS=1`
//! turns into a failure.

#![allow(dead_code, reason = "each test uses its own part")]

#[cfg(feature = "sim")]
pub mod cuts;
pub mod scratch_fs;
pub mod served;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::TestResult;

/// A test, and the probe that says whether it can run here.
pub struct Test {
    pub name: String,
    pub probe: Box<dyn FnOnce() -> TestResult + Send>,
    pub run: Box<dyn FnOnce() -> TestResult + Send>,
}

/// The number of tests by result.
#[derive(Default)]
struct Counts {
    ran: AtomicU64,
    skipped: AtomicU64,
    failed: AtomicU64,
}

static COUNTS: Counts =
    Counts { ran: AtomicU64::new(0), skipped: AtomicU64::new(0), failed: AtomicU64::new(0) };

/// A part that the program can play as a process that its tests start: `None` if the arguments
/// name another part.
pub type Play = fn(&[String]) -> Option<TestResult>;

/// The main function of a test program of this kind.
pub fn main(tests: Vec<Test>, plays: &[Play]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(part) = arguments.strip_prefix(&["--play".to_string()]) {
        let played = plays.iter().find_map(|play| play(part));
        let unknown = || Err(format!("unknown part: {part:?}").into());
        return match played.unwrap_or_else(unknown) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    scratch_fs::hide_mounts();
    let trials = tests.into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    let [ran, skipped, failed] =
        [&COUNTS.ran, &COUNTS.skipped, &COUNTS.failed].map(|count| count.load(Relaxed));
    println!("RAN {ran} / SKIPPED {skipped} / FAILED {failed}");
    conclusion.exit_code()
}

fn trial(test: Test) -> Trial {
    let Test { name, probe, run } = test;
    let label = name.clone();
    Trial::ignorable_test(name, move || {
        if let Err(reason) = probe() {
            return skip(&label, &reason.to_string());
        }
        COUNTS.ran.fetch_add(1, Relaxed);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let done = done.unwrap_or_else(|_| Err("it panicked, see above".into()));
        done.map(|()| Completion::Completed).map_err(|error| fail(&error.to_string()))
    })
}

fn fail(reason: &str) -> Failed {
    COUNTS.failed.fetch_add(1, Relaxed);
    Failed::from(reason)
}

fn skip(name: &str, reason: &str) -> Result<Completion, Failed> {
    if std::env::var_os("FLAGSTONE_REQUIRE_POWER_CUTS").is_some_and(|value| value == "1") {
        return Err(fail(&format!("this layer is required: {reason}")));
    }
    COUNTS.skipped.fetch_add(1, Relaxed);
    println!("SKIP[{name}]: {reason}");
    Ok(Completion::ignored_with(reason))
}
