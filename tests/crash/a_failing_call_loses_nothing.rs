//! Promise: whichever call to the operating system fails, once or from then on, wholly or in
//! part, nothing panics. Reads continue, and later writes are refused if the store can no longer
//! know what the disk holds. Reopening finds a committed state, no older than what was
//! acknowledged, after a power cut too.
//!
//! Runs that use every feature are repeated on a simulated disk, once for each call that they
//! make, and that call fails.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use flagstone::sim::{Call, Cuts, Done, Faults, Random, SimDisk};
use flagstone::{Durability, Error, ErrorKind, Result, Store};
use testkit::fixture::{Model, fill_array, free_array, set_array, set_number};
use testkit::sim_run::{BAD_DISK, FULL_DISK, Fixture, Run, disk_of};

/// A part of a run, which may fail.
type Step = fn(&mut Run<'_>) -> Result<()>;

/// A run that starts from a closed store.
struct Chapter {
    name: &'static str,
    fixture: Fixture,
    image: Vec<u8>,
    model: Model,
    steps: &'static [Step],
}

const DURABLE: Durability = Durability::Durable;
const DEFERRED: Durability = Durability::Deferred;

const DAILY: &[Step] = &[
    |run| run.commit(DURABLE, |tx, model| set_number(tx, model, 0, 1)),
    |run| run.commit(DEFERRED, |tx, model| set_array(tx, model, 0, 200, 1)),
    |run| run.commit(DURABLE, with_a_savepoint),
    |run| run.transact(),
    |run| run.sync(),
    |run| run.commit(DEFERRED, |tx, model| set_array(tx, model, 1, 3000, 1)),
    |run| run.checkpoint(),
    |run| run.hold(),
    |run| run.commit(DEFERRED, |tx, model| free_array(tx, model, 1)),
    |run| run.reopen(),
    |run| run.commit(DEFERRED, |tx, model| set_number(tx, model, 1, 1)),
    |run| run.die(),
    |run| run.commit(DURABLE, |tx, model| set_number(tx, model, 0, 2)),
];

const COLLECTIONS: &[Step] = &[
    |run| run.transact(),
    |run| run.transact(),
    |run| run.transact(),
    |run| run.hold(),
    |run| run.transact(),
    |run| run.transact(),
    |run| run.reopen(),
    |run| run.transact(),
];

const LARGER_THAN_THE_LOG: &[Step] = &[
    |run| run.commit(DURABLE, |tx, model| set_array(tx, model, 0, 9000, 1)),
    |run| run.commit(DEFERRED, |tx, model| set_number(tx, model, 0, 1)),
    |run| run.commit(DEFERRED, |tx, model| fill_array(tx, model, 0, 7)),
    |run| run.commit(DURABLE, |tx, model| set_number(tx, model, 0, 2)),
];

const LOADS: &[Step] = &[
    |run| run.commit(DURABLE, |tx, model| set_array(tx, model, 0, 270_000, 1)),
    |run| run.commit(DURABLE, |tx, model| set_number(tx, model, 0, 1)),
    |run| run.commit(DURABLE, |tx, model| free_array(tx, model, 0)),
    |run| run.checkpoint(),
    |run| run.commit(DEFERRED, |tx, model| set_number(tx, model, 0, 2)),
    |run| run.checkpoint(),
    |run| run.commit(DEFERRED, |tx, model| set_number(tx, model, 0, 3)),
    |run| run.checkpoint(),
    |run| run.commit(DEFERRED, |tx, model| set_number(tx, model, 0, 4)),
    |run| run.checkpoint(),
    |run| run.reopen(),
];

const THE_LOG_MOVES: &[Step] = &[
    |run| run.commit(DEFERRED, |tx, model| set_number(tx, model, 0, 1)),
    |run| run.checkpoint(),
    |run| (0..4).try_for_each(|n| run.commit(DEFERRED, |tx, model| fill_array(tx, model, 1, n))),
    |run| run.commit(DURABLE, |tx, model| set_number(tx, model, 0, 2)),
    |run| run.commit(DEFERRED, |tx, model| set_number(tx, model, 0, 3)),
    |run| run.commit(DURABLE, |tx, model| set_number(tx, model, 0, 4)),
    |run| run.checkpoint(),
    |run| run.commit(DEFERRED, |tx, model| set_number(tx, model, 0, 5)),
];

const THE_FILE_SHRINKS: &[Step] = &[
    |run| run.commit(DEFERRED, |tx, model| set_array(tx, model, 0, 90_000, 1)),
    |run| run.commit(DURABLE, |tx, model| set_array(tx, model, 1, 3000, 1)),
    |run| run.commit(DEFERRED, |tx, model| free_array(tx, model, 0)),
    |run| run.reopen(),
    |run| run.commit(DEFERRED, |tx, model| set_array(tx, model, 2, 80_000, 1)),
    |run| run.checkpoint(),
    |run| run.reopen(),
];

fn with_a_savepoint(tx: &mut flagstone::WriteTx<'_>, model: &mut Model) -> Result<()> {
    set_number(tx, model, 2, 5)?;
    let (savepoint, before) = (tx.savepoint()?, model.clone());
    set_array(tx, model, 2, 1500, 5)?;
    tx.rollback_to(savepoint)?;
    *model = before;
    set_array(tx, model, 3, 20, 5)
}

/// Returns a chapter that starts from the state that `prepare` leaves.
fn chapter(name: &'static str, fixture: Fixture, prepare: Step, steps: &'static [Step]) -> Chapter {
    let mut run = Run::new(&fixture, 1, false).expect("a store");
    prepare(&mut run).expect("a sound disk");
    run.reopen().expect("a sound disk");
    let (image, model) = (run.disk.crash(&mut Random(0)), run.model.clone());
    drop(run);
    Chapter { name, fixture, image, model, steps }
}

fn chapters() -> Vec<Chapter> {
    vec![
        chapter("daily work", Fixture::small(), |_| Ok(()), DAILY),
        chapter("collections", Fixture::of_collections(), |_| Ok(()), COLLECTIONS),
        chapter(
            "transactions larger than the log",
            Fixture::small(),
            |_| Ok(()),
            LARGER_THAN_THE_LOG,
        ),
        chapter("loads of new pages", Fixture::small(), |_| Ok(()), LOADS),
        chapter("the log's move", Fixture::large(), with_arrays, THE_LOG_MOVES),
        // It was made with a long log.
        Chapter {
            fixture: Fixture::small(),
            ..chapter("the file shrinks", long_log(), |_| Ok(()), THE_FILE_SHRINKS)
        },
    ]
}

fn with_arrays(run: &mut Run<'_>) -> Result<()> {
    run.commit(DURABLE, |tx, model| set_array(tx, model, 0, 270_000, 0))?;
    run.commit(DURABLE, |tx, model| set_array(tx, model, 1, 3000, 0))
}

fn long_log() -> Fixture {
    let fixture = Fixture::small();
    Fixture { options: fixture.options.log_bytes(256 << 10), ..fixture }
}

/// The results of the repetitions.
#[derive(Default)]
struct Tally {
    /// The failing calls, by their kind.
    struck: BTreeMap<Call, u64>,
    poisoned: u64,
    well: u64,
    /// The store was closed, or failed to open.
    closed: u64,
    /// Reads that failed with the reason, because the failed write left nothing to read.
    told_why: u64,
    images: u64,
}

/// The state of the store after the step in which a call failed.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Closed,
    Poisoned,
    Well,
}

