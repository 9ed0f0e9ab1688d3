//! Promise: while threads commit together, the checkpoint thread works and readers pin snapshots,
//! whatever a power cut leaves, at any time, opens as exactly one committed state, no older than
//! the last that was reported durable, even if the disk fails meanwhile. Every snapshot is one
//! committed state.
//!
//! The system schedules the threads: the seed repeats the changes, but not the schedule.

use std::sync::atomic::Ordering::Relaxed;

use flagstone::sim::Cuts;
use testkit::sim_run::Fixture;
use testkit::thread_run::ThreadRun;
use testkit::{is_long, seed};

#[test]
fn nor_do_checkpoints_in_the_background() {
    let first = seed(1);
    let runs = if is_long() { 4000 } else { 40 };
    let (mut images, mut failed, mut held, mut checkpoints) = (0, 0, 0, 0);
    for seed in first..first + runs {
        let fixture = &Fixture::of_seed(seed);
        let run = ThreadRun::new(fixture, seed).expect("a store");
        failed += u64::from(run.run(seed.is_multiple_of(4)));
        held += run.held.load(Relaxed);
        checkpoints += run.checkpoints();
        let mut cuts = Cuts::new(fixture, seed);
        let looked = cuts.look(&run.end(), 60, 2);
        looked.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        images += cuts.images();
    }
    println!(
        "{images} images, {held} snapshots, {checkpoints} syncs, {failed} failed, \
         from seed {first} on"
    );
    assert!(failed > 0 && held > 0 && checkpoints > runs);
}
