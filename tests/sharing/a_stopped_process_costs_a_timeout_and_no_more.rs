//! Promise: a stopped process that holds a snapshot costs the others that share its store space in the
//! log, and no time until that is full. Then they wait for at most ten seconds and get an error that
//! names it. Nothing is half done then, and they continue once the process continues or is gone.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use flagstone::{Checkpoints, Durability, ErrorKind, Link, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{KilledOnDrop, TestResult, assert_refused, this_test};

const CHILD: &str = "FLAGSTONE_STOPPED";

fn open(path: &Path) -> flagstone::Result<Store> {
    let options = OpenOptions::new().log_bytes(64 * 1024).checkpoints(Checkpoints::ByCommits);
    open_shared(path, &options)
}

/// Another process that has the store open and holds a snapshot.
struct Other(KilledOnDrop);

impl Other {
    /// Starts the process. In the child, this never returns.
    fn begin(test: &str, path: &Path) -> TestResult<Self> {
        let mut child = testkit::child(test, CHILD, path).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("its output")?).lines();
        for line in lines {
            if line?.contains("is open") {
                return Ok(Self(KilledOnDrop(child)));
            }
        }
        Err("the other process did not open the store".into())
    }

    fn be_it() -> TestResult {
        let Some(path) = std::env::var_os(CHILD) else { return Ok(()) };
        let store = open(Path::new(&path))?;
        let _tx = store.read()?;
        println!("the store is open");
        loop {
            std::thread::park();
        }
    }
}

/// Replaces the array with one that is larger than half of the log.
fn set_large(store: &Store, value: u64) -> flagstone::Result<()> {
    let mut tx = store.write()?;
    let old: Link<[u64]> = tx.root("array")?;
    let new = tx.alloc_slice_copy(&[value; 20_000])?;
    tx.set_root("array", new)?;
    if !old.is_null() {
        tx.free(old)?;
    }
    tx.commit()
}

fn first(store: &Store) -> flagstone::Result<u64> {
    let tx = store.read()?;
    Ok(tx.at(tx.root::<[u64]>("array")?)?[0])
}

/// A checkpoint must follow a large commit. The commit first requests a barrier, so it learns
/// whether every process that is asked will acknowledge, even if nothing was logged since the last one.
#[test]
fn a_large_commit_is_refused_before_it_is_logged() -> TestResult {
    Other::be_it()?;
    let path = ScratchFile::new()?;
    let (store, second) = (open(&path)?, open(&path)?);
    let other = Other::begin(&this_test!(), &path)?;
    set_large(&store, 1)?;
    other.0.pause()?;
    let refused = testkit::refusal(set_large(&store, 2));
    let ErrorKind::ProcessUnresponsive { process, .. } = refused.kind() else {
        return Err(refused.into());
    };
    assert_eq!(*process, other.0.0.id());
    assert_eq!((first(&store)?, first(&second)?), (1, 1));
    other.0.resume()?;
    set_large(&second, 3)?;
    assert_eq!(first(&store)?, 3);
    assert!(store.check()?.is_clean());
    Ok(())
}

/// A process that requests a barrier acknowledges its own, even if its checkpoint then fails:
/// another process's checkpoint continues at the same position without asking it again.
#[test]
fn a_failed_checkpoint_leaves_nothing_behind() -> TestResult {
    Other::be_it()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    store.update(|tx| {
        let array = tx.alloc_slice_copy(&[0u64; 2048])?;
        tx.set_root("array", array)
    })?;
    let asking = open(&path)?;
    let other = Other::begin(&this_test!(), &path)?;
    let add = |words: usize| -> flagstone::Result<()> {
        let mut tx = store.write()?;
        tx.set_durability(Durability::Deferred);
        let array: Link<[u64]> = tx.root("array")?;
        tx.at_mut(array)?[..words].iter_mut().for_each(|word| *word = *word * 31 + 7);
        tx.commit()
    };
    store.checkpoint()?;
    // Three images, of which two become idle.
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(asking.read()?);
        add(8)?;
    }
    held.drain(..2);
    (0..3).try_for_each(|_| add(1000))?;
    other.0.pause()?;
    assert_refused!(asking.checkpoint(), ProcessUnresponsive { .. });
    other.0.resume()?;
    held.push(asking.read()?);
    store.checkpoint()?;
    // Overwrites the log that the idle images would need.
    (0..4).try_for_each(|_| add(1000))?;
    assert_eq!(first(&asking)?, first(&store)?);
    assert!(store.check()?.is_clean());
    Ok(())
}

/// Adds one to the first word.
fn add_one(store: &Store, durability: Durability) -> flagstone::Result<()> {
    let mut tx = store.write()?;
    tx.set_durability(durability);
    let array: Link<[u64]> = tx.root("array")?;
    tx.at_mut(array)?[0] += 1;
    tx.commit()
}

/// Two stores commit by turns while the log has room: none of their commits waits for the stopped
/// process. A checkpoint that is due is put off, and the log fills up.
#[test]
fn commits_go_on_until_the_log_is_full() -> TestResult {
    /// The old wait was ten seconds, at each checkpoint.
    const LONGEST: Duration = Duration::from_secs(4);
    Other::be_it()?;
    let path = ScratchFile::new()?;
    let stores = [open(&path)?, open(&path)?];
    stores[0].update(|tx| {
        let array = tx.alloc_slice_copy(&[0u64; 16])?;
        tx.set_root("array", array)
    })?;
    let other = Other::begin(&this_test!(), &path)?;
    other.0.pause()?;
    let mut done = 0;
    let refused = loop {
        let durability = if done % 8 == 0 { Durability::Durable } else { Durability::Deferred };
        let begun = Instant::now();
        match add_one(&stores[done % 2], durability) {
            Ok(()) => assert!(begun.elapsed() < LONGEST, "a commit took {:?}", begun.elapsed()),
            Err(error) => break error,
        }
        done += 1;
    };
    let ErrorKind::ProcessUnresponsive { process, .. } = refused.kind() else {
        return Err(refused.into());
    };
    assert_eq!(*process, other.0.0.id());
    // A record takes some 100 bytes, or a block of 4 KiB if it is durable.
    assert!(done > 60, "only {done} commits fitted into a log of 64 KiB");
    let begun = Instant::now();
    assert_refused!(add_one(&stores[1], Durability::Deferred), ProcessUnresponsive { .. });
    assert!(begun.elapsed() < LONGEST, "it is known by now that the process does not move");
    other.0.resume()?;
    add_one(&stores[0], Durability::Durable)?;
    assert_eq!(first(&stores[1])?, done as u64 + 1);
    assert!(stores[0].check()?.is_clean());
    Ok(())
}
