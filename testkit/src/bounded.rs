//! Runs cases under limits on memory and time.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::scratch::ScratchFile;
use crate::{KilledOnDrop, TestResult, child, expect_one_passed};

/// The environment variable that names a child's file or folder.
pub const CHILD: &str = "FLAGSTONE_DAMAGE";
/// The time limit of a case on any machine: bounded work ends far sooner, unbounded work takes
/// minutes.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Limits the address space of this process.
pub fn limit_memory(max_bytes: u64) -> TestResult {
    Ok(setrlimit(Resource::As, Rlimit { current: Some(max_bytes), maximum: None })?)
}

/// Runs `case` in a child with an address space of `max_bytes` and the time limit of a case; it
/// gets the path of a file to make, in a folder of its own. The child fails if a file makes it
/// allocate too much or run too long.
pub fn within(test: &str, max_bytes: u64, case: impl FnOnce(&Path) -> TestResult) -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        limit_memory(max_bytes)?;
        return case(Path::new(&path));
    }
    let path = ScratchFile::new()?;
    let told = path.beside("told");
    let stdout = std::fs::File::create(&told)?;
    let mut child = KilledOnDrop(child(test, CHILD, &path).stdout(stdout).spawn()?);
    let begun = Instant::now();
    while child.0.try_wait()?.is_none() {
        assert!(begun.elapsed() < TIMEOUT, "it takes too long");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (status, stdout) = (child.0.wait()?, std::fs::read(&told)?);
    expect_one_passed(&Output { status, stdout, stderr: Vec::new() });
    Ok(())
}

/// Writes a file of length `len_bytes`, which is mostly a hole.
pub fn write_sparse(path: &Path, bytes: &[u8], len_bytes: u64) -> TestResult {
    std::fs::write(path, bytes)?;
    std::fs::OpenOptions::new().write(true).open(path)?.set_len(len_bytes)?;
    Ok(())
}
