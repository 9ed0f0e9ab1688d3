//! The life of one store on a file system of its own: what it must hold at least and
//! can hold at most, by what its writers told, and whether it does.

use std::path::Path;

use flagstone::sim::Plant;

use super::super::bench::Bench;
use super::processes::Process;
use super::world::{Model, verify};
use super::writer::{Acknowledgements, Told, open};
use crate::common::TestResult;

pub struct Life<'a> {
    bench: &'a Bench,
    acks: Acknowledgements,
    /// From which follows what each commit does.
    seed: u64,
    plant: Option<Plant>,
    must_exist: bool,
    at_least: u64,
    model: Model,
}

impl<'a> Life<'a> {
    /// A store that is not made yet, and whose writers make this mistake.
    pub fn new(bench: &'a Bench, seed: u64, plant: Option<Plant>) -> TestResult<Self> {
        let acks = Acknowledgements::open(&bench.path("acks"))?;
        acks.clear()?;
        let model = Model::default();
        Ok(Self { bench, acks, seed, plant, must_exist: false, at_least: 0, model })
    }

    /// Commits of the state that was seen last.
    pub fn commits(&self) -> u64 {
        self.model.count()
    }

    /// Starts a writer, which plays `part`.
    pub fn start(&self, part: &str, store: &Path) -> TestResult<Process> {
        self.acks.set_closed()?;
        let (store, acks) = (store.display().to_string(), self.bench.path("acks"));
        let (acks, seed) = (acks.display().to_string(), self.seed.to_string());
        let plant = self.plant.map_or("none".to_string(), |plant| format!("{plant:?}"));
        Process::start(&[part, &store, &acks, &seed, &plant], self.bench.path("complaints"))
    }

    /// Starts a process that has pages of the store written back.
    pub fn start_second(&self, store: &Path, seed: u64) -> TestResult<Process> {
        let (store, seed) = (store.display().to_string(), seed.to_string());
        Process::start(&["write-back", &store, &seed], self.bench.path("other complaints"))
    }

    /// What the writer has told so far.
    pub fn told(&self) -> TestResult<Told> {
        Ok(self.acks.read()?)
    }

    /// From now on the store must hold what was told.
    pub fn hold_to(&mut self, told: Told) {
        self.must_exist |= told.is_open;
        self.at_least = self.at_least.max(told.durable);
    }

    /// Whether what is left is what it must be. A copy is opened, so that the next
    /// writer finds it as the cut left it.
    pub fn look_at(&mut self, store: &Path) -> TestResult<Result<(), String>> {
        let (left, copy) = (self.bench.path("left"), self.bench.path("copy"));
        let _ = std::fs::remove_file(&left);
        if !store.exists() {
            let lost = || "a store that was opened is not there".to_string();
            return Ok(if self.must_exist { Err(lost()) } else { Ok(()) });
        }
        std::fs::copy(store, &left)?;
        std::fs::copy(&left, &copy)?;
        let expected = self.at_least..=self.acks.read()?.begun;
        let opened = open(&copy, None).map_err(|error| format!("it cannot be opened: {error}"));
        let verify = |store| verify(&store, &mut self.model, self.seed, expected);
        let verified = opened.and_then(verify);
        self.at_least = self.at_least.max(self.model.count());
        Ok(verified)
    }
}
