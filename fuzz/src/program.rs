//! A program of calls, read from bytes, and a run of it on a store that may be damaged. Each step
//! takes four bytes, so the fuzzer can cut and join inputs anywhere.

use std::sync::LazyLock;

use flagstone::sim::{MemoryDisk, Mutation};
use flagstone::{Checkpoints, Durability, Error, LinkChecks, OpenOptions, Result, Store};
use testkit::forge::{self, HEAP, PAGE};
use testkit::model::history::{Ending, Step};
use testkit::model::roots::{Roots, State};

use crate::sampling::Chance;

/// Length of a step in bytes.
pub const STEP_BYTES: usize = 4;

/// The end of a transaction, and what follows it.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Commit(Durability),
    Rollback,
    Checkpoint,
    Sync,
    Reopen,
    /// Examines what a power cut would leave, and continues without one.
    LookAtCut {
        seed: u64,
    },
    /// Continues with what a power cut leaves.
    Cut {
        seed: u64,
    },
    /// The disk fails after this many calls.
    Fail {
        calls: u64,
    },
    /// Pins a snapshot while the next transaction and a checkpoint run.
    Hold,
    Check,
}

impl Ending for End {
    const LAST: Self = Self::Commit(Durability::Durable);

    fn durability(self) -> Option<Durability> {
        match self {
            Self::Commit(durability) => Some(durability),
            Self::Rollback => None,
            _ => Some(Durability::Deferred),
        }
    }
}

/// Returns the step that some bytes stand for.
fn step(bytes: &[u8; STEP_BYTES]) -> Step<End> {
    let number = u16::from_le_bytes([bytes[2], bytes[3]]);
    let (place, seed) = (usize::from(bytes[1]), u64::from(number) << 8 | u64::from(bytes[1]));
    match bytes[0] % 64 {
        0..=43 => Step::Change { place, number: number.into() },
        44 => Step::Clear { place },
        45 => Step::Discard { place },
        46 | 47 => Step::Savepoint,
        48 => Step::RollBackTo(place),
        49..=52 => Step::End(End::Commit(Durability::Deferred)),
        53 | 54 => Step::End(End::Commit(Durability::Durable)),
        55 => Step::End(End::Rollback),
        56 => Step::End(End::Checkpoint),
        57 => Step::End(End::Sync),
        58 => Step::End(End::Reopen),
        59 => Step::End(End::LookAtCut { seed }),
        60 => Step::End(End::Cut { seed }),
        61 => Step::End(End::Fail { calls: seed % 80 }),
        62 => Step::End(End::Hold),
        _ => Step::End(End::Check),
    }
}

/// Returns the steps that `bytes` stand for, at most `most`.
pub fn steps(bytes: &[u8], most: usize) -> impl Iterator<Item = Step<End>> {
    let (steps, _) = bytes.as_chunks::<STEP_BYTES>();
    steps.iter().take(most).map(step)
}

/// A bit of a run's options: the store is only opened, so recovery is tried far more often.
const ONLY_OPENED: u8 = 32;
/// One run of this many uses `check`, which takes longer than all the rest.
const UNCHECKED: u64 = 16;

/// Returns the options of a run, varied by bits. The log has the minimum length. Starting a thread
/// takes as long as dozens of transactions, so few runs do.
pub fn options(bits: u8) -> OpenOptions {
    let tests = if bits & 1 == 0 { LinkChecks::Bounds } else { LinkChecks::Live };
    let has_thread = bits & 0b1101_0000 == 0b1101_0000;
    let checkpoints = if has_thread { Checkpoints::Background } else { Checkpoints::ByCommits };
    OpenOptions::new()
        .log_bytes(32 * 1024)
        .max_log_bytes(512 * 1024)
        .durability(Durability::Deferred)
        .checkpoints(checkpoints)
        .link_checks(tests)
        .salvage(bits & 2 != 0)
        .memory_budget_bytes(if bits & 8 == 0 { 256 << 20 } else { 0 })
        .round_pages([u64::MAX, 1, u64::MAX, 4][usize::from(bits >> 2 & 3)])
}

/// Adds the mutation that `FLAGSTONE_FUZZ_MUTATION` names, to see that it is found.
pub fn mutated(options: OpenOptions) -> OpenOptions {
    static MUTATION: LazyLock<Option<Mutation>> = LazyLock::new(|| {
        let name = std::env::var("FLAGSTONE_FUZZ_MUTATION").ok()?;
        let mutations = [
            Mutation::AcknowledgeBeforeFlush,
            Mutation::SuperblockBeforeHeap,
            Mutation::DeathNotNoticed,
            Mutation::BarrierNotAwaited,
        ];
        let found = mutations.into_iter().find(|mutation| format!("{mutation:?}") == name);
        Some(
            found
                .unwrap_or_else(|| panic!("no mutation is called {name}; there are {mutations:?}")),
        )
    });
    MUTATION.map_or(options.clone(), |mutation| options.mutation(mutation))
}

