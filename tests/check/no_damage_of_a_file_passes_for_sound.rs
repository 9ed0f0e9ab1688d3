//! Promise: whatever happens to a file (overwritten bytes and sectors, swapped pages, pages from
//! an older copy, a missing end, extra data at the end), nothing crashes or hangs, and a store
//! without findings reads as it was written. Only the last records of the log can be lost without
//! a trace, with the sectors that contain them.

use testkit::forge::PAGE;
use testkit::sweep::children::sweep;
use testkit::sweep::ground::{self, Ground};
use testkit::sweep::judge::Verdict;
use testkit::sweep::table::Table;
use testkit::{Random, TestResult, is_long, seed, this_test};

const SECTOR: usize = 512;

/// The number of numbers in the store, besides everything else.
const NUMBERS: u64 = 4000;

/// Returns the number of cases of each kind.
fn cases_of_a_kind() -> u64 {
    if is_long() { 20_000 } else { 25 }
}

const KINDS: [(&str, Damage); 10] = [
    ("a few bytes", |random, bytes, _| {
        for _ in 0..=random.below(16) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next() as u8;
        }
    }),
    ("many bytes in a row", |random, bytes, _| {
        let start = random.below(bytes.len() as u64) as usize;
        let end = bytes.len().min(start + 1 + random.below(20_000) as usize);
        let noise = random.bytes(end - start);
        bytes[start..end].copy_from_slice(&noise);
    }),
    ("a sector of noise", |random, bytes, _| {
        let noise = random.bytes(SECTOR);
        part(random, bytes, SECTOR).copy_from_slice(&noise);
    }),
    ("a sector of zeros", |random, bytes, _| part(random, bytes, SECTOR).fill(0)),
    ("a page of zeros", |random, bytes, _| part(random, bytes, PAGE).fill(0)),
    ("two pages swapped", |random, bytes, _| {
        let pages = bytes.len() / PAGE;
        let [first, second] = [0; 2].map(|_| random.below(pages as u64) as usize * PAGE);
        let copy = bytes[first..first + PAGE].to_vec();
        bytes.copy_within(second..second + PAGE, first);
        bytes[second..second + PAGE].copy_from_slice(&copy);
    }),
    ("a page of an older copy", |random, bytes, older| restore(random, bytes, older, PAGE)),
    ("a sector of an older copy", |random, bytes, older| restore(random, bytes, older, SECTOR)),
    ("the end cut off", |random, bytes, _| {
        let unit = random.pick(&[1, SECTOR as u64, PAGE as u64]);
        let cut = (1 + random.below(300)) * unit;
        bytes.truncate((bytes.len() as u64).saturating_sub(cut) as usize);
    }),
    ("something behind the end", |random, bytes, _| {
        let len = random.below(3 * PAGE as u64) as usize;
        let more = if random.one_in(2) { vec![0; len] } else { random.bytes(len) };
        bytes.extend(more);
    }),
];

/// Damages a file, given an older copy of it.
type Damage = fn(&mut Random, &mut Vec<u8>, &[u8]);

/// Returns a random part of that length, aligned to its length.
fn part<'a>(random: &mut Random, bytes: &'a mut [u8], len: usize) -> &'a mut [u8] {
    let start = random.below((bytes.len() / len) as u64) as usize * len;
    &mut bytes[start..start + len]
}

fn restore(random: &mut Random, bytes: &mut [u8], older: &[u8], len: usize) {
    let both = bytes.len().min(older.len());
    let start = random.below((both / len) as u64) as usize * len;
    bytes[start..start + len].copy_from_slice(&older[start..start + len]);
}

fn damage_all(test: &str, ground: &Ground) -> TestResult<Table> {
    let (seed, names) = (seed(1), KINDS.map(|(name, _)| name));
    let kind = |case: u64| (case % KINDS.len() as u64) as usize;
    let count = cases_of_a_kind() * KINDS.len() as u64;
    sweep(test, ground, &names, count, kind, |case, bytes, older| {
        let mut random = Random::new(seed.wrapping_add(case << 20));
        KINDS[kind(case)].1(&mut random, bytes, older);
        format!("case {case}, {}", names[kind(case)])
    })
}

fn silent(table: &Table) -> u64 {
    table.count(|_, verdict| verdict == Verdict::Silent)
}

#[test]
fn in_a_closed_store() -> TestResult {
    let ground = ground::larger(NUMBERS, true)?;
    let table = damage_all(&this_test!(), &ground)?;
    assert_eq!(silent(&table), 0);
    assert_eq!(table.count(|_, verdict| verdict == Verdict::LostEnd), 0);
    Ok(())
}

#[test]
fn in_a_killed_store() -> TestResult {
    let ground = ground::larger(NUMBERS, false)?;
    let table = damage_all(&this_test!(), &ground)?;
    assert_eq!(silent(&table), 0);
    Ok(())
}
