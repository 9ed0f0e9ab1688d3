//! Runs cases under limits on memory and time.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{TestResult, child};

/// The environment variable that names a child's folder.
pub const CHILD: &str = "FLAGSTONE_DAMAGE";
/// The time limit of a case on any machine: bounded work ends far sooner, unbounded work takes
/// minutes.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Limits the address space of this process.
pub fn limit_memory(max_bytes: u64) -> TestResult {
    Ok(setrlimit(Resource::As, Rlimit { current: Some(max_bytes), maximum: None })?)
}

/// Runs `case` in a child with an address space of `max_bytes` and the time limit of a case. The
/// child fails if a file makes it allocate too much or run too long.
pub fn within(test: &str, max_bytes: u64, case: impl FnOnce(&Path) -> TestResult) -> TestResult {
    if let Some(folder) = std::env::var_os(CHILD) {
        limit_memory(max_bytes)?;
        return case(Path::new(&folder));
    }
    let folder = tempfile::tempdir()?;
    let mut child = child(test, CHILD, folder.path()).spawn()?;
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
        if let Some(status) = child.try_wait()? {
            assert!(status.success(), "{status}, see above");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    panic!("it takes too long");
}

/// Writes a file of length `len_bytes`, which is mostly a hole.
pub fn write_sparse(path: &Path, bytes: &[u8], len_bytes: u64) -> TestResult {
    std::fs::write(path, bytes)?;
    std::fs::OpenOptions::new().write(true).open(path)?.set_len(len_bytes)?;
    Ok(())
}
