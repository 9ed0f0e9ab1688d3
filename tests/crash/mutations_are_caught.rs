//! Promise: the tests of power cuts and failures find bugs. Each mutation of the protocol is
//! activated alone, and is caught within a bounded number of runs; the protocol without a
//! mutation passes all of them.
//!
//! Random runs find most mutations, the same runs that `a_power_cut_loses_nothing.rs` makes. Some
//! mutations need such a rare combination that a specific history leads there; the remains of the
//! cut are random there too.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flagstone::sim::{
    Call, Cuts, Done, Faults, History, Mutation, Program, Random, Recording, SimDisk,
};
use flagstone::{Durability, ErrorKind, Link, OpenOptions, Store, WriteTx, persist};
use testkit::fixture::{fill_array, free_array, set_array, set_number};
use testkit::forge::SLOTS;
use testkit::histories::{cut_and_grow, punch};
use testkit::paused_run::{Action, PausedRun, State};
use testkit::process_run::ProcessRun;
use testkit::recoveries::Killed;
use testkit::sim_run::{BAD_DISK, Fixture, Run};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The mutation of a store, if any.
type ActiveMutation = Option<Mutation>;

/// A run that must succeed without a mutation.
type Attempt = fn(ActiveMutation, u64) -> Outcome;

/// The attempt that catches each mutation, and the maximum number of runs.
const CAUGHT_BY: &[(Mutation, Attempt, u64)] = &[
    (Mutation::AcknowledgeBeforeFlush, small, 5),
    (Mutation::VisibleBeforeDurable, flushes_fail, 5),
    (Mutation::AppendIntoFlushedBlock, laps, 20),
    (Mutation::OverrunTheLog, the_log_fills_up, 10),
    (Mutation::GrowthNotSynced, small, 5),
    (Mutation::BulkNotSynced, bulk, 5),
    (Mutation::SpillNotSynced, spilling, 10),
    (Mutation::SpillNotCheckpointed, spills_follow_each_other, 5),
    (Mutation::InPlaceFromHeapEnd, the_heap_shrinks, 10),
    (Mutation::HeapPageBeforeRecord, small, 5),
    (Mutation::SuperblockBeforeHeap, small, 5),
    (Mutation::HeapNotSynced, small, 5),
    (Mutation::SuperblocksInOneSync, checkpoints, 20),
    (Mutation::LogFreedAfterOneSuperblock, laps_and_a_recovery, 20),
    (Mutation::ReaderNotFrozen, small, 20),
    (Mutation::SpilledRunShifted, a_snapshot_is_spilled, 5),
    (Mutation::FrozenOverSpilled, a_snapshot_is_spilled, 5),
    (Mutation::CutLengthKept, the_file_is_cut_and_grows, 5),
    (Mutation::CleanBeforeCheckpoint, small, 10),
    (Mutation::DirtyPageMissed, small, 10),
    (Mutation::DirtyNotedLate, small, 5),
    (Mutation::DirtyWindowDropped, a_checkpoint_is_given_up, 5),
    (Mutation::ReleasedWhileDirty, memory_is_short, 5),
    (Mutation::LogTailNotCopied, the_log_moves, 5),
    (Mutation::LogCopyNotFlushed, the_log_moves, 20),
    (Mutation::LogMoveNotSynced, the_log_moves_and_the_power_fails, 10),
    (Mutation::LogMovedWithOneSuperblock, the_log_moves, 20),
    (Mutation::LogPlacedBeforeCheckpoint, the_log_moves_back, 10),
    (Mutation::PunchedBeforeCheckpoint, free_pages_are_punched, 5),
    (Mutation::HoleUsedAsIs, a_hole_on_a_full_disk, 1),
    (Mutation::HoleAllocationNotSynced, a_hole_is_filled, 1),
    (Mutation::PoisonIgnored, flushes_fail, 5),
    (Mutation::RecordChecksumIgnored, small, 10),
    (Mutation::RecordWithoutPredecessor, deferred, 20),
    (Mutation::RecordOfEarlierLap, laps, 5),
    (Mutation::SuperblockChecksumIgnored, checkpoints, 20),
    (Mutation::CleanFlagKept, small, 5),
    (Mutation::EpochKept, the_same_again, 60),
    (Mutation::RecordsNotRewritten, flushes_fail, 20),
    (Mutation::RoundBeforeRewrite, flushes_fail_before_rounds, 20),
    (Mutation::RoundBeforeReach, the_log_loses_its_end, 20),
    (Mutation::CachedReachTrusted, a_reach_is_lost, 5),
    (Mutation::ReachInOneSuperblock, the_log_loses_its_end, 20),
    (Mutation::RoundNotSynced, rounds, 5),
    (Mutation::ReachIgnored, the_log_loses_its_end, 20),
    (Mutation::RecoveredSuperblockBeforeHeap, small, 5),
    (Mutation::OlderSuperblockFirst, checkpoints_fail, 60),
    (Mutation::GoodSuperblockFirst, a_superblock_was_torn, 20),
    (Mutation::BarrierNotAwaited, processes, 60),
    (Mutation::HoldAfterGeneration, a_reader_stands_still, 20),
    (Mutation::WithdrawnWithoutScan, a_snapshot_is_held_for_long, 20),
    (Mutation::AckBeforeFreeze, a_snapshot_is_held, 20),
    (Mutation::StaleImageUsed, a_reader_comes_back, 20),
    (Mutation::RingSeqBeforeSuperblock, a_mover_stands_still, 60),
    (Mutation::RingNotFollowed, the_log_moves_before_an_answer, 1),
    (Mutation::DeathNotNoticed, processes, 20),
    (Mutation::WriteLockReleasedBeforeEnd, processes, 60),
];

