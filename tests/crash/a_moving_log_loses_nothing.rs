//! Promise: the log may move while commits go on, and go back when the store is closed, whatever fails
//! meanwhile: a power cut at any time, or a kill at any call.

use std::error::Error;

use flagstone::sim::{Cuts, Random};
use flagstone::{Durability, Result};
use testkit::fixture::{Model, fill_array, free_array, set_array, set_number};
use testkit::sim_run::{Fixture, Run, disk_of};

type Outcome<T = ()> = std::result::Result<T, Box<dyn Error>>;

const LOG_BYTES: u64 = 64 << 10;

/// Commits until the log has moved, and some more. Of the commits before, as many are durable as
/// `durable` says.
fn load(run: &mut Run<'_>, durable: impl Fn(u32) -> bool) -> Result<()> {
    for number in 0.. {
        let durability = if durable(number) { Durability::Durable } else { Durability::Deferred };
        run.commit(durability, |tx, model| fill_array(tx, model, 1, number))?;
        if run.store().stats()?.log_bytes > LOG_BYTES {
            break;
        }
        assert!(number < 100, "the log stays where it is");
    }
    run.commit(Durability::Deferred, |tx, model| set_number(tx, model, 0, 7))?;
    run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 8))?;
    run.checkpoint()?;
    run.commit(Durability::Durable, |tx, model| fill_array(tx, model, 1, 9))
}

/// Says whether the commit of this number waits for a flush.
type Durable = fn(u32) -> bool;

/// Loads, by how many of their commits wait for a flush. Where most do, the region is filled with zeros
/// first.
const LOADS: &[(&str, Durable)] = &[
    ("deferred commits", |_| false),
    ("durable commits", |_| true),
    ("some durable commits", |number| number % 3 == 2),
];

/// Returns a disk, as a kill leaves it, with a store of some arrays.
fn with_arrays(fixture: &Fixture) -> Outcome<(Vec<u8>, Model)> {
    let mut run = Run::new(fixture, 1, false)?;
    // What stays in use lies before what is freed.
    run.commit(Durability::Durable, |tx, model| set_number(tx, model, 0, 0))?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 0, 150_000, 0))?;
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 1, 3000, 0))?;
    run.checkpoint()?;
    Ok((run.disk.crash(&mut Random(0)), run.model.clone()))
}

