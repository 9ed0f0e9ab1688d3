//! Runs plans in sequence, and shrinks and reports one that fails.
//!
//! **Owns** the harness's options. **Must not know** how a plan is carried out.

use std::any::{type_name, type_name_of_val};
use std::ffi::OsString;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

use super::child::{Role, serve};
use super::course::{RunOutcome, Setup};
use super::failure::{Failure, Parts, Summary};
use super::plan::{Ending, Plan};
use super::power;
use super::process::{self, ChildCommand, own_arguments};
use super::replay::Replay;
use super::shrink::shrink;
use super::subject::Subject;
use super::verify::Rules;
use super::violation::{PanicSilencer, Violation, ViolationKind};
use crate::sim::Mutation;
use crate::store::OpenOptions;

/// The environment variable for the seed to repeat.
const SEED_VARIABLE: &str = "FLAGSTONE_SEED";
/// Maximum replays of a child that hangs: each one takes the full timeout.
const MAX_HANGING_REPLAYS: u32 = 3;

/// The ways in which processes end in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kills {
    /// The power fails: the store is on a simulated disk, which keeps synced data and any part of
    /// the data written since. Fast, because no process ends.
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
    /// `None` for the seed from the environment.
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
            // A small log, which wraps around and moves often.
            options: OpenOptions::new().log_bytes(64 * 1024).max_log_bytes(512 * 1024),
            rules: Rules { allow_unreachable: false, allow_dangling: false },
            max_replays: 1000,
            child_arguments: None,
            file: None,
        }
    }
}

impl Harness {
    /// Returns a harness with the defaults that each method documents.
    ///
    /// ```
    /// # use flagstone::harness::{Harness, structures::List};
    /// let summary = Harness::new().run(|| List)?;
    /// assert_eq!(summary.runs, 20);
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the seed of the first run; each later run adds 1. Default: the environment variable
    /// `FLAGSTONE_SEED`, or 1 if it is not set. A value that is not a number is refused, so a
    /// typo does not make a failure seem fixed.
    ///
    /// ```
    /// # use flagstone::harness::{Harness, structures::List};
    /// let harness = Harness::new().runs(2);
    /// let summary = harness.clone().seed(7).run(|| List)?;
    /// assert_eq!(harness.clone().seed(7).run(|| List)?, summary);
    /// assert_ne!(harness.seed(8).run(|| List)?, summary);
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the number of histories. Default: 20.
    ///
    /// ```
    /// # use flagstone::harness::{Harness, structures::List};
    /// assert_eq!(Harness::new().runs(3).run(|| List)?.runs, 3);
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    pub fn runs(mut self, runs: u64) -> Self {
        self.runs = runs;
        self
    }

    /// Sets the number of steps in a history, over all its transactions. Default: 200.
    ///
    /// ```
    /// # use flagstone::harness::{Harness, structures::List};
    /// let harness = Harness::new().runs(1);
    /// let short = harness.clone().steps(20).run(|| List)?;
    /// let long = harness.steps(400).run(|| List)?;
    /// assert!(short.transactions < long.transactions);
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Sets how processes end. Default: [`Kills::PowerCuts`].
    ///
    /// ```standalone_crate
    /// # // The child is this program, run again: not one into which all examples are merged.
    /// # use flagstone::harness::{Harness, Kills, structures::List};
    /// let summary = Harness::new().kills(Kills::Sigkill).runs(1).run(|| List)?;
    /// assert!(summary.sigkills > 0 && summary.power_cuts == 0);
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    pub fn kills(mut self, kills: Kills) -> Self {
        self.kills = kills;
        self
    }

    /// Sets the options with which stores are opened. Default: a log of 64 KiB that grows up to
    /// 512 KiB, so it wraps around and moves often.
    ///
    /// ```
    /// # use flagstone::{LinkChecks, OpenOptions, ReadTx, WriteTx};
    /// # use flagstone::harness::{Choices, Harness, Subject, Verdict};
    /// # struct Stale;
    /// # impl Subject for Stale {
    /// #     type Model = ();
    /// #     type Step = ();
    /// #     fn choose(&self, _: &mut Choices, _: &()) {}
    /// #     fn apply(&self, tx: &mut WriteTx<'_>, _: &(), _: &()) -> Verdict {
    /// #         let seven = tx.alloc(7u64)?;
    /// #         tx.free(seven)?;
    /// #         Ok(tx.read(seven).map(drop)?)
    /// #     }
    /// #     fn advance(&self, _: &mut (), _: &()) {}
    /// #     fn verify(&self, _: &ReadTx<'_>, _: &()) -> Verdict {
    /// #         Ok(())
    /// #     }
    /// # }
    /// // Each step of this subject follows a link to an object that it has freed.
    /// let run = |checks| {
    ///     Harness::new().options(OpenOptions::new().link_checks(checks)).run(|| Stale)
    /// };
    /// assert!(run(LinkChecks::Bounds).is_ok());
    /// assert!(run(LinkChecks::Live).is_err());
    /// ```
    pub fn options(mut self, options: OpenOptions) -> Self {
        self.options = options;
        self
    }

