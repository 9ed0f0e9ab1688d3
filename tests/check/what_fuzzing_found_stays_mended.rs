//! Promise: bugs found by fuzzing do not come back.

use flagstone::OpenOptions;
use flagstone::sim::{MemoryDisk, Random, SimDisk};
use testkit::forge;

const PAGE: u64 = 4096;
const HEADER: u64 = forge::RECORD_HEADER as u64;

/// Returns the file of a new store.
fn new_store() -> flagstone::Result<Vec<u8>> {
    let (store, disk) = SimDisk::create(&OpenOptions::new().log_bytes(64 * 1024))?;
    store.close()?;
    Ok(disk.crash(&mut Random(0)))
}

/// Returns the same, as if it had not been closed, with a forged record that leaves `room` bytes
/// of its block.
fn with_room_behind(room: u64) -> flagstone::Result<Vec<u8>> {
    let mut bytes = new_store()?;
    forge::superblocks(&mut bytes, |block| block[28] = 0);
    let newest = forge::newest(&bytes);
    let [position, heap_bytes] = [104, 120].map(|field| forge::number(&bytes, newest + field));
    // The first word of the body says that the rest is padding.
    let body_bytes = 2 * PAGE - position % PAGE - HEADER - room;
    let entries = vec![0; body_bytes as usize / 8];
    forge::only_record(&mut bytes, &entries, (HEADER + body_bytes) as u32, heap_bytes);
    Ok(bytes)
}

/// Recovery accepted such a record, and wrote its end into both superblocks, which no opening
/// could use afterwards.
#[test]
fn a_record_that_leaves_no_room_for_a_header_is_none() -> flagstone::Result<()> {
    for room in [0, 8, 40, 48, 56] {
        let disk = MemoryDisk::of(with_room_behind(room)?);
        let store = disk.open(&OpenOptions::new())?;
        let is_record = store.stats()?.replayed_bytes > 0;
        assert_eq!(is_record, room == 0 || room >= HEADER, "{room} bytes");
        drop(store);
        drop(disk.open(&OpenOptions::new())?);
    }
    Ok(())
}

/// A header that claims 1 TiB, in a file of a few pages: `check` took half a million steps, and
/// reported each.
#[test]
fn a_forged_count_of_segments_costs_no_more_than_the_heap_is_long() -> flagstone::Result<()> {
    let mut bytes = new_store()?;
    forge::page(&mut bytes, 0, |page| page[4..8].copy_from_slice(&(1u32 << 19).to_le_bytes()));
    let report = MemoryDisk::of(bytes).check()?;
    assert!(!report.is_clean());
    assert!(report.findings.len() < 10, "{} findings", report.findings.len());
    Ok(())
}
