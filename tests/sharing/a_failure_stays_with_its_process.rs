//! Promise: a process that can write the file no more, because of a limit of its own, fails alone. The
//! others take over what it left and go on, and it can still read what they commit.

use flagstone::Durability;
use testkit::scratch::ScratchFile;
use testkit::{TestResult, this_test};

use crate::peer::{Peer, add, fill, go_round, open, serve};

/// A limit on the length of files (`ulimit -f`): the log lies past it.
#[test]
fn if_it_may_write_no_long_files() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    let mut value = 0;
    for durability in [Durability::Deferred, Durability::Durable] {
        assert_eq!(peer.order("add")?, "ok");
        add(&store, durability)?;
        value += 2;
    }
    assert_eq!(peer.order("limit_files 4096")?, "ok");
    let refused = peer.order("add")?;
    assert!(refused.contains("File too large"), "{refused}");
    value += go_round(&store)?;
    // The commit that failed may have been whole in the log.
    let found = peer.order("read")?.parse::<u64>()?;
    assert!((value..=value + 1).contains(&found), "{found}, expected {value}");
    let refused = peer.order("add")?;
    assert!(refused.contains("File too large") && refused.contains("open"), "{refused}");
    let mut another = Peer::begin(&this_test!(), &path)?;
    assert_eq!(another.order("add")?, "ok");
    assert_eq!(peer.order("read")?, (found + 1).to_string());
    drop(peer);
    add(&store, Durability::Durable)?;
    assert!(store.check()?.is_clean());
    Ok(())
}

/// The same limit stops a checkpoint, whose pages lie past it.
#[test]
fn if_its_checkpoint_may_not_write() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    assert_eq!(peer.order("add")?, "ok");
    assert_eq!(peer.order(&format!("limit_files {}", testkit::forge::HEAP))?, "ok");
    let refused = peer.order("checkpoint")?;
    assert!(refused.contains("File too large"), "{refused}");
    let value = 1 + go_round(&store)?;
    assert_eq!(peer.order("read")?, value.to_string());
    Ok(())
}

/// A limit on open files.
#[test]
fn if_it_may_open_no_files() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let store = open(&path)?;
    fill(&store)?;
    let mut peer = Peer::begin(&this_test!(), &path)?;
    assert_eq!(peer.order("limit_descriptors 0")?, "ok");
    assert_eq!(peer.order("add")?, "ok");
    let value = 1 + go_round(&store)?;
    assert_eq!(peer.order("add")?, "ok");
    assert_eq!(peer.order("read")?, (value + 1).to_string());
    Ok(())
}
