//! The processes that a power cut hits. Each is this program, started anew in a role: a writer,
//! or a process that forces writeback of pages of the same file.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use memmap2::MmapOptions;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::writer::{MUTATIONS, write_until_killed, write_until_poisoned};
use crate::{KilledOnDrop, Random, TestResult};

const PAGE_BYTES: u64 = 4096;

/// Forces writeback of random pages of a file, until the process is killed.
fn write_back_until_killed(path: &Path, seed: u64) -> TestResult {
    let mut random = Random::new(seed);
    loop {
        std::thread::sleep(Duration::from_micros(random.below(400)));
        let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { continue };
        for _ in 0..100 {
            let pages = file.metadata()?.len() / PAGE_BYTES;
            write_back(&file, random.below(pages), random.one_in(2))?;
            std::thread::sleep(Duration::from_micros(random.below(200)));
        }
    }
}

fn write_back(file: &File, page: u64, with_length: bool) -> std::io::Result<()> {
    let offset = page * PAGE_BYTES;
    if with_length {
        // An msync also syncs the file's length and extents.
        let map = MmapOptions::new().offset(offset).len(PAGE_BYTES as usize).map_raw(file)?;
        return map.flush();
    }
    let (offset, len) = (offset as libc::off64_t, PAGE_BYTES as libc::off64_t);
    // SAFETY: the call takes an open descriptor and numbers.
    let done = unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Acts as one of the processes above, if this program was started for that.
pub fn play(arguments: &[String]) -> Option<TestResult> {
    match *arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["writer", store, acks, seed, mutation] => Some(play_writer(store, acks, seed, mutation)),
        ["sufferer", store, acks, seed, _] => Some(play_sufferer(store, acks, seed)),
        ["write-back", store, seed] => Some(play_write_back(store, seed)),
        _ => None,
    }
}

fn play_writer(store: &str, acks: &str, seed: &str, mutation: &str) -> TestResult {
    follow_the_test()?;
    let mutation = MUTATIONS.into_iter().find(|known| format!("{known:?}") == mutation);
    write_until_killed(Path::new(store), Path::new(acks), seed.parse()?, mutation)
}

fn play_sufferer(store: &str, acks: &str, seed: &str) -> TestResult {
    follow_the_test()?;
    write_until_poisoned(Path::new(store), Path::new(acks), seed.parse()?)
}

fn play_write_back(store: &str, seed: &str) -> TestResult {
    follow_the_test()?;
    write_back_until_killed(Path::new(store), seed.parse()?)
}

/// Makes this process die with the test, even if the test is killed.
fn follow_the_test() -> TestResult {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// A running process; dropping it kills it.
pub struct Process {
    child: KilledOnDrop,
    complaints: PathBuf,
}

impl Process {
    /// Starts this program in a role. Its standard error goes to a file.
    pub fn start(part: &[&str], complaints: PathBuf) -> TestResult<Self> {
        let program = std::env::current_exe()?;
        let stderr = File::create(&complaints)?;
        let child = Command::new(program).arg("--play").args(part).stderr(stderr).spawn()?;
        Ok(Self { child: KilledOnDrop(child), complaints })
    }

    /// Returns how the process ended and what it wrote to standard error, if it has ended.
    pub fn has_ended(&mut self) -> TestResult<Option<String>> {
        let Some(status) = self.child.0.try_wait()? else { return Ok(None) };
        Ok(Some(self.last_words(status)))
    }

    fn last_words(&self, status: ExitStatus) -> String {
        let complaints = std::fs::read_to_string(&self.complaints).unwrap_or_default();
        format!("{status}: {}", complaints.trim())
    }

    /// Waits until the process ends, which must be a success.
    pub fn expect_success(&mut self) -> TestResult {
        wait_until(|| Ok(self.child.0.try_wait()?.is_some()))?;
        let status = self.child.0.wait()?;
        if status.success() { Ok(()) } else { Err(self.last_words(status).into()) }
    }

    /// Stops the process for a while.
    pub fn pause(&self) -> TestResult {
        self.child.pause()
    }

    pub fn resume(&self) -> TestResult {
        self.child.resume()
    }
}

/// Waits until `is_there` returns true, for at most a minute.
pub fn wait_until(mut is_there: impl FnMut() -> TestResult<bool>) -> TestResult {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_there()? {
        if Instant::now() > patience {
            return Err("nothing happened for a minute".into());
        }
        std::thread::sleep(Duration::from_micros(30));
    }
    Ok(())
}