    /// Activates a mutation of the stores' protocol, which the run should detect.
    ///
    /// ```
    /// # use flagstone::{harness::{Harness, ViolationKind, structures::List}, sim::Mutation};
    /// let harness = Harness::new().mutation(Mutation::AcknowledgeBeforeFlush).max_replays(50);
    /// let failure = harness.run(|| List).unwrap_err();
    /// assert_eq!(failure.violation().kind, ViolationKind::Lost);
    /// ```
    pub fn mutation(mut self, mutation: Mutation) -> Self {
        self.options = self.options.mutation(mutation);
        self
    }

    /// Accepts allocations that no root reaches. By default they are a violation: nothing would
    /// ever find and free them.
    ///
    /// ```
    /// # use flagstone::{ReadTx, WriteTx};
    /// # use flagstone::harness::{Choices, Harness, Subject, Verdict, ViolationKind};
    /// # struct Leaks;
    /// # impl Subject for Leaks {
    /// #     type Model = ();
    /// #     type Step = ();
    /// #     fn choose(&self, _: &mut Choices, _: &()) {}
    /// #     fn apply(&self, tx: &mut WriteTx<'_>, _: &(), _: &()) -> Verdict {
    /// #         Ok(tx.alloc(7u64).map(drop)?)
    /// #     }
    /// #     fn advance(&self, _: &mut (), _: &()) {}
    /// #     fn verify(&self, _: &ReadTx<'_>, _: &()) -> Verdict {
    /// #         Ok(())
    /// #     }
    /// # }
    /// // Each step of this subject allocates an object and loses the link to it.
    /// let failure = Harness::new().run(|| Leaks).unwrap_err();
    /// assert_eq!(failure.violation().kind, ViolationKind::Unreachable);
    /// Harness::new().allow_unreachable().run(|| Leaks)?;
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    pub fn allow_unreachable(mut self) -> Self {
        self.rules.allow_unreachable = true;
        self
    }

    /// Accepts links to no live object. By default they are a violation.
    ///
    /// ```
    /// # use flagstone::{ReadTx, WriteTx};
    /// # use flagstone::harness::{Choices, Harness, Subject, Verdict, ViolationKind};
    /// # struct Dangles;
    /// # impl Subject for Dangles {
    /// #     type Model = ();
    /// #     type Step = ();
    /// #     fn choose(&self, _: &mut Choices, _: &()) {}
    /// #     fn apply(&self, tx: &mut WriteTx<'_>, _: &(), _: &()) -> Verdict {
    /// #         let target = tx.alloc(7u64)?;
    /// #         let holder = tx.root_or_insert_with("holder", || target)?;
    /// #         tx.put(holder, target)?;
    /// #         Ok(tx.free(target)?)
    /// #     }
    /// #     fn advance(&self, _: &mut (), _: &()) {}
    /// #     fn verify(&self, _: &ReadTx<'_>, _: &()) -> Verdict {
    /// #         Ok(())
    /// #     }
    /// # }
    /// // Each step of this subject frees an object and keeps the link to it.
    /// let failure = Harness::new().run(|| Dangles).unwrap_err();
    /// assert_eq!(failure.violation().kind, ViolationKind::Dangling);
    /// Harness::new().allow_dangling().run(|| Dangles)?;
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    pub fn allow_dangling(mut self) -> Self {
        self.rules.allow_dangling = true;
        self
    }

    /// Sets the maximum number of replays for shrinking. Default: 1000. A child that hangs takes
    /// a minute each time, and is replayed at most 3 times.
    ///
    /// ```
    /// # use flagstone::{harness::{Harness, structures::List}, sim::Mutation};
    /// # let harness = Harness::new().mutation(Mutation::AcknowledgeBeforeFlush);
    /// let whole = harness.clone().max_replays(0).run(|| List).unwrap_err();
    /// let shrunk = harness.run(|| List).unwrap_err();
    /// assert!(shrunk.history().len() < whole.history().len());
    /// ```
    pub fn max_replays(mut self, max_replays: u32) -> Self {
        self.max_replays = max_replays;
        self
    }

