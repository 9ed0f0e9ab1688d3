//! Runs: one plan after the other, and what to do with one that fails.
//!
//! **Owns** the harness's options. **Must not know** how a plan is carried out.

use std::any::{type_name, type_name_of_val};
use std::ffi::OsString;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

use super::child::{Role, serve};
use super::failure::Parts;
use super::plan::{Ending, Plan};
use super::process::{ChildCommand, own_arguments};
use super::replay::{Opening, Replay};
use super::shrink::shrink;
use super::verify::Rules;
use super::violation::PanicSilencer;
use super::{Failure, Subject, Summary, Violation, ViolationKind, power, process};
use crate::sim::Mutation;
use crate::store::OpenOptions;

/// Where a seed is repeated.
const SEED_VARIABLE: &str = "FLAGSTONE_SEED";
/// Most replays of a child that hangs: each takes as long as it may.
const MAX_HANGING_REPLAYS: u32 = 3;

/// How processes end in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kills {
    /// The power goes: the store is on a simulated disk, which keeps what was
    /// synced and any part of what was written since. Fast: no process ends.
    #[default]
    PowerCuts,
    /// A child process that works on a real file is killed.
    Sigkill,
    /// Power cuts with even seeds, SIGKILLs with odd ones.
    Both,
}

/// Runs a [`Subject`] through random histories with crashes.
#[must_use = "a harness does nothing before `run`"]
#[derive(Clone, Debug)]
pub struct Harness {
    /// `None` for what the environment says.
    seed: Option<u64>,
    runs: u64,
    steps: u64,
    kills: Kills,
    options: OpenOptions,
    rules: Rules,
    max_replays: u32,
    child_arguments: Option<Vec<OsString>>,
    file: Option<PathBuf>,
}

impl Default for Harness {
    fn default() -> Self {
        Self {
            seed: None,
            runs: 20,
            steps: 200,
            kills: Kills::PowerCuts,
            // So that the log is lapped and moved.
            options: OpenOptions::new().log_bytes(64 * 1024).max_log_bytes(512 * 1024),
            rules: Rules { allow_unreachable: false, allow_dangling: false },
            max_replays: 1000,
            child_arguments: None,
            file: None,
        }
    }
}

/// What carries out plans, the same for all plans of a run.
pub(super) struct Setup<'a, F> {
    pub(super) make: F,
    pub(super) options: &'a OpenOptions,
    pub(super) rules: Rules,
}

/// What became of a plan.
pub(super) struct RunOutcome {
    /// The states at which the store was opened.
    pub(super) openings: Vec<Opening>,
    pub(super) summary: Summary,
    /// What was found, and in or after which turn.
    pub(super) violation: Option<(usize, Violation)>,
}

impl Harness {
    /// The defaults that each method names.
    pub fn new() -> Self {
        Self::default()
    }

    /// The seed of the first run; each later one adds 1. Default: what the
    /// environment variable `FLAGSTONE_SEED` says, and 1 where there is none. What is
    /// no number there is refused, so that a slip does not pass for a failure that is gone.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How many histories are run. Default: 20.
    pub fn runs(mut self, runs: u64) -> Self {
        self.runs = runs;
        self
    }

    /// How many steps a history has, over all its transactions. Default: 200.
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// How processes end. Default: [`Kills::PowerCuts`].
    pub fn kills(mut self, kills: Kills) -> Self {
        self.kills = kills;
        self
    }

    /// How stores are opened. Default: a log of 64 KiB that grows up to 512 KiB,
    /// so that it is lapped and moved often.
    pub fn options(mut self, options: OpenOptions) -> Self {
        self.options = options;
        self
    }

    /// Plants a fault into the protocol of the stores, which is to be found then.
    pub fn mutation(mut self, fault: Mutation) -> Self {
        self.options = self.options.mutation(fault);
        self
    }

    /// Allocations that no root reaches are no violation. By default they are:
    /// nothing would ever find and free them.
    pub fn allow_unreachable(mut self) -> Self {
        self.rules.allow_unreachable = true;
        self
    }

    /// Links that lead to nothing live are no violation. By default they are.
    pub fn allow_dangling(mut self) -> Self {
        self.rules.allow_dangling = true;
        self
    }

    /// How many replays shrinking may take at most. Default: 1000. A child that hangs
    /// takes a minute each time, and is replayed 3 times at most.
    pub fn max_replays(mut self, max_replays: u32) -> Self {
        self.max_replays = max_replays;
        self
    }

    /// Arguments with which this program, run again as a child, comes to this run
    /// before any other one with children. By default, a test is run again by its
    /// name, which its thread has; and another program with the arguments that it
    /// was given itself.
    pub fn child_arguments<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.child_arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Where the store of runs with SIGKILLs lies: a path at which there is
    /// nothing. It is removed after each run, and left there by one that fails.
    /// Default: in a temporary folder.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Runs the subject that `make` gives, once for each history and again
    /// whenever the store is opened: a crash takes what is in memory.
    ///
    /// In a child process it does what the parent asks for, and does not return. A child
    /// that comes to another run first, does nothing there: that run is `Ok` with no
    /// history in it. A test that expects a failure and goes on from it must come to its
    /// other runs also then.
    ///
    /// # Errors
    ///
    /// The first violation, shrunk.
    #[track_caller]
    pub fn run<S: Subject>(&self, make: impl Fn() -> S) -> Result<Summary, Failure> {
        let (subject, place) = (type_name::<S>(), Location::caller());
        let name = format!("{subject} by {} at {place}", type_name_of_val(&make));
        let setup = Setup { make, options: &self.options, rules: self.rules };
        let ordinal = match Role::of_next_run(self.kills, &name) {
            Role::Child(folder, job) => serve(&setup, folder, job),
            Role::Bystander => return Ok(Summary::default()),
            Role::Parent { ordinal } => ordinal,
        };
        let refused = |error| not_run(self.seed.unwrap_or_default(), error);
        let seed = self.seed.map_or_else(seed_from_environment, Ok).map_err(refused)?;
        let temporary = tempfile::tempdir().map_err(refused)?;
        let again = self.again((name, ordinal), temporary.path()).map_err(refused)?;
        let course = Course { setup, again };
        let mut summary = Summary::default();
        for run in 0..self.runs {
            summary += self.run_one(&course, seed.wrapping_add(run))?;
        }
        Ok(summary)
    }

