//! Promise: if the disk fails a write or a flush, no commit that needed it is acknowledged,
//! nothing more is written, reads continue, and reopening finds exactly one committed state with
//! everything that was acknowledged. This holds after a power cut, and also without one, where
//! the kernel shows bytes in memory that the disk does not have.

use std::error::Error;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use flagstone::{Store, WriteTx};
use rustix::ioctl::{Updater, ioctl, opcode};
use testkit::forge;
use testkit::power::Test;
use testkit::power::cuts::cached::{Cached, probe_disk};
use testkit::power::cuts::cut_run::Machine;
use testkit::power::cuts::disk::Keep;
use testkit::power::cuts::life::Life;
use testkit::power::cuts::processes::wait_until;
use testkit::power::cuts::writer::open;
use testkit::power::scratch_fs::{Bench, Kind};
use testkit::{Random, TestResult, assert_refused, is_long, seed};

/// The number of disk failures; ten times as many in the long mode.
const FAILURES: u64 = 15;
/// Maximum number of commits before the disk fails.
const MAX_COMMITS: u64 = 100;
const PAGE_BYTES: u64 = 4096;
/// The starts of both superblocks in the file.
const SLOTS: [u64; 2] = [forge::SLOTS[0] as u64, forge::SLOTS[1] as u64];

/// The part that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Flushes,
    /// All writes to the disk.
    Writes,
    /// Writes to the log of the store, wherever its file is on the disk.
    Log,
    /// Writes to the rest of its file, except the superblocks.
    Heap,
    Superblocks,
}

