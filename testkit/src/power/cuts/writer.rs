//! The writers of these tests, and how they report which of their commits were acknowledged.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flagstone::sim::Mutation;
use flagstone::{ErrorKind, Store};
use memmap2::MmapOptions;

use super::power_fixture::{After, Model, Plan, count, verify};
use crate::{TestResult, open_with, refusal};

/// The mutations that a writer can have.
pub const MUTATIONS: [Mutation; 2] =
    [Mutation::AcknowledgeBeforeFlush, Mutation::SuperblockBeforeHeap];

/// Opens a store as writers do, with a mutation if one is given.
pub fn open(path: &Path, mutation: Option<Mutation>) -> flagstone::Result<Store> {
    open_with(path, &options(mutation))
}

fn options(mutation: Option<Mutation>) -> flagstone::OpenOptions {
    // A short log, which wraps around and is outgrown often.
    let options = flagstone::OpenOptions::new().log_bytes(64 * 1024);
    mutation.map_or(options.clone(), |mutation| options.mutation(mutation))
}

/// Opens a store twice, as two processes that share it, or once and exclusively.
fn open_stores(
    path: &Path,
    mutation: Option<Mutation>,
    shares: bool,
) -> flagstone::Result<Vec<Store>> {
    if !shares {
        return Ok(vec![open(path, mutation)?]);
    }
    // SAFETY: as with `open_with`.
    let open_one = |_| unsafe { options(mutation).open_shared(path) };
    match (0..2).map(open_one).collect::<flagstone::Result<Vec<_>>>() {
        // The case of btrfs.
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported { .. }) => {
            Ok(vec![open(path, mutation)?])
        }
        opened => opened,
    }
}

/// A writer's reports, in a file that no cut affects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Whether the store was opened.
    pub is_open: bool,
    /// The last commit that was begun.
    pub begun: u64,
    /// The last commit that was reported as durable.
    pub durable: u64,
    /// The last commit after which a checkpoint was begun.
    pub checkpoint: u64,
}

/// The position of each word in the file.
#[derive(Clone, Copy)]
enum Word {
    IsOpen,
    Begun,
    Durable,
    Checkpoint,
}

/// The file in which a writer reports. Each word is a single write.
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

    /// Clears all words, for a new store.
    pub fn clear(&self) -> std::io::Result<()> {
        self.file.set_len(0)
    }

    /// Records that the new writer has not opened the store yet.
    pub fn set_closed(&self) -> std::io::Result<()> {
        self.put(Word::IsOpen, 0)
    }
}

/// An open store, and the file for its reports.
struct Writer {
    acks: Acknowledgements,
    seed: u64,
    /// One handle for each process that shares the store; they commit in rotation.
    stores: Vec<Store>,
}

impl Writer {
    fn open(path: &Path, acks: &Path, seed: u64, mutation: Option<Mutation>) -> TestResult<Self> {
        let acks = Acknowledgements::open(acks)?;
        // Shares the store in about half of the runs.
        let shares = acks.read()?.begun % 2 == 1;
        let stores = open_stores(path, mutation, shares)?;
        // Commits that the opening discarded must not come back.
        acks.put(Word::Begun, count(&stores[0].read()?)?)?;
        acks.put(Word::IsOpen, 1)?;
        Ok(Self { acks, seed, stores })
    }

    /// Makes the next commit, and returns the action that follows it.
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
    mutation: Option<Mutation>,
) -> TestResult {
    let mut writer = Writer::open(path, acks, seed, mutation)?;
    loop {
        if let After::Reopen = writer.step()? {
            let number = writer.acks.read()?.begun;
            writer.acks.put(Word::Checkpoint, number)?;
            for store in std::mem::take(&mut writer.stores) {
                store.close()?;
            }
            writer.acks.put(Word::Durable, number)?;
            writer.stores = open_stores(path, mutation, number % 2 == 1)?;
        }
    }
}

/// Commits until the disk fails, then examines the store: it must be poisoned, and committed data
/// must be readable.
pub fn write_until_poisoned(path: &Path, acks: &Path, seed: u64) -> TestResult {
    let writer = Writer::open(path, acks, seed, None)?;
    let (store, mut model) = (&writer.stores[0], Model::default());
    // Brings all pages into memory: from here on, a page that cannot be read would be a SIGBUS.
    verify(store, &mut model, seed, 0..=u64::MAX)?;
    let held = store.read()?;
    let failed = loop {
        if let Err(error) = writer.step() {
            break *error.downcast::<flagstone::Error>()?;
        }
    };
    let failed = match failed.kind() {
        // A file that cannot grow does not poison the store, but a failed checkpoint does.
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
        // xfs has shut down, and a snapshot that needs a new mapping is refused.
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
