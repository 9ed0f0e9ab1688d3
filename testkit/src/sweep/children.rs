//! Runs cases in child processes: a case that hangs is killed, and a case that kills its process
//! is counted; neither ends the sweep.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::{TestResult, child, seed};

use super::ground::Ground;
use super::judge::{Verdict, judge, tell};
use super::table::Table;

/// The environment variable that names the folder of a child's cases.
const KEY: &str = "FLAGSTONE_SWEEP";
/// The number of cases per child.
const BATCH: u64 = 20_000;
/// Longer than any case takes, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Damages the file of `ground` in each of the ways `0..count`, in children of `test`, which makes
/// this same call, and judges the effects. None may crash. `row` returns the row in which a case is
/// counted, and `names` are those of the rows. `damage` changes a file, given an older copy of it,
/// and says what it did.
pub fn sweep(
    test: &str,
    ground: &Ground,
    names: &[&str],
    count: u64,
    row: impl Fn(u64) -> usize + Sync,
    damage: impl Fn(u64, &mut Vec<u8>, &[u8]) -> String,
) -> TestResult<Table> {
    if let Some(folder) = std::env::var_os(KEY).map(PathBuf::from) {
        // The children damage the same file as their parent.
        let read = |name| fs::read(folder.with_file_name(name));
        let ground = Ground { bytes: read("file")?, older: read("older")?, ..ground.clone() };
        let mut bytes = Vec::new();
        serve(&folder, |case| {
            bytes.clone_from(&ground.bytes);
            let what = damage(case, &mut bytes, &ground.older);
            let verdict = judge(&ground, &bytes);
            tell(verdict, what);
            (row(case), verdict)
        });
        std::process::exit(0);
    }
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("file"), &ground.bytes)?;
    fs::write(folder.path().join("older"), &ground.older)?;
    println!("FLAGSTONE_SEED={} {count} cases, {} bytes", seed(1), ground.bytes.len());
    let table = in_children(test, folder.path(), count, row);
    println!("{}", table.show(names));
    assert_eq!(table.total(), count);
    assert_eq!(table.crashes(), 0);
    Ok(table)
}

/// Runs the cases in children, and adds up their results.
fn in_children(test: &str, folder: &Path, count: u64, row: impl Fn(u64) -> usize + Sync) -> Table {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let batches = (0..count.div_ceil(BATCH)).rev().map(|n| n * BATCH..count.min((n + 1) * BATCH));
    let (batches, table) = (Mutex::new(Vec::from_iter(batches)), Mutex::new(Table::default()));
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (batches, table, row) = (&batches, &table, &row);
            let folder = folder.join(format!("worker{worker}"));
            scope.spawn(move || {
                fs::create_dir_all(&folder).expect("a folder");
                let next = || batches.lock().expect("batches").pop();
                while let Some(batch) = next() {
                    let found = run(test, &folder, batch, row);
                    table.lock().expect("the table").merge(&found);
                }
            });
        }
    });
    table.into_inner().expect("the table")
}

/// Runs a batch, and skips each case that ends a child.
fn run(test: &str, folder: &Path, batch: Range<u64>, row: &impl Fn(u64) -> usize) -> Table {
    let mut table = Table::default();
    let mut left = vec![batch];
    while let Some(cases) = left.pop().filter(|cases| !cases.is_empty()) {
        fs::write(folder.join("cases"), format!("{} {}", cases.start, cases.end)).expect("cases");
        fs::write(folder.join("at"), cases.start.to_le_bytes()).expect("a file");
        let _ = fs::remove_file(folder.join("table"));
        let mut command = child(test, KEY, folder);
        // Each case frees and reallocates files and images. These settings keep the pages in the
        // process; otherwise the system would reclaim them and clear new ones.
        command.env("MALLOC_MMAP_THRESHOLD_", "67108864").env("MALLOC_TRIM_THRESHOLD_", "67108864");
        let mut process = command.spawn().expect("a child");
        let verdict = wait(&mut process, folder);
        let told = fs::read_to_string(folder.join("table")).ok();
        if let Some(told) = told.and_then(|text| Table::of_text(&text)) {
            table.merge(&told);
            continue;
        }
        let case = at(folder);
        println!("case {case} (of {test}) ended its process: {verdict:?}");
        table.add(row(case), verdict, 1);
        left.push(case + 1..cases.end);
        left.push(cases.start..case);
    }
    table
}

fn at(folder: &Path) -> u64 {
    let bytes = fs::read(folder.join("at")).expect("the case");
    u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
}

/// Waits for a child that makes progress; returns a verdict if it does not end well.
fn wait(process: &mut Child, folder: &Path) -> Verdict {
    let (mut last, mut since) = (at(folder), Instant::now());
    loop {
        if process.try_wait().expect("to wait").is_some() {
            return Verdict::Aborted;
        }
        std::thread::sleep(Duration::from_millis(5));
        let now = at(folder);
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > TIMEOUT {
            process.kill().expect("to end a child");
            process.wait().expect("to wait");
            return Verdict::Hung;
        }
    }
}

/// Runs the cases and reports them, in a child.
fn serve(folder: &Path, mut judge: impl FnMut(u64) -> (usize, Verdict)) {
    let cases = fs::read_to_string(folder.join("cases")).expect("cases");
    let (start, end) = cases.split_once(' ').expect("two numbers");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let progress = File::options().write(true).open(folder.join("at")).expect("a file");
    let mut table = Table::default();
    for case in number(start)..number(end) {
        progress.write_all_at(&case.to_le_bytes(), 0).expect("to write");
        let (row, verdict) = judge(case);
        table.add(row, verdict, 1);
    }
    fs::write(folder.join("table"), table.to_text()).expect("to write");
}
