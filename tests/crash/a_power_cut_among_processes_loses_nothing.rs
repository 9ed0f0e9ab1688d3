//! Promise: processes that share a store on a simulated machine may be killed at any of their
//! calls. The others continue, every commit stays, and snapshots do not change. Whatever a power
//! cut leaves, at any time, opens as exactly one committed state, no older than the last durable
//! one.

use flagstone::sim::Cuts;
use testkit::process_run::ProcessRun;
use testkit::sim_run::Fixture;
use testkit::{is_long, seed};

#[test]
fn nor_does_a_process_that_is_killed() {
    let first = seed(1);
    let runs = if is_long() { 4000 } else { 40 };
    let (mut images, mut kills, mut poisoned) = (0, 0, 0);
    for seed in first..first + runs {
        let fixture = &Fixture::of_seed(seed);
        let mut run = ProcessRun::new(fixture, seed).expect("a store");
        for step in 0..60 {
            run.step().unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
        }
        kills += run.kills;
        poisoned += run.poisoned;
        let mut cuts = Cuts::new(fixture, seed);
        let looked = cuts.look(&run.end(), 40, 2);
        looked.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        images += cuts.images();
    }
    println!("{images} images, {kills} kills, poisoned {poisoned} times, from seed {first} on");
    assert!(kills > 0 && poisoned > 0);
}

/// Each call of a transaction that exceeds the log, and of the checkpoint after it.
#[test]
fn nor_does_one_that_is_killed_in_a_large_transaction() {
    let fixture = Fixture::small();
    let mut images = 0;
    for calls in 1..40 {
        let mut run = ProcessRun::new(&fixture, calls).expect("a store");
        let gone_on = run.kill_in_a_spill(calls);
        gone_on.unwrap_or_else(|error| panic!("killed before call {calls}: {error}"));
        let mut cuts = Cuts::new(&fixture, calls);
        let looked = cuts.look(&run.end(), 40, 2);
        looked.unwrap_or_else(|violation| panic!("killed before call {calls}: {violation}"));
        images += cuts.images();
    }
    println!("{images} images");
}
