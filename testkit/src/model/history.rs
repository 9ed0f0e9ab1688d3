//! The states that a store went through, by their models, and the transactions that lead from
//! one to the next.

use flagstone::{Durability, Savepoint, Store};

use super::Outcome;
use super::roots::{Roots, State};

/// A part of a history.
#[derive(Clone, Copy, Debug)]
pub enum Step<E> {
    Change { place: usize, number: u64 },
    Clear { place: usize },
    Discard { place: usize },
    Savepoint,
    RollBackTo(usize),
    End(E),
}

/// The end of a transaction, and what follows it.
pub trait Ending: Copy {
    /// The end of a transaction behind which there are no steps.
    const LAST: Self;

    /// Returns how the transaction commits, or `None` if it rolls back.
    fn durability(self) -> Option<Durability>;
}

/// The states that may be found after a power cut.
pub struct History {
    /// Those that were committed, or about to be.
    states: Vec<State>,
    /// The last of them that was reported durable.
    durable: usize,
}

impl History {
    /// The history of a store that surely holds `first`.
    pub fn new(first: State) -> Self {
        Self { states: vec![first], durable: 0 }
    }

    pub fn last(&self) -> &State {
        &self.states[self.states.len() - 1]
    }

    /// Returns how many states there are.
    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// Notes that a commit of `state` begins.
    pub fn begin(&mut self, state: State) {
        self.states.push(state);
    }

    pub fn all_is_durable(&mut self) {
        self.durable = self.states.len() - 1;
    }

    /// Returns which state was found, none older than the durable one, or than the last `most`.
    pub fn find(&self, roots: &Roots, found: &State, most: usize) -> Option<usize> {
        let oldest = self.durable.max(self.states.len().saturating_sub(most));
        (oldest..self.states.len()).rev().find(|at| roots.are_same(&self.states[*at], found))
    }

    /// Forgets what came after this state, which never was.
    pub fn go_back_to(&mut self, at: usize) {
        self.states.truncate(at + 1);
    }

    /// Runs one transaction, which begins with `step`.
    pub fn transact<E: Ending>(
        &mut self,
        roots: &Roots,
        store: &Store,
        mut step: Step<E>,
        steps: &mut impl Iterator<Item = Step<E>>,
    ) -> Outcome<E> {
        let mut state = self.last().clone();
        let mut tx = store.write()?;
        let mut saved: Vec<(Savepoint, State)> = Vec::new();
        let end = loop {
            match step {
                Step::Change { place, number } => {
                    roots.change(&mut state, place, number, &mut tx)?;
                }
                Step::Clear { place } => roots.clear(&mut state, place, &mut tx)?,
                Step::Discard { place } => roots.discard(&mut state, place, &mut tx)?,
                Step::Savepoint => saved.push((tx.savepoint()?, state.clone())),
                Step::RollBackTo(index) if !saved.is_empty() => {
                    saved.truncate(index % saved.len() + 1);
                    let (savepoint, earlier) = &saved[saved.len() - 1];
                    tx.rollback_to(*savepoint)?;
                    state.clone_from(earlier);
                    assert!(roots.are_same(&roots.contents_in(&tx)?, &state), "rolled back");
                }
                Step::RollBackTo(_) => {}
                Step::End(end) => break end,
            }
            let Some(next) = steps.next() else { break E::LAST };
            step = next;
        };
        let Some(durability) = end.durability() else {
            tx.rollback();
            return Ok(end);
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
