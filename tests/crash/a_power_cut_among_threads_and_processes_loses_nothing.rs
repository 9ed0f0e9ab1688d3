//! Promise: threads that commit together while checkpoints run and readers pin snapshots, and
//! processes that share a store and are killed at any of their calls, lose nothing. Every snapshot
//! is one committed state, and does not change. Whatever a power cut leaves, at any time, opens as
//! exactly one committed state, no older than the last that was reported durable, even if the disk
//! fails meanwhile.
//!
//! The system schedules the threads: the seed repeats their changes, but not their schedule.

use std::sync::atomic::Ordering::Relaxed;

use flagstone::sim::{Cuts, Recording};
use testkit::process_run::ProcessRun;
use testkit::sim_run::Fixture;
use testkit::thread_run::ThreadRun;
use testkit::{is_long, seed};

fn seeds() -> std::ops::Range<u64> {
    seed(1)..seed(1) + if is_long() { 4000 } else { 40 }
}

/// Looks at what power cuts leave; returns the number of images.
fn look(fixture: &Fixture, recording: &Recording<u64>, seed: u64, count: usize) -> u64 {
    let mut cuts = Cuts::new(fixture, seed);
    let looked = cuts.look(recording, count, 2);
    looked.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
    cuts.images()
}

#[test]
fn threads_with_checkpoints_in_the_background() {
    let (mut images, mut failed, mut held, mut checkpoints) = (0, 0, 0, 0);
    for seed in seeds() {
        let fixture = &Fixture::of_seed(seed);
        let run = ThreadRun::new(fixture, seed).expect("a store");
        failed += u64::from(run.run(seed.is_multiple_of(4)));
        held += run.held.load(Relaxed);
        checkpoints += run.checkpoints();
        images += look(fixture, &run.end(), seed, 60);
    }
    println!(
        "{images} images, {held} snapshots, {checkpoints} syncs, {failed} failed, {:?}",
        seeds()
    );
    assert!(failed > 0 && held > 0 && checkpoints > seeds().end - seeds().start);
}

#[test]
fn processes_that_are_killed_at_random() {
    let (mut images, mut kills, mut poisoned, mut alone) = (0, 0, 0, 0);
    for seed in seeds() {
        let fixture = &Fixture::of_seed(seed);
        let mut run = ProcessRun::new(fixture, seed).expect("a store");
        for step in 0..60 {
            run.step().unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
        }
        kills += run.kills;
        poisoned += run.poisoned;
        alone += run.failed_alone;
        images += look(fixture, &run.end(), seed, 40);
    }
    println!(
        "{images} images, {kills} kills, poisoned {poisoned} times, {alone} for one alone, {:?}",
        seeds()
    );
    assert!(kills > 0 && poisoned > alone && alone > 0);
}

#[test]
fn processes_that_are_killed_at_random_while_the_log_moves() {
    let (mut kills, mut poisoned) = (0, 0);
    for seed in seeds() {
        let fixture = &Fixture::of_seed(seed);
        let mut run = ProcessRun::new(fixture, seed).expect("a store").moving_the_log();
        for step in 0..60 {
            run.step().unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
        }
        kills += run.kills;
        poisoned += run.poisoned;
        look(fixture, &run.end(), seed, 40);
    }
    assert!(kills > 0 && poisoned > 0);
}

#[test]
fn a_process_that_is_killed_in_a_move_of_the_log() {
    let fixture = Fixture::small();
    for calls in 1.. {
        let mut run = ProcessRun::new(&fixture, calls).expect("a store");
        let gone_on = run.kill_in_a_move(calls);
        let is_whole =
            gone_on.unwrap_or_else(|error| panic!("killed before call {calls}: {error}"));
        look(&fixture, &run.end(), calls, 20);
        if is_whole {
            assert!(calls > 20, "a move makes calls");
            break;
        }
    }
}

/// At each call of a transaction that exceeds the log, and of the checkpoint after it.
#[test]
fn a_process_that_is_killed_in_a_large_transaction() {
    let fixture = Fixture::small();
    for calls in 1..40 {
        let mut run = ProcessRun::new(&fixture, calls).expect("a store");
        let gone_on = run.kill_in_a_spill(calls);
        gone_on.unwrap_or_else(|error| panic!("killed before call {calls}: {error}"));
        look(&fixture, &run.end(), calls, 40);
    }
}