/// Opens the store on a disk, checks it, reads everything, runs a program, closes the store and
/// opens it again. Errors are as good as answers. But if `check` finds nothing in a file whose
/// checksums were not forged, the store must hold one of the states `believed`, and stay clean.
pub fn use_file(
    fixture: &Roots,
    disk: &MemoryDisk,
    bits: u8,
    program: &[u8],
    believed: &[State],
    mut chance: Chance,
) {
    // Verification is a `check` too.
    let options = &options(bits).verify(chance.one_in(4 * UNCHECKED));
    let Ok(mut store) = disk.open(options) else { return };
    if bits & ONLY_OPENED != 0 {
        return;
    }
    let is_checked = chance.one_in(UNCHECKED);
    let is_clean = is_checked && store.check().is_ok_and(|report| report.is_clean());
    let is_believed = is_clean && !believed.is_empty();
    if is_believed {
        let found = fixture.contents(&store).expect("a clean store can be read");
        let is_committed = believed.iter().any(|state| fixture.are_same(state, &found));
        assert!(is_committed, "clean, but never committed");
    }
    if chance.one_in(4) {
        let _ = store.stats();
        let _ = store.read().and_then(|tx| tx.roots());
    }
    let mut steps = steps(program, 64);
    while let Some(end) = transact(fixture, &store, &mut steps) {
        match end {
            End::Checkpoint => drop(store.checkpoint()),
            End::Sync => drop(store.sync()),
            End::Hold => drop(hold(fixture, &store, &mut steps)),
            End::Check if is_checked => drop(store.check()),
            End::Reopen => {
                let _ = store.close();
                let Ok(again) = disk.open(options) else { return };
                store = again;
            }
            _ => {}
        }
    }
    if is_believed {
        let report = store.check().expect("a clean store can be looked at");
        assert!(report.is_clean(), "clean before the program, not after: {:?}", report.findings);
    }
    let _ = store.close();
    if !chance.one_in(8) {
        return;
    }
    if let Ok(store) = disk.open(options) {
        let _ = store.read().map(|tx| fixture.readable(&tx));
    }
}

/// Opens the store on a disk. The result of recovery must open again, since a process may be killed
/// after it. Few runs do more.
pub fn recover(fixture: &Roots, disk: &MemoryDisk, bits: u8, mut chance: Chance) {
    let options = options(bits).verify(chance.one_in(64));
    let before = chance.one_in(4).then(|| disk.to_bytes());
    let opened = disk.open(&options);
    if let Some(bytes) = before {
        expect_same_in_memory(bytes, &options, opened.as_ref().map(|_| disk));
    }
    let Ok(store) = opened else { return };
    if !chance.one_in(16) {
        return;
    }
    drop(store);
    let store = disk.open(&options).expect("what was recovered opens again");
    if chance.one_in(8) {
        let _ = store.check();
    }
    let _ = store.read().map(|tx| fixture.readable(&tx));
    if chance.one_in(4) {
        for number in 0..3 {
            let _ = store.try_update(|tx| fixture.change_any(0, number, tx));
        }
        let _ = store.checkpoint();
        let _ = store.close();
        let _ =
            disk.open(&options).map(|store| store.read().map(|tx| fixture.readable(&tx)).is_ok());
    }
}

/// Checks that a recovery in rounds, which left `recovered`, did what one does that applies all
/// records in memory first.
fn expect_same_in_memory(
    bytes: Vec<u8>,
    options: &OpenOptions,
    recovered: Result<&MemoryDisk, &Error>,
) {
    let in_memory = MemoryDisk::of(bytes);
    let opened = in_memory.open(&options.clone().round_pages(u64::MAX));
    // Closing it would write.
    let (_open, disk) = match (opened, recovered) {
        (Ok(store), Ok(disk)) => (store, disk),
        (Err(_), Err(_)) => return,
        (opened, recovered) => {
            panic!("in memory: {:?}, in rounds: {:?}", opened.err(), recovered.err());
        }
    };
    let [found, expected] = [disk, &in_memory].map(MemoryDisk::to_bytes);
    let heap_bytes = |bytes: &[u8]| forge::number(bytes, forge::newest(bytes) + 120) as usize;
    assert_eq!(heap_bytes(&found), heap_bytes(&expected));
    let heap = HEAP..HEAP + heap_bytes(&found);
    let pages = found[heap.clone()].chunks(PAGE).zip(expected[heap].chunks(PAGE));
    let differs = (0..).zip(pages).find(|(_, (found, expected))| found != expected);
    let page: Option<u64> = differs.map(|(page, _)| page);
    assert!(page.is_none(), "rounds leave another heap, from page {page:?} on");
}

/// Runs one transaction. Returns `None` after the last step.
fn transact(
    fixture: &Roots,
    store: &Store,
    steps: &mut impl Iterator<Item = Step<End>>,
) -> Option<End> {
    let mut step = steps.next()?;
    let mut state = fixture.empty();
    let Ok(mut tx) = store.write() else { return Some(End::Rollback) };
    let mut savepoints = Vec::new();
    let end = loop {
        match step {
            Step::Change { place, number } => {
                let _ = fixture.change_any(place, number, &mut tx);
            }
            Step::Clear { place } => drop(fixture.clear(&mut state, place, &mut tx)),
            Step::Discard { place } => drop(fixture.discard(&mut state, place, &mut tx)),
            Step::Savepoint => savepoints.extend(tx.savepoint()),
            Step::RollBackTo(index) if !savepoints.is_empty() => {
                savepoints.truncate(index % savepoints.len() + 1);
                let _ = tx.rollback_to(savepoints[savepoints.len() - 1]);
            }
            Step::RollBackTo(_) => {}
            Step::End(end) => break end,
        }
        let Some(next) = steps.next() else { break End::Commit(Durability::Deferred) };
        step = next;
    };
    if let End::Commit(durability) = end {
        tx.set_durability(durability);
    }
    match end {
        End::Rollback => tx.rollback(),
        _ => drop(tx.commit()),
    }
    Some(end)
}

/// Checks that a snapshot does not change while a transaction and a checkpoint run.
fn hold(fixture: &Roots, store: &Store, steps: &mut impl Iterator<Item = Step<End>>) -> Result<()> {
    let held = store.read()?;
    let before = fixture.readable(&held);
    let _ = transact(fixture, store, steps);
    let _ = store.checkpoint();
    let is_same = fixture.are_same(&before, &fixture.readable(&held));
    assert!(is_same, "a snapshot that was held has changed");
    Ok(())
}
