//! The plan of a run, apart from the subject's own steps.
//!
//! **Owns** plans: transactions, readers, checkpoints, reopenings and kills, as data that can be
//! drawn from a seed, sent to a child, shrunk and replayed. **Must not know** subjects or stores.
//! In a plan, a step is the numbers from which the subject draws it.

use serde::{Deserialize, Serialize};

use super::choices::Choices;

/// The range of disk calls within an operation, or a recovery, after which a cut may come.
const CALLS: u64 = 40;
/// The maximum delay from a chosen point to a kill.
const DELAY_MICROS: u64 = 3000;

/// Everything that a run does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) ending: Ending,
    pub(super) operations: Vec<Operation>,
}

/// A single operation; it may end in a kill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Operation {
    pub(super) event: Event,
    pub(super) kill: Option<Kill>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    Transaction(Transaction),
    Checkpoint,
    Sync,
    /// Waits for a commit that was left pending.
    Wait,
    /// A reader takes a snapshot and keeps it pinned.
    Hold,
    /// Verifies one of the pinned snapshots and releases it.
    Release(usize),
    /// Closes the store cleanly and opens it again.
    Reopen,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Transaction {
    pub(super) actions: Vec<Action>,
    pub(super) end: End,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Action {
    Step(Draw),
    Savepoint,
    /// Rolls back to one of the savepoints.
    RollBackTo(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    Durable,
    Deferred,
    /// Durable, but waited for later.
    Later,
    RollBack,
}

/// The source of a step: recorded choices, then a seed for more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Draw {
    pub(super) recorded: Vec<u64>,
    pub(super) seed: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Kill {
    Power(Cut),
    Signal(Signal),
}

/// A power cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cut {
    /// The number of disk calls in the operation that still succeed; `None` to cut after all of
    /// them.
    pub(super) calls: Option<u64>,
    /// The state of the disk after the cut.
    pub(super) remains: Remains,
    /// Other possible states, examined first.
    pub(super) others: Vec<Remains>,
}

/// A possible state of the disk after a cut, and further cuts while the store is opened from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Remains {
    pub(super) seed: u64,
    pub(super) again: Vec<Interruption>,
}

/// A cut after some disk calls of an opening, and the state that it leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Interruption {
    pub(super) calls: u64,
    pub(super) seed: u64,
}

/// A SIGKILL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Signal {
    /// The number of the transaction's actions before the kill; `None` to kill after the
    /// operation.
    pub(super) actions: Option<usize>,
    /// How long the child continues from there. `None` if the child waits for its kill, so it
    /// comes at the same point each time.
    pub(super) delay_micros: Option<u64>,
    /// Delays from start to kill of the openings that follow.
    pub(super) openings_micros: Vec<u64>,
}

/// The ways in which processes end in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    Power,
    Signal,
}

impl Plan {
    /// Draws a plan with `steps` steps.
    pub(super) fn draw(seed: u64, steps: u64, ending: Ending) -> Self {
        let mut choices = Choices::from_seed(seed);
        let mut plan = Self { ending, operations: Vec::new() };
        let mut left = steps;
        while left > 0 {
            let event = draw_event(&mut choices, &mut left);
            let kill = choices.one_in(6).then(|| draw_kill(&mut choices, ending, &event));
            plan.operations.push(Operation { event, kill });
        }
        plan
    }

    /// Returns plans up to the operation that failed, with kills in the same operations as
    /// before. The children wait for each kill: after the operation, where timing plays no part,
    /// or at the point where the kill was due.
    pub(super) fn pinned(&self, failed: usize, came: impl Fn(usize) -> bool) -> [Self; 2] {
        let mut due = self.clone();
        due.operations.truncate(failed + 1);
        if due.ending == Ending::Power {
            return [due.clone(), due];
        }
        for (index, operation) in due.operations.iter_mut().enumerate() {
            let kill = match operation.kill.take() {
                Some(Kill::Signal(signal)) => Signal { delay_micros: None, ..signal },
                _ => Signal::after_the_operation(),
            };
            operation.kill = (index == failed || came(index)).then_some(Kill::Signal(kill));
        }
        let mut after = due.clone();
        for operation in &mut after.operations {
            if let Some(Kill::Signal(signal)) = &mut operation.kill {
                *signal = Signal::after_the_operation();
            }
        }
        [after, due]
    }

