//! Promise: a power cut under a running writer, at any instant, leaves exactly one committed
//! state, no older than the last durable commit that the writer had acknowledged, and a
//! consistent allocator.
//!
//! ext4 and xfs can be told to behave as if the power had failed: no data in memory reaches the
//! disk any more. The test unmounts, mounts and examines them.

use std::fs::File;
use std::path::PathBuf;

use flagstone::sim::Mutation;
use rustix::ioctl::{Setter, ioctl, opcode};
use testkit::power::Test;
use testkit::power::cuts::cut_run::{CutRun, Machine};
use testkit::power::cuts::writer::MUTATIONS;
use testkit::power::scratch_fs::{Bench, Kind, Mounted, probe};
use testkit::{Random, TestResult, is_long, seed};

/// Cuts on each file system; ten times as many in the long mode.
const CUTS: u64 = 100;
/// Cuts by which a fault must have been detected; a few are usually enough.
const CONTROL_CUTS: u64 = 1000;

/// A file system in a file in memory.
struct Shutdown<'a> {
    kind: Kind,
    bench: &'a Bench,
    image: PathBuf,
    mounted: Option<Mounted>,
}

/// `XFS_IOC_GOINGDOWN`, which ext4 supports too.
const SHUT_DOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
/// Whether the file system's own log still reaches the disk, or nothing does.
const HOW: [u32; 2] = [1, 2];

impl Machine for Shutdown<'_> {
    fn format(&mut self) -> TestResult {
        self.image = self.bench.make_image(self.kind)?;
        Ok(())
    }

    fn power_on(&mut self) -> TestResult<PathBuf> {
        let mounted = self.mounted.insert(self.bench.mount_image(self.kind, &self.image)?);
        Ok(mounted.path().to_path_buf())
    }

    fn cut(&mut self, random: &mut Random) -> TestResult {
        let folder = File::open(self.mounted.as_ref().ok_or("not mounted")?.path())?;
        // SAFETY: the call reads a number of 32 bits.
        let how = unsafe { Setter::<SHUT_DOWN, u32>::new(random.pick(&HOW)) };
        // SAFETY: both file systems know the call, and it touches no memory.
        unsafe { ioctl(&folder, how) }?;
        Ok(())
    }

    fn clear_away(&mut self) -> TestResult {
        self.mounted.take().map_or(Ok(()), Mounted::unmount)
    }
}

fn cut_run(kind: Kind, name: String, mutation: Option<Mutation>) -> Test {
    let run = move |name: String| {
        let bench = Bench::new()?;
        let mut machine = Shutdown { kind, bench: &bench, image: PathBuf::new(), mounted: None };
        let long = if is_long() { 10 } else { 1 };
        let cuts = if mutation.is_some() { CONTROL_CUTS } else { CUTS * long };
        let cut_run = CutRun { name, cuts, seed: seed(1), writes_back: true, mutation };
        match mutation {
            None => cut_run.expect_no_loss(&mut machine, &bench),
            Some(_) => cut_run.expect_loss(&mut machine, &bench),
        }
    };
    let label = name.clone();
    Test { name, probe: Box::new(move || probe(kind)), run: Box::new(move || run(label)) }
}

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for kind in [Kind::Ext4, Kind::Xfs] {
        tests.push(cut_run(kind, format!("{}, shut down", kind.name()), None));
        for mutation in MUTATIONS {
            let name = format!("{}, shut down, {mutation:?}", kind.name());
            tests.push(cut_run(kind, name, Some(mutation)));
        }
    }
    tests
}
