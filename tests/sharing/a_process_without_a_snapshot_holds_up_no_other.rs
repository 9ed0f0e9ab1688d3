//! Promise: a process that holds no snapshot and is in no write transaction holds up no other, whether
//! it is stopped or has no memory left: the others commit and make checkpoints as before. When it
//! goes on, it sees what they did.

use std::path::Path;
use std::time::Duration;

use flagstone::Store;
use testkit::scratch::ScratchFile;
use testkit::{TestResult, this_test};

use crate::peer::{Peer, fill, go_round, open, serve};

/// After this long without a snapshot, a process holds up no other: 200 ms, and time for a machine
/// that is busy.
const A_WHILE: Duration = Duration::from_millis(600);

/// Returns a store in which a peer has read and written, with a heap of 64 MiB.
fn begin(test: &str, path: &Path) -> TestResult<(Store, Peer)> {
    let store = open(path)?;
    fill(&store)?;
    store.update(|tx| tx.alloc_slice_zeroed::<u64>(8 << 20).map(drop))?;
    let mut peer = Peer::begin(test, path)?;
    assert_eq!(peer.order("add")?, "ok");
    assert_eq!(peer.order("read")?, "1");
    std::thread::sleep(A_WHILE);
    Ok((store, peer))
}

/// Makes the heap longer, so that an image takes more memory.
fn grow(store: &Store) -> flagstone::Result<()> {
    store.update(|tx| tx.alloc_slice_zeroed::<u64>(4 << 20).map(drop))
}

#[test]
fn if_it_is_stopped() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let (store, mut peer) = begin(&this_test!(), &path)?;
    peer.process.pause()?;
    let commits = go_round(&store)?;
    peer.process.resume()?;
    assert_eq!(peer.order("read")?, (1 + commits).to_string());
    assert_eq!(peer.order("add")?, "ok");
    assert_eq!(peer.order("read")?, (2 + commits).to_string());
    assert!(store.check()?.is_clean());
    Ok(())
}

/// Its service thread can map no image.
#[test]
fn if_it_has_no_memory() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let (store, mut peer) = begin(&this_test!(), &path)?;
    assert_eq!(peer.order("leave_memory 8000000")?, "ok");
    grow(&store)?;
    let commits = go_round(&store)?;
    assert!(peer.order("add")?.contains("map the heap"), "it has memory");
    assert_eq!(peer.order("leave_memory 0")?, "ok");
    assert_eq!(peer.order("read")?, (1 + commits).to_string());
    assert_eq!(peer.order("add")?, "ok");
    Ok(())
}

/// It can map nothing, and still copies what its snapshot shows.
#[test]
fn if_it_has_no_memory_but_a_snapshot() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let (store, mut peer) = begin(&this_test!(), &path)?;
    assert_eq!(peer.order("hold")?, "ok");
    assert_eq!(peer.order("leave_memory 8000000")?, "ok");
    grow(&store)?;
    let commits = go_round(&store)?;
    assert_eq!(peer.order("held")?, "1");
    assert_eq!(peer.order("leave_memory 0")?, "ok");
    assert_eq!(peer.order("read")?, (1 + commits).to_string());
    Ok(())
}

/// It comes back while the others make a checkpoint, again and again.
#[test]
fn if_it_is_stopped_at_any_time() -> TestResult {
    serve()?;
    let path = ScratchFile::new()?;
    let (store, mut peer) = begin(&this_test!(), &path)?;
    let mut value = 1;
    for _ in 0..12 {
        std::thread::sleep(A_WHILE / 2);
        peer.process.pause()?;
        value += go_round(&store)?;
        peer.process.resume()?;
        assert_eq!(peer.order("read")?, value.to_string());
    }
    Ok(())
}
