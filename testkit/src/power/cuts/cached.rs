//! A machine whose disk has a volatile write cache.

use std::path::PathBuf;

use super::super::scratch_fs::{Bench, Kind, Mounted, probe};
use super::cut_run::Machine;
use super::disk::{Disk, Keep};
use crate::{Random, TestResult};

/// A file system on a disk with a cache.
pub struct Cached<'a> {
    kind: Kind,
    keep: Keep,
    /// The seed for the flushes that the disk skips, if it lies.
    pub lies: Option<u64>,
    bench: &'a Bench,
    /// Declared first, so it is unmounted before the disk ends.
    mounted: Option<Mounted>,
    disk: Option<Disk>,
}

impl<'a> Cached<'a> {
    pub fn new(kind: Kind, keep: Keep, bench: &'a Bench) -> Self {
        Self { kind, keep, lies: None, bench, mounted: None, disk: None }
    }

    pub fn disk(&mut self) -> TestResult<&mut Disk> {
        self.disk.as_mut().ok_or_else(|| "there is no disk".into())
    }
}

impl Machine for Cached<'_> {
    fn format(&mut self) -> TestResult {
        self.disk = None;
        let image = self.bench.make_image(self.kind)?;
        let disk = self.disk.insert(Disk::start(&image, &self.bench.path("disk"))?);
        self.lies.map_or(Ok(()), |seed| disk.lie(seed))
    }

    fn power_on(&mut self) -> TestResult<PathBuf> {
        let disk = self.disk()?;
        disk.power_on()?;
        let path = disk.path().to_path_buf();
        let mounted = self.mounted.insert(self.bench.mount_image(self.kind, &path)?);
        Ok(mounted.path().to_path_buf())
    }

    fn cut(&mut self, random: &mut Random) -> TestResult {
        let keep = self.keep;
        self.disk()?.cut(keep, random)
    }

    fn clear_away(&mut self) -> TestResult {
        self.mounted.take().map_or(Ok(()), Mounted::unmount)
    }
}

/// Checks whether a file system can be mounted on such a disk here.
pub fn probe_disk(kind: Kind) -> TestResult {
    probe(kind)?;
    let bench = Bench::new()?;
    let mut machine = Cached::new(kind, Keep::Nothing, &bench);
    machine.format()?;
    machine.power_on()?;
    machine.clear_away()
}
