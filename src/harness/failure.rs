//! The result of a run: a summary, or a readable failure.
//!
//! **Owns** how both are displayed. **Must not know** how they came about.

use std::fmt::{self, Debug, Display};

use super::plan::Event;
use super::violation::{Violation, ViolationKind};

/// Totals over all runs.
///
/// ```
/// # use flagstone::harness::{Harness, structures::List};
/// let mut total = Harness::new().seed(1).runs(1).run(|| List)?;
/// total += Harness::new().seed(2).runs(1).run(|| List)?;
/// assert!(total.to_string().starts_with("2 runs, "));
/// # Ok::<(), flagstone::harness::Failure>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Histories.
    pub runs: u64,
    /// Transactions, including those that were rolled back or killed.
    pub transactions: u64,
    /// Simulated power cuts, including those during recovery.
    pub power_cuts: u64,
    /// Child processes killed by SIGKILL.
    pub sigkills: u64,
    /// Possible disk states after a power cut: each was opened, and held one of the committed
    /// states, undamaged.
    pub images: u64,
    /// Other reopenings, after a SIGKILL or a clean close, with the same result.
    pub reopenings: u64,
}

impl Summary {
    pub(super) fn count(&mut self, event: &Event) {
        self.transactions += u64::from(event.is_transaction());
    }
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.transactions += other.transactions;
        self.power_cuts += other.power_cuts;
        self.sigkills += other.sigkills;
        self.images += other.images;
        self.reopenings += other.reopenings;
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, transactions, power_cuts, sigkills, images, reopenings } = self;
        write!(
            f,
            "{runs} runs, {transactions} transactions, {power_cuts} power cuts, \
             {sigkills} SIGKILLs, {images} images checked, {reopenings} reopenings"
        )
    }
}

/// A broken promise, with the shortest history found that breaks it.
///
/// Its `Debug` output is readable too: a test that unwraps a run shows it.
#[derive(Clone)]
pub struct Failure(Box<Parts>);

/// The parts of a failure.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) seed: u64,
    pub(super) violation: Violation,
    /// The violation before the history was shrunk; it is of the same kind.
    pub(super) first: Violation,
    pub(super) history: Vec<String>,
    pub(super) steps: usize,
    /// Operations and steps before shrinking.
    pub(super) from: (usize, usize),
    pub(super) replays: u32,
}

impl Parts {
    /// Returns a failure that consists of a violation alone.
    pub(super) fn of(seed: u64, violation: Violation) -> Self {
        let first = violation.clone();
        Self { seed, violation, first, history: Vec::new(), steps: 0, from: (0, 0), replays: 0 }
    }
}

impl Failure {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Box::new(parts))
    }

    /// Returns the seed of the run that failed. A run with this seed fails in the same way.
    ///
    /// ```
    /// # use flagstone::{harness::{Harness, structures::List}, sim::Mutation};
    /// # let harness = Harness::new().mutation(Mutation::AcknowledgeBeforeFlush);
    /// let failure = harness.run(|| List).unwrap_err();
    /// let again = harness.clone().seed(failure.seed()).runs(1).run(|| List).unwrap_err();
    /// assert_eq!(again.history(), failure.history());
    /// ```
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Returns the violation at the end of the history.
    ///
    /// ```
    /// # use flagstone::{harness::{Harness, ViolationKind, structures::List}, sim::Mutation};
    /// # let harness = Harness::new().mutation(Mutation::AcknowledgeBeforeFlush);
    /// let failure = harness.run(|| List).unwrap_err();
    /// assert_eq!(failure.violation().kind, ViolationKind::Lost);
    /// assert!(failure.to_string().starts_with(&format!("Lost: {}", failure.violation())));
    /// ```
    #[must_use]
    pub fn violation(&self) -> &Violation {
        &self.0.violation
    }

    /// Returns the history that leads to the violation, one line for each action.
    ///
    /// ```
    /// # use flagstone::{ReadTx, WriteTx};
    /// # use flagstone::harness::{Choices, Harness, Subject, Verdict};
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
    /// let history = ["transaction", "    ()", "    commit, durable: state 1"];
    /// assert_eq!(failure.history(), history);
    /// ```
    #[must_use]
    pub fn history(&self) -> &[String] {
        &self.0.history
    }

    /// Returns the number of the subject's steps in that history.
    ///
    /// ```
    /// # use flagstone::{ReadTx, WriteTx};
    /// # use flagstone::harness::{Choices, Harness, Subject, Verdict};
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
    /// assert_eq!(failure.steps(), 1);
    /// ```
    #[must_use]
    pub fn steps(&self) -> usize {
        self.0.steps
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { seed, violation, first, history, from: (operations, steps), replays, .. } =
            &*self.0;
        write!(f, "{:?}: {violation}", violation.kind)?;
        if violation.kind == ViolationKind::NotRun {
            return Ok(());
        }
        writeln!(f)?;
        let whole = format!("{operations} operations with {steps} steps");
        if history.is_empty() && *operations > 0 {
            writeln!(f, "it came after up to {whole}, and not again in {replays} replays of them")?;
            return write!(f, "it depends on time, or on the machine: seed {seed} may repeat it");
        }
        if !history.is_empty() {
            writeln!(f, "the history that leads there, shrunk from {whole} in {replays} replays:")?;
            history.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        if first.what != violation.what {
            writeln!(f, "before it was shrunk: {first}")?;
        }
        write!(f, "seed {seed} repeats it")
    }
}

impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Failure {}