    /// Sets the arguments with which this program, run as a child, reaches this run before any
    /// other run with children. By default, a test is run again by its name, which its thread
    /// carries, and another program with its own arguments.
    ///
    /// ```standalone_crate
    /// # // The child is this program, run again: not one into which all examples are merged.
    /// # use flagstone::harness::{Harness, Kills, structures::List};
    /// let is_child = std::env::args().any(|argument| argument == "--torture");
    /// if !is_child {
    ///     println!("preparations of the parent alone");
    /// }
    /// let harness = Harness::new().kills(Kills::Sigkill).runs(1).child_arguments(["--torture"]);
    /// let summary = harness.run(|| List)?; // a child does not return from here
    /// assert!(summary.sigkills > 0 && !is_child);
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    pub fn child_arguments<A: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.child_arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the path of the store for runs with SIGKILLs; nothing may exist there. The file is
    /// removed after each run, unless the run failed. Default: a path in a temporary folder.
    ///
    /// ```standalone_crate
    /// # // The child is this program, run again: not one into which all examples are merged.
    /// # use flagstone::harness::{Harness, Kills, structures::List};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("list.flag");
    /// let harness = Harness::new().kills(Kills::Sigkill).runs(1).file(&path);
    /// assert!(harness.run(|| List)?.sigkills > 0);
    /// assert!(!path.exists());
    /// # Ok(()) }
    /// ```
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Runs the subject that `make` returns. `make` is called once for each history and again
    /// whenever the store is opened, because a crash loses everything in memory.
    ///
    /// In a child process this call does what the parent asks for, and does not return. If a
    /// child reaches another run first, that run does nothing and returns `Ok` with no histories.
    /// A test that expects a failure and continues must reach its other runs in that case too.
    ///
    /// ```
    /// # use flagstone::harness::{Harness, structures::List};
    /// let summary = Harness::new().run(|| List)?;
    /// println!("{summary}");
    /// assert!(summary.transactions > 500 && summary.power_cuts > 500);
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first violation, shrunk.
    #[track_caller]
    pub fn run<S: Subject>(&self, make: impl Fn() -> S) -> Result<Summary, Failure> {
        let (subject, place) = (type_name::<S>(), Location::caller());
        let name = format!("{subject} by {} at {place}", type_name_of_val(&make));
        let setup = Setup { make, options: &self.options, rules: self.rules };
        let ordinal = match Role::of_next_run(self.kills != Kills::PowerCuts, &name) {
            Role::Child(folder, job) => serve(&setup, folder, job),
            Role::Bystander => return Ok(Summary::default()),
            Role::Parent { ordinal } => ordinal,
        };
        let refused = |error| not_run(self.seed.unwrap_or_default(), error);
        let seed = self.seed.map_or_else(seed_from_environment, Ok).map_err(refused)?;
        let temporary = tempfile::tempdir().map_err(refused)?;
        let again = self.again((name, ordinal), temporary.path()).map_err(refused)?;
        let runner = PlanRunner { setup, again };
        let mut summary = Summary::default();
        for run in 0..self.runs {
            summary += self.run_one(&runner, seed.wrapping_add(run))?;
        }
        Ok(summary)
    }

    /// Returns the command for children; power cuts need none.
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
        runner: &PlanRunner<'_, F>,
        seed: u64,
    ) -> Result<Summary, Failure> {
        let ending = match self.kills {
            Kills::PowerCuts => Ending::Power,
            Kills::Sigkill => Ending::Signal,
            Kills::Both if seed.is_multiple_of(2) => Ending::Power,
            Kills::Both => Ending::Signal,
        };
        let plan = Plan::draw(seed, self.steps, ending);
        let ran = runner.run(&plan);
        match ran.violation {
            None => Ok(ran.summary),
            Some((operation, violation)) => {
                let came = |operation| {
                    ran.openings.iter().any(|opening| opening.after_operation == operation)
                };
                let pinned = plan.pinned(operation, came);
                Err(self.fail(runner, seed, (plan, pinned), violation))
            }
        }
    }

    /// Shrinks a plan that fails, and reports its history.
    fn fail<S: Subject, F: Fn() -> S>(
        &self,
        runner: &PlanRunner<'_, F>,
        seed: u64,
        (plan, pinned): (Plan, [Plan; 2]),
        violation: Violation,
    ) -> Failure {
        let from = (plan.operations.len(), plan.steps());
        if violation.kind == ViolationKind::NotRun {
            return Failure::new(Parts::of(seed, violation));
        }
        let replay = |plan: &Plan| {
            let failing = runner.replay(plan, violation.kind)?;
            Some((failing.recorded.clone(), failing))
        };
        let quiet = PanicSilencer::begin();
        let most = match violation.kind {
            ViolationKind::ChildHangs => self.max_replays.min(MAX_HANGING_REPLAYS),
            _ => self.max_replays,
        };
        let shrunk = shrink(plan, pinned, most, replay);
        // Replays once more, so the file that stays behind comes from this history.
        let again = runner.replay(&shrunk.plan, violation.kind);
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

/// Everything needed to carry out plans.
struct PlanRunner<'a, F> {
    setup: Setup<'a, F>,
    again: ChildCommand,
}

/// A plan that fails.
struct Failing {
    recorded: Plan,
    violation: Violation,
    history: Vec<String>,
}

impl<S: Subject, F: Fn() -> S> PlanRunner<'_, F> {
    fn run(&self, plan: &Plan) -> RunOutcome {
        match plan.ending {
            Ending::Power => power::run(&self.setup, plan),
            Ending::Signal => process::run(&self.again, plan),
        }
    }

    /// Runs a plan; returns the failure if it violates this kind of promise.
    fn replay(&self, plan: &Plan, kind: ViolationKind) -> Option<Failing> {
        let ran = self.run(plan);
        let (operation, violation) =
            ran.violation.filter(|(_, violation)| violation.kind == kind)?;
        let subject = (self.setup.make)();
        // If the subject panics while it chooses a step or advances its model, it also panics
        // here.
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
