//! Recoveries on a simulated disk, and how they are cut short.

use flagstone::sim::{Call, Done, Faults, History, Program, Random, Recording, SimDisk};
use flagstone::{ErrorKind, OpenOptions, Result};

use super::fixture::Digest;
use super::forge;
use super::sim_run::{BAD_DISK, Fixture, Run, disk_of};

/// A store whose process has died.
pub struct Killed {
    pub image: Vec<u8>,
    /// What was committed to it.
    pub history: History<Digest>,
}

impl Killed {
    /// Kills the process of a store after this history.
    pub fn after(
        fixture: &Fixture,
        history: impl FnOnce(&mut Run<'_>) -> Result<()>,
    ) -> Result<Self> {
        let mut run = Run::new(fixture, 1, false)?;
        history(&mut run)?;
        Ok(Self { image: run.disk.crash(&mut Random(1)), history: run.end_by_death() })
    }

    /// Returns a disk with the store. Its images are mappings if `number` is odd.
    pub fn disk(&self, number: u64) -> SimDisk {
        disk_of(self.image.clone(), number % 2 == 1)
    }

    /// Records the recovery. Whenever it is cut short, the last state must be found.
    pub fn record_recovery(&self, fixture: &Fixture) -> Result<Recording<Digest>> {
        let disk = self.disk(1);
        disk.record();
        let store = disk.open(&fixture.options)?;
        let history = History::new(fixture.read(&store)?);
        disk.fail_after(0);
        drop(store);
        Ok(Recording::of(&disk, history))
    }

    /// Returns what a power cut leaves of a recovery after `calls` calls that change the disk, or
    /// `None` if there are fewer.
    pub fn cut_short(&self, fixture: &Fixture, calls: u64, random: &mut Random) -> Option<Vec<u8>> {
        let disk = self.disk(calls);
        is_cut_short(&disk, fixture, calls).then(|| disk.crash(random))
    }

    /// Opens an image whose log has lost its last commit. Returns whether that was refused because
    /// the heap may hold it; else the state without it was found, whole.
    ///
    /// # Errors
    ///
    /// Anything else.
    pub fn open_without_last_commit(
        &self,
        fixture: &Fixture,
        image: Vec<u8>,
    ) -> std::result::Result<bool, String> {
        let open = |options: &OpenOptions| SimDisk::new(image.clone()).open(options);
        let store = match open(&fixture.options) {
            Ok(store) => store,
            Err(error) => {
                let is_refused = |error: &flagstone::Error| {
                    matches!(error.kind(), ErrorKind::LogDamaged { can_salvage: false, .. })
                };
                let salvaged = open(&fixture.options.clone().salvage(true));
                let is_sound = salvaged.is_ok() || salvaged.is_err_and(|error| !is_refused(&error));
                return match is_refused(&error) && !is_sound {
                    true => Ok(true),
                    false => Err(format!("it is refused otherwise: {error}")),
                };
            }
        };
        let state = fixture.read(&store).map_err(|error| error.to_string())?;
        let report = store.check().map_err(|error| error.to_string())?;
        match (self.history.knows(&state), report.findings.first()) {
            (true, None) => Ok(false),
            (false, None) => Err(format!("no state that was committed: {state:?}")),
            (_, Some(finding)) => Err(finding.to_string()),
        }
    }

    /// Cuts a recovery short after each of its calls, and damages the last commit of what is left.
    ///
    /// # Errors
    ///
    /// A mixture of states was shown, or the wrong error.
    pub fn lose_last_commit(
        &self,
        fixture: &Fixture,
        seed: u64,
    ) -> std::result::Result<Lost, String> {
        let mut lost = Lost::default();
        self.lose_last_commit_on(fixture, seed, &mut lost, || self.disk(seed))?;
        Ok(lost)
    }

    /// Does the same after an earlier recovery in which a sync failed, for each of its syncs. The
    /// page cache shows what the sync has lost.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn lose_last_commit_after_failed_sync(
        &self,
        fixture: &Fixture,
        seed: u64,
    ) -> std::result::Result<Lost, String> {
        let mut lost = Lost::default();
        for number in 0.. {
            let after_failure = || {
                let (disk, calls) = (self.disk(seed), number..number + 1);
                disk.set_forgetful(!seed.is_multiple_of(3));
                let (errno, done) = (BAD_DISK, Done::Nothing);
                disk.set_faults(Some(Faults { calls, errno, done, spares_reading: true }));
                drop(disk.open(&fixture.options));
                disk.set_faults(None);
                disk
            };
            match after_failure().calls().get(number as usize) {
                None => break,
                Some(Call::Sync) => {}
                Some(_) => continue,
            }
            let outcome = self.lose_last_commit_on(fixture, seed, &mut lost, after_failure);
            outcome.map_err(|error| format!("call {number} failed before: {error}"))?;
        }
        Ok(lost)
    }

    fn lose_last_commit_on(
        &self,
        fixture: &Fixture,
        seed: u64,
        lost: &mut Lost,
        new_disk: impl Fn() -> SimDisk,
    ) -> std::result::Result<(), String> {
        /// Images of each cut.
        const IMAGES: usize = 3;
        let mut random = Random(seed);
        for calls in 0.. {
            let disk = new_disk();
            if !is_cut_short(&disk, fixture, calls) {
                break;
            }
            let images: Vec<_> = (0..IMAGES).map(|_| disk.crash(&mut random)).collect();
            let with_torn = |pair: &[Vec<u8>]| forge::with_torn_superblock(&pair[0], &pair[1]);
            let torn: Vec<_> = images.windows(2).filter_map(with_torn).collect();
            for mut image in images.into_iter().chain(torn) {
                if !forge::damage_last_commit(&mut image) {
                    continue;
                }
                let torn = !forge::are_superblocks_whole(&image);
                let outcome = self.open_without_last_commit(fixture, image);
                match outcome.map_err(|error| format!("cut after {calls} calls: {error}"))? {
                    true => lost.refused += 1,
                    false => lost.older += 1,
                }
                lost.torn += u64::from(torn);
            }
        }
        Ok(())
    }
}

/// How often images without their last commit were opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Opening refused them.
    pub refused: u64,
    /// It found the state before the last commit.
    pub older: u64,
    /// One of the superblocks was torn, whatever was found.
    pub torn: u64,
}

/// Recovers, and cuts the power after `calls` calls that change the disk. Returns whether there were
/// as many.
fn is_cut_short(disk: &SimDisk, fixture: &Fixture, calls: u64) -> bool {
    disk.fail_after(calls);
    disk.open(&fixture.options).is_err()
}
