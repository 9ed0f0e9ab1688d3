//! Carries out a plan on an open store, until the process next ends.
//!
//! **Owns** the order of operations on a store, and the comparisons with the models along the
//! way. **Must not know** how a process ends, or what happens to the store then: a [`Watch`]
//! decides that.

use super::plan::{Action, End, Event, Operation, Plan, Transaction};
use super::replay::ModelCursor;
use super::states::{Ledger, number, set_number};
use super::subject::Subject;
use super::verify::Rules;
use super::violation::{Violation, ViolationKind, ask, failed};
use crate::store::{Durability, PendingCommit, ReadTx, Savepoint, Store, WriteTx};

/// The outside events that can end a session.
pub(super) trait Watch {
    /// Called when an operation begins.
    fn begin(&mut self, index: usize, operation: &Operation);

    /// Called when the first `actions` actions of the operation's transaction are done.
    fn reached(&mut self, actions: usize);

    /// Called before a commit, and after it has returned.
    fn committing(&mut self, last: usize, acknowledged: usize);

    /// Called after the operation; returns whether the process ends here.
    fn ends(&mut self) -> bool;

    /// Returns whether the process cannot continue, so errors are meaningless.
    fn is_down(&self) -> bool;

    /// Returns whether a commit that has returned is certain to survive.
    fn survives(&self, durability: Durability) -> bool;
}

/// The reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The process ended during or after this operation.
    Killed(usize),
    /// This operation closes the store.
    Reopen(usize),
    /// The plan is complete.
    Done,
}

