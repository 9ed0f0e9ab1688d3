//! Promise: whichever bit of a file flips, nothing crashes or hangs, and `check`
//! finds it if it means anything. Only damage of the log's last record, which
//! nothing attests, looks like a commit that a crash cut off; `check` notes that.
//!
//! The long mode flips every bit, but of what nobody reads every 61st one. Else every so
//! many one is, `FLAGSTONE_FLIPS` in all or a few.

use std::fs;

use testkit::sweep::children::{serve, served, sweep};
use testkit::sweep::ground::{self, Ground};
use testkit::sweep::judge::{Verdict, judge, tell};
use testkit::sweep::regions::{NAMES, Region, Regions};
use testkit::sweep::table::Table;
use testkit::{TestResult, forge, is_long, seed};

/// Bits that are flipped in the short mode.
fn few() -> usize {
    let asked = std::env::var("FLAGSTONE_FLIPS").ok().and_then(|flips| flips.parse().ok());
    asked.unwrap_or(1500).max(1)
}

/// Bits of free space of which the long mode flips one. Odd, as below.
const OF_FREE: u64 = 61;

const PAGE: usize = 4096;
const HEAP: usize = 4 * PAGE;

/// What is done to a bit.
type Flip = fn(&mut [u8], usize, u8);

/// Flips bits of a file, and looks what comes of it.
fn flip_all(test: &str, ground: &Ground, flip: Flip) -> TestResult<Table> {
    flip_in(test, ground, |_| true, flip)
}

/// The same with bits of some regions alone.
fn flip_in(
    test: &str,
    ground: &Ground,
    is_chosen: impl Fn(usize) -> bool,
    flip: Flip,
) -> TestResult<Table> {
    let bits = ground.bytes.len() as u64 * 8;
    let regions = Regions::of(&ground.bytes)?;
    let row_of = |bit: u64| regions.at((bit / 8) as usize) as usize;
    let chosen: Vec<u64> = (0..bits).filter(|bit| is_chosen(row_of(*bit))).collect();
    // Odd, so that each bit of a byte has its turn.
    let stride = if is_long() { 1 } else { (chosen.len() / few()) | 1 };
    let is_tried =
        |bit: &u64| stride > 1 || Region::is_live(row_of(*bit)) || bit.is_multiple_of(OF_FREE);
    let first = seed(1) as usize % stride;
    let cases: Vec<u64> = chosen.into_iter().skip(first).step_by(stride).filter(is_tried).collect();
    let bit = |case: u64| cases[case as usize];
    let row = |case: u64| row_of(bit(case));
    let count = cases.len() as u64;
    if let Some(folder) = served() {
        // The children damage the very file of their parent.
        let mut ground = ground.clone();
        ground.bytes = fs::read(folder.with_file_name("file"))?;
        let mut bytes = ground.bytes.clone();
        serve(&folder, |case| {
            let (at, mask) = ((bit(case) / 8) as usize, 1 << (bit(case) % 8));
            flip(&mut bytes, at, mask);
            let verdict = judge(&ground, &bytes);
            bytes.copy_from_slice(&ground.bytes);
            tell(verdict, format_args!("bit {} of byte {at:#x}", bit(case) % 8));
            (row(case), verdict)
        });
        std::process::exit(0);
    }
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("file"), &ground.bytes)?;
    println!("FLAGSTONE_SEED={} {count} of {bits} bits", seed(1));
    let table = sweep(&testkit::test_path!(test), folder.path(), count, row);
    println!("{}", table.show(&NAMES));
    assert_eq!(table.total(), count);
    assert_eq!(table.crashes(), 0);
    Ok(table)
}

fn flip(bytes: &mut [u8], at: usize, mask: u8) {
    bytes[at] ^= mask;
}

/// Damage that nobody noticed, where each bit means something.
fn missed(table: &Table) -> u64 {
    let is_missed = |verdict| [Verdict::Silent, Verdict::LostEnd].contains(&verdict);
    table.count(|row, verdict| Region::is_live(row) && is_missed(verdict))
}

#[test]
fn in_a_store_that_was_closed() -> TestResult {
    let table = flip_all("in_a_store_that_was_closed", &ground::closed()?, flip)?;
    assert_eq!(missed(&table), 0);
    Ok(())
}

#[test]
fn in_a_store_that_was_killed() -> TestResult {
    let table = flip_all("in_a_store_that_was_killed", &ground::killed()?, flip)?;
    assert_eq!(missed(&table), 0);
    assert!(table.count(|row, _| row == Region::Records as usize) > 0, "records in the log");
    Ok(())
}

/// A log is short beside its file: here it has as many flips as the others.
#[test]
fn in_the_log_of_a_store_that_was_killed() -> TestResult {
    let is_record = |row| row == Region::Records as usize;
    let test = "in_the_log_of_a_store_that_was_killed";
    let table = flip_in(test, &ground::killed()?, is_record, flip)?;
    assert_eq!(missed(&table), 0);
    // The log's last record may be one that says no more than where the next would begin.
    let is_harmless = |_, verdict| verdict == Verdict::Harmless;
    assert!(table.count(is_harmless) <= 8 * forge::RECORD_HEADER as u64);
    Ok(())
}

/// As a program with an error could write it: the sum of the page is right.
fn flip_and_reseal(bytes: &mut [u8], at: usize, mask: u8) {
    match (at / PAGE).checked_sub(HEAP / PAGE) {
        Some(page) => forge::page(bytes, page, |page| page[at % PAGE] ^= mask),
        None => flip(bytes, at, mask),
    }
}

/// A number or a letter may be any; but the allocator's structures, the registry
/// and the collections hold each other.
#[test]
fn with_sums_that_are_right() -> TestResult {
    let table = flip_all("with_sums_that_are_right", &ground::closed()?, flip_and_reseal)?;
    let is_missed = |row, verdict| row == Region::Metadata as usize && verdict == Verdict::Silent;
    // A root may have any name.
    assert!(table.count(is_missed) <= 8 * "everything".len() as u64);
    Ok(())
}