impl Chapter {
    /// Plays the chapter as far as it goes; returns the state of the store after the step that
    /// made call number `first`.
    fn play(&self, disk: SimDisk, first: u64) -> (Run<'_>, Option<After>) {
        let mut run = Run::on(&self.fixture, 1, disk, self.model.clone());
        let mut after = None;
        for step in self.steps {
            let store = run.store.as_ref().map(Rc::downgrade).unwrap_or_default();
            if run.store.is_some() || run.open_again().is_ok() {
                let _ = step(&mut run);
            }
            if run.disk.next_call() > first {
                after.get_or_insert_with(|| state_of(store.upgrade()));
            }
        }
        (run, after)
    }

    /// Returns the number of calls that the chapter makes if none fails.
    fn count_calls(&self, is_mapped: bool) -> u64 {
        let (run, _) = self.play(disk_of(self.image.clone(), is_mapped), u64::MAX);
        assert!(run.store.is_some(), "{}: not even that goes well", self.name);
        let calls = run.disk.next_call();
        let log_bytes = run.store().stats().expect("stats").log_bytes;
        assert_eq!(log_bytes > 64 << 10, self.name == "the log's move");
        calls
    }

    /// Repeats the chapter with failing calls.
    fn repeat(&self, faults: Faults, is_mapped: bool, tally: &mut Tally) {
        let (first, spares_reading) = (faults.calls.start, faults.spares_reading);
        let disk = disk_of(self.image.clone(), is_mapped);
        disk.set_faults(Some(faults));
        let (mut run, after) = self.play(disk, first);
        let call = run.disk.calls()[first as usize];
        *tally.struck.entry(call).or_default() += 1;
        match after.expect("the call was made") {
            After::Closed => tally.closed += 1,
            After::Poisoned => tally.poisoned += 1,
            After::Well => tally.well += 1,
        }
        // Such a failure may lose written data, but a mere lack of space does not.
        let is_of_space = matches!(call, Call::Grow | Call::Fill | Call::Punch);
        let loses = !call.is_reading() && !is_of_space;
        assert!(!loses || after != Some(After::Well), "{call:?} failed, and the store writes on");
        if run.store.is_some() {
            if !spares_reading {
                run.disk.set_faults(None);
            }
            match first % 2 {
                0 => run.expect_reads().expect("reads go on"),
                _ => {
                    let reads = run.expect_reads_without_memory();
                    tally.told_why += u64::from(!reads.expect("reads go on, or say why not"));
                }
            }
        }
        run.start_again().expect("the disk is well again");
        run.commit(DURABLE, |tx, model| set_number(tx, model, 7, 7)).expect("it can be written");
        let mut cuts = Cuts::new(&self.fixture, first);
        cuts.look(&run.end(), 1, 1).unwrap_or_else(|violation| panic!("{violation}"));
        tally.images += cuts.images();
    }
}

