//! Promise: a stopped process that holds a snapshot costs the others that share its store space in the
//! log, which grows up to a bound, and no time until that is full. Then they wait for at most ten seconds
//! and get an error that names it. Nothing is half done then, and they continue once the process continues
//! or is gone; its snapshot is as it was, and the log as long.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use flagstone::{Checkpoints, Durability, ErrorKind, Link, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{KilledOnDrop, TestResult, assert_refused, this_test};

use super::peer::{self, Peer};

const CHILD: &str = "FLAGSTONE_STOPPED";
const LOG_BYTES: u64 = 64 * 1024;

fn open(path: &Path) -> flagstone::Result<Store> {
    let options = OpenOptions::new().log_bytes(LOG_BYTES).checkpoints(Checkpoints::ByCommits);
    // Neither load nor a stopped process makes the log longer.
    open_shared(path, &options.max_log_bytes(LOG_BYTES).max_blocked_log_bytes(0))
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
    let ErrorKind::LogBlocked { process, log_bytes: LOG_BYTES, .. } = refused.kind() else {
        return Err(refused.into());
    };
    assert_eq!(*process, other.0.0.id());
    // A record takes some 100 bytes, or a block of 4 KiB if it is durable.
    assert!(done > 60, "only {done} commits fitted into a log of 64 KiB");
    let begun = Instant::now();
    assert_refused!(add_one(&stores[1], Durability::Deferred), LogBlocked { .. });
    assert!(begun.elapsed() < LONGEST, "it is known by now that the process does not move");
    other.0.resume()?;
    add_one(&stores[0], Durability::Durable)?;
    assert_eq!(first(&stores[1])?, done as u64 + 1);
    assert!(stores[0].check()?.is_clean());
    Ok(())
}

/// How the process that blocks the others ends to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Continued,
    Killed,
}

/// Two stores commit by turns while a process with a snapshot is stopped, until the log has grown to its
/// bound. Then that process ends to block them.
fn the_log_grows_and_comes_back(test: &str, end: End) -> TestResult {
    const BOUND: u64 = 4 << 20;
    const LONGEST: Duration = Duration::from_secs(5);
    peer::serve()?;
    let path = ScratchFile::new()?;
    let options = OpenOptions::new().log_bytes(LOG_BYTES).max_log_bytes(LOG_BYTES);
    let options = options.max_blocked_log_bytes(BOUND);
    let stores = [open_shared(&path, &options)?, open_shared(&path, &options)?];
    peer::fill(&stores[0])?;
    peer::add(&stores[0], Durability::Durable)?;
    let mut peer = Peer::begin(test, &path)?;
    peer.order("hold")?;
    assert_eq!(peer.order("held")?, "1");
    peer.process.pause()?;
    let (mut done, mut longest) = (1, Duration::ZERO);
    let refused = loop {
        let durability = if done % 8 == 0 { Durability::Durable } else { Durability::Deferred };
        let begun = Instant::now();
        match peer::add(&stores[done % 2], durability) {
            Ok(()) => longest = longest.max(begun.elapsed()),
            Err(error) => break error,
        }
        done += 1;
    };
    println!("{done} commits, the longest took {longest:?}; {refused}");
    assert!(longest < LONGEST, "a commit took {longest:?}");
    let ErrorKind::LogBlocked { process, log_bytes: BOUND, bound_bytes: BOUND, .. } =
        refused.kind()
    else {
        return Err(refused.into());
    };
    assert_eq!(*process, peer.id());
    assert!(stores.iter().all(|store| store.stats().is_ok_and(|stats| stats.log_bytes == BOUND)));
    match end {
        End::Continued => {
            peer.process.resume()?;
            assert_eq!(peer.order("held")?, "1");
        }
        End::Killed => peer.process.0.kill()?,
    }
    let begun = Instant::now();
    while stores.iter().any(|store| store.stats().is_ok_and(|stats| stats.log_bytes > LOG_BYTES)) {
        assert!(begun.elapsed() < 2 * LONGEST, "the log stays long");
        std::thread::sleep(Duration::from_millis(10));
    }
    for _ in 0..20 {
        peer::add(&stores[done % 2], Durability::Deferred)?;
        done += 1;
    }
    assert_eq!(peer::value(&stores[done % 2].read()?)?, done as u64);
    if end == End::Continued {
        assert_eq!((peer.order("held")?, peer.order("read")?), ("1".into(), done.to_string()));
    }
    assert!(stores[0].check()?.is_clean());
    Ok(())
}

#[test]
fn the_log_grows_until_the_process_is_continued() -> TestResult {
    the_log_grows_and_comes_back(&this_test!(), End::Continued)
}

#[test]
fn the_log_grows_until_the_process_is_killed() -> TestResult {
    the_log_grows_and_comes_back(&this_test!(), End::Killed)
}
