//! Promise: a program can see who has the store open, since when, and who holds an old snapshot.

use std::time::{Duration, Instant, SystemTime};

use flagstone::{ProcessInfo, Store};
use testkit::scratch::ScratchFile;
use testkit::{TestResult, open as open_alone, this_test};

use crate::peer::{Peer, add, fill, open, serve};

/// Waits until the other process is listed as `is_expected` says.
fn wait_for(
    store: &Store,
    peer: &Peer,
    is_expected: impl Fn(Option<&ProcessInfo>) -> bool,
) -> TestResult {
    let begun = Instant::now();
    loop {
        let all = store.processes()?;
        let other = all.iter().find(|process| !process.is_this);
        if is_expected(other) {
            return Ok(());
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{}: {all:?}", peer.id());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn with_their_oldest_snapshots() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    let begun = SystemTime::now() - Duration::from_secs(1);
    let mut peer = Peer::begin(&this_test!(), &path)?;
    let all = store.processes()?;
    let ids: Vec<_> = all.iter().map(|process| (process.id, process.is_this)).collect();
    assert_eq!(ids, [(std::process::id(), true), (peer.id(), false)]);
    assert!(all.iter().all(|process| process.since <= SystemTime::now()));
    assert!(all[1].since >= begun, "{all:?}");

    let position = store.read()?.position();
    assert_eq!(peer.order("hold")?, "ok");
    add(&store, flagstone::Durability::Durable)?;
    assert_eq!(peer.order("read")?, "1");
    let age = |process: &ProcessInfo| process.oldest_snapshot.map(|snapshot| snapshot.age);
    wait_for(&store, &peer, |other| other.is_some_and(|other| age(other).is_some()))?;
    peer.process.pause()?;
    let held = store.processes()?[1].oldest_snapshot.ok_or("a snapshot")?;
    assert_eq!(held.position, position);
    std::thread::sleep(Duration::from_millis(50));
    let later = store.processes()?[1].oldest_snapshot.ok_or("a snapshot")?;
    assert!(later.age >= held.age + Duration::from_millis(40), "{later:?} after {held:?}");
    peer.process.resume()?;
    assert_eq!(peer.order("let_go")?, "ok");
    wait_for(&store, &peer, |other| other.is_some_and(|other| age(other).is_none()))?;

    peer.process.0.kill()?;
    wait_for(&store, &peer, |other| other.is_none())
}

#[test]
fn if_there_is_only_one() -> TestResult {
    let path = ScratchFile::new()?;
    let store = open_alone(&path)?;
    let all = store.processes()?;
    assert_eq!((all.len(), all[0].id, all[0].is_this), (1, std::process::id(), true));
    assert_eq!(all[0].oldest_snapshot, None);
    Ok(())
}
