//! Promise: where a log changes more pages than recovery may keep in memory, it writes them in
//! rounds, and nothing that happens in a round loses anything. A power cut, again and again; a
//! killed process; a failing call: the next opening finds the last state. If the log is damaged
//! after that, so that the last state cannot be found, no mixture is shown.
//!
//! The bound is four pages, or one, so that the log is swept several times.

use std::path::Path;

use flagstone::sim::{Call, Cuts, Done, Faults, Program, Random, SimDisk};
use flagstone::{Durability, OpenOptions, Result, Store};
use testkit::fixture::{fill_array, free_array, set_array, set_number};
use testkit::forge::SLOTS;
use testkit::recoveries::Killed;
use testkit::scratch::{ScratchFile, open_shared, read_only_with};
use testkit::sim_run::{BAD_DISK, FULL_DISK, Fixture, Run};
use testkit::{forge, is_long};

const DURABLE: Durability = Durability::Durable;

type History = fn(&mut Run<'_>) -> Result<()>;
/// A kind of log that is recovered: its name, the store's parameters, what is committed before.
type Kind = (&'static str, fn() -> Fixture, History);
const HISTORIES: &[Kind] = &[
    ("lines of many pages", Fixture::small, lines_of_many_pages),
    ("new pages written in place", Fixture::large, new_pages),
    ("a heap that shrinks and grows", Fixture::spilling, a_heap_that_shrinks),
    ("zeroed pages that were in use", Fixture::small, zeroed_pages),
];

/// Arrays that are changed again and again, so that pages are written in several rounds.
fn lines_of_many_pages(run: &mut Run<'_>) -> Result<()> {
    for index in 0..4 {
        run.commit(DURABLE, |tx, model| set_array(tx, model, index, 1200, 0))?;
    }
    run.checkpoint()?;
    for number in 1..3 {
        for index in 0..4 {
            run.commit(DURABLE, |tx, model| fill_array(tx, model, index, number))?;
        }
    }
    run.commit(DURABLE, |tx, model| set_number(tx, model, 0, 7))
}

fn new_pages(run: &mut Run<'_>) -> Result<()> {
    lines_of_many_pages(run)?;
    run.commit(DURABLE, |tx, model| set_array(tx, model, 5, 270_000, 5))?;
    run.commit(DURABLE, |tx, model| set_array(tx, model, 6, 1200, 5))?;
    run.commit(DURABLE, |tx, model| fill_array(tx, model, 0, 5))?;
    run.commit(DURABLE, |tx, model| free_array(tx, model, 5))
}

fn a_heap_that_shrinks(run: &mut Run<'_>) -> Result<()> {
    run.commit(DURABLE, |tx, model| set_array(tx, model, 4, 70_000, 1))?;
    (0..3).try_for_each(|_| run.checkpoint())?;
    lines_of_many_pages(run)?;
    run.commit(DURABLE, |tx, model| free_array(tx, model, 4))?;
    run.commit(DURABLE, |tx, model| set_array(tx, model, 5, 3000, 1))
}

fn zeroed_pages(run: &mut Run<'_>) -> Result<()> {
    for index in 0..4 {
        run.commit(DURABLE, |tx, model| set_array(tx, model, index, 2400, 3))?;
    }
    run.checkpoint()?;
    for index in 0..4 {
        run.commit(DURABLE, |tx, model| free_array(tx, model, index))?;
    }
    run.commit(DURABLE, |tx, model| set_array(tx, model, 5, 3, 1))?;
    run.commit(DURABLE, |tx, model| set_array(tx, model, 6, 5000, 1))
}

/// Returns the killed stores: one after each history, of which one or none of the superblocks is
/// damaged, and one after each call of a transaction that is larger than the log.
fn killed() -> Vec<(String, Fixture, Killed)> {
    let mut all = Vec::new();
    for (name, fixture, history) in HISTORIES {
        for (torn, pages) in [(None, 4), (None, 1), (Some(SLOTS[0]), 4), (Some(SLOTS[1]), 4)] {
            let fixture = fixture().in_rounds(pages);
            let mut killed = Killed::after(&fixture, history).expect(name);
            torn.into_iter().for_each(|slot| killed.image[slot + 64] ^= 1);
            all.push((format!("{name}, {pages} pages, torn: {torn:?}"), fixture, killed));
        }
    }
    let fixture = Fixture::spilling().in_rounds(4);
    let spills = (0..).map_while(|calls| cut_in_a_spill(&fixture, calls, 9000));
    let spills = (0..).zip(spills).filter(|(_, killed)| has_spill(&killed.image));
    all.extend(spills.map(|(calls, killed)| {
        let name = format!("a transaction larger than the log, cut after {calls} calls");
        (name, fixture.clone(), killed)
    }));
    assert!(all.len() > 4 * HISTORIES.len(), "no spill was left to be replayed");
    all
}

/// Kills a store after so many calls of a transaction that is larger than the log; returns `None` if
/// there are fewer.
fn cut_in_a_spill(fixture: &Fixture, calls: u64, len: u32) -> Option<Killed> {
    let mut is_over = false;
    let killed = Killed::after(fixture, |run| {
        run.commit(DURABLE, |tx, model| set_array(tx, model, 0, len, 0))?;
        run.disk.fail_after(calls);
        is_over = run.commit(DURABLE, |tx, model| fill_array(tx, model, 0, 7)).is_ok();
        Ok(())
    });
    let killed = killed.expect("a store");
    (!is_over).then_some(killed)
}

/// Returns whether the record of a spill is left to be replayed.
fn has_spill(image: &[u8]) -> bool {
    forge::records(image).iter().any(|record| image[record.start + 3] == 3)
}

/// Returns whether a superblock of the image says that the heap may be newer than its position.
fn is_in_rounds(image: &[u8]) -> bool {
    let is_ahead = |block: &[u8]| {
        forge::is_whole_superblock(block) && forge::number(block, 128) > forge::number(block, 104)
    };
    SLOTS.into_iter().any(|at| is_ahead(&image[at..]))
}

#[test]
fn a_power_cut_in_any_round_loses_nothing_several_deep() {
    let count = if is_long() { 20_000 } else { 60 };
    let mut images = 0;
    for (name, fixture, killed) in killed() {
        let recording = killed.record_recovery(&fixture).expect(&name);
        let mut cuts = Cuts::new(&fixture, 1);
        let looked = cuts.look(&recording, count, 4);
        looked.unwrap_or_else(|violation| panic!("{name}: {violation}"));
        let looked = cuts.look_at_all(&recording, 8, 0);
        looked.unwrap_or_else(|violation| panic!("{name}: {violation}"));
        println!("{name}: {} times, {} images", recording.times(), cuts.images());
        images += cuts.images();
        let rounds = (0..).map_while(|calls| killed.cut_short(&fixture, calls, &mut Random(calls)));
        let rounds = rounds.filter(|image| is_in_rounds(image)).count();
        assert!(rounds > 4, "{name}: {rounds} calls in rounds");
    }
    println!("{images} images");
}

#[test]
fn a_process_killed_in_any_round_loses_nothing() {
    let mut kills = 0;
    for (name, fixture, killed) in killed() {
        let expected = state_of(&fixture, &killed.disk(0), &name);
        for calls in 0.. {
            let disk = killed.disk(calls);
            disk.fail_after(calls);
            if disk.open(&fixture.options).is_ok() {
                break;
            }
            // Killed once more, a little later or earlier; the page cache stays.
            disk.fail_after(calls * 7 % 11);
            let again = disk.open(&fixture.options);
            disk.fail_after(0);
            drop(again);
            disk.fail_after(u64::MAX);
            assert_eq!(state_of(&fixture, &disk, &name), expected, "{name}, after {calls} calls");
            kills += 1;
        }
    }
    println!("{kills} kills");
}

/// Opens the store and returns its state; `check` must find nothing.
fn state_of(fixture: &Fixture, disk: &SimDisk, name: &str) -> <Fixture as Program>::State {
    let store = disk.open(&fixture.options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let report = store.check().expect("it can be checked");
    assert!(report.is_clean(), "{name}: {:?}", report.findings.first());
    fixture.read(&store).expect("it can be read")
}

#[test]
fn a_call_that_fails_in_any_round_loses_nothing() {
    let mut failed = 0;
    for (name, fixture, killed) in killed() {
        let expected = state_of(&fixture, &killed.disk(0), &name);
        for number in 0.. {
            let disk = killed.disk(number);
            let ways =
                [(BAD_DISK, Done::Nothing), (FULL_DISK, Done::Part(number)), (BAD_DISK, Done::All)];
            let (errno, done) = ways[number as usize % 3];
            let calls = number..number + 1;
            disk.set_faults(Some(Faults { calls, errno, done, spares_reading: false }));
            disk.record();
            let opened = disk.open(&fixture.options);
            if disk.next_call() <= number {
                break;
            }
            assert!(opened.is_err(), "{name}: call {number} fails and opening goes on");
            disk.set_faults(None);
            for seed in 0..2 {
                let image = SimDisk::new(disk.crash(&mut Random(seed)));
                assert_eq!(state_of(&fixture, &image, &name), expected, "{name}, call {number}");
            }
            assert_eq!(state_of(&fixture, &disk, &name), expected, "{name}, call {number}");
            failed += 1;
        }
    }
    println!("{failed} failures");
}

/// The entries of a large transaction are longer than the pages that they change.
#[test]
fn a_log_is_read_few_times_however_many_parts_the_heap_has() {
    const PIECE: u64 = 64 * 1024;
    let fixture = Fixture::spilling().in_rounds(1);
    let spills = (0..).map_while(|calls| cut_in_a_spill(&fixture, calls, 80_000));
    let mut spills = spills.filter(|killed| has_spill(&killed.image));
    let killed = spills.next().expect("a spill");
    let disk = killed.disk(0);
    let len_bytes = killed.image.len() as u64;
    drop(disk.open(&fixture.options).expect("it can be recovered"));
    let reads = disk.calls().iter().filter(|call| **call == Call::Read).count() as u64;
    // Nothing reads the heap so: an image is a copy.
    println!("{reads} reads of {len_bytes} bytes");
    assert!(reads <= 8 * len_bytes / PIECE + 40, "{reads} reads of {len_bytes} bytes");
}

/// Memory that a program has locked is never released, so each part finds the earlier ones private.
#[test]
fn locked_memory_makes_recovery_write_no_page_often() {
    const CHILD: &str = "FLAGSTONE_TEST_LOCKED";
    if std::env::var_os(CHILD).is_none() {
        let path = Path::new("locked");
        let status = testkit::child(&testkit::this_test!(), CHILD, path).status().expect("a child");
        assert!(status.success(), "{status}");
        return;
    }
    let fixture = Fixture::small().in_rounds(1);
    let killed = Killed::after(&fixture, lines_of_many_pages).expect("a store");
    let expected = state_of(&fixture, &killed.disk(0), "a copy");
    let written_bytes = || {
        let disk = killed.disk(1);
        assert_eq!(state_of(&fixture, &disk, "a mapping"), expected);
        disk.written_bytes()
    };
    let released = written_bytes();
    // SAFETY: the call changes how pages are kept, and no byte of them.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
        println!("SKIP[locked memory]: {}", std::io::Error::last_os_error());
        return;
    }
    let locked = written_bytes();
    println!("{released} bytes written, {locked} if memory is locked");
    assert!(locked <= released + released / 4, "{locked} bytes instead of {released}");
}

/// The record of the last commit is durable, and rounds have written pages that have it. Then it is
/// damaged, and no later record vouches for it.
#[test]
fn a_log_that_loses_what_the_heap_has_is_refused() {
    let fixture = Fixture::small().in_rounds(4);
    let killed = Killed::after(&fixture, lines_of_many_pages).expect("a store");
    let (mut refused, mut older, mut torn) = (0, 0, 0);
    for seed in 0..if is_long() { 1000 } else { 10 } {
        let lost = killed.lose_last_commit(&fixture, seed);
        let lost = lost.unwrap_or_else(|error| panic!("{seed}: {error}"));
        (refused, older, torn) = (refused + lost.refused, older + lost.older, torn + lost.torn);
    }
    println!("{refused} refused, {older} times the state before; {torn} torn superblocks");
    assert!(refused > 0 && older > 0 && torn > 0);
}

/// The first recovery wrote a reach, and only the page cache has it.
#[test]
fn a_reach_that_a_failed_sync_lost_is_written_again() {
    let fixture = Fixture::small().in_rounds(4);
    let killed = Killed::after(&fixture, lines_of_many_pages).expect("a store");
    for seed in 0..if is_long() { 100 } else { 2 } {
        let lost = killed.lose_last_commit_after_failed_sync(&fixture, seed);
        let lost = lost.unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert!(lost.refused > 0 && lost.older > 0, "{lost:?}");
    }
}

#[test]
fn check_reports_a_log_that_loses_what_the_heap_has() {
    let fixture = Fixture::small().in_rounds(4);
    let killed = Killed::after(&fixture, lines_of_many_pages).expect("a store");
    let cuts = (0..).map_while(|calls| killed.cut_short(&fixture, calls, &mut Random(calls)));
    let mut damaged = cuts.filter(|image| is_in_rounds(image)).filter_map(|mut image| {
        let is_whole = SimDisk::new(image.clone()).check().expect("it can be checked");
        assert!(is_whole.is_clean(), "{:?}", is_whole.findings);
        forge::damage_last_commit(&mut image).then_some(image)
    });
    let image = damaged.next().expect("a cut in a round");
    let report = SimDisk::new(image).check().expect("it can be checked");
    let found = report.findings.first().expect("a finding").to_string();
    assert!(found.contains("no committed state can be put together"), "{found}");
}

/// Whoever opens a file that was cut in a round finds the last state; who only reads changes nothing.
#[test]
fn a_file_cut_in_a_round_can_be_opened_in_all_ways() {
    type Way = (&'static str, fn(&Path, &OpenOptions) -> Result<Store>, bool);
    let ways: [Way; 5] = [
        ("open", testkit::open_with, false),
        ("open_shared", open_shared, false),
        ("open_copy", |path, options| options.open_copy(path), false),
        ("open_private", |path, options| options.open_private(path), true),
        ("open_read_only", read_only_with, true),
    ];
    let fixture = Fixture::small().in_rounds(4);
    let killed = Killed::after(&fixture, lines_of_many_pages).expect("a store");
    let expected = state_of(&fixture, &killed.disk(0), "as it was killed");
    let cuts = (0..).map_while(|calls| killed.cut_short(&fixture, calls, &mut Random(calls)));
    let cuts: Vec<_> = cuts.filter(|image| is_in_rounds(image)).collect();
    assert!(cuts.len() > 4, "{} cuts in rounds", cuts.len());
    for (image, (name, open, only_reads)) in
        cuts.iter().flat_map(|image| ways.map(|way| (image, way)))
    {
        let file = ScratchFile::with(image).expect("a file");
        let store = open(&file, &fixture.options).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(fixture.read(&store).expect(name), expected, "{name}");
        assert!(store.check().expect(name).is_clean(), "{name}");
        drop(store);
        let is_same = std::fs::read(&file).expect("a file") == *image;
        assert_eq!(is_same, only_reads, "{name}");
    }
}