/// The kernel's answer about the extents of a file.
#[repr(C)]
#[derive(Default)]
struct Places {
    from: u64,
    bytes: u64,
    flags: u32,
    found: u32,
    wanted: u32,
    reserved: u32,
    places: [Place; 32],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Place {
    in_file: u64,
    on_disk: u64,
    bytes: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved_too: [u32; 3],
}

/// `FS_IOC_FIEMAP`, whose number encodes the size of the struct without its extents.
const PLACES_OF_FILE: rustix::ioctl::Opcode = opcode::read_write::<[u8; 32]>(b'f', 11);

/// Returns the disk positions of the bytes of a file, including those that were allocated but
/// never written.
fn on_disk(file: &File, bytes: Range<u64>) -> TestResult<Vec<Range<u64>>> {
    let mut on_disk = Vec::new();
    let mut at = bytes.start;
    while at < bytes.end {
        let mut told = Places { from: at, bytes: bytes.end - at, wanted: 32, ..Places::default() };
        // SAFETY: the call reads and writes this struct, within the extents that it declares.
        let ask = unsafe { Updater::<PLACES_OF_FILE, Places>::new(&mut told) };
        // SAFETY: as above.
        unsafe { ioctl(file, ask) }?;
        let places = &told.places[..told.found as usize];
        for place in places {
            // An extent may begin before the requested range, or end after it.
            let start = place.in_file.max(bytes.start);
            let end = (place.in_file + place.bytes).min(bytes.end);
            let moved = |offset: u64| offset - place.in_file + place.on_disk;
            on_disk.push(moved(start)..moved(end));
            at = end;
        }
        if places.is_empty() {
            break;
        }
    }
    Ok(on_disk)
}

/// Returns the position of the log in a store's file, according to the newer superblock.
fn log_bytes(file: &File) -> TestResult<Range<u64>> {
    let number = |at| -> TestResult<u64> {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let [first, second] = SLOTS;
    let newer = if number(first + 64)? >= number(second + 64)? { first } else { second };
    let (start, len) = (number(newer + 80)?, number(newer + 88)?);
    Ok(start..start + len)
}

/// Makes the disk fail.
fn fail(machine: &mut Cached<'_>, fault: Fault, store: &Path) -> TestResult {
    let file = File::open(store)?;
    let log = log_bytes(&file)?;
    match fault {
        Fault::Flushes => machine.disk()?.fail_flushes(),
        Fault::Writes => machine.disk()?.fail_writes(0..u64::MAX),
        Fault::Log => fail_writes(machine, &file, log),
        Fault::Superblocks => fail_writes(machine, &file, 0..SLOTS[1] + PAGE_BYTES),
        Fault::Heap => {
            fail_writes(machine, &file, forge::HEAP as u64..log.start)?;
            fail_writes(machine, &file, log.end..file.metadata()?.len())
        }
    }
}

fn fail_writes(machine: &mut Cached<'_>, file: &File, bytes: Range<u64>) -> TestResult {
    let places = on_disk(file, bytes)?;
    places.into_iter().try_for_each(|place| machine.disk()?.fail_writes(place))
}

/// Takes one store from its creation to the remains after the disk failure.
fn fail_once(
    machine: &mut Cached<'_>,
    fault: Fault,
    bench: &Bench,
    random: &mut Random,
) -> TestResult {
    machine.format()?;
    let mut life = Life::new(bench, random.next(), None)?;
    let store = machine.power_on()?.join("store");
    let mut sufferer = life.start("sufferer", &store)?;
    let enough = random.below(MAX_COMMITS);
    wait_until(|| Ok(sufferer.has_ended()?.is_some() || life.told()?.begun > enough))?;
    if let Some(words) = sufferer.has_ended()? {
        return Err(format!("before anything failed: {words}").into());
    }
    // The position of the log must not change meanwhile.
    sufferer.pause()?;
    fail(machine, fault, &store)?;
    sufferer.resume()?;
    sufferer.expect_success()?;
    life.hold_to(life.told()?);
    let goes_on = matches!(fault, Fault::Log | Fault::Heap | Fault::Superblocks);
    if goes_on && random.one_in(2) {
        // The file system stays mounted. It shows data that the disk does not have.
        machine.disk()?.mend()?;
        let mut writer = life.start("writer", &store)?;
        let mut has_ended = || Ok::<_, Box<dyn Error>>(writer.has_ended()?.is_some());
        wait_until(|| Ok(life.told()?.is_open || has_ended()?))?;
        let enough = life.told()?.begun + random.below(MAX_COMMITS);
        wait_until(|| Ok(life.told()?.begun >= enough || has_ended()?))?;
        life.hold_to(life.told()?);
        if let Some(words) = writer.has_ended()? {
            return Err(format!("the store cannot be used again: {words}").into());
        }
        machine.cut(random)?;
    } else {
        machine.cut(random)?;
        machine.disk()?.mend()?;
    }
    machine.clear_away()?;
    life.keep(&machine.power_on()?.join("store"))?;
    life.look()??;
    machine.clear_away()
}

fn poisons(kind: Kind, fault: Fault) -> Test {
    let name = format!("{}, {fault:?} fail", kind.name());
    let label = name.clone();
    let run = move || {
        let (bench, seed) = (Bench::new()?, seed(1));
        let mut random = Random::new(seed);
        let mut machine = Cached::new(kind, Keep::Nothing, &bench);
        let begun = Instant::now();
        let times = if is_long() { FAILURES * 10 } else { FAILURES };
        for time in 1..=times {
            fail_once(&mut machine, fault, &bench, &mut random)
                .map_err(|error| format!("{label}, seed {seed}, failure {time}: {error}"))?;
        }
        let seconds = begun.elapsed().as_secs_f32();
        println!("{label}: {times} stores poisoned and recovered, {seconds:.1} s, seed {seed}");
        Ok(())
    };
    Test { name, probe: Box::new(move || probe_disk(kind)), run: Box::new(run) }
}

/// Writes numbers to a heap whose pages the disk refuses, and opens the store again once the disk
/// is repaired.
fn fail_to_write(
    machine: &mut Cached,
    path: &Path,
    store: Store,
    numbers: &[u64],
) -> TestResult<Store> {
    fail(machine, Fault::Heap, path)?;
    let done = store.update(|tx| set_numbers(tx, numbers)).and_then(|()| store.checkpoint());
    assert!(done.is_err(), "the disk fails");
    drop(store);
    machine.disk()?.mend()?;
    Ok(open(path, None)?)
}

/// Returns the numbers, if there are any, in the undamaged store that a power cut leaves.
fn numbers_after_a_cut(machine: &mut Cached) -> TestResult<Option<Vec<u64>>> {
    machine.cut(&mut Random::new(1))?;
    machine.clear_away()?;
    let store = open(&machine.power_on()?.join("store"), None)?;
    store.check()?.into_result()?;
    let tx = store.read()?;
    let link = tx.root::<[u64]>("numbers")?;
    let numbers = if link.is_null() { None } else { Some(tx.at(link)?.to_vec()) };
    drop(tx);
    store.close()?;
    machine.clear_away()?;
    Ok(numbers)
}

/// A test of what one store does on a machine whose disk fails.
fn test(kind: Kind, what: &str, run: fn(&mut Cached<'_>) -> TestResult) -> Test {
    let run = move || {
        let bench = Bench::new()?;
        run(&mut Cached::new(kind, Keep::Nothing, &bench))
    };
    let name = format!("{}, {what}", kind.name());
    Test { name, probe: Box::new(move || probe_disk(kind)), run: Box::new(run) }
}

/// Pages whose first write fails, and which are written again while the file system stays
/// mounted: by recovery, or by a commit that allocates them again. ext4 must be made to drop them
/// in between, or a power cut leaves only zeros of them.
fn write_new_pages_again(machine: &mut Cached<'_>) -> TestResult {
    /// An array that goes through the log, and one that is written in place.
    const LENGTHS: [usize; 2] = [50_000, 200_000];
    for len in LENGTHS {
        machine.format()?;
        let path = machine.power_on()?.join("store");
        let numbers: Vec<u64> = (0..).take(len).collect();
        let store = open(&path, None)?;
        // Allocates space for the array, which is not written yet.
        store.update(|tx| tx.alloc_slice_copy(&numbers).and_then(|array| tx.free(array)))?;
        let store = fail_to_write(machine, &path, store, &numbers)?;
        store.update(|tx| set_numbers(tx, &numbers))?;
        store.close()?;
        assert_eq!(numbers_after_a_cut(machine)?, Some(numbers));
    }
    Ok(())
}

/// The same for pages before the end of the heap that were never written: a transaction allocated
/// them, and freed them before its commit.
fn write_pages_that_were_given_up_again(machine: &mut Cached<'_>) -> TestResult {
    machine.format()?;
    let path = machine.power_on()?.join("store");
    let store = open(&path, None)?;
    // More than 2 MiB, since pages in memory may be parts of pages that large.
    let base: Vec<u64> = (0..).take(300_000).collect();
    store.update(|tx| {
        let given_up = tx.alloc_slice_copy(&base)?;
        let kept = tx.alloc_slice_copy(&base)?;
        tx.set_root("base", kept)?;
        tx.free(given_up)
    })?;
    store.close()?;
    let store = open(&path, None)?;
    let numbers: Vec<u64> = (1..).take(200_000).collect();
    let store = fail_to_write(machine, &path, store, &numbers)?;
    let is_there = !store.read()?.root::<[u64]>("numbers")?.is_null();
    store.close()?;
    assert_eq!(numbers_after_a_cut(machine)?, is_there.then_some(numbers));
    Ok(())
}

fn set_numbers(tx: &mut WriteTx<'_>, numbers: &[u64]) -> flagstone::Result<()> {
    let old = tx.root::<[u64]>("numbers")?;
    if !old.is_null() {
        tx.free(old)?;
    }
    let new = tx.alloc_slice_copy(numbers)?;
    tx.set_root("numbers", new)
}

/// A superblock that cannot be read is no reason to open an older state.
fn refuse_what_cannot_be_read(machine: &mut Cached<'_>) -> TestResult {
    for slot in [0, 1] {
        machine.format()?;
        let path = machine.power_on()?.join("store");
        open(&path, None)?.close()?;
        let superblock = SLOTS[slot]..SLOTS[slot] + PAGE_BYTES;
        let places = on_disk(&File::open(&path)?, superblock)?;
        machine.clear_away()?;
        places.into_iter().try_for_each(|place| machine.disk()?.fail_reads(place))?;
        let path = machine.power_on()?.join("store");
        assert_refused!(open(&path, None), Io { .. });
        machine.disk()?.mend()?;
        open(&path, None)?.close()?;
        machine.clear_away()?;
    }
    Ok(())
}

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
        tests.extend([Fault::Flushes, Fault::Writes].map(|fault| poisons(kind, fault)));
    }
    // btrfs does not report the disk position of a file.
    for kind in [Kind::Ext4, Kind::Xfs] {
        let faults = [Fault::Log, Fault::Heap, Fault::Superblocks];
        tests.extend(faults.map(|fault| poisons(kind, fault)));
        let given_up = "the first write of a page that was given up fails";
        tests.extend([
            test(kind, "the first write of a page fails", write_new_pages_again),
            test(kind, given_up, write_pages_that_were_given_up_again),
            test(kind, "a superblock cannot be read", refuse_what_cannot_be_read),
        ]);
    }
    tests
}
