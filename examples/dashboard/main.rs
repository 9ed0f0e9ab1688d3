//! A writer ingests measurements while readers scan all of them, and a line per second shows the
//! latency of each: readers see whole commits, and neither side waits for the other.
//!
//! `dashboard FILE --seconds 10 --readers 2`; the next run continues with the same file.

mod latencies;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use flagstone::collections::BTreeMap;
use flagstone::{Durability, Link, OpenOptions, Store, persist};

use latencies::Latencies;

/// Measurements per commit.
const BATCH: u64 = 20;
/// One commit in this many is durable, and makes the deferred ones before it durable too.
const COMMITS_TO_A_FLUSH: u64 = 50;
/// Measurements to keep; the oldest are removed.
const MAX_KEPT: u64 = 500_000;

/// One measurement.
#[persist]
#[derive(Clone, Copy)]
struct Sample {
    /// Degrees, times 1000.
    millidegrees: i64,
    station: u64,
}

/// The contents of the file: measurements by time and a serial number.
#[persist]
struct Log {
    samples: BTreeMap<u64, Sample>,
    /// The sum of all kept measurements, which each commit keeps correct.
    sum: i64,
}

/// Ingest measurements while readers scan them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The store; created if it does not exist.
    file: PathBuf,
    /// How long to run.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Threads that scan.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    readers: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dashboard: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> flagstone::Result<()> {
    // SAFETY: the file belongs to this program; only flagstone changes it while it is open.
    let store = unsafe { OpenOptions::new().open(&arguments.file)? };
    let empty = || Log { samples: BTreeMap::new(), sum: 0 };
    let log = store.update(|tx| tx.root_or_insert_with("log", empty))?;
    let (commits, scans, stop) =
        (Latencies::default(), Latencies::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| until(&stop, || commits.of(|| ingest(&store, log))));
        let readers: Vec<_> = (0..arguments.readers)
            .map(|_| scope.spawn(|| until(&stop, || scans.of(|| scan(&store, log)))))
            .collect();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(arguments.seconds) && !writer.is_finished() {
            std::thread::sleep(Duration::from_secs(1));
            println!("commits {}   scans {}", commits.take(), scans.take());
        }
        stop.store(true, Relaxed);
        // The panic of a thread was printed already; the scope passes it on.
        let threads = readers.into_iter().chain([writer]);
        threads.filter_map(|thread| thread.join().ok()).collect::<flagstone::Result<()>>()
    })?;
    let kept = store.read()?.at(log)?.samples.len();
    println!("{kept} measurements are kept in {}", arguments.file.display());
    store.close()
}

/// Repeats `step` until it fails or `stop` is set. A failure sets `stop` for all.
fn until(stop: &AtomicBool, step: impl Fn() -> flagstone::Result<()>) -> flagstone::Result<()> {
    while !stop.load(Relaxed) {
        step().inspect_err(|_| stop.store(true, Relaxed))?;
    }
    Ok(())
}

/// Commits some measurements.
fn ingest(store: &Store, log: Link<Log>) -> flagstone::Result<()> {
    let mut tx = store.write()?;
    let samples = log.field(flagstone::field!(Log, samples));
    let mut change = 0;
    for _ in 0..BATCH {
        let next = tx.at(log)?.samples.last_key_value(&tx)?.map_or(0, |(key, _)| key + 1);
        let sample = measure(next);
        change += sample.millidegrees;
        samples.insert(&mut tx, &next, sample)?;
        if tx.at(log)?.samples.len() > MAX_KEPT
            && let Some((_, oldest)) = samples.pop_first(&mut tx)?
        {
            change -= oldest.millidegrees;
        }
    }
    let log = tx.at_mut(log)?;
    log.sum += change;
    let is_last = log.samples.len().is_multiple_of(BATCH * COMMITS_TO_A_FLUSH);
    tx.set_durability(if is_last { Durability::Durable } else { Durability::Deferred });
    tx.commit()
}

/// Returns a measurement that varies with the time of day, as a simulation.
fn measure(number: u64) -> Sample {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wave = (now.as_secs_f64() / 10.0).sin() * 5000.0;
    Sample { millidegrees: 15_000 + wave as i64 + (number % 7) as i64, station: number % 7 }
}

/// Scans all measurements of one snapshot, and compares their sum with the log's.
fn scan(store: &Store, log: Link<Log>) -> flagstone::Result<()> {
    let tx = store.read()?;
    let log = tx.at(log)?;
    let mut sum = 0;
    for entry in log.samples.iter(&tx)? {
        sum += entry?.1.millidegrees;
    }
    assert_eq!(sum, log.sum, "a reader saw half of a commit");
    Ok(())
}
