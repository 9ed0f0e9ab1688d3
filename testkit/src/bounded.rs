//! Cases that must not take much memory, or much time.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{TestResult, child};

/// The environment variable by which a child knows its folder.
pub const CHILD: &str = "FLAGSTONE_DAMAGE";
/// As long as a case may take, on whatever machine: what is bounded ends far sooner, and what
/// is not takes minutes.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Limits this process's address space.
pub fn limit_memory(max_bytes: u64) -> TestResult {
    Ok(setrlimit(Resource::As, Rlimit { current: Some(max_bytes), maximum: None })?)
}

/// Runs `case` in a child with an address space of `max_bytes` and as much time
/// as a case may take. A file that claims too much would end it, or be too slow.
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

/// Writes a file that is as long as it says, with holes for the most part.
pub fn write_sparse(path: &Path, bytes: &[u8], len_bytes: u64) -> TestResult {
    std::fs::write(path, bytes)?;
    std::fs::OpenOptions::new().write(true).open(path)?.set_len(len_bytes)?;
    Ok(())
}
