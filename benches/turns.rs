//! Durable commits of two processes that share a store, against one process that has it alone: the
//! commits a second of both together.
//!
//! `cargo bench --bench turns [-- seconds]`: seconds for each of the runs, 1 by default. Runs of one and
//! of two processes take turns.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Folder;
use flagstone::OpenOptions;

const ROUNDS: usize = 7;
const COUNTERS: usize = 8;

/// Commits until the time is over, after a line of input; then prints how often.
fn commit_for(path: &Path, own: usize, time: Duration) {
    // SAFETY: only this benchmark uses the file.
    let store = unsafe { OpenOptions::new().open_shared(path) }.expect("a store");
    let root = store.update(|tx| tx.root_or_insert_with("counters", || [[0u64; 8]; COUNTERS]));
    let root = root.expect("counters");
    println!("ready");
    std::io::stdin().lines().next().expect("a line").expect("a line");
    let begun = Instant::now();
    let mut count = 0u64;
    while begun.elapsed() < time {
        let changed = store.update(|tx| {
            tx.at_mut(root)?[own][0] += 1;
            Ok(())
        });
        changed.expect("a commit");
        count += 1;
    }
    println!("{count}");
}

fn spawn(path: &Path, own: usize, time: Duration) -> (Child, impl BufRead) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.env("FLAGSTONE_TURNS", own.to_string()).arg(path).arg(time.as_secs_f64().to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    (child, output)
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line.trim().to_owned()
}

/// Returns the commits a second of so many processes.
fn rate(processes: usize, time: Duration) -> f64 {
    let folder = Folder::new();
    let path = folder.path("store");
    let mut all: Vec<_> = (0..processes).map(|own| spawn(&path, own, time)).collect();
    all.iter_mut().for_each(|(_, output)| assert_eq!(line(output), "ready"));
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

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    if let Ok(own) = std::env::var("FLAGSTONE_TURNS") {
        let path = arguments.next().expect("a path");
        let seconds = arguments.next().expect("seconds").parse().expect("a number");
        let own = own.parse().expect("a number");
        return commit_for(Path::new(&path), own, Duration::from_secs_f64(seconds));
    }
    let seconds = arguments.next().map_or(1.0, |seconds| seconds.parse().expect("seconds"));
    let time = Duration::from_secs_f64(seconds);
    let (mut one, mut two, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (alone, both) = (rate(1, time), rate(2, time));
        ratios.push(both / alone);
        one.push(alone);
        two.push(both);
    }
    let middle = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "durable commits a second: one process {:.0}, two that share {:.0}: {:.2} times as many \
         (medians of {ROUNDS} runs)",
        middle(&mut one),
        middle(&mut two),
        middle(&mut ratios)
    );
}
