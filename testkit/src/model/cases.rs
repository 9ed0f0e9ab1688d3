//! Runs a collection in a file through thousands of random changes, with commits, rollbacks,
//! savepoints, checkpoints and reopenings in between.

use flagstone::{Durability, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::history::{Ending, History, Step};
use super::roots::{Roots, root};
use super::{Outcome, Subject};
use crate::{Random, is_long, open, seed};

/// The number of steps in one case.
const STEPS: usize = 10_000;
/// The number of steps before the store is measured, so each type is registered by then.
const WARM_STEPS: usize = STEPS / 20;

#[derive(Clone, Copy, Debug)]
enum End {
    Commit(Durability),
    Rollback,
    Checkpoint,
    Reopen { commits: bool },
}

impl Ending for End {
    const LAST: Self = Self::Commit(Durability::Durable);

    fn durability(self) -> Option<Durability> {
        match self {
            Self::Commit(durability) => Some(durability),
            Self::Rollback | Self::Reopen { commits: false } => None,
            Self::Checkpoint | Self::Reopen { commits: true } => Some(Durability::Deferred),
        }
    }
}

/// Returns the step that `number` stands for.
fn step(number: u64) -> Step<End> {
    let mut random = Random::new(number);
    Step::End(match random.below(518) {
        0..500 => return Step::Change { place: 0, number: random.next() },
        500..504 => return Step::Savepoint,
        504..507 => return Step::RollBackTo(random.next() as usize),
        507..513 => End::Commit(Durability::Deferred),
        513 => End::Commit(Durability::Durable),
        514 | 515 => End::Rollback,
        516 => End::Checkpoint,
        _ => End::Reopen { commits: random.one_in(2) },
    })
}

/// Runs cases from a seed and prints the seed. `FLAGSTONE_SEED` sets another seed;
/// `FLAGSTONE_LONG` asks for many cases.
pub fn run<S: Subject>() {
    run_roots(&Roots(vec![root::<S>("subject")]));
}

/// Steps are numbers, so this is compiled once: proptest drops those that a failure does not
/// need.
fn run_roots(roots: &Roots) {
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
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let numbers = proptest::collection::vec(any::<u64>(), STEPS);
    match TestRunner::new_with_rng(config, rng).run(&numbers, |numbers| case(roots, &numbers)) {
        Ok(()) => {}
        Err(TestError::Fail(why, numbers)) => {
            let steps = numbers.iter().map(|number| match step(*number) {
                Step::Change { number, .. } => roots.0[0].describe(number),
                step => format!("{step:?}"),
            });
            let steps: Vec<_> = steps.collect();
            panic!("FLAGSTONE_SEED={seed}: {why}\n{} steps: {steps:#?}", steps.len())
        }
        Err(error) => panic!("FLAGSTONE_SEED={seed}: {error}"),
    }
}

fn case(roots: &Roots, numbers: &[u64]) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.flag");
    let mut store = open(&path)?;
    let empty_bytes = warm(roots, &store, numbers)?;
    let mut history = History::new(roots.empty());
    let mut steps = numbers.iter().map(|number| step(*number));
    while let Some(first) = steps.next() {
        match history.transact(roots, &store, first, &mut steps)? {
            End::Commit(_) | End::Rollback => {}
            End::Checkpoint => {
                store.checkpoint()?;
                // Everything is reachable from a root, and no link dangles.
                prop_assert!(store.check()?.is_clean(), "{:?}", store.check()?);
            }
            End::Reopen { .. } => {
                drop(store);
                store = open(&path)?;
            }
        }
        prop_assert!(roots.are_same(&roots.contents(&store)?, history.last()), "other contents");
        // Only the last state is expected from now on; the others would fill the memory.
        history = History::new(history.last().clone());
    }
    let mut tx = store.write()?;
    roots.clear(&mut roots.empty(), 0, &mut tx)?;
    tx.commit()?;
    prop_assert_eq!(store.stats()?.live_bytes, empty_bytes, "bytes in use when it is empty");
    prop_assert!(store.check()?.is_clean(), "{:?}", store.check()?);
    Ok(())
}

/// Creates the collection, uses and empties it; returns the number of bytes then in use.
fn warm(roots: &Roots, store: &Store, numbers: &[u64]) -> Outcome<u64> {
    let mut tx = store.write()?;
    roots.create(&mut tx)?;
    let mut state = roots.empty();
    for number in numbers.iter().take(WARM_STEPS) {
        if let Step::Change { place, number } = step(*number) {
            roots.change(&mut state, place, number, &mut tx)?;
        }
    }
    roots.clear(&mut state, 0, &mut tx)?;
    tx.commit()?;
    Ok(store.stats()?.live_bytes)
}
