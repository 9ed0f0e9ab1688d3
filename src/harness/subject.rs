//! The trait that a user of the harness implements.
//!
//! **Owns** the trait [`Subject`]. **Must not know** how a subject is run.

use std::fmt::Debug;

use super::Choices;
use crate::store::{ReadTx, WriteTx};

/// The result of a call to a subject: `Ok`, or what is wrong. `?` converts errors of the store
/// and any other error, and `Err("…".into())` a sentence.
pub type Verdict = Result<(), Box<dyn std::error::Error>>;

/// A structure in a store, as the harness sees it: its random changes, and its invariants.
///
/// A model describes the expected content of the store. It can be any type that can be cloned,
/// such as a collection of the standard library. The harness keeps the model of each committed
/// state, so it knows the expected content after a crash.
///
/// [`choose`](Self::choose) and [`advance`](Self::advance) depend on the model alone, and the
/// same choices must lead to the same step each time, in another process too. So they must not
/// use a clock, random numbers of their own or the order of `std::collections::HashMap`.
pub trait Subject {
    /// The expected content of the store; the default is an empty store.
    type Model: Clone + Default;
    /// A change. A history prints its `Debug` output.
    type Step: Debug;

    /// Creates what must exist before the first step, usually the roots, in a transaction that
    /// the harness commits.
    ///
    /// # Errors
    ///
    /// Errors of the store.
    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx;
        Ok(())
    }

    /// Chooses the next change, for a state that matches the model.
    fn choose(&self, choices: &mut Choices, model: &Self::Model) -> Self::Step;

    /// Makes the change in the store. `model` describes the state before, for comparison with the
    /// store's answers.
    ///
    /// # Errors
    ///
    /// Errors of the store, or an answer that contradicts the model. A change that is refused for
    /// a good reason, such as a key that is taken, is `Ok`.
    fn apply(&self, tx: &mut WriteTx<'_>, step: &Self::Step, model: &Self::Model) -> Verdict;

    /// Makes the same change in the model.
    fn advance(&self, model: &mut Self::Model, step: &Self::Step);

    /// Verifies that a committed state is intact and matches the model.
    ///
    /// # Errors
    ///
    /// A description of what is wrong.
    fn verify(&self, tx: &ReadTx<'_>, model: &Self::Model) -> Verdict;
}
