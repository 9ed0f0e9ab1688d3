//! A plan on an open store, up to the next end of the process.
//!
//! **Owns** the order of what is done with a store, and what is compared with
//! the models on the way. **Must not know** how a process ends, or what becomes
//! of the store then: a [`Watch`] says so.

use super::ledger::{Ledger, number, set_number};
use super::plan::{Action, End, Event, Plan, Transaction, Turn};
use super::replay::Draft;
use super::violation::{ask, failed};
use super::{Rules, Subject, Violation, ViolationKind};
use crate::store::{Durability, ReadTx, Savepoint, Store};

/// What can end a session from outside.
pub(super) trait Watch {
    /// A turn begins.
    fn begin(&mut self, index: usize, turn: &Turn);

    /// The first `actions` actions of the turn's transaction are done.
    fn reached(&mut self, actions: usize);

    /// A commit is asked for, or has returned.
    fn committing(&mut self, last: usize, acknowledged: usize);

    /// The turn is over; whether the process ends here.
    fn ends(&mut self) -> bool;

    /// Whether the process cannot go on, so that errors mean nothing.
    fn is_down(&self) -> bool;

    /// Whether a commit that has returned is sure to survive.
    fn survives(&self, durability: Durability) -> bool;
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// In or after this turn the process ended.
    Killed(usize),
    /// This turn closes the store.
    Reopen(usize),
    /// The plan is done.
    Done,
}

/// An open store at work.
pub(super) struct Session<'a, S: Subject, W> {
    pub(super) subject: &'a S,
    pub(super) store: &'a Store,
    pub(super) ledger: &'a mut Ledger<S::Model>,
    pub(super) watch: &'a mut W,
    pub(super) rules: Rules,
    /// Snapshots that are held, with the number of their states.
    pub(super) readers: Vec<(ReadTx<'a>, usize)>,
}

impl<S: Subject, W: Watch> Session<'_, S, W> {
    /// Does the turns from `first` on. A violation comes with its turn.
    pub(super) fn run(mut self, plan: &Plan, first: usize) -> Result<Stop, (usize, Violation)> {
        for (index, turn) in plan.turns.iter().enumerate().skip(first) {
            self.watch.begin(index, turn);
            let done = self.turn(turn);
            if self.watch.is_down() {
                return Ok(Stop::Killed(index));
            }
            done.map_err(|violation| (index, violation))?;
            if self.watch.ends() {
                return Ok(Stop::Killed(index));
            }
            if turn.event == Event::Reopen {
                return Ok(Stop::Reopen(index));
            }
        }
        let last = plan.turns.len().saturating_sub(1);
        self.release_all().map_err(|violation| (last, violation))?;
        Ok(Stop::Done)
    }

    fn turn(&mut self, turn: &Turn) -> Result<(), Violation> {
        match &turn.event {
            Event::Transaction(transaction) => self.transaction(transaction)?,
            Event::Checkpoint => {
                self.store.checkpoint().map_err(refused("checkpoint"))?;
                self.acknowledge_all();
            }
            Event::Sync => {
                self.store.sync().map_err(refused("sync"))?;
                self.acknowledge_all();
            }
            Event::Hold => {
                let tx = self.store.read().map_err(refused("take a snapshot"))?;
                self.readers.push((tx, self.ledger.last()));
            }
            Event::Release(index) if !self.readers.is_empty() => {
                let index = (*index).min(self.readers.len() - 1);
                let reader = self.readers.remove(index);
                self.expect_unchanged(&reader)?;
            }
            Event::Release(_) => {}
            Event::Reopen => self.release_all()?,
        }
        self.look()
    }

    fn transaction(&mut self, transaction: &Transaction) -> Result<(), Violation> {
        let mut tx = self.store.write().map_err(refused("begin a transaction"))?;
        let mut draft = Draft::new(self.subject, self.ledger.model(self.ledger.last()));
        let mut savepoints: Vec<Savepoint> = Vec::new();
        for (done, action) in transaction.actions.iter().enumerate() {
            self.watch.reached(done);
            match action {
                Action::Step(draw) => {
                    let (step, _) = draft.choose(draw)?;
                    let apply = || self.subject.apply(&mut tx, &step, &draft.model);
                    ask(ViolationKind::Refused, &format!("{step:?}"), apply)?;
                    draft.advance(&step)?;
                }
                Action::Savepoint => {
                    draft.save();
                    savepoints.push(tx.savepoint().map_err(refused("savepoint"))?);
                }
                Action::RollBackTo(index) => {
                    if let Some(index) = draft.roll_back_to(*index) {
                        savepoints.truncate(index + 1);
                        let back = tx.rollback_to(savepoints[index]);
                        back.map_err(refused("roll back to a savepoint"))?;
                    }
                }
            }
        }
        self.watch.reached(transaction.actions.len());
        let durability = match transaction.end {
            End::RollBack => {
                tx.rollback();
                return Ok(());
            }
            End::Durable => Durability::Durable,
            End::Deferred => Durability::Deferred,
        };
        let next = self.ledger.ask(draft.model);
        set_number(&mut tx, next).map_err(refused("note the state's number"))?;
        tx.set_durability(durability);
        self.watch.committing(next, self.ledger.acknowledged());
        tx.commit().map_err(refused("commit"))?;
        if self.watch.survives(durability) {
            self.acknowledge_all();
        }
        Ok(())
    }

    fn acknowledge_all(&mut self) {
        self.ledger.acknowledge_all();
        self.watch.committing(self.ledger.last(), self.ledger.acknowledged());
    }

    /// The newest state, as readers see it, is the one that was committed last.
    fn look(&self) -> Result<(), Violation> {
        let tx = self.store.read().map_err(refused("begin to read"))?;
        self.expect_state(ViolationKind::Disagrees, &tx, self.ledger.last())
    }

    fn expect_unchanged(&self, (tx, number): &(ReadTx<'_>, usize)) -> Result<(), Violation> {
        self.expect_state(ViolationKind::SnapshotChanged, tx, *number)
    }

    fn expect_state(
        &self,
        kind: ViolationKind,
        tx: &ReadTx<'_>,
        expected: usize,
    ) -> Result<(), Violation> {
        let found = number(tx).map_err(failed(kind, "the state's number"))?;
        if found != Some(expected) {
            let what = format!("a reader of state {expected} sees state {found:?}");
            return Err(Violation::new(kind, what));
        }
        let verify = || self.subject.verify(tx, self.ledger.model(expected));
        ask(kind, &format!("state {expected}"), verify)
    }

    fn release_all(&mut self) -> Result<(), Violation> {
        let readers = std::mem::take(&mut self.readers);
        readers.iter().try_for_each(|reader| self.expect_unchanged(reader))?;
        self.rules.expect_sound(self.store)
    }
}

fn refused<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Violation + '_ {
    failed(ViolationKind::Refused, what)
}
