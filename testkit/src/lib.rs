//! Code that the tests share: random numbers from a seed, stores in a folder, expected errors,
//! and running a test's own program again as a child.

pub mod bounded;
#[cfg(feature = "sim")]
pub mod fixture;
pub mod forge;
#[cfg(feature = "sim")]
pub mod full_fixture;
#[cfg(feature = "sim")]
pub mod histories;
pub mod model;
#[cfg(feature = "sim")]
pub mod paused_run;
#[cfg(feature = "power")]
pub mod power;
#[cfg(feature = "sim")]
pub mod process_run;
pub mod programs;
#[cfg(feature = "sim")]
pub mod recoveries;
pub mod scratch;
#[cfg(feature = "sim")]
pub mod sim_run;
#[cfg(feature = "sim")]
pub mod sweep;
#[cfg(feature = "sim")]
pub mod thread_run;

use std::path::Path;
use std::process::{Child, Command, Output};

use flagstone::{OpenOptions, Store};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Random numbers from a seed.
#[derive(Clone)]
pub struct Random(fastrand::Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    #[allow(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.u64(..limit.max(1))
    }

    /// Returns true with a probability of one in `of`.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.usize(..from.len())]
    }

    /// Picks one of some items by their weights.
    pub fn weighted<T: Copy>(&mut self, from: &[(u64, T)]) -> T {
        let mut left = self.below(from.iter().map(|(weight, _)| weight).sum());
        for (weight, item) in from {
            match left.checked_sub(*weight) {
                Some(less) => left = less,
                None => return *item,
            }
        }
        unreachable!("the number is below the sum of the weights")
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }
}

/// Returns the seed of this run, taken from `FLAGSTONE_SEED`; the test prints it.
pub fn seed(default: u64) -> u64 {
    let Some(seed) = std::env::var_os("FLAGSTONE_SEED") else { return default };
    let number = seed.to_str().and_then(|seed| seed.parse().ok());
    number.unwrap_or_else(|| panic!("FLAGSTONE_SEED is {seed:?}, and should be a number"))
}

/// Returns the bytes of the machine's page: of the one that `FLAGSTONE_MACHINE_PAGE_BYTES` has stores
/// act upon, if it is set.
pub fn machine_page_bytes() -> u64 {
    let Some(bytes) = std::env::var_os("FLAGSTONE_MACHINE_PAGE_BYTES") else {
        return rustix::param::page_size() as u64;
    };
    let number = bytes.to_str().and_then(|bytes| bytes.parse().ok());
    number.unwrap_or_else(|| panic!("FLAGSTONE_MACHINE_PAGE_BYTES is {bytes:?}, not a number"))
}

/// Returns whether `FLAGSTONE_LONG` asks for the long mode.
pub fn is_long() -> bool {
    std::env::var_os("FLAGSTONE_LONG").is_some()
}

/// Opens a store that only the test uses.
pub fn open(path: &Path) -> flagstone::Result<Store> {
    open_with(path, &OpenOptions::new())
}

/// Opens such a store with options.
pub fn open_with(path: &Path, options: &OpenOptions) -> flagstone::Result<Store> {
    // SAFETY: the path is in the test's own folder, and the test changes the file only while no
    // store has it open.
    unsafe { options.open(path) }
}

/// Returns a command that runs only `test` of this test program, as a child with `value` in the
/// environment variable `key`.
pub fn child(test: &str, key: &str, value: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(key, value);
    command
}

/// Checks that a child of [`child`] ran its test: a name that no test has would pass as well.
#[track_caller]
pub fn expect_one_passed(output: &Output) {
    let [told, complaint] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let has_passed = output.status.success() && told.contains(" 1 passed;");
    assert!(has_passed, "{}: {told}{complaint}", output.status);
}

/// A child process, which is killed when this is dropped.
pub struct KilledOnDrop(pub Child);

impl KilledOnDrop {
    /// Stops the process, and returns once all of its threads have stopped: until then they may
    /// still answer other processes.
    pub fn pause(&self) -> TestResult {
        let process = Pid::from_child(&self.0);
        kill_process(process, Signal::STOP)?;
        match waitpid(Some(process), WaitOptions::UNTRACED)? {
            Some((_, status)) if status.stopped() => Ok(()),
            status => Err(format!("a process that should have stopped: {status:?}").into()),
        }
    }

    /// Continues the process.
    pub fn resume(&self) -> TestResult {
        Ok(kill_process(Pid::from_child(&self.0), Signal::CONT)?)
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The result of a test.
pub type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Returns the error of a call that must fail.
#[track_caller]
pub fn refusal<T>(result: flagstone::Result<T>) -> flagstone::Error {
    match result {
        Ok(_) => panic!("this was accepted"),
        Err(error) => error,
    }
}

/// Asserts that a call fails with this kind of error: `assert_refused!(store.write(),
/// NestedWrite)`.
#[macro_export]
macro_rules! assert_refused {
    ($result:expr, $($kind:tt)+) => {{
        use flagstone::ErrorKind::*;
        let error = $crate::refusal($result);
        let expected = stringify!($($kind)+);
        assert!(matches!(error.kind(), $($kind)+), "expected {expected}, found: {error}");
    }};
}

/// Returns the path of the test that calls it, as the test program names it.
#[macro_export]
macro_rules! this_test {
    () => {{
        fn here() {}
        $crate::test_of(std::any::type_name_of_val(&here))
    }};
}

/// Returns the test that contains an item, given the item's path.
pub fn test_of(item: &str) -> String {
    let function = item.trim_end_matches("::here").trim_end_matches("::{{closure}}");
    function.split_once("::").map_or(function, |(_, test)| test).to_string()
}
