//! The life of one store on its own file system: the lower and upper bounds on its state, from
//! the reports of its writers, and the check against them.

use std::path::{Path, PathBuf};

use flagstone::sim::Mutation;

use super::super::scratch_fs::Bench;
use super::power_fixture::{Model, verify};
use super::processes::Process;
use super::writer::{Acknowledgements, Told, open};
use crate::TestResult;

pub struct Life<'a> {
    bench: &'a Bench,
    acks: Acknowledgements,
    /// Determines the changes of each commit.
    seed: u64,
    mutation: Option<Mutation>,
    must_exist: bool,
    at_least: u64,
    model: Model,
}

impl<'a> Life<'a> {
    /// Starts with no store; all writers will use this mutation.
    pub fn new(bench: &'a Bench, seed: u64, mutation: Option<Mutation>) -> TestResult<Self> {
        let acks = Acknowledgements::open(&bench.path("acks"))?;
        acks.clear()?;
        let model = Model::default();
        Ok(Self { bench, acks, seed, mutation, must_exist: false, at_least: 0, model })
    }

    /// Returns the number of commits in the state that was last examined.
    pub fn commits(&self) -> u64 {
        self.model.count()
    }

    /// Starts a writer in the role `part`.
    pub fn start(&self, part: &str, store: &Path) -> TestResult<Process> {
        self.acks.set_closed()?;
        let (store, acks) = (store.display().to_string(), self.bench.path("acks"));
        let (acks, seed) = (acks.display().to_string(), self.seed.to_string());
        let mutation = self.mutation.map_or("none".to_string(), |mutation| format!("{mutation:?}"));
        Process::start(&[part, &store, &acks, &seed, &mutation], self.bench.path("complaints"))
    }

    /// Starts a process that forces writeback of pages of the store.
    pub fn start_second(&self, store: &Path, seed: u64) -> TestResult<Process> {
        let (store, seed) = (store.display().to_string(), seed.to_string());
        Process::start(&["write-back", &store, &seed], self.bench.path("other complaints"))
    }

    /// Returns what the writer has reported so far.
    pub fn told(&self) -> TestResult<Told> {
        Ok(self.acks.read()?)
    }

    /// Requires from now on that the store holds what was reported.
    pub fn hold_to(&mut self, told: Told) {
        self.must_exist |= told.is_open;
        self.at_least = self.at_least.max(told.durable);
    }

    /// Copies the store as a cut has left it, before anything opens it.
    pub fn keep(&self, store: &Path) -> TestResult {
        let kept = kept(self.bench);
        if store.exists() {
            std::fs::copy(store, kept)?;
        } else if kept.exists() {
            std::fs::remove_file(kept)?;
        }
        Ok(())
    }

    /// Checks that the copy is within the bounds.
    pub fn look(&mut self) -> TestResult<Result<(), String>> {
        let (kept, copy) = (kept(self.bench), self.bench.path("copy"));
        if !kept.exists() {
            let lost = || "a store that was opened is not there".to_string();
            return Ok(if self.must_exist { Err(lost()) } else { Ok(()) });
        }
        std::fs::copy(kept, &copy)?;
        let expected = self.at_least..=self.acks.read()?.begun;
        let opened = open(&copy, None).map_err(|error| format!("it cannot be opened: {error}"));
        let verify = |store| verify(&store, &mut self.model, self.seed, expected);
        let verified = opened.and_then(verify);
        self.at_least = self.at_least.max(self.model.count());
        Ok(verified)
    }
}

/// Returns the path of the last copy.
pub fn kept(bench: &Bench) -> PathBuf {
    bench.path("kept")
}