/// Mutations that need two threads in a certain order. Tests of the crate interrupt one for the other:
/// `no_image_is_published_behind_a_checkpoint_that_has_begun`.
const CAUGHT_ELSEWHERE: &[Mutation] = &[Mutation::PublishedBehindFloor];

fn with(mut fixture: Fixture, mutation: ActiveMutation) -> Fixture {
    if let Some(mutation) = mutation {
        fixture.options = fixture.options.mutation(mutation);
    }
    fixture
}

/// Makes random runs, with cuts at any time.
fn at_random(fixture: &Fixture, seed: u64, images: usize) -> Outcome {
    let mut run = Run::new(fixture, seed, true)?;
    for _ in 0..40 {
        run.step()?;
    }
    look(fixture, &run.end(), seed, images)
}

/// Runs several processes, some of which are killed.
fn processes(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = ProcessRun::new(&fixture, seed)?;
    for _ in 0..60 {
        run.step()?;
    }
    look(&fixture, &run.end(), seed, 20)
}

fn look(fixture: &Fixture, recording: &Recording<u64>, seed: u64, images: usize) -> Outcome {
    Ok(Cuts::new(fixture, seed).look(recording, images, 3)?)
}

fn small(mutation: ActiveMutation, seed: u64) -> Outcome {
    at_random(&with(Fixture::small(), mutation), seed, 60)
}

fn spilling(mutation: ActiveMutation, seed: u64) -> Outcome {
    at_random(&with(Fixture::spilling(), mutation), seed, 60)
}

/// Cuts the power while a store is opened from the remains of a cut.
fn look_at_recovery(fixture: &Fixture, image: Vec<u8>, seed: u64, images: usize) -> Outcome {
    let disk = SimDisk::new(image);
    disk.record();
    let store = disk.open(&fixture.options)?;
    let history = History::new(fixture.read(&store)?);
    disk.fail_after(0);
    drop(store);
    Ok(Cuts::new(fixture, seed).look(&Recording::of(&disk, history), images, 0)?)
}

/// Makes commits of one block each, three times around the log.
fn around_the_log<'a>(fixture: &'a Fixture, seed: u64) -> Outcome<Run<'a>> {
    let mut run = Run::new(fixture, seed, false)?;
    for number in 0..62 {
        run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, number))?;
    }
    Ok(run)
}

fn laps(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    look(&fixture, &around_the_log(&fixture, seed)?.end(), seed, 100)
}

/// The superblocks are far apart, if both exist.
fn laps_and_a_recovery(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let run = around_the_log(&fixture, seed)?;
    look_at_recovery(&fixture, run.disk.crash(&mut Random(seed)), seed, 300)
}

