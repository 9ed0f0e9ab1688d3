//! Recoveries on a simulated disk, and how they are cut short.

use flagstone::sim::{History, Program, Random, Recording, SimDisk};
use flagstone::{ErrorKind, OpenOptions, Result};

use super::fixture::Digest;
use super::forge;
use super::sim_run::{Fixture, Run};

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

    /// Records the recovery. Whenever it is cut short, the last state must be found.
    pub fn record_recovery(&self, fixture: &Fixture) -> Result<Recording<Digest>> {
        let disk = SimDisk::new(self.image.clone());
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
        let disk = SimDisk::new(self.image.clone());
        disk.fail_after(calls);
        let is_over = disk.open(&fixture.options).is_ok();
        (!is_over).then(|| disk.crash(random))
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
    /// Returns how often that was refused, and how often an older state was found.
    ///
    /// # Errors
    ///
    /// A mixture of states was shown, or the wrong error.
    pub fn lose_last_commit(
        &self,
        fixture: &Fixture,
        seed: u64,
    ) -> std::result::Result<(u64, u64), String> {
        let mut random = Random(seed);
        let (mut refused, mut older) = (0, 0);
        for calls in 0.. {
            let Some(mut image) = self.cut_short(fixture, calls, &mut random) else { break };
            if !forge::damage_last_commit(&mut image) {
                continue;
            }
            let outcome = self.open_without_last_commit(fixture, image);
            match outcome.map_err(|error| format!("cut after {calls} calls: {error}"))? {
                true => refused += 1,
                false => older += 1,
            }
        }
        Ok((refused, older))
    }
}
