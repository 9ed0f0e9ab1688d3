//! `flagstone torture`: tests whether the store survives crashes on this machine.

use std::ffi::OsString;
use std::io::{self, Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use flagstone::harness::structures::{ALL, Structure};
use flagstone::harness::{self, Harness, Summary, ViolationKind};
use flagstone::sim::Mutation;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::Failure;
use crate::outcome::Outcome;

/// Steps per run: few, so that a run ends soon after Ctrl-C.
const STEPS: u64 = 100;

/// Crash structures of all kinds, reopen them, and verify their contents.
///
/// Changes a linked list and each of the collections at random, one structure at a time. Each run
/// is a history of commits, rollbacks, savepoints, held snapshots, checkpoints and kills. A
/// SIGKILL ends a child process that works on STORE; a power cut is simulated in memory. After
/// each kill, the store must be undamaged and hold one committed state, none older than the last
/// acknowledged one.
///
/// Exits with 0 if every state was correct. Otherwise exits with 1, prints the seed and a short
/// history that reproduces the failure, and leaves STORE as it was found after a SIGKILL.
#[derive(Args)]
pub struct Arguments {
    /// Path for the store of runs with SIGKILLs; nothing may exist there. It is removed at the
    /// end, unless a violation was found.
    store: PathBuf,

    /// Duration of the test.
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// Seed of the first round of runs; each later round adds 1. Default: random.
    #[arg(long)]
    seed: Option<u64>,

    /// How to kill a process.
    #[arg(long, value_enum, default_value_t = Kills::Both)]
    kills: Kills,

    /// Run only this structure; can be given more than once.
    #[arg(long = "structure", value_parser = PossibleValuesParser::new(ALL.map(|one| one.name)))]
    structures: Vec<String>,

    /// Activate a mutation in the protocol, which the test must then find: a test that cannot
    /// fail shows nothing.
    #[arg(long, value_enum, value_name = "FAULT")]
    mutation: Option<Mutation>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kills {
    /// Simulated power cuts.
    Power,
    /// SIGKILLs of child processes.
    Kill,
    /// Power cuts in runs with an even seed, SIGKILLs in the others.
    Both,
}

impl From<Kills> for harness::Kills {
    fn from(kills: Kills) -> Self {
        match kills {
            Kills::Power => Self::PowerCuts,
            Kills::Kill => Self::Sigkill,
            Kills::Both => Self::Both,
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let is_over = ctrl_c()?;
    let seed = arguments.seed.map_or_else(random_seed, Ok)?;
    let wanted = |one: &Structure| {
        arguments.structures.is_empty() || arguments.structures.iter().any(|name| name == one.name)
    };
    let structures: Vec<Structure> = ALL.into_iter().filter(wanted).collect();
    let (begun, limit) = (Instant::now(), Duration::from_secs(arguments.seconds));
    let bar = progress(limit);
    let mut all = Summary::default();
    // Run each structure with each seed; the seed's parity chooses the kind of kill.
    let rounds = (0u64..).map(|round| seed.wrapping_add(round));
    let runs = rounds.flat_map(|seed| structures.iter().map(move |structure| (seed, structure)));
    for (seed, structure) in runs {
        if begun.elapsed() >= limit || is_over.load(Relaxed) {
            break;
        }
        match structure.run(&harness(arguments, structure, seed)) {
            Ok(summary) => all += summary,
            Err(failure) => {
                bar.finish_and_clear();
                return tell(structure, &failure, &all);
            }
        }
        bar.set_position(begun.elapsed().as_secs());
        bar.set_message(all.to_string());
    }
    bar.finish_and_clear();
    if all.runs == 0 {
        let why = "no run ended in this time; give more time with --seconds";
        return Err(Failure::Harness(why.into()));
    }
    let took = begun.elapsed().as_secs_f64();
    if let Some(mutation) = arguments.mutation {
        return Err(Failure::Harness(format!(
            "{all}\nthe mutation {mutation:?} was not found in {took:.1} s; some mutations show \
             only in power cuts (--kills power), and those of processes that share a store in \
             none of these runs"
        )));
    }
    let names = structures.len();
    Outcome::Sound.told(writeln!(
        stdout(),
        "{all}\nno violation in {took:.1} s, {names} structures, from seed {seed} on"
    ))
}

/// Returns a flag that the first Ctrl-C sets; a second Ctrl-C ends the program at once.
fn ctrl_c() -> io::Result<Arc<AtomicBool>> {
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&is_over))?;
        signal_hook::flag::register(signal, Arc::clone(&is_over))?;
    }
    Ok(is_over)
}

/// Returns a random seed, short enough to type.
fn random_seed() -> Result<u64, Failure> {
    let seed = getrandom::u32().map_err(|error| Failure::Harness(error.to_string()))?;
    Ok(seed.into())
}

fn progress(limit: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{pos}/{len} s  {wide_msg}");
    ProgressBar::new(limit.as_secs())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Configures one run. The child is this program, with arguments that select the same run.
fn harness(arguments: &Arguments, structure: &Structure, seed: u64) -> Harness {
    let mut child = vec!["torture".into(), arguments.store.clone().into_os_string()];
    child.extend(["--kills=kill", "--structure", structure.name].map(OsString::from));
    child.extend(arguments.mutation.map(mutation_argument));
    let harness = Harness::new()
        .seed(seed)
        .runs(1)
        .steps(STEPS)
        .kills(arguments.kills.into())
        .file(&arguments.store)
        .child_arguments(child);
    arguments.mutation.map_or(harness.clone(), |mutation| harness.mutation(mutation))
}

/// Formats the option as a user would type it.
fn mutation_argument(mutation: Mutation) -> OsString {
    let name = mutation.to_possible_value().map(|value| value.get_name().to_string());
    format!("--mutation={}", name.unwrap_or_default()).into()
}

fn tell(
    structure: &Structure,
    failure: &harness::Failure,
    before: &Summary,
) -> Result<Outcome, Failure> {
    let violation = failure.violation();
    if violation.kind == ViolationKind::NotRun {
        let what = "give a path that does not exist, in a folder that you may write to";
        return Err(Failure::Harness(format!("{violation} ({what})")));
    }
    let name = structure.name;
    Outcome::Findings.told(writeln!(
        stdout(),
        "{before}, and then in `{name}`:\n{failure}, with --structure {name} and the same options"
    ))
}