    /// Returns the number of steps in all transactions.
    pub(super) fn steps(&self) -> usize {
        self.draws().count()
    }

    fn draws(&self) -> impl Iterator<Item = &Draw> {
        self.operations.iter().flat_map(|operation| operation.event.actions()).filter_map(
            |action| match action {
                Action::Step(draw) => Some(draw),
                _ => None,
            },
        )
    }
}

impl Signal {
    fn after_the_operation() -> Self {
        Self { actions: None, delay_micros: None, openings_micros: Vec::new() }
    }
}

impl Event {
    pub(super) fn is_transaction(&self) -> bool {
        matches!(self, Event::Transaction(_))
    }

    /// Returns the actions of a transaction; empty for other events.
    pub(super) fn actions(&self) -> &[Action] {
        match self {
            Event::Transaction(transaction) => &transaction.actions,
            _ => &[],
        }
    }
}

fn draw_event(choices: &mut Choices, left: &mut u64) -> Event {
    match choices.below(32) {
        0..20 => Event::Transaction(draw_transaction(choices, left)),
        20..22 => Event::Checkpoint,
        22..24 => Event::Sync,
        24..26 => Event::Wait,
        26..29 => Event::Hold,
        29..31 => Event::Release(choices.index(8)),
        _ => Event::Reopen,
    }
}

fn draw_transaction(choices: &mut Choices, left: &mut u64) -> Transaction {
    let actions = (0..choices.below(8)).map(|_| match choices.below(10) {
        0 => Action::Savepoint,
        1 => Action::RollBackTo(choices.index(4)),
        _ => {
            *left = left.saturating_sub(1);
            Action::Step(Draw { recorded: Vec::new(), seed: Some(choices.any()) })
        }
    });
    let actions = actions.collect();
    let ends = [(4, End::Durable), (4, End::Deferred), (2, End::Later), (1, End::RollBack)];
    Transaction { actions, end: *choices.weighted(&ends) }
}

fn draw_kill(choices: &mut Choices, ending: Ending, event: &Event) -> Kill {
    match ending {
        Ending::Power => Kill::Power(draw_cut(choices)),
        Ending::Signal => Kill::Signal(draw_signal(choices, event)),
    }
}

fn draw_cut(choices: &mut Choices) -> Cut {
    let calls = choices.one_in(2).then(|| draw_calls(choices));
    let remains = draw_remains(choices);
    let others = (0..choices.below(4)).map(|_| draw_remains(choices)).collect();
    Cut { calls, remains, others }
}

fn draw_remains(choices: &mut Choices) -> Remains {
    let seed = choices.any();
    let again = (0..choices.below(3))
        .map(|_| Interruption { calls: draw_calls(choices), seed: choices.any() });
    Remains { seed, again: again.collect() }
}

/// Draws a number of calls. Small numbers are more frequent, since a small transaction makes few
/// calls.
fn draw_calls(choices: &mut Choices) -> u64 {
    let limit = choices.between(1..=CALLS);
    choices.below(limit)
}

fn draw_signal(choices: &mut Choices, event: &Event) -> Signal {
    let actions = event.actions().len();
    let within = actions > 0 && choices.one_in(2);
    Signal {
        actions: within.then(|| choices.index(actions + 1)),
        delay_micros: choices.one_in(2).then(|| choices.below(DELAY_MICROS)),
        openings_micros: match choices.below(6) {
            0 => (0..choices.between(1..=2)).map(|_| choices.below(DELAY_MICROS)).collect(),
            _ => Vec::new(),
        },
    }
}