/// Returns whether the store is poisoned, in which case it must refuse all writes.
fn state_of(store: Option<Rc<Store>>) -> After {
    let Some(store) = store else { return After::Closed };
    let is_refused = |error: &Error| matches!(error.kind(), ErrorKind::Poisoned { .. });
    match store.write().map(drop) {
        Err(error) if is_refused(&error) => {
            assert!(store.sync().is_err_and(|error| is_refused(&error)));
            assert!(store.checkpoint().is_err_and(|error| is_refused(&error)));
            After::Poisoned
        }
        _ => After::Well,
    }
}

/// A call that fails once, in each way.
fn once(number: u64) -> [Faults; 3] {
    let calls = number..number + 1;
    let ways = [(BAD_DISK, Done::Nothing), (FULL_DISK, Done::Part(number)), (BAD_DISK, Done::All)];
    ways.map(|(errno, done)| Faults { calls: calls.clone(), errno, done, spares_reading: false })
}

/// Consecutive failing calls.
fn in_runs(number: u64) -> [Faults; 3] {
    let until = |end, spares_reading| Faults {
        calls: number..end,
        errno: BAD_DISK,
        done: Done::Part(number),
        spares_reading,
    };
    [until(number + 3, false), until(number + 12, true), until(u64::MAX, true)]
}

#[test]
fn each_single_call_fails_once_and_in_runs() {
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut calls = 0;
    for chapter in chapters() {
        // A mapping needs no reads, so there are fewer calls.
        let [count, if_mapped] = [false, true].map(|is_mapped| chapter.count_calls(is_mapped));
        calls += count;
        for number in 0..count {
            let is_mapped = number % 2 == 0 && number < if_mapped;
            for faults in once(number).into_iter().chain(in_runs(number)) {
                let place = format!("{}, {faults:?}", chapter.name);
                let run = || chapter.repeat(faults, is_mapped, &mut tally);
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
                assert!(outcome.is_ok(), "{place}");
            }
        }
    }
    let Tally { struck, poisoned, well, closed, told_why, images } = tally;
    println!("{calls} calls failed, each in 6 ways: {struck:?}, {:?}", started.elapsed());
    println!("afterwards {poisoned} poisoned, {well} well, {closed} not open; {images} images");
    println!("{told_why} of the poisoned were told why they cannot read");
    assert!(told_why > 0, "memory was never short where it matters");
    assert!(Call::ALL.iter().all(|call| struck.contains_key(call)), "not each kind of call");
}

#[test]
fn a_log_that_cannot_grow_is_not_retried_at_each_commit() {
    let fixture = Fixture::large();
    let (store, disk) = SimDisk::create(&fixture.options).expect("a store");
    let array = store.update(|tx| tx.alloc_slice_copy(&[0u64; 1 << 18])).expect("an array");
    let commit = |value: u64| -> Result<()> {
        let mut tx = store.write()?;
        tx.set_durability(DEFERRED);
        tx.at_mut(array.prefix(50).expect("it is longer"))?.fill(value);
        tx.commit()
    };
    let log_bytes = || store.stats().expect("stats").log_bytes;
    disk.set_full(true);
    (0..4000).for_each(|value| commit(value).expect("there is space for it"));
    let refused = disk.growths();
    assert_eq!(log_bytes(), 64 * 1024);
    disk.set_full(false);
    let mut more = 0;
    while log_bytes() == 64 * 1024 {
        more += 1;
        assert!(more <= 5000, "it is put off for ever");
        commit(more).expect("there is space for it");
    }
    // Each attempt asks for some extra space, and then for what it needs.
    assert!((2..=20).contains(&refused), "{refused} tries");
}