/// Looks at `images` images of cuts in each of four runs of a history that begins with `image`.
fn look_at_cuts(
    fixture: &Fixture,
    (image, model): &(Vec<u8>, Model),
    name: &str,
    images: usize,
    history: impl Fn(&mut Run<'_>) -> Result<()>,
) -> Outcome {
    for seed in 0..4 {
        let disk = disk_of(image.clone(), false);
        let mut run = Run::on(fixture, seed, disk, model.clone());
        run.open_again()?;
        run.begin_here()?;
        history(&mut run)?;
        let recording = run.end();
        let mut cuts = Cuts::new(fixture, seed);
        cuts.look(&recording, images, 1).map_err(|violation| format!("{name}: {violation}"))?;
    }
    Ok(())
}

/// Opens the store of a process that has died, checks it, and goes on with it.
fn expect_well_after_death(run: &mut Run<'_>, place: &str) -> Outcome {
    let failed = |error| format!("{place}: {error}");
    run.die().map_err(failed)?;
    let report = run.store().check()?;
    assert!(report.findings.is_empty(), "{place}: {:?}", report.findings);
    run.commit(Durability::Durable, |tx, model| set_array(tx, model, 3, 3000, 1))
        .map_err(failed)?;
    Ok(run.reopen().map_err(failed)?)
}

#[test]
fn a_power_cut_at_any_time_leaves_one_log() -> Outcome {
    let fixture = Fixture::large();
    let begin = with_arrays(&fixture)?;
    for (name, durable) in LOADS {
        look_at_cuts(&fixture, &begin, name, 100, |run| load(run, durable))?;
    }
    Ok(())
}

#[test]
fn a_kill_at_any_call_leaves_one_log() -> Outcome {
    let fixture = Fixture::large();
    let (image, model) = with_arrays(&fixture)?;
    for (name, durable) in LOADS {
        // Zeros are written page by page: not each of these calls is a case of its own.
        for calls in (0..).map(|step: u64| if step < 80 { step } else { 80 + (step - 80) * 3 }) {
            let disk = disk_of(image.clone(), calls % 2 == 0);
            let mut run = Run::on(&fixture, calls, disk, model.clone());
            run.open_again()?;
            run.disk.fail_after(calls);
            let loaded = load(&mut run, durable);
            let is_whole = !run.disk.is_off();
            if is_whole {
                loaded?;
            }
            expect_well_after_death(&mut run, &format!("{name}, {calls} calls"))?;
            if is_whole {
                assert!(calls > 30, "{name}: it makes calls");
                break;
            }
        }
    }
    Ok(())
}

/// A history that ends in a close, after which the log is short.
type Closing = fn(&mut Run<'_>) -> Result<()>;

const CLOSINGS: &[(&str, Closing)] = &[
    ("a long log with free pages before it", |run| {
        run.commit(Durability::Durable, |tx, model| free_array(tx, model, 0))
    }),
    ("a long log with nothing free before it", |run| {
        run.commit(Durability::Deferred, |tx, model| set_number(tx, model, 0, 1))
    }),
    ("a long log between pages in use", |run| {
        run.commit(Durability::Durable, |tx, model| set_array(tx, model, 2, 3000, 1))
    }),
    ("everything is freed", |run| {
        run.commit(Durability::Deferred, |tx, model| free_array(tx, model, 0))?;
        run.commit(Durability::Deferred, |tx, model| free_array(tx, model, 1))
    }),
];

/// Returns a disk, as a kill leaves it, with a store whose log has grown behind its data.
fn with_a_long_log(fixture: &Fixture) -> Outcome<(Vec<u8>, Model)> {
    let (image, model) = with_arrays(fixture)?;
    let mut run = Run::on(fixture, 1, disk_of(image, false), model);
    run.open_again()?;
    load(&mut run, |_| false)?;
    run.checkpoint()?;
    Ok((run.disk.crash(&mut Random(0)), run.model.clone()))
}

#[test]
fn a_power_cut_at_any_time_of_a_close_leaves_one_log() -> Outcome {
    let fixture = Fixture::large();
    let begin = with_a_long_log(&fixture)?;
    for (name, closing) in CLOSINGS {
        look_at_cuts(&fixture, &begin, name, 60, closing)?;
    }
    Ok(())
}

#[test]
fn a_kill_at_any_call_of_a_close_leaves_one_log() -> Outcome {
    let fixture = Fixture::large();
    let (image, model) = with_a_long_log(&fixture)?;
    for (name, closing) in CLOSINGS {
        // Zeros are written page by page: not each of these calls is a case of its own.
        for calls in (0..).map(|step: u64| if step < 60 { step } else { 60 + (step - 60) * 7 }) {
            let disk = disk_of(image.clone(), calls % 2 == 0);
            let mut run = Run::on(&fixture, calls, disk, model.clone());
            run.open_again()?;
            closing(&mut run)?;
            run.disk.fail_after(calls);
            run.store = None;
            let is_whole = !run.disk.is_off();
            expect_well_after_death(&mut run, &format!("{name}, {calls} calls"))?;
            assert_eq!(run.store().stats()?.log_bytes, LOG_BYTES, "{name}, {calls} calls");
            if is_whole {
                assert!(calls > 10, "{name}: closing makes calls");
                break;
            }
        }
    }
    Ok(())
}

/// What was free at the end is not in the file.
#[test]
fn a_closed_file_is_as_short_as_its_data() -> Outcome {
    let fixture = Fixture::large();
    let (image, model) = with_a_long_log(&fixture)?;
    let whole = image.len() as u64;
    for ((name, closing), most) in CLOSINGS.iter().zip([whole, whole, whole, whole / 3]) {
        let mut run = Run::on(&fixture, 1, disk_of(image.clone(), false), model.clone());
        run.open_again()?;
        closing(&mut run)?;
        run.reopen()?;
        let found = run.store().stats()?.file_bytes;
        assert!(found < most, "{name}: {found} of {whole}");
    }
    Ok(())
}
