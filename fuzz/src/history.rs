//! The states that a store went through, by their models, and the transactions that lead
//! from one to the next.

use flagstone::{Durability, Savepoint, Store};

use crate::collections_fixture::{Shelf, State};
use crate::program::{End, Step};
use testkit::model::Outcome;

/// What may be found after a power cut.
pub struct History {
    /// The states that were committed, or about to be.
    states: Vec<State>,
    /// The last of them that was reported durable.
    durable: usize,
}

impl History {
    /// A store that surely holds `first`.
    pub fn new(first: State) -> Self {
        Self { states: vec![first], durable: 0 }
    }

    pub fn last(&self) -> &State {
        &self.states[self.states.len() - 1]
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// A commit of `state` begins.
    pub fn begin(&mut self, state: State) {
        self.states.push(state);
    }

    pub fn all_is_durable(&mut self) {
        self.durable = self.states.len() - 1;
    }

    /// Which state was found, none older than the durable one, or than the last `most`.
    pub fn find(&self, shelf: &Shelf, found: &State, most: usize) -> Option<usize> {
        let oldest = self.durable.max(self.states.len().saturating_sub(most));
        (oldest..self.states.len()).rev().find(|at| shelf.are_same(&self.states[*at], found))
    }

    /// What came after this state never was.
    pub fn go_back_to(&mut self, at: usize) {
        self.states.truncate(at + 1);
    }

    /// Runs one transaction, which begins with `step`.
    pub fn transact(
        &mut self,
        shelf: &Shelf,
        store: &Store,
        mut step: Step,
        steps: &mut impl Iterator<Item = Step>,
    ) -> Outcome<End> {
        let mut state = self.last().clone();
        let mut tx = store.write()?;
        let mut saved: Vec<(Savepoint, State)> = Vec::new();
        let mut changed = 0;
        let end = loop {
            match step {
                Step::Change { place, number } => {
                    changed = place % shelf.places();
                    shelf.change(&mut state, place, number, &mut tx)?;
                }
                Step::Clear { place } => shelf.clear(&mut state, place, &mut tx)?,
                Step::Discard { place } => shelf.discard(&mut state, place, &mut tx)?,
                Step::Savepoint => saved.push((tx.savepoint()?, state.clone())),
                Step::RollBackTo(index) if !saved.is_empty() => {
                    saved.truncate(index % saved.len() + 1);
                    let (savepoint, earlier) = &saved[saved.len() - 1];
                    tx.rollback_to(*savepoint)?;
                    state.clone_from(earlier);
                    let found = shelf.contents_in(&tx, changed)?;
                    assert!(shelf.is_same(changed, &found, &state[changed]), "rolled back");
                }
                Step::RollBackTo(_) => {}
                Step::End(end) => break end,
            }
            let Some(next) = steps.next() else { break End::Commit(Durability::Durable) };
            step = next;
        };
        if matches!(end, End::Rollback) {
            tx.rollback();
            return Ok(end);
        }
        let durability = match end {
            End::Commit(durability) => durability,
            _ => Durability::Deferred,
        };
        tx.set_durability(durability);
        self.begin(state);
        tx.commit()?;
        if durability == Durability::Durable {
            self.all_is_durable();
        }
        Ok(end)
    }
}
