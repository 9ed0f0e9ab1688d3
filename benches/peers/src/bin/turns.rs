//! Durable commits of two processes that share a store, against one process that has it alone, beside
//! SQLite (WAL, `synchronous=FULL`) and redb (`MultiWriter`): the commits a second of both together.
//!
//! `cargo run --release --bin turns [-- seconds]` in `benches/peers`: seconds for each of the runs, 1 by
//! default. All stores take turns, on the file system of the temporary folder. Each commit changes one
//! counter.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use redb::ReadableTable as _;

const ROUNDS: usize = 5;
const STORES: [&str; 3] = ["flagstone", "SQLite", "redb"];
const COUNTERS: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("counters");

type Commit = Box<dyn FnMut()>;

fn open(store: &str, path: &Path, own: u64) -> Commit {
    match store {
        "flagstone" => open_flagstone(path, own),
        "SQLite" => open_sqlite(path, own),
        _ => open_redb(path, own),
    }
}

fn open_flagstone(path: &Path, own: u64) -> Commit {
    // SAFETY: only this benchmark uses the file.
    let store = unsafe { flagstone::OpenOptions::new().open_shared(path) }.expect("a store");
    let root = store.update(|tx| tx.root_or_insert_with("counters", || [[0u64; 8]; 8]));
    let root = root.expect("counters");
    Box::new(move || {
        let changed = store.update(|tx| {
            tx.at_mut(root)?[own as usize][0] += 1;
            Ok(())
        });
        changed.expect("a commit");
    })
}

fn open_sqlite(path: &Path, own: u64) -> Commit {
    let store = rusqlite::Connection::open(path).expect("a database");
    store.busy_timeout(Duration::from_secs(60)).expect("a timeout");
    let set_up = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
        CREATE TABLE IF NOT EXISTS counters (id INTEGER PRIMARY KEY, value INTEGER);";
    store.execute_batch(set_up).expect("a table");
    store.execute("INSERT OR IGNORE INTO counters VALUES (?1, 0)", [own as i64]).expect("a row");
    Box::new(move || {
        let change = "UPDATE counters SET value = value + 1 WHERE id = ?1";
        let mut change = store.prepare_cached(change).expect("a statement");
        assert_eq!(change.execute([own as i64]).expect("a commit"), 1);
    })
}

fn open_redb(path: &Path, own: u64) -> Commit {
    let mut builder = redb::Builder::new();
    builder.set_concurrency_mode(redb::ConcurrencyMode::MultiWriter);
    let store = builder.create(path).expect("a database");
    Box::new(move || {
        let tx = store.begin_write().expect("a transaction");
        {
            let mut counters = tx.open_table(COUNTERS).expect("a table");
            let value = counters.get(own).expect("a read").map_or(0, |value| value.value());
            counters.insert(own, value + 1).expect("a write");
        }
        tx.commit().expect("a commit");
    })
}

/// Commits until the time is over, after a line of input; then prints how often.
fn commit_for(store: &str, path: &Path, own: u64, time: Duration) {
    let mut commit = open(store, path, own);
    println!("ready");
    std::io::stdin().lines().next().expect("a line").expect("a line");
    let begun = Instant::now();
    let mut count = 0u64;
    while begun.elapsed() < time {
        commit();
        count += 1;
    }
    println!("{count}");
}

fn spawn(store: &str, path: &Path, own: u64, time: Duration) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--child", store]).arg(path).arg(own.to_string());
    command.arg(time.as_secs_f64().to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    assert_eq!(line(&mut output), "ready");
    (child, output)
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line.trim().to_owned()
}

/// Returns the commits a second of so many processes.
fn rate(store: &str, processes: u64, time: Duration) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let mut all: Vec<_> = (0..processes).map(|own| spawn(store, &path, own, time)).collect();
    for (child, _) in &mut all {
        writeln!(child.stdin.as_mut().expect("its input")).expect("it listens");
    }
    let counts = all.iter_mut().map(|(child, output)| {
        let count: u64 = line(output).parse().expect("a count");
        assert!(child.wait().expect("its end").success());
        count
    });
    counts.sum::<u64>() as f64 / time.as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [flag, store, path, own, seconds] = &arguments[..]
        && flag == "--child"
    {
        let time = Duration::from_secs_f64(seconds.parse().expect("a number"));
        return commit_for(store, Path::new(path), own.parse().expect("a number"), time);
    }
    let seconds = arguments.first().map_or(1.0, |seconds| seconds.parse().expect("seconds"));
    let time = Duration::from_secs_f64(seconds);
    let mut rates = STORES.map(|_| [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        for (store, [one, two]) in STORES.iter().zip(&mut rates) {
            one.push(rate(store, 1, time));
            two.push(rate(store, 2, time));
        }
    }
    println!("durable commits a second, medians of {ROUNDS} runs");
    for (store, [one, two]) in STORES.iter().zip(&mut rates) {
        let (one, two) = (median(one), median(two));
        println!("{store:10} one process {one:6.0}, two {two:6.0}: {:.2}", two / one);
    }
}
