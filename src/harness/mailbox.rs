//! Passes a child's messages to its parent, where they survive the child's death.
//!
//! **Owns** the files between the two: the child's job, its notes, and the violation that it
//! found. **Must not know** how they are used.
//!
//! The notes are a few numbers in one positioned write. A kill cannot tear that write, and the
//! page cache keeps it after the child has died.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::plan::Plan;
use super::replay::Opening;
use super::violation::Violation;

/// A child's task.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The parent's process id.
    pub(super) parent: u32,
    /// The ordinal of the run among its thread's runs with children.
    pub(super) ordinal: usize,
    /// The source location of the run, and its subject.
    pub(super) run: String,
    pub(super) plan: Plan,
    /// The store's path.
    pub(super) store: OsString,
    /// The states at which previous children opened the store.
    pub(super) openings: Vec<Opening>,
    /// The first operation to carry out.
    pub(super) first: usize,
    /// The last state for which a commit was requested, and the last acknowledged state.
    pub(super) last: usize,
    pub(super) acknowledged: usize,
    /// The address of the store's state number in the previous child; `None` before the store
    /// exists.
    pub(super) address: Option<usize>,
}

/// A child's progress. Operations and states count from 1 here; 0 means none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub(super) struct Notes {
    /// Set once the child has taken its job and opens the store.
    pub(super) begun: u64,
    /// The state at which the child first opened the store.
    pub(super) found: u64,
    /// The address of the store's state number in the child.
    pub(super) address: u64,
    /// The current operation.
    pub(super) operation: u64,
    /// The operation whose kill is due.
    pub(super) due: u64,
    /// The last state for which a commit was requested, and the last acknowledged state.
    pub(super) last: u64,
    pub(super) acknowledged: u64,
    /// Counters for the summary.
    pub(super) transactions: u64,
    pub(super) reopenings: u64,
    /// Set once the plan is complete and the store is closed.
    pub(super) done: u64,
}

/// The folder through which a parent and its children communicate.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    notes: File,
}

impl Folder {
    /// Opens the existing folder at `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Self { path: path.to_path_buf(), notes: options.open(path.join("notes"))? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the job for a child that is about to start.
    pub(super) fn begin(&self, job: &Job) -> io::Result<()> {
        self.write_notes(&Notes::default())?;
        write(&self.path.join("job"), job)
    }

    /// Takes the job, if `is_meant` accepts it and nobody else has taken it.
    pub(super) fn take_job(&self, is_meant: impl Fn(&Job) -> bool) -> io::Result<Option<Job>> {
        let path = self.path.join("job");
        let taken = std::fs::read(&path).and_then(|bytes| {
            let job: Job = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
            if !is_meant(&job) {
                return Ok(None);
            }
            std::fs::remove_file(&path)?;
            Ok(Some(job))
        });
        match taken {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            taken => taken,
        }
    }

    pub(super) fn write_notes(&self, notes: &Notes) -> io::Result<()> {
        self.notes.write_all_at(notes.as_bytes(), 0)
    }

    pub(super) fn notes(&self) -> io::Result<Notes> {
        let mut notes = Notes::default();
        self.notes.read_exact_at(notes.as_mut_bytes(), 0)?;
        Ok(notes)
    }

    pub(super) fn write_violation(
        &self,
        operation: usize,
        violation: &Violation,
    ) -> io::Result<()> {
        write(&self.path.join("violation"), &(operation, violation))
    }

    /// Returns the violation that a child found, and its operation.
    pub(super) fn violation(&self) -> Option<(usize, Violation)> {
        postcard::from_bytes(&std::fs::read(self.path.join("violation")).ok()?).ok()
    }

    /// Opens the file for the children's output.
    pub(super) fn output(&self) -> io::Result<File> {
        File::create(self.output_path())
    }

    /// Returns the end of the last child's output.
    pub(super) fn last_words(&self) -> String {
        let bytes = std::fs::read(self.output_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn output_path(&self) -> PathBuf {
        self.path.join("output")
    }
}

fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    std::fs::write(path, postcard::to_allocvec(content).map_err(io::Error::other)?)
}
