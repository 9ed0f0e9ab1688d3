//! Compares collections of the store with their models from the standard library, change by
//! change.
//!
//! **Owns** what a subject is: a collection, its model, and what can be done to both. **Must not
//! know** files: [`cases`] and the fuzz targets decide what lies between the changes.

pub mod cases;
pub mod history;
pub mod kinds;
pub mod roots;
pub mod sequences;
pub mod strings;
pub mod tables;

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use flagstone::{Image, Link, Persist, WriteTx};
pub use proptest::test_runner::TestCaseError;

use crate::Random;

/// The result of a step: an error of the store fails the case.
pub type Outcome<T = ()> = Result<T, TestCaseError>;

/// A collection under test.
pub trait Subject: Sized + 'static {
    /// The collection in the store.
    type Stored: Persist + Default;
    /// The same in memory.
    type Model: Clone + Debug + Default + PartialEq;
    /// A change, or a query.
    type Op: Copy + Debug + 'static;

    /// Each of them with its weight.
    const OPS: &'static [(u64, Self::Op)];

    /// Applies a change to both, and compares the answers.
    fn apply(op: Self::Op, trial: &mut Trial<'_, '_, Self>) -> Outcome;

    /// Returns the content of the collection.
    fn contents(stored: &Self::Stored, tx: &Image) -> Outcome<Self::Model>;

    /// Empties the collection, and releases everything that it owns.
    fn clear(link: Link<Self::Stored>, tx: &mut WriteTx<'_>) -> flagstone::Result<()>;
}

/// What a change is applied to.
pub struct Trial<'a, 'tx, S: Subject> {
    pub link: Link<S::Stored>,
    pub model: &'a mut S::Model,
    pub tx: &'a mut WriteTx<'tx>,
    /// What elements, keys and indices are drawn from.
    pub random: &'a mut Random,
}

/// Returns whether `Retain` keeps an element. `salt` decides how many stay, from nearly all to
/// nearly none.
fn stays<M: Hash>(model: &M, salt: u8) -> bool {
    let mut hasher = DefaultHasher::new();
    (salt, model).hash(&mut hasher);
    let of = [2, 3, 50][usize::from(salt % 3)];
    hasher.finish().is_multiple_of(of) == salt.is_multiple_of(2)
}