/// Commits that are not flushed, of several sectors each.
fn deferred(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    let arrays = 0..6;
    run.commit(Durability::Durable, |tx, model| {
        arrays.clone().try_for_each(|index| set_array(tx, model, index, 300, 0))
    })?;
    run.begin_here()?;
    for index in arrays {
        run.commit(Durability::Deferred, |tx, model| fill_array(tx, model, index, 7))?;
    }
    look(&fixture, &run.end(), seed, 100)
}

/// Small changes, each with a checkpoint.
fn checkpoints(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    for number in 0..10 {
        run.commit(Durability::Deferred, |tx, model| set_number(tx, model, 0, number))?;
        run.checkpoint()?;
    }
    look(&fixture, &run.end(), seed, 150)
}

/// The log has capacity for all but the last record.
fn the_log_fills_up(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| {
        set_array(tx, model, 0, 900, 0)?;
        set_array(tx, model, 1, 4500, 0)
    })?;
    run.checkpoint()?;
    run.begin_here()?;
    for number in 0.. {
        let stats = run.store().stats()?;
        if stats.log_used_bytes > stats.log_bytes / 8 * 5 {
            break;
        }
        run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 0, number))?;
    }
    run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 1, 7))?;
    look(&fixture, &run.end(), seed, 100)
}

/// Loads new pages into a store that is not empty.
fn bulk(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::large(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 1))?;
    run.begin_here()?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 270_000, 5))?;
    look(&fixture, &run.end(), seed, 40)
}

/// Transactions that exceed the log.
fn spills_follow_each_other(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::spilling(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 9000, 0))?;
    run.begin_here()?;
    for number in 0..4 {
        run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 0, number))?;
    }
    look(&fixture, &run.end(), seed, 60)
}

/// The data at the end of the heap was freed, but not durably.
fn the_heap_shrinks(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::spilling(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 9000, 0))?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 1, 70_000, 1))?;
    (0..3).try_for_each(|_| run.checkpoint())?;
    run.begin_here()?;
    run.commit(Durability::Deferred, |tx, model| free_array(tx, model, 1))?;
    run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 0, 7))?;
    look(&fixture, &run.end(), seed, 60)
}

/// The file is truncated where no state needs it any more, and grows again at once.
fn the_file_is_cut_and_grows(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    cut_and_grow(&mut run)?;
    look(&fixture, &run.end(), seed, 300)
}

/// The log moves to a larger region, and is used there.
fn the_log_moves(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::large(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 270_000, 0))?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 1, 3000, 0))?;
    let log_bytes = run.store().stats()?.log_bytes;
    for number in 0.. {
        if number % 3 == 0 {
            run.begin_here()?;
        }
        run.commit(Durability::Deferred, |tx, model| fill_array(tx, model, 1, number))?;
        if run.store().stats()?.log_bytes > log_bytes {
            break;
        }
        assert!(number < 100, "the log stays where it is");
    }
    for number in 0..3 {
        run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, number))?;
    }
    let image = run.disk.crash(&mut Random(seed));
    Cuts::new(&fixture, seed).look(&run.end(), 150, 1)?;
    look_at_recovery(&fixture, image, seed, 60)
}

/// The log has grown behind an array, and goes back to its place when the store is closed.
fn the_log_moves_back(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::large(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 150_000, 0))?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 1, 3000, 0))?;
    for number in 0..6 {
        run.commit(Durability::Deferred, |tx, model| fill_array(tx, model, 1, number))?;
    }
    run.checkpoint()?;
    assert!(run.store().stats()?.log_bytes > 64 << 10, "the log has moved");
    run.begin_here()?;
    run.commit(Durability::Deferred, |tx, model| free_array(tx, model, 0))?;
    Ok(Cuts::new(&fixture, seed).look(&run.end(), 100, 1)?)
}

/// Free pages are given back when the store is closed, but not durably freed before.
fn free_pages_are_punched(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 90_000, 1))?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 1, 3000, 1))?;
    run.begin_here()?;
    run.commit(Durability::Deferred, |tx, model| free_array(tx, model, 0))?;
    look(&fixture, &run.end(), seed, 60)
}

