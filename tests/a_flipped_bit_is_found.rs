//! Promise: whichever bit of a file flips, nothing crashes or hangs, and `check`
//! finds it if it means anything. Only damage of the log's last record, which
//! nothing attests, looks like a commit that a crash cut off.
//!
//! The long mode flips every bit; else every so many one is.

mod common;
#[path = "common/everything.rs"]
mod everything;
#[path = "common/model/mod.rs"]
mod model;
#[path = "common/sweep/mod.rs"]
mod sweep;

use std::fs;

use common::{TestResult, is_long, seed};
use sweep::children::{serve, served, sweep};
use sweep::ground::{self, Ground};
use sweep::judge::{Verdict, judge};
use sweep::regions::Regions;
use sweep::table::Table;

/// Bits that are flipped in the short mode.
const FEW: u64 = 1500;

/// Flips bits of a file, and looks what comes of it.
fn flip(test: &str, ground: &Ground) -> TestResult<Table> {
    let bits = ground.bytes.len() as u64 * 8;
    let regions = Regions::of(&ground.bytes)?;
    // Odd, so that each bit of a byte has its turn.
    let few: u64 = std::env::var("FEW").ok().and_then(|x| x.parse().ok()).unwrap_or(FEW);
    let stride = if is_long() { 1 } else { (bits / few) | 1 };
    let first = seed(1) % stride;
    let bit = |case: u64| first + case * stride;
    let count = (bits - first).div_ceil(stride);
    if let Some(folder) = served() {
        // The children damage the very file of their parent.
        let (mut ground, folder) = (ground.clone(), folder);
        ground.bytes = fs::read(folder.with_file_name("file"))?;
        let mut bytes = ground.bytes.clone();
        serve(&folder, |case| {
            let (at, mask) = ((bit(case) / 8) as usize, 1 << (bit(case) % 8));
            bytes[at] ^= mask;
            let verdict = judge(&ground, &bytes);
            bytes[at] ^= mask;
            if [Verdict::Silent, Verdict::Panicked].contains(&verdict) {
                println!("{verdict:?}: bit {} of byte {at:#x}", bit(case) % 8);
            }
            (regions.at(at), verdict)
        });
        std::process::exit(0);
    }
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("file"), &ground.bytes)?;
    println!("FLAGSTONE_SEED={} {count} of {bits} bits, file of {}", seed(1), ground.bytes.len());
    let table = sweep(test, folder.path(), count, |case| regions.at((bit(case) / 8) as usize));
    println!("{table}");
    assert_eq!(table.total(), count);
    assert_eq!(table.crashes(), 0);
    Ok(table)
}

/// Damage that nobody noticed, where each bit means something.
fn missed(table: &Table) -> u64 {
    table.count(|region, verdict| region.is_live() && verdict == Verdict::Silent)
}

#[test]
fn in_a_store_that_was_closed() -> TestResult {
    let table = flip("in_a_store_that_was_closed", &ground::closed()?)?;
    assert_eq!(missed(&table), 0);
    Ok(())
}

#[test]
fn in_a_store_that_was_killed() -> TestResult {
    let table = flip("in_a_store_that_was_killed", &ground::killed()?)?;
    assert_eq!(missed(&table), 0);
    Ok(())
}
