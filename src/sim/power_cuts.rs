//! Power cuts at any time of a run, and again while the store is opened.

use std::fmt;
use std::ops::AddAssign;

use super::disk::SimDisk;
use super::history::History;
use super::media::{Event, Media};
use super::random::Random;
use crate::error::Result;
use crate::store::{OpenOptions, Store};

/// A program whose stores can be examined after a cut.
pub trait Program {
    /// The whole content of the store, or a digest of it.
    type State: PartialEq + fmt::Debug;

    /// Returns the options to open the store with.
    fn options(&self) -> &OpenOptions;

    /// Reads the whole content of the store.
    ///
    /// # Errors
    ///
    /// The content cannot be read, which counts as a violation.
    fn read(&self, store: &Store) -> Result<Self::State>;

    /// Changes a store that a cut has left, as a program that continues its work. Records its
    /// commits in `history`, by the time of `disk`.
    ///
    /// # Errors
    ///
    /// The program cannot continue, which counts as a violation.
    fn go_on(
        &self,
        store: &Store,
        disk: &SimDisk,
        history: &mut History<Self::State>,
        random: &mut Random,
    ) -> Result<()>;
}

/// A broken promise of a store.
#[derive(Clone, Debug)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// A recorded run of a program on a simulated disk.
pub struct Recording<S> {
    /// The disk before the run.
    media: Media,
    events: Vec<Event>,
    history: History<S>,
}

impl<S> Recording<S> {
    /// Takes the events that `disk` has recorded, and ends the recording.
    pub fn of(disk: &SimDisk, history: History<S>) -> Self {
        let (media, events) = disk.recorded();
        Self { media, events, history }
    }

    /// Returns the number of times at which the power can be cut.
    #[must_use]
    pub fn times(&self) -> usize {
        self.events.len() + 1
    }
}

/// Coverage of a run that examines all images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Times at which every image was examined.
    pub whole: u64,
    /// Times at which the images were too many, and were sampled.
    pub sampled: u64,
}

impl AddAssign for Looked {
    fn add_assign(&mut self, other: Self) {
        self.whole += other.whole;
        self.sampled += other.sampled;
    }
}

/// Cuts the power, opens the remaining image with the real code, and compares the store with the
/// history.
pub struct Cuts<'a, P> {
    program: &'a P,
    random: Random,
    images: u64,
}

impl<'a, P: Program> Cuts<'a, P> {
    /// Prepares the cuts that `seed` determines.
    pub fn new(program: &'a P, seed: u64) -> Self {
        Self { program, random: Random(seed), images: 0 }
    }

    /// Returns the number of images examined so far.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Examines `count` images of cuts at random times. Each is opened and changed further, and the
    /// power is cut again meanwhile, up to `depth` times.
    ///
    /// # Errors
    ///
    /// A cut left a state that is not allowed.
    pub fn look(
        &mut self,
        recording: &Recording<P::State>,
        count: usize,
        depth: u32,
    ) -> Result<(), Violation> {
        let times = recording.times() as u64;
        let mut chosen: Vec<_> = (0..count).map(|_| self.random.below(times) as usize).collect();
        chosen.sort_unstable();
        let mut media = recording.media.clone();
        let mut now = 0;
        for at in chosen {
            recording.events[now..at].iter().for_each(|event| media.apply(event));
            now = at;
            let image = media.image(&mut self.random);
            if let Some(next) = self.examine(image, recording, at, depth)? {
                self.look(&next, 1, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Examines every image that a cut could leave at any time, provided that sectors are not torn.
    /// If there are more than `most` at a time, examines that many at random. Each is opened and
    /// changed further, and so is every image that a cut could leave meanwhile, down to `depth`.
    ///
    /// # Errors
    ///
    /// A cut left a state that is not allowed.
    pub fn look_at_all(
        &mut self,
        recording: &Recording<P::State>,
        most: u64,
        depth: u32,
    ) -> Result<Looked, Violation> {
        let mut looked = Looked::default();
        let mut media = recording.media.clone();
        for at in 0..recording.times() {
            let count = media.count_images();
            *if count <= most { &mut looked.whole } else { &mut looked.sampled } += 1;
            for number in 0..count.min(most) {
                let image = match count <= most {
                    true => media.image_number(number),
                    false => media.image(&mut self.random),
                };
                if let Some(next) = self.examine(image, recording, at, depth)? {
                    looked += self.look_at_all(&next, most, depth - 1)?;
                }
            }
            recording.events.get(at).into_iter().for_each(|event| media.apply(event));
        }
        Ok(looked)
    }

    /// Opens and checks the image that a cut has left at this time. With a `depth`, also changes
    /// the store further, and returns the recording of that.
    fn examine(
        &mut self,
        image: Vec<u8>,
        recording: &Recording<P::State>,
        at: usize,
        depth: u32,
    ) -> Result<Option<Recording<P::State>>, Violation> {
        self.images += 1;
        let failed = |what: &str, found: &dyn fmt::Display| {
            let times = recording.times() - 1;
            Violation(format!("cut at {at} of {times}, {depth} more to come: {what}: {found}"))
        };
        let disk = match self.random.one_in(8) {
            true => SimDisk::mapped(image).map_err(|error| failed("no memory", &error))?,
            false => SimDisk::new(image),
        };
        if depth > 0 {
            disk.record();
        }
        let opened = disk.open(self.program.options());
        let store = opened.map_err(|error| failed("it cannot be opened", &error))?;
        let state = self.program.read(&store);
        let state = state.map_err(|error| failed("it cannot be read", &error))?;
        if !recording.history.allows(&state, at) {
            return Err(failed("no state that may be there", &format!("{state:?}")));
        }
        let report = store.check().map_err(|error| failed("it cannot be checked", &error))?;
        if let Some(finding) = report.findings.first() {
            return Err(failed("`check` finds damage", finding));
        }
        if depth == 0 {
            // Prevent a clean close, which takes time.
            disk.fail_after(0);
            return Ok(None);
        }
        let mut history = History::new(state);
        let gone_on = self.program.go_on(&store, &disk, &mut history, &mut self.random);
        gone_on.map_err(|error| failed("it cannot go on", &error))?;
        drop(store);
        Ok(Some(Recording::of(&disk, history)))
    }
}
