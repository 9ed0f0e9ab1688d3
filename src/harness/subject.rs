//! The trait that a user of the harness implements.
//!
//! **Owns** the trait [`Subject`]. **Must not know** how a subject is run.

use std::fmt::Debug;

use super::choices::Choices;
use crate::store::{ReadTx, WriteTx};

/// The result of a call to a subject: `Ok`, or what is wrong. `?` converts errors of the store
/// and any other error, and `Err("…".into())` a sentence.
///
/// ```
/// # use flagstone::{ReadTx, harness::Verdict};
/// fn expect_even(tx: &ReadTx<'_>) -> Verdict {
///     let number = *tx.root_object::<u64>("number")?;
///     if number % 2 == 0 { Ok(()) } else { Err(format!("{number} is odd").into()) }
/// }
///
/// # fn main() -> Result<(), flagstone::Error> {
/// # let store = flagstone::Store::in_memory()?;
/// store.update(|tx| tx.root_or_insert_with("number", || 7u64).map(drop))?;
/// assert_eq!(expect_even(&store.read()?).unwrap_err().to_string(), "7 is odd");
/// # Ok(()) }
/// ```
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
///
/// ```
/// use flagstone::harness::{Choices, Harness, Subject, Verdict};
/// use flagstone::{ReadTx, WriteTx};
///
/// #[derive(Debug)]
/// enum Step {
///     Deposit(u64),
///     Withdraw(u64),
/// }
///
/// struct Account;
///
/// impl Subject for Account {
///     type Model = u64;
///     type Step = Step;
///
///     fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
///         Ok(tx.root_or_insert_with("balance", || 0u64).map(drop)?)
///     }
///
///     fn choose(&self, choices: &mut Choices, balance: &u64) -> Step {
///         match choices.one_in(3) {
///             false => Step::Deposit(choices.below(100)),
///             true => Step::Withdraw(choices.between(0..=*balance)),
///         }
///     }
///
///     fn apply(&self, tx: &mut WriteTx<'_>, step: &Step, before: &u64) -> Verdict {
///         let balance = tx.root_object_mut::<u64>("balance")?;
///         if *balance != *before {
///             return Err(format!("found {balance}, expected {before}").into());
///         }
///         match step {
///             Step::Deposit(amount) => *balance += amount,
///             Step::Withdraw(amount) => *balance -= amount,
///         }
///         Ok(())
///     }
///
///     fn advance(&self, balance: &mut u64, step: &Step) {
///         match step {
///             Step::Deposit(amount) => *balance += amount,
///             Step::Withdraw(amount) => *balance -= amount,
///         }
///     }
///
///     fn verify(&self, tx: &ReadTx<'_>, expected: &u64) -> Verdict {
///         let balance = tx.root_object::<u64>("balance")?;
///         match balance == expected {
///             true => Ok(()),
///             false => Err(format!("found {balance}, expected {expected}").into()),
///         }
///     }
/// }
///
/// assert_eq!(Harness::new().runs(2).run(|| Account)?.runs, 2);
/// # Ok::<(), flagstone::harness::Failure>(())
/// ```
pub trait Subject {
    /// The expected content of the store; the default is an empty store.
    type Model: Clone + Default;
    /// A change. A history prints its `Debug` output.
    type Step: Debug;

    /// Creates what must exist before the first step, usually the roots, in a transaction that
    /// the harness commits.
    ///
    /// ```
    /// # use flagstone::{Store, harness::{Subject, structures::List}};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::in_memory()?;
    /// let mut tx = store.write()?;
    /// List.create(&mut tx)?;
    /// tx.commit()?;
    /// List.verify(&store.read()?, &vec![])?; // the default model
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Errors of the store.
    fn create(&self, tx: &mut WriteTx<'_>) -> Verdict {
        let _ = tx;
        Ok(())
    }

    /// Chooses the next change, for a state that matches the model.
    ///
    /// ```
    /// # use flagstone::harness::{Choices, Subject, structures::List};
    /// let choose = |seed| List.choose(&mut Choices::from_seed(seed), &vec![7, 8, 9]);
    /// assert_eq!(format!("{:?}", choose(1)), format!("{:?}", choose(1)));
    /// assert_ne!(format!("{:?}", choose(1)), format!("{:?}", choose(2)));
    /// ```
    fn choose(&self, choices: &mut Choices, model: &Self::Model) -> Self::Step;

    /// Makes the change in the store. `model` describes the state before, for comparison with the
    /// store's answers.
    ///
    /// ```
    /// # use flagstone::{Store, harness::{Choices, Subject, structures::List}};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::in_memory()?;
    /// # let (mut choices, mut model) = (Choices::from_seed(1), Vec::new());
    /// let mut tx = store.write()?;
    /// List.create(&mut tx)?;
    /// for _ in 0..100 {
    ///     let step = List.choose(&mut choices, &model);
    ///     List.apply(&mut tx, &step, &model)?;
    ///     List.advance(&mut model, &step);
    /// }
    /// tx.commit()?;
    /// List.verify(&store.read()?, &model)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Errors of the store, or an answer that contradicts the model. A change that is refused for
    /// a good reason, such as a key that is taken, is `Ok`.
    fn apply(&self, tx: &mut WriteTx<'_>, step: &Self::Step, model: &Self::Model) -> Verdict;

    /// Makes the same change in the model.
    ///
    /// ```
    /// # use flagstone::harness::{Choices, Subject, structures::List};
    /// let (mut choices, mut model) = (Choices::from_seed(7), vec![7, 8, 9]);
    /// for expected in ["Insert(0, 346)", "Insert(4, 305)", "ToFront(2)"] {
    ///     let step = List.choose(&mut choices, &model);
    ///     assert_eq!(format!("{step:?}"), expected);
    ///     List.advance(&mut model, &step);
    /// }
    /// assert_eq!(model, [8, 346, 7, 9, 305]);
    /// ```
    fn advance(&self, model: &mut Self::Model, step: &Self::Step);

    /// Verifies that a committed state is intact and matches the model.
    ///
    /// ```
    /// # use flagstone::{Store, harness::{Subject, structures::List}};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::in_memory()?;
    /// store.try_update(|tx| List.create(tx))?;
    /// let wrong = List.verify(&store.read()?, &vec![7]).unwrap_err();
    /// assert_eq!(wrong.to_string(), "length: found 0, expected 1");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// A description of what is wrong.
    fn verify(&self, tx: &ReadTx<'_>, model: &Self::Model) -> Verdict;
}