    /// How children are run; power cuts need none.
    fn again(&self, (run, ordinal): (String, usize), folder: &Path) -> io::Result<ChildCommand> {
        let (arguments, ordinal) = match &self.child_arguments {
            Some(arguments) => (arguments.clone(), 0),
            None if self.kills == Kills::PowerCuts => (Vec::new(), ordinal),
            None => (own_arguments()?, ordinal),
        };
        let store = self.file.clone().unwrap_or_else(|| folder.join("store.flag"));
        let refused = |error: io::ErrorKind, why: String| {
            io::Error::new(error, format!("{}: {why}", store.display()))
        };
        match store.try_exists() {
            Err(error) => Err(refused(error.kind(), error.to_string())),
            Ok(true) => Err(refused(
                io::ErrorKind::AlreadyExists,
                "the harness makes the store itself, and does not touch what is there".into(),
            )),
            Ok(false) => {
                Ok(ChildCommand { arguments, ordinal, run, store, folder: folder.to_path_buf() })
            }
        }
    }

    fn run_one<S: Subject, F: Fn() -> S>(
        &self,
        course: &Course<'_, F>,
        seed: u64,
    ) -> Result<Summary, Failure> {
        let ending = match self.kills {
            Kills::PowerCuts => Ending::Power,
            Kills::Sigkill => Ending::Signal,
            Kills::Both if seed.is_multiple_of(2) => Ending::Power,
            Kills::Both => Ending::Signal,
        };
        let plan = Plan::draw(seed, self.steps, ending);
        let ran = course.run(&plan);
        match ran.violation {
            None => Ok(ran.summary),
            Some((operation, violation)) => {
                let came = |operation| {
                    ran.openings.iter().any(|opening| opening.after_operation == operation)
                };
                let pinned = plan.pinned(operation, came);
                Err(self.fail(course, seed, (plan, pinned), violation))
            }
        }
    }

    /// Shrinks a plan that fails, and tells its history.
    fn fail<S: Subject, F: Fn() -> S>(
        &self,
        course: &Course<'_, F>,
        seed: u64,
        (plan, pinned): (Plan, [Plan; 2]),
        violation: Violation,
    ) -> Failure {
        let from = (plan.operations.len(), plan.steps());
        if violation.kind == ViolationKind::NotRun {
            return Failure::new(Parts::of(seed, violation));
        }
        let replay = |plan: &Plan| {
            let failing = course.replay(plan, violation.kind)?;
            Some((failing.recorded.clone(), failing))
        };
        let quiet = PanicSilencer::begin();
        let most = match violation.kind {
            ViolationKind::ChildHangs => self.max_replays.min(MAX_HANGING_REPLAYS),
            _ => self.max_replays,
        };
        let shrunk = shrink(plan, pinned, most, replay);
        // Once more, so that the file is the one that this history leaves.
        let again = course.replay(&shrunk.plan, violation.kind);
        drop(quiet);
        let replays = shrunk.replays;
        let first = violation;
        let Some(Failing { recorded, violation, history }) = again.or(shrunk.evidence) else {
            return Failure::new(Parts { from, replays, ..Parts::of(seed, first) });
        };
        let steps = recorded.steps();
        Failure::new(Parts { seed, violation, first, history, steps, from, replays })
    }
}

/// All that it takes to carry out plans.
struct Course<'a, F> {
    setup: Setup<'a, F>,
    again: ChildCommand,
}

/// A plan that fails.
struct Failing {
    recorded: Plan,
    violation: Violation,
    history: Vec<String>,
}

impl<S: Subject, F: Fn() -> S> Course<'_, F> {
    fn run(&self, plan: &Plan) -> RunOutcome {
        match plan.ending {
            Ending::Power => power::run(&self.setup, plan),
            Ending::Signal => process::run(&self.again, plan),
        }
    }

    /// Runs a plan; what it comes to if it fails with this kind of violation.
    fn replay(&self, plan: &Plan, kind: ViolationKind) -> Option<Failing> {
        let ran = self.run(plan);
        let (operation, violation) =
            ran.violation.filter(|(_, violation)| violation.kind == kind)?;
        let subject = (self.setup.make)();
        // Where the subject panics as it chooses or brings its model forward, it does so
        // here as well.
        let (mut replay, panic) =
            Replay::up_to_a_panic(&subject, plan, &ran.openings, operation + 1);
        replay.lines.extend(panic.map(|panic| format!("    {panic}")));
        Some(Failing { recorded: replay.recorded, violation, history: replay.lines })
    }
}

fn not_run(seed: u64, error: io::Error) -> Failure {
    Failure::new(Parts::of(seed, Violation::new(ViolationKind::NotRun, error)))
}

fn seed_from_environment() -> io::Result<u64> {
    let Some(value) = std::env::var_os(SEED_VARIABLE) else { return Ok(1) };
    let number = value.to_str().and_then(|value| value.trim().parse().ok());
    number.ok_or_else(|| {
        let why = format!("{SEED_VARIABLE} is {value:?}, and should be a seed: a number");
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}