/// A session on an open store.
pub(super) struct Session<'a, S: Subject, W> {
    subject: &'a S,
    store: &'a Store,
    ledger: &'a mut Ledger<S::Model>,
    watch: &'a mut W,
    rules: Rules,
    /// Pinned snapshots, each with the number of its state.
    readers: Vec<(ReadTx<'a>, usize)>,
    /// A commit that is still to be waited for, with the number of its state.
    pending: Option<(PendingCommit<'a>, usize)>,
    /// The last state that readers must see.
    visible: usize,
}

impl<'a, S: Subject, W: Watch> Session<'a, S, W> {
    pub(super) fn new(
        subject: &'a S,
        store: &'a Store,
        ledger: &'a mut Ledger<S::Model>,
        watch: &'a mut W,
        rules: Rules,
    ) -> Self {
        let visible = ledger.last();
        let (readers, pending) = (Vec::new(), None);
        Self { subject, store, ledger, watch, rules, readers, pending, visible }
    }

    /// Carries out the operations from `first` on. Returns a violation together with its
    /// operation.
    pub(super) fn run(mut self, plan: &Plan, first: usize) -> Result<Stop, (usize, Violation)> {
        for (index, operation) in plan.operations.iter().enumerate().skip(first) {
            self.watch.begin(index, operation);
            let done = self.operation(operation);
            if self.watch.is_down() {
                return Ok(Stop::Killed(index));
            }
            done.map_err(|violation| (index, violation))?;
            if self.watch.ends() {
                return Ok(Stop::Killed(index));
            }
            if operation.event == Event::Reopen {
                return Ok(Stop::Reopen(index));
            }
        }
        let last = plan.operations.len().saturating_sub(1);
        self.release_all().map_err(|violation| (last, violation))?;
        Ok(Stop::Done)
    }

    fn operation(&mut self, operation: &Operation) -> Result<(), Violation> {
        match &operation.event {
            Event::Transaction(transaction) => self.transaction(transaction)?,
            Event::Checkpoint => {
                self.store.checkpoint().map_err(refused("checkpoint"))?;
                self.acknowledge(self.ledger.last());
            }
            Event::Sync => {
                self.store.sync().map_err(refused("sync"))?;
                self.acknowledge(self.ledger.last());
            }
            Event::Wait => {
                if let Some((commit, number)) = self.pending.take() {
                    commit.wait().map_err(refused("wait for a commit"))?;
                    self.acknowledge(number);
                }
            }
            Event::Hold => {
                let snapshot = self.look()?;
                self.readers.push(snapshot);
            }
            Event::Release(index) if !self.readers.is_empty() => {
                let index = (*index).min(self.readers.len() - 1);
                let reader = self.readers.remove(index);
                self.expect_unchanged(&reader)?;
            }
            Event::Release(_) => {}
            Event::Reopen => self.release_all()?,
        }
        self.look().map(drop)
    }

    fn transaction(&mut self, transaction: &Transaction) -> Result<(), Violation> {
        let mut tx = self.store.write().map_err(refused("begin a transaction"))?;
        let mut draft = ModelCursor::new(self.subject, self.ledger.model(self.ledger.last()));
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
        match transaction.end {
            End::RollBack => {
                tx.rollback();
                Ok(())
            }
            End::Durable => self.commit(tx, draft.model, Durability::Durable),
            End::Deferred => self.commit(tx, draft.model, Durability::Deferred),
            End::Later => {
                let number = self.ask(&mut tx, draft.model)?;
                let commit = tx.commit_later().map_err(refused("commit"))?;
                self.pending = Some((commit, number));
                Ok(())
            }
        }
    }

    fn commit(
        &mut self,
        mut tx: WriteTx<'_>,
        model: S::Model,
        durability: Durability,
    ) -> Result<(), Violation> {
        let number = self.ask(&mut tx, model)?;
        tx.set_durability(durability);
        tx.commit().map_err(refused("commit"))?;
        self.visible = number;
        if self.watch.survives(durability) {
            self.acknowledge(number);
        }
        Ok(())
    }

    /// Records that a commit follows; returns the number of its state.
    fn ask(&mut self, tx: &mut WriteTx<'_>, model: S::Model) -> Result<usize, Violation> {
        let number = self.ledger.ask(model);
        set_number(tx, number).map_err(refused("note the state's number"))?;
        self.watch.committing(number, self.ledger.acknowledged());
        Ok(number)
    }

    /// Records that all states up to this one will survive, and that readers see them.
    fn acknowledge(&mut self, number: usize) {
        self.ledger.acknowledge(number);
        self.visible = self.visible.max(number);
        self.watch.committing(self.ledger.last(), self.ledger.acknowledged());
    }

    /// Takes a snapshot, which must show the last visible state or a later one.
    fn look(&self) -> Result<(ReadTx<'a>, usize), Violation> {
        let tx = self.store.read().map_err(refused("take a snapshot"))?;
        let found = found_number(ViolationKind::Disagrees, &tx)?;
        let expected = self.visible..=self.ledger.last();
        if !expected.contains(&found) {
            let what = format!("a reader sees state {found}, and not one of {expected:?}");
            return Err(Violation::new(ViolationKind::Disagrees, what));
        }
        self.expect_state(ViolationKind::Disagrees, &tx, found)?;
        Ok((tx, found))
    }

    fn expect_unchanged(&self, (tx, number): &(ReadTx<'_>, usize)) -> Result<(), Violation> {
        let found = found_number(ViolationKind::SnapshotChanged, tx)?;
        if found != *number {
            let what = format!("a snapshot of state {number} has become one of state {found}");
            return Err(Violation::new(ViolationKind::SnapshotChanged, what));
        }
        self.expect_state(ViolationKind::SnapshotChanged, tx, found)
    }

    fn expect_state(
        &self,
        kind: ViolationKind,
        tx: &ReadTx<'_>,
        number: usize,
    ) -> Result<(), Violation> {
        let verify = || self.subject.verify(tx, self.ledger.model(number));
        ask(kind, &format!("state {number}"), verify)
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

fn found_number(kind: ViolationKind, tx: &ReadTx<'_>) -> Result<usize, Violation> {
    let number = number(tx).map_err(failed(kind, "the state's number"))?;
    number.ok_or_else(|| Violation::new(kind, "a reader sees an empty store"))
}