/// Pages without space are used, and there is none.
fn a_hole_on_a_full_disk(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    // Numbers have a page.
    run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 1))?;
    punch(&mut run)?;
    run.disk.set_full(true);
    // Each fits into the log, and all of them into no run that kept its space.
    let refused = (2..8).try_for_each(|index| {
        run.commit(Durability::Durable, |tx, model| set_array(tx, model, index, 5000, 1))
    });
    run.perhaps = None;
    run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 2))?;
    run.checkpoint()?;
    match refused {
        Err(error) if matches!(error.kind(), ErrorKind::NoSpace { .. }) => {}
        other => return Err(format!("there is no space: {other:?}").into()),
    }
    run.disk.set_full(false);
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 2, 60_000, 1))?;
    run.checkpoint()?;
    look(&fixture, &run.end(), seed, 20)
}

/// Pages without space are used.
fn a_hole_is_filled(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    punch(&mut run)?;
    let begun = run.disk.calls().len();
    // None is so long that its record spills, which needs a sync in any case.
    (2..8).try_for_each(|index| {
        run.commit(Durability::Deferred, |tx, model| set_array(tx, model, index, 5000, 1))
    })?;
    let calls = run.disk.calls().split_off(begun);
    let filled = calls.iter().rposition(|call| *call == Call::Fill).ok_or("nothing is filled")?;
    let mut after = calls[filled..].iter().filter(|call| [Call::Sync, Call::Append].contains(call));
    match after.next() {
        Some(Call::Sync) => Ok(()),
        other => Err(format!("the space may be lost with the power: {other:?}").into()),
    }
}

/// The power fails, or the process is killed, at each call of the log's move.
fn the_log_moves_and_the_power_fails(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::large(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 270_000, 0))?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 1, 3000, 0))?;
    run.checkpoint()?;
    let (image, model) = (run.disk.crash(&mut Random(seed)), run.model.clone());
    for calls in 0.. {
        let mut run = Run::on(&fixture, seed, SimDisk::new(image.clone()), model.clone());
        run.open_again()?;
        run.disk.fail_after(calls);
        let begun = run.disk.calls().len();
        let fill = |run: &mut Run<'_>, number| {
            run.commit(Durability::Deferred, |tx, model| fill_array(tx, model, 1, number))
        };
        let loaded = (0..6).try_for_each(|number| fill(&mut run, number));
        if !run.disk.is_off() {
            loaded?;
            assert!(run.store().stats()?.log_bytes > 64 << 10, "the log has moved");
            return Ok(());
        }
        if !run.disk.calls()[begun..].contains(&Call::OpenLog) {
            continue;
        }
        let mut random = Random(seed + calls);
        look_at_recovery(&fixture, run.disk.crash(&mut random), seed, 6)?;
        for _ in 0..10 {
            fixture.read(&SimDisk::new(run.disk.crash(&mut random)).open(&fixture.options)?)?;
        }
    }
    Ok(())
}

fn fault(disk: &SimDisk, further: u64, done: Done) {
    let first = disk.next_call() + further;
    let calls = first..first + 1;
    disk.set_faults(Some(Faults { calls, errno: BAD_DISK, done, spares_reading: true }));
}

/// Each call of a commit fails once; the program continues as far as it may, and is restarted
/// without a power cut.
fn flushes_fail(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    for further in 0..12 {
        let mut run = Run::new(&fixture, seed, false)?;
        run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 300, 0))?;
        let part = Done::Part(run.random.next());
        fault(&run.disk, further, run.random.pick(&[Done::Nothing, part]));
        for number in 1..4 {
            let _ = run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 0, number));
        }
        run.go_on_failing(3)?;
        run.start_again()?;
        look(&fixture, &run.end(), seed, 20)?;
    }
    Ok(())
}

/// Arrays that are changed again and again, so that recovery writes pages in several rounds.
fn for_rounds(run: &mut Run<'_>, number: u32) -> flagstone::Result<()> {
    for index in 0..4 {
        run.commit(Durability::Durable, |tx, model| set_array(tx, model, index, 1200, number))?;
    }
    Ok(())
}

