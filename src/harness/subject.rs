//! What a user of the harness writes.
//!
//! **Owns** the trait [`Subject`]. **Must not know** how a subject is run.

use std::fmt::Debug;

use super::Choices;
use crate::store::{ReadTx, WriteTx};

/// What a call of a subject says: all is well, or what is not. `?` takes errors
/// of the store and any other, and `Err("…".into())` a sentence.
pub type Verdict = Result<(), Box<dyn std::error::Error>>;

/// A structure in a store, as the harness sees it: how it is changed at random,
/// and what must hold.
///
/// A model says what must be in the store: any type that can be cloned, such as
/// a collection of the standard library. The harness keeps the model of each
/// committed state, so that it knows what must be there after a crash.
///
/// [`choose`](Self::choose) and [`advance`](Self::advance) are about the model
/// alone, and the same choices must lead to the same step each time, in another
/// process too: no clock, no random numbers of their own, no order of
/// `std::collections::HashMap`.
pub trait Subject {
    /// What the store must hold; the default is an empty store.
    type Model: Clone + Default;
    /// A change. Its `Debug` is how a history reads.
    type Step: Debug;

    /// Makes what must be there before the first step, in a transaction that
    /// the harness commits. As a rule the roots.
    ///
    /// # Errors
    ///
    /// Of the store.
    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx;
        Ok(())
    }

    /// A change to make next, in a state as the model says.
    fn choose(&self, choices: &mut Choices, model: &Self::Model) -> Self::Step;

    /// Makes the change in the store. `model` says what was there before, so
    /// that answers can be compared with what they must be.
    ///
    /// # Errors
    ///
    /// The store's, or an answer that is not as the model says. A change that
    /// is refused for good reasons, such as a key that is taken, is `Ok`.
    fn apply(&self, tx: &mut WriteTx<'_>, step: &Self::Step, model: &Self::Model) -> Verdict;

    /// Makes the same change in the model.
    fn advance(&self, model: &mut Self::Model, step: &Self::Step);

    /// Whether a committed state is sound, and as the model says.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn verify(&self, tx: &ReadTx<'_>, model: &Self::Model) -> Verdict;
}
