//! What a child tells its parent, so that it is not lost when the child is
//! killed.
//!
//! **Owns** the files between the two: the child's job, its notes, and the
//! violation that it found. **Must not know** what is done with them.
//!
//! Notes are one positioned write of a few numbers. A kill cannot tear it, and
//! what was written lies in the page cache, whatever becomes of the child.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Violation;
use super::plan::Plan;
use super::replay::Opening;

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The parent's process.
    pub(super) parent: u32,
    /// The how manyth run with children of its thread is meant.
    pub(super) ordinal: usize,
    /// Where that run is in the program, and what it runs.
    pub(super) run: String,
    pub(super) plan: Plan,
    /// The store's path.
    pub(super) store: OsString,
    /// At what the store was opened by the children before.
    pub(super) openings: Vec<Opening>,
    /// The turn to go on with.
    pub(super) first: usize,
    /// The last state whose commit was asked for, and the last one that nothing
    /// may take back.
    pub(super) last: usize,
    pub(super) acknowledged: usize,
    /// Where the store's number lay in the memory of the child before; `None` if
    /// there is no store yet.
    pub(super) address: Option<usize>,
}

/// How far a child is. Numbers of turns and states count from 1 here; 0 is none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub(super) struct Notes {
    /// It has come to its job, and opens the store.
    pub(super) begun: u64,
    /// The state at which it opened the store first.
    pub(super) found: u64,
    /// Where the store's number lies in its memory.
    pub(super) address: u64,
    /// The turn that it is at.
    pub(super) operation: u64,
    /// The turn whose kill is due.
    pub(super) due: u64,
    /// The last state whose commit was asked for, and the last one that nothing
    /// may take back.
    pub(super) last: u64,
    pub(super) acknowledged: u64,
    /// Figures for the summary.
    pub(super) transactions: u64,
    pub(super) reopenings: u64,
    /// The plan is done, and the store closed.
    pub(super) done: u64,
}

/// The folder in which a parent and its children meet.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    notes: File,
}

impl Folder {
    /// The folder at `path`, which is there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Self { path: path.to_path_buf(), notes: options.open(path.join("notes"))? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a job there for a child that is about to begin.
    pub(super) fn begin(&self, job: &Job) -> io::Result<()> {
        self.write_notes(&Notes::default())?;
        write(&self.path.join("job"), job)
    }

    /// Takes the job away, if it is for whoever asks and nobody else has taken it.
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

    /// What a child found, and in which turn.
    pub(super) fn violation(&self) -> Option<(usize, Violation)> {
        postcard::from_bytes(&std::fs::read(self.path.join("violation")).ok()?).ok()
    }

    /// Where children print.
    pub(super) fn output(&self) -> io::Result<File> {
        File::create(self.output_path())
    }

    /// The end of what the last child has printed.
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
