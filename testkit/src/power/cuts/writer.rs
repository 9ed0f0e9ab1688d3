//! The writers of these tests, and how they tell which of their commits were
//! acknowledged.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flagstone::sim::Mutation;
use flagstone::{ErrorKind, Store};
use memmap2::MmapOptions;

use super::power_fixture::{After, Model, Plan, count, verify};
use crate::{TestResult, open_with, refusal};

/// The mistakes that a writer can make.
pub const PLANTS: [Mutation; 2] =
    [Mutation::AcknowledgeBeforeFlush, Mutation::SuperblockBeforeHeap];

/// Opens a store as writers do, and with a mistake if there is to be one.
pub fn open(path: &Path, plant: Option<Mutation>) -> flagstone::Result<Store> {
    open_with(path, &options(plant))
}

fn options(plant: Option<Mutation>) -> flagstone::OpenOptions {
    // A log so short is lapped, outgrown and overrun often.
    let options = flagstone::OpenOptions::new().log_bytes(64 * 1024);
    plant.map_or(options.clone(), |plant| options.mutation(plant))
}

/// Opens a store twice, as two processes that share it; or once, for itself alone.
fn open_stores(
    path: &Path,
    plant: Option<Mutation>,
    shares: bool,
) -> flagstone::Result<Vec<Store>> {
    if !shares {
        return Ok(vec![open(path, plant)?]);
    }
    // SAFETY: as with `open_with`.
    let open_one = |_| unsafe { options(plant).open_shared(path) };
    match (0..2).map(open_one).collect::<flagstone::Result<Vec<_>>>() {
        // btrfs.
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported { .. }) => {
            Ok(vec![open(path, plant)?])
        }
        opened => opened,
    }
}

/// What a writer has told, in a file that no cut touches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// The store was opened.
    pub is_open: bool,
    /// The last commit that was begun.
    pub begun: u64,
    /// The last commit that was said to be durable.
    pub durable: u64,
    /// The last commit after which a checkpoint was begun.
    pub checkpoint: u64,
}

/// Where each of these lies in the file.
#[derive(Clone, Copy)]
enum Word {
    IsOpen,
    Begun,
    Durable,
    Checkpoint,
}

/// The file by which a writer tells. Each word is written at once.
pub struct Acknowledgements {
    file: File,
}

impl Acknowledgements {
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file })
    }

    fn put(&self, word: Word, value: u64) -> std::io::Result<()> {
        self.file.write_all_at(&value.to_le_bytes(), word as u64 * 8)
    }

    pub fn read(&self) -> std::io::Result<Told> {
        let mut bytes = [0; 32];
        let len = self.file.read_at(&mut bytes, 0)?;
        bytes[len..].fill(0);
        let word = |word: Word| {
            let at = word as usize * 8;
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
        };
        Ok(Told {
            is_open: word(Word::IsOpen) != 0,
            begun: word(Word::Begun),
            durable: word(Word::Durable),
            checkpoint: word(Word::Checkpoint),
        })
    }

    /// Forgets everything: there is a new store.
    pub fn clear(&self) -> std::io::Result<()> {
        self.file.set_len(0)
    }

    /// A new writer has not opened the store yet.
    pub fn set_closed(&self) -> std::io::Result<()> {
        self.put(Word::IsOpen, 0)
    }
}

/// A store that is open, and who is told of its commits.
struct Writer {
    acks: Acknowledgements,
    seed: u64,
    /// One for each process that shares it, which make commits in turns.
    stores: Vec<Store>,
}

impl Writer {
    fn open(path: &Path, acks: &Path, seed: u64, plant: Option<Mutation>) -> TestResult<Self> {
        let acks = Acknowledgements::open(acks)?;
        // Every second one, by chance.
        let shares = acks.read()?.begun % 2 == 1;
        let stores = open_stores(path, plant, shares)?;
        // What was dropped when it was opened must not come back.
        acks.put(Word::Begun, count(&stores[0].read()?)?)?;
        acks.put(Word::IsOpen, 1)?;
        Ok(Self { acks, seed, stores })
    }

    /// Makes the next commit, and returns what is still to be done after it.
    fn step(&self) -> TestResult<After> {
        let number = self.acks.read()?.begun + 1;
        let plan = Plan::of(self.seed, number);
        self.acks.put(Word::Begun, number)?;
        let store = &self.stores[number as usize % self.stores.len()];
        plan.commit(store)?;
        if plan.is_durable() {
            self.acks.put(Word::Durable, number)?;
        }
        match plan.after {
            After::Nothing | After::Reopen => return Ok(plan.after),
            After::Sync => store.sync()?,
            After::Checkpoint => {
                self.acks.put(Word::Checkpoint, number)?;
                store.checkpoint()?;
            }
        }
        self.acks.put(Word::Durable, number)?;
        Ok(After::Nothing)
    }
}

/// Commits until the process is killed.
pub fn write_until_killed(
    path: &Path,
    acks: &Path,
    seed: u64,
    plant: Option<Mutation>,
) -> TestResult {
    let mut writer = Writer::open(path, acks, seed, plant)?;
    loop {
        if let After::Reopen = writer.step()? {
            let number = writer.acks.read()?.begun;
            writer.acks.put(Word::Checkpoint, number)?;
            for store in std::mem::take(&mut writer.stores) {
                store.close()?;
            }
            writer.acks.put(Word::Durable, number)?;
            writer.stores = open_stores(path, plant, number % 2 == 1)?;
        }
    }
}

/// Commits until the disk fails, and looks at the store then: it must be poisoned,
/// and what was committed must be there to be read.
pub fn write_until_poisoned(path: &Path, acks: &Path, seed: u64) -> TestResult {
    let writer = Writer::open(path, acks, seed, None)?;
    let (store, mut model) = (&writer.stores[0], Model::default());
    // From here on all its pages are in memory: one that cannot be read is SIGBUS.
    verify(store, &mut model, seed, 0..=u64::MAX)?;
    let held = store.read()?;
    let failed = loop {
        if let Err(error) = writer.step() {
            break *error.downcast::<flagstone::Error>()?;
        }
    };
    let failed = match failed.kind() {
        // The file could not grow, which is no reason to stop. This is.
        ErrorKind::NoSpace { .. } => refusal(store.checkpoint()),
        _ => failed,
    };
    if !matches!(failed.kind(), ErrorKind::Io { .. } | ErrorKind::CommitUnknown { .. }) {
        expect_poisoned::<()>(Err(failed))?;
    }
    expect_poisoned(store.update(|tx| tx.alloc(1u64)))?;
    expect_poisoned(store.sync())?;
    expect_poisoned(store.checkpoint())?;
    if count(&held)? != model.count() {
        return Err("a snapshot has changed".into());
    }
    drop(held);
    let Told { durable, begun, .. } = writer.acks.read()?;
    match verify(store, &mut model, seed, durable..=begun) {
        // xfs has shut down. Where a snapshot needs a mapping of its own, it is refused.
        Err(_) if !can_be_mapped(path) => Ok(()),
        looked => Ok(looked?),
    }
}

fn can_be_mapped(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| MmapOptions::new().len(1).map_raw_read_only(&file).is_ok())
}

fn expect_poisoned<T>(result: flagstone::Result<T>) -> TestResult {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::Poisoned { .. }) => Ok(()),
        Err(error) => Err(format!("expected a poisoned store, found: {error}").into()),
        Ok(_) => Err("a poisoned store goes on".into()),
    }
}