/// Recovers in rounds.
fn rounds(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small().in_rounds(4), mutation);
    let killed = Killed::after(&fixture, |run| for_rounds(run, 1))?;
    Ok(Cuts::new(&fixture, seed).look(&killed.record_recovery(&fixture)?, 100, 1)?)
}

/// Recovers in rounds, after a flush whose record only the page cache has.
fn flushes_fail_before_rounds(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small().in_rounds(4), mutation);
    for further in 0..6 {
        let mut run = Run::new(&fixture, seed, false)?;
        for_rounds(&mut run, 1)?;
        fault(&run.disk, further, Done::Nothing);
        let _ = run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 0, 2));
        run.start_again()?;
        look(&fixture, &run.end(), seed, 60)?;
    }
    Ok(())
}

/// A cut in a round, and then damage of the last record, which no later one vouches for.
fn the_log_loses_its_end(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small().in_rounds(4), mutation);
    let lost = for_two_rounds(&fixture)?.lose_last_commit(&fixture, seed)?;
    assert!(mutation.is_some() || lost.refused > 0 && lost.older > 0, "{lost:?}");
    Ok(())
}

/// The same after a recovery in which a sync failed.
fn a_reach_is_lost(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small().in_rounds(4), mutation);
    for_two_rounds(&fixture)?.lose_last_commit_after_failed_sync(&fixture, seed)?;
    Ok(())
}

/// Returns a store that was killed when pages of two ages were to be written. The last commit sets
/// words that others set, and one more: without it, replay over its own pages shows a mixture.
fn for_two_rounds(fixture: &Fixture) -> flagstone::Result<Killed> {
    Killed::after(fixture, |run| {
        for_rounds(run, 1)?;
        run.checkpoint()?;
        for_rounds(run, 2)?;
        run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 1))?;
        run.commit(Durability::Durable, |tx, model| {
            set_number(tx, model, 0, 2)?;
            set_number(tx, model, 1, 2)
        })
    })
}

/// Each call of a checkpoint fails once.
fn checkpoints_fail(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    for further in 0.. {
        let mut run = Run::new(&fixture, seed, false)?;
        run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 1))?;
        run.checkpoint()?;
        run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 2))?;
        fault(&run.disk, further, Done::Part(run.random.next()));
        let first = run.disk.next_call();
        let is_well = run.checkpoint().is_ok();
        if run.disk.next_call() <= first + further {
            break;
        }
        // The failure of any other call leaves both superblocks intact.
        if is_well || run.disk.calls().last() != Some(&Call::Sync) {
            continue;
        }
        // Durable data stays durable, whatever fails.
        run.disk.record();
        run.history = History::new(run.model.digest());
        run.start_again()?;
        run.disk.fail_after(0);
        Cuts::new(&fixture, seed).look(&run.end(), 100, 0)?;
    }
    Ok(())
}

/// Each call of a checkpoint fails once. If it only reads, the store goes on, and the next checkpoint
/// writes what this one did not.
fn a_checkpoint_is_given_up(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut given_up = 0;
    for further in 0.. {
        let mut run = Run::new(&fixture, seed, false)?;
        run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 300, 0))?;
        run.checkpoint()?;
        run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 0, 7))?;
        let first = run.disk.next_call();
        let calls = first + further..first + further + 1;
        let done = Done::Nothing;
        run.disk.set_faults(Some(Faults { calls, errno: BAD_DISK, done, spares_reading: false }));
        let is_well = run.checkpoint().is_ok();
        run.disk.set_faults(None);
        if run.disk.next_call() <= first + further {
            break;
        }
        if is_well || run.store().write().is_err() {
            continue;
        }
        given_up += 1;
        run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 1))?;
        run.checkpoint()?;
        run.die()?;
    }
    assert!(given_up > 0, "no checkpoint was given up");
    Ok(())
}

