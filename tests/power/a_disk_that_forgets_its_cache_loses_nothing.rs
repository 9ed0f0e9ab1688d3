//! Promise: a power cut leaves exactly one committed state, no older than the last durable commit
//! that was acknowledged, also on a disk with a volatile write cache: it loses everything that
//! was not flushed, or any of the writes, or any of their sectors.
//!
//! Such a disk promises nothing but flushes. So this test also shows whether a file system passes
//! them on to the disk, and whether the store waits for them.

use flagstone::sim::Mutation;
use testkit::power::Test;
use testkit::power::cuts::cached::{Cached, probe_disk};
use testkit::power::cuts::cut_run::CutRun;
use testkit::power::cuts::disk::Keep;
use testkit::power::scratch_fs::{Bench, Kind};
use testkit::{is_long, seed};

/// Cuts on each file system and of each kind; ten times as many in the long mode.
const CUTS: u64 = 50;
/// Cuts by which a fault must have been detected; a few are usually enough.
const CONTROL_CUTS: u64 = 1000;

/// The subject of a test, for one file system and one kind of loss.
#[derive(Clone, Copy)]
enum Subject {
    Promise,
    /// The store has a mutation.
    ActiveMutation(Mutation),
    /// The disk lies.
    Lie,
}

fn test(kind: Kind, keep: Keep, subject: Subject) -> Test {
    let subject_name = match subject {
        Subject::Promise => String::new(),
        Subject::ActiveMutation(mutation) => format!(", {mutation:?}"),
        Subject::Lie => ", the disk lies".to_string(),
    };
    let name = format!("{}, {} survive{subject_name}", kind.name(), keep.name());
    let label = name.clone();
    let run = move || {
        let bench = Bench::new()?;
        let mut machine = Cached::new(kind, keep, &bench);
        machine.lies = matches!(subject, Subject::Lie).then(|| seed(1));
        // On btrfs, two processes that sync one file at a time lose syncs.
        let writes_back = kind != Kind::Btrfs;
        let cuts = if is_long() { CUTS * 10 } else { CUTS };
        let mutation = match subject {
            Subject::ActiveMutation(mutation) => Some(mutation),
            Subject::Promise | Subject::Lie => None,
        };
        let mut cut_run = CutRun { name: label, cuts, seed: seed(1), writes_back, mutation };
        if matches!(subject, Subject::Promise) {
            return cut_run.expect_no_loss(&mut machine, &bench);
        }
        cut_run.cuts = CONTROL_CUTS;
        cut_run.expect_loss(&mut machine, &bench)
    };
    Test { name, probe: Box::new(move || probe_disk(kind)), run: Box::new(run) }
}

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
        tests.extend(Keep::ALL.map(|keep| test(kind, keep, Subject::Promise)));
        let early = Subject::ActiveMutation(Mutation::AcknowledgeBeforeFlush);
        tests.push(test(kind, Keep::Nothing, early));
        tests.push(test(kind, Keep::Nothing, Subject::Lie));
    }
    // A sync on btrfs writes the whole file, which hides a wrong order.
    for kind in [Kind::Ext4, Kind::Xfs] {
        let order = Subject::ActiveMutation(Mutation::SuperblockBeforeHeap);
        tests.extend(Keep::ALL.map(|keep| test(kind, keep, order)));
    }
    tests
}
