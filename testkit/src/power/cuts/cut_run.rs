//! Cuts the power of a machine on which a writer runs, again and again, and examines what is
//! left.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flagstone::sim::Mutation;

use super::super::scratch_fs::Bench;
use super::life::{self, Life};
use super::processes::{Process, wait_until};
use super::writer::Told;
use crate::{Random, TestResult};

/// Cuts that a file system and a store go through before they are replaced.
const CUTS_IN_A_LIFE: u64 = 25;
/// Maximum delay from a writer's start to a cut that should hit its recovery.
const EARLY_MICROS: u64 = 5000;
/// Maximum delay from the start of a checkpoint to a cut that should hit it.
const CHECKPOINT_MICROS: u64 = 2000;
/// Maximum number of commits between a writer's opening and a cut.
const MAX_COMMITS: u64 = 120;

/// A disk with a file system, whose power can be cut.
pub trait Machine {
    /// Creates a new, empty file system.
    fn format(&mut self) -> TestResult;

    /// Mounts the file system as the last cut left it; returns its folder.
    fn power_on(&mut self) -> TestResult<PathBuf>;

    /// Cuts the power: nothing more reaches the disk.
    fn cut(&mut self, random: &mut Random) -> TestResult;

    /// Unmounts what a cut has left. No process uses it any more.
    fn clear_away(&mut self) -> TestResult;
}

/// The parameters of a run.
#[derive(Clone)]
pub struct CutRun {
    pub name: String,
    pub cuts: u64,
    pub seed: u64,
    /// Whether another process forces writeback of pages meanwhile, every second time.
    pub writes_back: bool,
    /// The mutation of the writer's protocol, if any.
    pub mutation: Option<Mutation>,
}

/// The result of a run.
#[derive(Default)]
pub struct Outcome {
    pub cuts: u64,
    /// Cuts before the writer had opened the store.
    pub early_cuts: u64,
    pub commits: u64,
    /// The violation that ended the run, if any.
    pub violation: Option<String>,
}

impl CutRun {
    /// Cuts the power until a violation is found, or as often as configured.
    pub fn run(&self, machine: &mut impl Machine, bench: &Bench) -> TestResult<Outcome> {
        let mut random = Random::new(self.seed);
        let mut outcome = Outcome::default();
        while outcome.cuts < self.cuts && outcome.violation.is_none() {
            machine.format()?;
            let mut life = Life::new(bench, random.next(), self.mutation)?;
            outcome.violation = self.live(&mut life, machine, &mut random, &mut outcome)?;
            outcome.commits += life.commits();
        }
        Ok(outcome)
    }

    /// Takes one store through several cuts. Returns the violation, if any.
    fn live(
        &self,
        life: &mut Life<'_>,
        machine: &mut impl Machine,
        random: &mut Random,
        outcome: &mut Outcome,
    ) -> TestResult<Option<String>> {
        for _ in 0..CUTS_IN_A_LIFE.min(self.cuts - outcome.cuts) {
            let folder = machine.power_on()?;
            let store = folder.join("store");
            if !store.exists() && random.one_in(2) {
                // An empty file, which the writer turns into a store.
                File::create(&store)?.sync_all()?;
                File::open(&folder)?.sync_all()?;
            }
            life.keep(&store)?;
            // Sometimes the next writer is the first to open the remains.
            let is_looked_at = !random.one_in(4);
            if is_looked_at && let Err(wrong) = life.look()? {
                return Ok(Some(wrong));
            }
            outcome.cuts += 1;
            let told = match self.write_and_cut(life, machine, &store, random)? {
                Ok(told) => told,
                Err(wrong) => return Ok(Some(wrong)),
            };
            outcome.early_cuts += u64::from(!told.is_open);
            machine.clear_away()?;
        }
        life.keep(&machine.power_on()?.join("store"))?;
        let looked = life.look()?;
        machine.clear_away()?;
        Ok(looked.err())
    }

    /// Lets a writer run for a while and cuts the power. Returns what the writer had reported
    /// before the cut, or the violation.
    fn write_and_cut(
        &self,
        life: &mut Life<'_>,
        machine: &mut impl Machine,
        store: &Path,
        random: &mut Random,
    ) -> TestResult<Result<Told, String>> {
        let mut writer = life.start("writer", store)?;
        let second = self.writes_back && random.one_in(2);
        let mut second = second.then(|| life.start_second(store, random.next())).transpose()?;
        wait_for_a_moment(life, &mut writer, random)?;
        // Read before the cut: reports after it come from the error path.
        let told = life.told()?;
        if let Some(words) = writer.has_ended()? {
            return Ok(Err(format!("the writer ended by itself: {words}")));
        }
        if let Some(words) = second.as_mut().map_or(Ok(None), Process::has_ended)? {
            return Err(format!("the process that writes back ended by itself: {words}").into());
        }
        machine.cut(random)?;
        drop((writer, second));
        life.hold_to(told);
        Ok(Ok(told))
    }

    /// Cuts the power again and again, which must find no violation.
    pub fn expect_no_loss(&self, machine: &mut impl Machine, bench: &Bench) -> TestResult {
        let begun = Instant::now();
        let Outcome { cuts, early_cuts, commits, violation } = self.run(machine, bench)?;
        let (name, seed, seconds) = (&self.name, self.seed, begun.elapsed().as_secs_f32());
        println!(
            "{name}: {cuts} cuts, {early_cuts} of them while opening, {commits} commits, \
             {} violations, {seconds:.1} s, seed {seed}",
            u8::from(violation.is_some())
        );
        let Some(violation) = violation else { return Ok(()) };
        let kept = std::env::temp_dir().join(format!("flagstone-after-a-cut-{seed}.store"));
        let kept = match std::fs::copy(life::kept(bench), &kept) {
            Ok(_) => format!("the file is kept as {}", kept.display()),
            Err(error) => format!("there is no file to keep: {error}"),
        };
        Err(format!("{name}, seed {seed}, cut {cuts}: {violation}; {kept}").into())
    }

    /// Does the same with a mutation, which it must detect.
    pub fn expect_loss(&self, machine: &mut impl Machine, bench: &Bench) -> TestResult {
        let Outcome { cuts, violation, .. } = self.run(machine, bench)?;
        let (name, seed) = (&self.name, self.seed);
        match violation {
            Some(found) => println!("{name}: caught by cut {cuts}: {found}"),
            None => return Err(format!("{name}, seed {seed}: not caught in {cuts} cuts").into()),
        }
        Ok(())
    }
}

/// Waits for an instant that is worth a cut: soon after the writer's start, in a checkpoint, or
/// after some commits.
fn wait_for_a_moment(life: &Life<'_>, writer: &mut Process, random: &mut Random) -> TestResult {
    let moment = random.below(4);
    if moment == 0 {
        sleep_below(EARLY_MICROS, random);
        return Ok(());
    }
    let mut until = |is_there: &dyn Fn(Told) -> bool| {
        wait_until(|| Ok(is_there(life.told()?) || writer.has_ended()?.is_some()))
    };
    until(&|told| told.is_open)?;
    let first = life.told()?.begun;
    if moment == 1 {
        until(&|told| told.checkpoint > first)?;
        sleep_below(CHECKPOINT_MICROS, random);
        return Ok(());
    }
    let enough = first + random.below(MAX_COMMITS);
    until(&|told| told.begun >= enough)
}

fn sleep_below(max_micros: u64, random: &mut Random) {
    std::thread::sleep(Duration::from_micros(random.below(max_micros)));
}
