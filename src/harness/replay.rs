//! Replays plans on the subject's models, without a store.
//!
//! **Owns** how a model moves through a transaction, and how the states and the text of a whole
//! history follow from a plan and from the states found at each opening. **Must not know**
//! stores. So a child, or the report of a failure, needs only the plan to know the expected
//! states.

use serde::{Deserialize, Serialize};

use super::choices::Choices;
use super::plan::{Action, Cut, Draw, End, Event, Kill, Operation, Plan, Signal, Transaction};
use super::states::Ledger;
use super::subject::Subject;
use super::violation::{Violation, ViolationKind, ask};

/// The state at which the store was opened after an operation that ended in a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) after_operation: usize,
    pub(super) number: usize,
}

/// The model within a transaction, with the models of its savepoints.
pub(super) struct ModelCursor<'a, S: Subject> {
    subject: &'a S,
    pub(super) model: S::Model,
    saved: Vec<S::Model>,
}

impl<'a, S: Subject> ModelCursor<'a, S> {
    pub(super) fn new(subject: &'a S, model: &S::Model) -> Self {
        Self { subject, model: model.clone(), saved: Vec::new() }
    }

    /// Returns the next step, and the choices that led to it.
    pub(super) fn choose(&self, draw: &Draw) -> Result<(S::Step, Vec<u64>), Violation> {
        let mut choices = Choices::replay(draw.recorded.clone(), draw.seed);
        let choose = || Ok(self.subject.choose(&mut choices, &self.model));
        let step = ask(ViolationKind::Refused, "the subject chooses a step", choose)?;
        Ok((step, choices.into_given()))
    }

    /// Advances the model by `step`.
    pub(super) fn advance(&mut self, step: &S::Step) -> Result<(), Violation> {
        let advance = || {
            self.subject.advance(&mut self.model, step);
            Ok(())
        };
        ask(ViolationKind::Refused, "the subject brings its model forward", advance)
    }

    pub(super) fn save(&mut self) {
        self.saved.push(self.model.clone());
    }

    /// Rolls back to one of the savepoints; returns its index, if there is a savepoint.
    pub(super) fn roll_back_to(&mut self, index: usize) -> Option<usize> {
        let index = index.min(self.saved.len().checked_sub(1)?);
        self.saved.truncate(index + 1);
        self.model.clone_from(&self.saved[index]);
        Some(index)
    }
}

/// A history according to the models.
pub(super) struct Replay<'a, S: Subject> {
    subject: &'a S,
    pub(super) ledger: Ledger<S::Model>,
    /// The events, in words.
    pub(super) lines: Vec<String>,
    /// The same plan with the choices of each step recorded.
    pub(super) recorded: Plan,
}

impl<'a, S: Subject> Replay<'a, S> {
    /// Replays the plan's first `operations`.
    pub(super) fn of(
        subject: &'a S,
        plan: &Plan,
        openings: &[Opening],
        operations: usize,
    ) -> Result<Self, Violation> {
        match Self::up_to_a_panic(subject, plan, openings, operations) {
            (replay, None) => Ok(replay),
            (_, Some(violation)) => Err(violation),
        }
    }

    /// Does the same; if the subject panics, returns the part before the panic.
    pub(super) fn up_to_a_panic(
        subject: &'a S,
        plan: &Plan,
        openings: &[Opening],
        operations: usize,
    ) -> (Self, Option<Violation>) {
        let recorded = Plan { ending: plan.ending, operations: Vec::new() };
        let mut replay = Self { subject, ledger: Ledger::new(), lines: Vec::new(), recorded };
        for (index, operation) in plan.operations.iter().enumerate().take(operations) {
            let mut operation = operation.clone();
            let done = replay.operation(&mut operation);
            replay.recorded.operations.push(operation);
            if let Err(violation) = done {
                return (replay, Some(violation));
            }
            for opening in openings.iter().filter(|opening| opening.after_operation == index) {
                replay.ledger.go_back_to(opening.number);
                replay.lines.push(format!("opened: state {}", opening.number));
            }
        }
        (replay, None)
    }

    fn operation(&mut self, operation: &mut Operation) -> Result<(), Violation> {
        let last = self.ledger.last();
        match &mut operation.event {
            Event::Transaction(transaction) => self.transaction(transaction)?,
            Event::Checkpoint => self.say("checkpoint"),
            Event::Sync => self.say("sync"),
            Event::Wait => self.say("wait for the commit that was left to wait for"),
            Event::Hold => self.say(format!("a reader takes a snapshot: state {last}")),
            Event::Release(index) => {
                self.say(format!("reader {index} looks at its snapshot again"));
            }
            Event::Reopen if operation.kill.is_some() => self.say(format!("close: state {last}")),
            Event::Reopen => self.say(format!("closed and opened again: state {last}")),
        }
        match &operation.kill {
            None => {}
            Some(Kill::Power(cut)) => self.say(cut_in_words(cut)),
            Some(Kill::Signal(signal)) => self.say(signal_in_words(signal)),
        }
        Ok(())
    }

    fn transaction(&mut self, transaction: &mut Transaction) -> Result<(), Violation> {
        self.say("transaction");
        let mut draft = ModelCursor::new(self.subject, self.ledger.model(self.ledger.last()));
        for action in &mut transaction.actions {
            let words = match action {
                Action::Step(draw) => {
                    let (step, given) = draft.choose(draw)?;
                    draft.advance(&step)?;
                    *draw = Draw { recorded: given, seed: None };
                    format!("{step:?}")
                }
                Action::Savepoint => {
                    draft.save();
                    "savepoint".to_string()
                }
                Action::RollBackTo(index) => match draft.roll_back_to(*index) {
                    Some(index) => format!("roll back to savepoint {index}"),
                    None => continue,
                },
            };
            self.lines.push(format!("    {words}"));
        }
        let model = draft.model;
        let end = match transaction.end {
            End::RollBack => "roll back".to_string(),
            End::Durable => format!("commit, durable: state {}", self.ledger.ask(model)),
            End::Deferred => format!("commit, deferred: state {}", self.ledger.ask(model)),
            End::Later => {
                format!("commit, to be waited for later: state {}", self.ledger.ask(model))
            }
        };
        self.lines.push(format!("    {end}"));
        Ok(())
    }

    fn say(&mut self, words: impl Into<String>) {
        self.lines.push(words.into());
    }
}

fn cut_in_words(cut: &Cut) -> String {
    let when = match cut.calls {
        None => "POWER CUT".to_string(),
        Some(calls) => format!("POWER CUT when the disk had done {calls} calls of this"),
    };
    match cut.remains.again.len() {
        0 => when,
        more => format!("{when}, and {more} more while the store is being opened"),
    }
}

fn signal_in_words(signal: &Signal) -> String {
    let after = signal.delay_micros.map_or(String::new(), |delay| format!(", {delay} µs later"));
    let when = match signal.actions {
        None => format!("SIGKILL{after}"),
        Some(actions) => format!("SIGKILL after {actions} actions of this{after}"),
    };
    match signal.openings_micros.len() {
        0 => when,
        more => format!("{when}, and {more} more while the store is being opened"),
    }
}
