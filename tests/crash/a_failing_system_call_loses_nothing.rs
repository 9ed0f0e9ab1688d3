//! Promise: what holds for failing calls on a simulated disk holds for a real file and the
//! kernel's errors. A failing `msync` or write is reported, nothing is written after it, reads
//! continue, and reopening the file finds everything that was acknowledged.
//!
//! A child runs under `strace`, which makes one of its system calls fail.

use std::path::Path;
use std::process::{Command, Stdio};

use flagstone::{Durability, Error, ErrorKind, Link, OpenOptions, Result, Store, WriteTx, persist};
use testkit::{TestResult, child, expect_one_passed, open, open_with, test_of};

const CHILD: &str = "FLAGSTONE_FAILING_CALLS";

/// Calls to fail, with the errors, and how many of the first calls are tried: each alone, and
/// each with all that follow.
const CALLS: &[(&str, &str, u32)] = &[
    ("msync", "EIO", 9),
    ("fdatasync", "EIO", 12),
    ("pwrite64", "EIO", 24),
    ("pwrite64", "ENOSPC", 24),
    ("fallocate", "ENOSPC", 1),
    ("ftruncate", "EIO", 1),
];

#[persist]
struct Table {
    number: u64,
    array: Link<[u64]>,
}

/// Returns the number in the store; the array follows from the number.
fn number(store: &Store) -> Result<u64> {
    let tx = store.read()?;
    let Some(table) = tx.get(tx.root::<Table>("table")?)? else { return Ok(0) };
    assert!(tx.at(table.array)?.iter().all(|element| *element == table.number));
    Ok(table.number)
}

fn change(tx: &mut WriteTx<'_>, number: u64) -> Result<()> {
    let table = tx.root_or_insert_with("table", || Table { number: 0, array: Link::null() })?;
    let old = std::mem::take(&mut tx.at_mut(table)?.array);
    if !old.is_null() {
        tx.free(old)?;
    }
    let array = tx.alloc_slice(std::iter::repeat_n(number, 400 * (1 + number as usize % 3)))?;
    *tx.at_mut(table)? = Table { number, array };
    Ok(())
}

/// Commits and reports it, as the child does. A report comes only after the fact.
fn commit(store: &Store, number: u64) -> Result<()> {
    println!("\nbegun {number}");
    let mut tx = store.write()?;
    change(&mut tx, number)?;
    let is_durable = number % 2 == 1;
    tx.set_durability(if is_durable { Durability::Durable } else { Durability::Deferred });
    tx.commit()?;
    println!("\ndone {number}");
    Ok(())
}

/// The child: works until something fails, then tries what is still possible.
fn work(path: &Path) -> Result<()> {
    // A log that grows would be the file's end, which is then not cut.
    let options = OpenOptions::new().log_bytes(64 * 1024).max_log_bytes(64 * 1024);
    let store = open_with(path, &options)?;
    let mut seen = 0;
    for count in 1..=10 {
        let done = commit(&store, count).and_then(|()| match count % 4 {
            0 => store.checkpoint(),
            _ => Ok(()),
        });
        match done {
            Ok(()) => seen = count,
            Err(error) => return after_failure(&store, &error, count, seen),
        }
    }
    // The log's contents are safe, whether or not the checkpoint succeeded.
    store.close().unwrap_or_else(|error| println!("\nfailed {error}"));
    Ok(())
}

fn after_failure(store: &Store, error: &Error, count: u64, seen: u64) -> Result<()> {
    println!("\nfailed {error}");
    let found = number(store).expect("reads go on");
    assert!((seen..=count).contains(&found), "{found} is seen, of {seen} to {count}");
    let again = store.update(|tx| change(tx, 100));
    match error.kind() {
        // The transaction is rolled back, and the store continues with the space it has.
        ErrorKind::NoSpace { .. } => {
            again.expect_err("there is still no space");
            store.update(|tx| tx.root::<Table>("table").map(drop))
        }
        _ => {
            let refused = again.expect_err("nothing more is written");
            assert!(matches!(refused.kind(), ErrorKind::Poisoned { .. }), "{refused}");
            println!("\npoisoned");
            Ok(())
        }
    }
}

/// Returns the last number that the child reported with this word.
fn last(output: &str, word: &str) -> u64 {
    let number = |line: &str| line.strip_prefix(word)?.trim().parse().ok();
    output.lines().rev().find_map(number).unwrap_or(0)
}

/// Returns whether the failure was reported to the caller.
fn fail(folder: &Path, call: &str, error: &str, when: &str) -> TestResult<bool> {
    let path = folder.join(format!("{call}-{error}-{when}"));
    let test = test_of(std::any::type_name_of_val(&one_call_of_a_real_file_fails));
    let child = child(&test, CHILD, &path);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:error={error}:when={when}")]);
    // `msync` takes no file name, and nothing else here calls it.
    if call != "msync" {
        strace.arg("-P").arg(&path);
    }
    strace.arg(child.get_program()).args(child.get_args()).env(CHILD, &path);
    // Created first, so the path refers to the file from the first call on.
    open_with(&path, &OpenOptions::new().log_bytes(64 * 1024))?.close()?;
    let output = strace.stderr(Stdio::piped()).output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    let place = format!("{call} {when} {error}");
    println!("{place}");
    expect_one_passed(&output);
    let store = open(&path)?;
    let (found, done, begun) = (number(&store)?, last(&told, "done"), last(&told, "begun"));
    assert!(found == done || found == begun, "{place}: {found} after {done} of {begun}: {told}");
    store.check()?.into_result()?;
    store.update(|tx| change(tx, 200))?;
    assert_eq!(number(&store)?, 200, "{place}");
    Ok(told.lines().any(|line| line.starts_with("failed ")))
}

#[test]
fn one_call_of_a_real_file_fails() -> TestResult {
    if let Some(path) = std::env::var_os(CHILD) {
        return Ok(work(Path::new(&path))?);
    }
    if let Err(error) = Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        println!("SKIP[strace]: {error}");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    // With larger pages, no log is written through a mapping.
    let is_made = |call: &str| call != "msync" || testkit::machine_page_bytes() == 4096;
    for (call, error, max_calls) in CALLS.iter().filter(|(call, ..)| is_made(call)) {
        let mut told = 0;
        for when in 1..=*max_calls {
            let alone = fail(folder.path(), call, error, &format!("{when}"))?;
            let and_all_after = fail(folder.path(), call, error, &format!("{when}+"))?;
            told += u32::from(alone) + u32::from(and_all_after);
        }
        println!("{call} {error}: {told} of {} were told to the caller", 2 * max_calls);
        assert!(told >= *max_calls, "{call} {error}: failures are kept quiet");
    }
    Ok(())
}