/// The pages that a transaction changed exceed the share of the budget that may stay private after a
/// checkpoint, which those before the checkpoint did not.
fn memory_is_short(mutation: ActiveMutation, seed: u64) -> Outcome {
    let mut fixture = with(Fixture::small(), mutation);
    fixture.options = fixture.options.memory_budget_bytes(256 << 10);
    let mut run = Run::new(&fixture, seed, true)?;
    run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 1))?;
    run.checkpoint()?;
    for index in 0..5 {
        run.commit(Durability::Durable, |tx, model| set_array(tx, model, index, 3000, 1))?;
        run.commit(Durability::Durable, |tx, model| fill_array(tx, model, index, 7))?;
    }
    run.reopen()?;
    look(&fixture, &run.end(), seed, 20)
}

/// A snapshot keeps more than its part of the budget.
fn a_snapshot_is_spilled(mutation: ActiveMutation, seed: u64) -> Outcome {
    const WORDS: u64 = (2 << 20) / 8;
    let mut fixture = with(Fixture::large(), mutation);
    fixture.options = fixture.options.memory_budget_bytes(0).spill_run_pages(16);
    let store = fixture.new_disk(true)?.open(&fixture.options)?;
    let table =
        store.update(|tx| tx.alloc_slice((0..WORDS as usize).map(|word| word as u64 + 1)))?;
    store.checkpoint()?;
    let (held, mut random) = (store.read()?, Random(seed));
    for _ in 0..6 {
        let mut tx = store.write()?;
        for _ in 0..100 {
            *tx.at_mut(table.index(random.below(WORDS)).expect("an element"))? = 0;
        }
        tx.commit()?;
        store.checkpoint()?;
    }
    if store.stats()?.spilled_bytes == 0 {
        return Err("nothing was spilled".into());
    }
    match held.at(table)?.iter().copied().eq(1..=WORDS) {
        true => Ok(()),
        false => Err("the snapshot has changed".into()),
    }
}

/// Only one superblock is intact.
fn a_superblock_was_torn(mutation: ActiveMutation, seed: u64) -> Outcome {
    let fixture = with(Fixture::small(), mutation);
    let mut run = Run::new(&fixture, seed, false)?;
    run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 1))?;
    let mut image = run.disk.crash(&mut Random(seed));
    image[SLOTS[(seed % 2) as usize] + 64] ^= 1;
    look_at_recovery(&fixture, image, seed, 200)
}

/// The data of a repeater: how often it has counted.
#[persist]
struct Count {
    number: u64,
    /// Makes a record fill more than a sector.
    bytes: [u64; 80],
}

/// After each start, repeats byte for byte what it did after the previous state.
struct Repeater {
    options: OpenOptions,
}

impl Repeater {
    fn count(&self, tx: &mut WriteTx<'_>) -> flagstone::Result<u64> {
        let count = tx.root_or_insert_with("count", || Count { number: 0, bytes: [0; 80] })?;
        let number = tx.at(count)?.number + 1;
        tx.put(count, Count { number, bytes: [number; 80] })?;
        Ok(number)
    }

    fn commit(&self, store: &Store, disk: &SimDisk, history: &mut History<u64>) -> Outcome {
        let mut tx = store.write()?;
        let number = self.count(&mut tx)?;
        tx.set_durability(Durability::Deferred);
        history.begin(number, disk.now());
        Ok(tx.commit()?)
    }
}

impl Program for Repeater {
    type State = u64;

    fn options(&self) -> &OpenOptions {
        &self.options
    }

    fn read(&self, store: &Store) -> flagstone::Result<u64> {
        let tx = store.read()?;
        let count: Link<Count> = tx.root("count")?;
        Ok(tx.get(count)?.map_or(0, |count| count.number))
    }

    fn go_on(
        &self,
        store: &Store,
        disk: &SimDisk,
        history: &mut History<u64>,
        _random: &mut Random,
    ) -> flagstone::Result<()> {
        let committed = self.commit(store, disk, history);
        // Dies at once: a clean close would flush.
        disk.fail_after(0);
        committed.map_err(|error| *error.downcast().expect("of flagstone"))
    }
}

fn the_same_again(mutation: ActiveMutation, seed: u64) -> Outcome {
    let options = with(Fixture::small(), mutation).options;
    let repeater = Repeater { options };
    let (store, disk) = SimDisk::create(&repeater.options)?;
    store.update(|tx| repeater.count(tx))?;
    let mut history = History::new(1);
    disk.record();
    for _ in 0..8 {
        repeater.commit(&store, &disk, &mut history)?;
    }
    disk.fail_after(0);
    Ok(Cuts::new(&repeater, seed).look(&Recording::of(&disk, history), 200, 3)?)
}

