//! Runs a collection of the store against its model from the standard library: thousands of
//! random changes, with commits, rollbacks, savepoints, checkpoints and reopenings in between.

#![allow(dead_code, reason = "each test uses its own part")]

pub mod deques;
pub mod kinds;
mod list;
pub mod maps;
mod ranges;
pub mod sets;
pub mod strings;
pub mod vectors;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use flagstone::{Durability, Image, Link, Persist, Store, WriteTx};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::{is_long, open, seed};

/// The result of a step: an error of the store fails the case.
pub type Outcome<T = ()> = Result<T, TestCaseError>;

/// The number of changes in one case.
const OPS: usize = 10_000;
/// The number of changes before the store is measured, so each type is registered by then.
const WARM_OPS: usize = OPS / 20;

/// A collection under test.
pub trait Subject: 'static {
    /// The collection in the store.
    type Stored: Persist + Default;
    /// The same in memory.
    type Model: Clone + Debug + Default + PartialEq;
    /// A change, or a query.
    type Op: Clone + Debug + 'static;

    /// Returns a strategy for any change.
    fn op() -> BoxedStrategy<Self::Op>;

    /// Applies the change to both, and compares the answers.
    fn apply(
        op: &Self::Op,
        model: &mut Self::Model,
        link: Link<Self::Stored>,
        tx: &mut WriteTx<'_>,
    ) -> Outcome;

    /// Returns the content of the collection.
    fn contents(stored: &Self::Stored, tx: &Image) -> Outcome<Self::Model>;

    /// Empties the collection, and releases everything that it owns.
    fn clear(link: Link<Self::Stored>, tx: &mut WriteTx<'_>) -> flagstone::Result<()>;
}

/// A part of a case.
#[derive(Clone, Debug)]
enum Step<Op> {
    Change(Op),
    Savepoint,
    RollBackTo(Index),
    End(End),
}

/// The end of a transaction, and what follows it.
#[derive(Clone, Copy, Debug)]
enum End {
    Commit(Durability),
    Rollback,
    Checkpoint,
    Reopen { commits: bool },
}

fn step<Op: Clone + Debug + 'static>(op: BoxedStrategy<Op>) -> impl Strategy<Value = Step<Op>> {
    prop_oneof![
        500 => op.prop_map(Step::Change),
        4 => Just(Step::Savepoint),
        3 => any::<Index>().prop_map(Step::RollBackTo),
        6 => Just(Step::End(End::Commit(Durability::Deferred))),
        1 => Just(Step::End(End::Commit(Durability::Durable))),
        2 => Just(Step::End(End::Rollback)),
        1 => Just(Step::End(End::Checkpoint)),
        1 => any::<bool>().prop_map(|commits| Step::End(End::Reopen { commits })),
    ]
}

/// Runs cases from a seed and prints the seed. `FLAGSTONE_SEED` sets another seed;
/// `FLAGSTONE_LONG` asks for many cases.
pub fn run<S: Subject>() {
    run_steps(S::op(), &Case::<S>::run);
}

/// Separate from `run` to reduce compile time: collections with the same changes share the code
/// that generates and shrinks them.
fn run_steps<Op: Clone + Debug + 'static>(
    op: BoxedStrategy<Op>,
    case: &dyn Fn(&[Step<Op>]) -> Outcome,
) {
    let seed = seed(1);
    println!("FLAGSTONE_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: if is_long() { 50 } else { 1 },
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let steps = proptest::collection::vec(step(op), OPS);
    match runner.run(&steps, |steps| case(&steps)) {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => {
            panic!("FLAGSTONE_SEED={seed}: {why}\n{} steps: {steps:#?}", steps.len())
        }
        Err(error) => panic!("FLAGSTONE_SEED={seed}: {error}"),
    }
}

/// A run of steps.
struct Case<S: Subject> {
    path: PathBuf,
    /// The model at the last commit.
    committed: S::Model,
    /// The model in the transaction.
    model: S::Model,
}

impl<S: Subject> Case<S> {
    fn run(steps: &[Step<S::Op>]) -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("model.flag");
        let mut store = open(&path)?;
        let empty = Self::warm(&store, steps)?;
        let model = S::Model::default();
        let mut case = Self { path, committed: model.clone(), model };
        let mut steps = steps.iter();
        while steps.len() > 0 {
            let end = case.transaction(&store, &mut steps)?;
            store = case.after(store, end)?;
            case.compare(&store)?;
        }
        let link = store.read()?.root::<S::Stored>(ROOT)?;
        store.update(|tx| S::clear(link, tx))?;
        prop_assert_eq!(store.stats()?.live_bytes, empty, "bytes in use when it is empty");
        prop_assert!(store.check()?.is_clean(), "{:?}", store.check()?);
        Ok(())
    }

    /// Creates the collection, uses and empties it; returns the number of bytes then in use.
    fn warm(store: &Store, steps: &[Step<S::Op>]) -> Outcome<u64> {
        let mut tx = store.write()?;
        let link = tx.root_or_insert_with(ROOT, S::Stored::default)?;
        let mut model = S::Model::default();
        for step in steps.iter().take(WARM_OPS) {
            if let Step::Change(op) = step {
                S::apply(op, &mut model, link, &mut tx)?;
            }
        }
        S::clear(link, &mut tx)?;
        tx.commit()?;
        Ok(store.stats()?.live_bytes)
    }

    fn transaction<'a>(
        &mut self,
        store: &Store,
        steps: &mut impl Iterator<Item = &'a Step<S::Op>>,
    ) -> Outcome<End> {
        let mut tx = store.write()?;
        let link = tx.root::<S::Stored>(ROOT)?;
        let mut savepoints = Vec::new();
        let mut end = End::Commit(Durability::Durable);
        for step in steps {
            match step {
                Step::Change(op) => S::apply(op, &mut self.model, link, &mut tx)?,
                Step::Savepoint => savepoints.push((tx.savepoint()?, self.model.clone())),
                Step::RollBackTo(index) if !savepoints.is_empty() => {
                    let index = index.index(savepoints.len());
                    savepoints.truncate(index + 1);
                    let (savepoint, model) = &savepoints[index];
                    tx.rollback_to(*savepoint)?;
                    self.model.clone_from(model);
                    prop_assert_eq!(&S::contents(tx.at(link)?, &tx)?, &self.model);
                }
                Step::RollBackTo(_) => {}
                Step::End(found) => {
                    end = *found;
                    break;
                }
            }
        }
        if matches!(end, End::Rollback | End::Reopen { commits: false }) {
            tx.rollback();
            self.model.clone_from(&self.committed);
            return Ok(end);
        }
        let durability = match end {
            End::Commit(durability) => durability,
            _ => Durability::Deferred,
        };
        tx.set_durability(durability);
        tx.commit()?;
        self.committed.clone_from(&self.model);
        Ok(end)
    }

    fn after(&self, store: Store, end: End) -> Outcome<Store> {
        match end {
            End::Checkpoint => {
                store.checkpoint()?;
                // Everything is reachable from a root, and no link dangles.
                prop_assert!(store.check()?.is_clean(), "{:?}", store.check()?);
            }
            End::Reopen { .. } => {
                drop(store);
                return Ok(open(Path::new(&self.path))?);
            }
            End::Commit(_) | End::Rollback => {}
        }
        Ok(store)
    }

    fn compare(&self, store: &Store) -> Outcome {
        let tx = store.read()?;
        let stored = tx.at(tx.root::<S::Stored>(ROOT)?)?;
        prop_assert_eq!(&S::contents(stored, &tx)?, &self.committed);
        Ok(())
    }
}

const ROOT: &str = "subject";
