//! Promise: whichever bit of a file flips, nothing crashes or hangs, and `check` finds the flip
//! if the bit is significant. The only exception is damage to the last record of the log, which
//! no later record proves durable: it looks like a commit interrupted by a crash, and `check`
//! notes that.
//!
//! The long mode flips every bit, except in unused space, where it flips every 61st. The short
//! mode flips a sample: `FLAGSTONE_FLIPS` bits in all, or a small number.

use testkit::forge::{self, HEAP, PAGE};
use testkit::sweep::children::sweep;
use testkit::sweep::ground::{self, Ground};
use testkit::sweep::judge::Verdict;
use testkit::sweep::regions::{NAMES, Region, Regions};
use testkit::sweep::table::Table;
use testkit::{TestResult, is_long, seed, this_test};

/// Returns the number of bits to flip in the short mode.
fn sample_size() -> usize {
    let asked = std::env::var("FLAGSTONE_FLIPS").ok().and_then(|flips| flips.parse().ok());
    asked.unwrap_or(1500).max(1)
}

/// In free space, the long mode flips one bit of this many. Odd, for the reason given below.
const OF_FREE: u64 = 61;

/// Damages a bit.
type Flip = fn(&mut [u8], usize, u8);

/// Flips bits of a file, and judges the effects.
fn flip_all(test: &str, ground: &Ground, flip: Flip) -> TestResult<Table> {
    flip_in(test, ground, |_| true, flip)
}

/// Does the same with bits of some regions only.
fn flip_in(
    test: &str,
    ground: &Ground,
    is_chosen: impl Fn(usize) -> bool,
    flip: Flip,
) -> TestResult<Table> {
    let bits = 0..ground.bytes.len() as u64 * 8;
    let regions = Regions::of(&ground.bytes)?;
    let row_of = |bit: u64| regions.at((bit / 8) as usize) as usize;
    let chosen: Vec<u64> = bits.filter(|bit| is_chosen(row_of(*bit))).collect();
    // Odd, so every bit position of a byte occurs.
    let stride = if is_long() { 1 } else { (chosen.len() / sample_size()) | 1 };
    let is_tried =
        |bit: &u64| stride > 1 || Region::is_live(row_of(*bit)) || bit.is_multiple_of(OF_FREE);
    let first = seed(1) as usize % stride;
    let cases: Vec<u64> = chosen.into_iter().skip(first).step_by(stride).filter(is_tried).collect();
    let bit = |case: u64| cases[case as usize];
    let row = |case: u64| row_of(bit(case));
    sweep(test, ground, &NAMES, cases.len() as u64, row, |case, bytes, _| {
        let (at, shift) = ((bit(case) / 8) as usize, bit(case) % 8);
        flip(bytes, at, 1 << shift);
        format!("bit {shift} of byte {at:#x}")
    })
}

fn flip(bytes: &mut [u8], at: usize, mask: u8) {
    bytes[at] ^= mask;
}

/// Returns the number of flips that went unnoticed in regions where every bit is significant.
fn missed(table: &Table) -> u64 {
    let is_missed = |verdict| [Verdict::Silent, Verdict::LostEnd].contains(&verdict);
    table.count(|row, verdict| Region::is_live(row) && is_missed(verdict))
}

#[test]
fn in_a_closed_store() -> TestResult {
    let table = flip_all(&this_test!(), &ground::closed()?, flip)?;
    assert_eq!(missed(&table), 0);
    Ok(())
}

#[test]
fn in_a_killed_store() -> TestResult {
    let table = flip_all(&this_test!(), &ground::killed()?, flip)?;
    assert_eq!(missed(&table), 0);
    assert!(table.count(|row, _| row == Region::Records as usize) > 0, "records in the log");
    Ok(())
}

/// A log is short compared to its file; here it gets as many flips as the other regions.
#[test]
fn in_the_log_of_a_killed_store() -> TestResult {
    let is_record = |row| row == Region::Records as usize;
    let table = flip_in(&this_test!(), &ground::killed()?, is_record, flip)?;
    assert_eq!(missed(&table), 0);
    // The last record of the log may only say where the next one would begin.
    let is_harmless = |_, verdict| verdict == Verdict::Harmless;
    assert!(table.count(is_harmless) <= 8 * forge::RECORD_HEADER as u64);
    Ok(())
}

/// Flips a bit and recomputes the checksum of the page, as a faulty program could.
fn flip_and_reseal(bytes: &mut [u8], at: usize, mask: u8) {
    match (at / PAGE).checked_sub(HEAP / PAGE) {
        Some(page) => forge::page(bytes, page, |page| page[at % PAGE] ^= mask),
        None => flip(bytes, at, mask),
    }
}

/// A number or a letter may have any value, but the allocator's structures, the registry and the
/// collections check each other.
#[test]
fn with_recomputed_checksums() -> TestResult {
    let table = flip_all(&this_test!(), &ground::closed()?, flip_and_reseal)?;
    let is_missed = |row, verdict| row == Region::Metadata as usize && verdict == Verdict::Silent;
    // A root may have any name.
    assert!(table.count(is_missed) <= 8 * "everything".len() as u64);
    Ok(())
}
