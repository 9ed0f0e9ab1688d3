//! Promise: of a store that processes share, `try_write` and `write_timeout` wait for other processes no
//! longer than they say, whatever those do: write, stop, or die. Whoever gives up leaves the lock to the
//! other threads of its process.

use std::time::{Duration, Instant};

use flagstone::{Checkpoints, ErrorKind, OpenOptions, Store};
use testkit::scratch::{ScratchFile, open_shared};
use testkit::{TestResult, assert_refused, refusal, this_test};

use super::peer::{Peer, add, fill, open, serve, value};

const MS: Duration = Duration::from_millis(1);
/// Less than a process waits for one that does not move.
const SOON: Duration = Duration::from_secs(5);

/// Both calls come back empty-handed, and soon.
fn expect_busy(store: &Store) -> TestResult {
    let begun = Instant::now();
    assert!(store.try_write()?.is_none());
    for at_most in [Duration::ZERO, MS, 100 * MS] {
        assert!(store.write_timeout(at_most)?.is_none());
    }
    assert!((101 * MS..SOON).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    Ok(())
}

#[test]
fn a_process_that_writes_is_not_waited_for() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    assert_eq!(peer.order("begin_write")?, "ok");
    expect_busy(&store)?;
    assert_eq!(value(&store.read()?)?, 0, "readers go on");
    assert_eq!(peer.order("end_write")?, "ok");
    for at_most in [SOON, Duration::MAX] {
        let tx = store.write_timeout(at_most)?;
        tx.ok_or("nobody writes")?.commit()?;
    }
    // And the other way round.
    let tx = store.try_write()?.ok_or("nobody writes")?;
    assert_eq!(peer.order("try_write")?, "busy");
    drop(tx);
    assert_eq!(peer.order("add")?, "ok");
    assert!(store.check()?.is_clean());
    Ok(())
}

#[test]
fn a_process_that_is_stopped_while_it_writes_is_not_waited_for() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    assert_eq!(peer.order("begin_write")?, "ok");
    peer.process.pause()?;
    expect_busy(&store)?;
    // Who would wait for long is told, as by `write`.
    let refused = refusal(store.write_timeout(Duration::MAX));
    let ErrorKind::ProcessUnresponsive { process, .. } = refused.kind() else {
        return Err(refused.into());
    };
    assert_eq!(*process, peer.id());
    expect_busy(&store)?;
    peer.process.resume()?;
    assert_eq!(peer.order("end_write")?, "ok");
    assert!(store.write_timeout(SOON)?.is_some());
    assert!(store.check()?.is_clean());
    Ok(())
}

#[test]
fn what_a_killed_process_had_is_taken_over_without_waiting() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    assert_eq!(peer.order("add")?, "ok");
    assert_eq!(peer.order("begin_write")?, "ok");
    expect_busy(&store)?;
    // Killed, and waited for.
    drop(peer);
    let tx = store.try_write()?.ok_or("nobody writes")?;
    drop(tx);
    assert_eq!(value(&store.read()?)?, 1);
    assert!(store.check()?.is_clean());
    Ok(())
}

/// One thread acquires the lock for all of its process. When its time is over, another one goes on.
#[test]
fn a_thread_that_gives_up_leaves_the_lock_to_another_thread() -> TestResult {
    let path = ScratchFile::new()?;
    let (first, second) = (open(&path)?, open(&path)?);
    fill(&first)?;
    let tx = first.write()?;
    std::thread::scope(|scope| {
        let gives_up = scope.spawn(|| second.write_timeout(150 * MS).map(|tx| tx.is_none()));
        std::thread::sleep(50 * MS);
        let waits = scope.spawn(|| second.write_timeout(Duration::MAX).map(|tx| tx.is_some()));
        assert!(gives_up.join().expect("no panic")?);
        // Another thread of the process waits for the lock, and keeps nobody.
        assert!(second.try_write()?.is_none());
        assert_refused!(first.try_write(), NestedWrite);
        drop(tx);
        assert!(waits.join().expect("no panic")?);
        TestResult::Ok(())
    })?;
    assert!(second.write_timeout(SOON)?.is_some());
    Ok(())
}

#[test]
fn many_that_give_up_lose_no_commit() -> TestResult {
    const ROUNDS: u64 = 150;
    let path = ScratchFile::new()?;
    let stores = [open(&path)?, open(&path)?];
    fill(&stores[0])?;
    let numbers = stores[0].update(|tx| tx.alloc([0u64; 4]))?;
    let added = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let store = &stores[thread % 2];
                scope.spawn(move || {
                    let mut added = 0;
                    for round in 0..ROUNDS {
                        let at_most = Duration::from_micros((round * 97 + thread as u64) % 4000);
                        let Some(mut tx) = store.write_timeout(at_most)? else { continue };
                        tx.set_durability(flagstone::Durability::Deferred);
                        tx.at_mut(numbers)?[thread] += 1;
                        tx.commit()?;
                        added += 1;
                    }
                    flagstone::Result::Ok(added)
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect::<flagstone::Result<Vec<u64>>>()
    })?;
    println!("{added:?} of {ROUNDS} each");
    assert_eq!(stores[0].read()?.read(numbers)?[..], added[..]);
    add(&stores[1], flagstone::Durability::Durable)?;
    assert!(stores[0].check()?.is_clean());
    Ok(())
}

/// A transaction that finds the memory budget used up runs a checkpoint, for which it needs the lock.
#[test]
fn who_needs_memory_first_does_not_wait_for_another_process_either() -> TestResult {
    let path = ScratchFile::new()?;
    let options = OpenOptions::new().log_bytes(16 << 20).checkpoints(Checkpoints::ByCommits);
    let store = open_shared(&path, &options.memory_budget_bytes(1 << 20))?;
    let array = store.update(|tx| tx.alloc_slice_zeroed::<u64>(1 << 18))?;
    store.checkpoint()?;
    let mut tx = store.write()?;
    tx.at_mut(array)?.fill(7);
    // Nobody waits for it, so nobody runs the checkpoint that is due.
    drop(tx.commit_later()?);
    let other = open_shared(&path, &OpenOptions::new())?;
    let tx = other.write_timeout(SOON)?.ok_or("nobody writes")?;
    expect_busy(&store)?;
    drop(tx);
    let begun = Instant::now();
    while store.try_write()?.is_none() {
        assert!(begun.elapsed() < SOON, "nobody writes");
        std::thread::sleep(MS);
    }
    assert_eq!(store.read()?.at(array)?[0], 7);
    Ok(())
}
