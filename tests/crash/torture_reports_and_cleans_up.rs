//! Promise: `flagstone torture` runs structures through crashes, reports what it did, finds a
//! mutation, and leaves nothing behind except what it found.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A folder for the store and for temporary files, and the command that runs in it.
struct Scratch {
    folder: TempDir,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("temporary")).expect("a folder in it");
        Self { folder }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("torture.flag")
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("temporary")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flagstone"));
        command.arg("torture").arg(self.store()).args(arguments).env("TMPDIR", self.temporary());
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        told(&self.command(arguments).output().expect("the tool starts"))
    }

    /// Checks that the folder contains nothing new.
    fn expect_clean(&self) {
        let left = |folder: &Path| {
            let entries = std::fs::read_dir(folder).expect("a folder").flatten();
            entries.map(|entry| entry.file_name()).collect::<Vec<_>>()
        };
        assert_eq!(left(self.folder.path()), ["temporary"]);
        assert!(left(&self.temporary()).is_empty());
    }
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    println!("{text}");
    (output.status.code(), text)
}

/// Returns the number before a word of the summary.
fn figure(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn sound_structures_pass_and_nothing_is_left() {
    let scratch = Scratch::new();
    // A slow machine may not come to all of it in the first time.
    for seconds in ["3", "12", "48"] {
        let (code, text) = scratch.run(&["--seconds", seconds]);
        assert_eq!(code, Some(0));
        assert!(text.contains("no violation"));
        scratch.expect_clean();
        let what =
            ["runs", "transactions", "power cuts", "SIGKILLs", "images checked", "reopenings"];
        match what.iter().find(|what| figure(&text, what) == 0) {
            None => return,
            Some(what) => println!("no {what} in {seconds} s"),
        }
    }
    panic!("it came to nothing");
}

#[test]
fn a_mutation_is_found_and_the_seed_repeats_it() {
    let scratch = Scratch::new();
    let mutation =
        ["--kills", "power", "--mutation", "acknowledge-before-flush", "--structure", "list"];
    let (code, first) = scratch.run(&[&mutation[..], &["--seed", "1"]].concat());
    assert_eq!(code, Some(1));
    assert!(first.contains("Lost: ") && first.contains("POWER CUT"));
    let seed = figure(&first, " repeats it").to_string();
    let (code, again) = scratch.run(&[&mutation[..], &["--seed", &seed]].concat());
    assert_eq!(code, Some(1));
    let history = |text: &str| text.split_once('\n').map(|(_, history)| history.to_string());
    assert_eq!(history(&again), history(&first));
    scratch.expect_clean();
}

#[test]
fn an_existing_file_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    std::fs::write(scratch.store(), "mine").unwrap();
    let (code, text) = scratch.run(&["--kills", "kill"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("give a path that does not exist"));
    assert_eq!(std::fs::read(scratch.store()).unwrap(), b"mine");
}

#[test]
fn invalid_arguments_are_reported() {
    let scratch = Scratch::new();
    let (code, text) = scratch.run(&["--structure", "no such"]);
    assert!(code == Some(2) && text.contains("possible values: list, "));
    let nowhere = scratch.folder.path().join("nowhere").join("torture.flag");
    let mut command = Command::new(env!("CARGO_BIN_EXE_flagstone"));
    let (code, text) =
        told(&command.arg("torture").arg(nowhere).arg("--kills=kill").output().unwrap());
    assert!(code == Some(2) && text.contains("in a folder that you may write to"));
}

#[test]
fn a_run_that_shows_nothing_is_no_success() {
    let scratch = Scratch::new();
    let mutation = ["--kills", "power", "--mutation", "barrier-not-awaited", "--seconds", "1"];
    let (code, text) = scratch.run(&mutation);
    assert!(code == Some(2) && text.contains("BarrierNotAwaited was not found"));
    let (code, text) = scratch.run(&["--seconds", "0"]);
    assert!(code == Some(2) && text.contains("no run ended in this time"));
    scratch.expect_clean();
}

#[test]
fn each_structure_gets_both_kinds_of_kills() {
    let scratch = Scratch::new();
    for structures in [["list", "vec"], ["vec", "list"]] {
        let [first, second] = structures.map(|name| ["--structure", name]);
        let mutation = ["--mutation", "acknowledge-before-flush", "--seed", "1"];
        let (code, text) = scratch.run(&[&mutation[..], &first, &second].concat());
        // The first power cuts are those of the second round.
        assert!(code == Some(1) && text.contains("in `list`"), "{text}");
        assert!(text.contains("seed 2 repeats it"), "{text}");
    }
    scratch.expect_clean();
}

/// Returns the processes whose command line names the store.
fn with_store(store: &Path) -> Vec<rustix::process::Pid> {
    let store = store.to_str().expect("a path of letters");
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let names = |number: &i32| {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(store)
    };
    numbers.filter(names).filter_map(rustix::process::Pid::from_raw).collect()
}

#[test]
fn no_child_outlives_its_parent() {
    for millis in [200, 300, 400, 500, 600] {
        let scratch = Scratch::new();
        let mut command = scratch.command(&["--seconds", "100", "--kills", "kill"]);
        let mut parent = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        parent.kill().unwrap();
        parent.wait().unwrap();
        let begun = Instant::now();
        while !with_store(&scratch.store()).is_empty() && begun.elapsed() < Duration::from_secs(20)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = with_store(&scratch.store());
        for child in &left {
            let _ = rustix::process::kill_process(*child, rustix::process::Signal::KILL);
        }
        assert!(left.is_empty(), "{left:?} are left after {millis} ms");
    }
}

#[test]
fn ctrl_c_ends_it_cleanly() {
    let scratch = Scratch::new();
    let mut command = scratch.command(&["--seconds", "100", "--kills", "kill"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let begun = Instant::now();
    while !scratch.store().exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it comes to its store");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = rustix::process::Pid::from_raw(child.id() as i32).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("a signal");
    let (code, text) = told(&child.wait_with_output().expect("its end"));
    assert_eq!(code, Some(0));
    assert!(text.contains("no violation") && begun.elapsed() < Duration::from_secs(60));
    scratch.expect_clean();
}