/// A process stands still in a read; the seed says where.
fn a_reader_stands_still(mutation: ActiveMutation, seed: u64) -> Outcome {
    PausedRun::new(mutation, State::Idle)?.pause_in(Action::Read, seed - 1)?;
    Ok(())
}

/// A process stands still while it moves the log, and another one reads. The seed says where, behind the
/// zeros for the new region.
fn a_mover_stands_still(mutation: ActiveMutation, seed: u64) -> Outcome {
    const ZEROS: u64 = 64;
    PausedRun::new(mutation, State::Idle)?.pause_in(Action::MoveLog, 10 + ZEROS + seed)?;
    Ok(())
}

/// A process reads again after others went round the log.
fn a_reader_comes_back(mutation: ActiveMutation, _seed: u64) -> Outcome {
    PausedRun::new(mutation, State::LeftBehind)?.hold()?;
    Ok(())
}

fn a_snapshot_is_held(mutation: ActiveMutation, _seed: u64) -> Outcome {
    let mut run = PausedRun::without_growth(mutation, State::Idle)?;
    run.hold()?;
    Ok(run.go_round()?)
}

fn a_snapshot_is_held_for_long(mutation: ActiveMutation, _seed: u64) -> Outcome {
    let mut run = PausedRun::new(mutation, State::Idle)?;
    run.hold()?;
    run.rest();
    Ok(run.stop_and_go_round()?)
}

/// A process that holds a snapshot stands still while the log moves, and is asked for the pages that
/// change. Then it answers.
fn the_log_moves_before_an_answer(mutation: ActiveMutation, _seed: u64) -> Outcome {
    let mut run = PausedRun::new(mutation, State::Idle)?;
    run.hold()?;
    run.move_log_meanwhile();
    run.stop_and_go_round()?;
    run.be_impatient();
    Ok(run.go_round()?)
}

/// Returns what an attempt found, if anything.
fn complaint(attempt: Attempt, mutation: ActiveMutation, seed: u64) -> Option<String> {
    let run = || attempt(mutation, seed).map_err(|error| error.to_string());
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Some(text.unwrap_or("a panic without words").to_string())
        }
    }
}

/// Makes attempts until one finds the mutation; returns its number, and the finding. The same
/// attempts must find nothing without the mutation.
fn catch(mutation: Mutation, attempt: Attempt, max_runs: u64) -> Result<(u64, String), String> {
    for seed in 1..=max_runs {
        if let Some(complaint) = complaint(attempt, None, seed) {
            return Err(format!("{mutation:?}: run {seed} complains without it: {complaint}"));
        }
        if let Some(complaint) = complaint(attempt, Some(mutation), seed) {
            return Ok((seed, complaint));
        }
    }
    Err(format!("{mutation:?}: none of {max_runs} runs has noticed"))
}

#[test]
fn each_mutation_is_caught_and_the_sound_protocol_passes() {
    let hook = std::panic::take_hook();
    // Panics are findings here, and need no output.
    std::panic::set_hook(Box::new(|_| ()));
    let caught: Vec<_> = CAUGHT_BY
        .iter()
        .map(|(mutation, attempt, max_runs)| (mutation, catch(*mutation, *attempt, *max_runs)))
        .collect();
    std::panic::set_hook(hook);
    for (mutation, outcome) in &caught {
        let (run, complaint) = outcome.as_ref().unwrap_or_else(|error| panic!("{error}"));
        println!("{mutation:?}: run {run}: {complaint}");
    }
    let is_caught = |mutation: &Mutation| {
        caught.iter().any(|(caught, _)| *caught == mutation) || CAUGHT_ELSEWHERE.contains(mutation)
    };
    let forgotten: Vec<_> =
        Mutation::ALL.into_iter().filter(|mutation| !is_caught(mutation)).collect();
    assert!(forgotten.is_empty(), "nothing is tried for {forgotten:?}");
    println!("{} mutations, all caught", caught.len());
}
